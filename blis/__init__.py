"""Simulator for LLM inference serving.

``blis.simulate(spec, deployment)`` predicts the latencies of a workload on a cluster and returns a
:class:`blis.trace.Trace`; ``blis.observe(spec, server)`` returns one of a real server, ``blis.generate(spec)`` the
workload's requests alone, and ``blis.replay(trace, deployment)`` does as ``simulate`` with the requests of a trace.
``blis.calibrate(real, simulated)`` says how good a prediction was, ``blis.uncertainty(spec, deployment)`` how sure one
can be. Public functions are loaded when first used, so that ``import blis`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["__version__", "calibrate", "generate", "observe", "replay", "simulate", "uncertainty"]

__version__ = "0.1.0"

if TYPE_CHECKING:
    from blis.calibration.calibration import calibrate
    from blis.calibration.uncertainty import uncertainty
    from blis.generation import generate
    from blis.observation import observe
    from blis.simulation import replay, simulate
else:
    _HOMES = {
        "calibrate": "blis.calibration",
        "generate": "blis.generation",
        "observe": "blis.observation",
        "replay": "blis.simulation",
        "simulate": "blis.simulation",
        "uncertainty": "blis.calibration.uncertainty",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'blis' has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})
