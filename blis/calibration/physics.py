"""What is expected of the physics model's coefficients before anything is measured."""

from __future__ import annotations

from blis.calibration.moments import Parameter

__all__ = ["PHYSICS"]

PHYSICS = (
    # Memory is read at nearly the rate of the datasheet.
    Parameter("weights", 1.0, 0.15),
    Parameter("kv_cache", 1.0, 0.15),
    # Matrix products of few tokens hide partly behind the weights they read; large ones reach two thirds of the peak.
    Parameter("decode_compute", 1.0, 0.5),
    Parameter("prefill_compute", 1.5, 0.75),
    Parameter("expert_compute", 1.5, 3.0),
    Parameter("all_reduce", 1.0, 0.5),
    # A small all-reduce over NVLink takes 10 to 20 us, and a layer has two.
    Parameter("all_reduce_us", 30.0, 20.0),
    # Some ten kernels follow one another in a layer, within a recorded graph or, in prefill steps, partly outside.
    Parameter("layer_us", 5.0, 5.0),
    Parameter("prefill_layer_us", 20.0, 20.0),
    Parameter("sequence_us", 10.0, 10.0),
    Parameter("step_us", 2000.0, 1000.0),
    # HTTP, tokenising, and the way between processes.
    Parameter("request_us", 5000.0, 2500.0),
)
"""Priors of the coefficients of :class:`blis.latency.Physics`: orders of magnitude, wide enough to be overruled. Those
left out (the host's work, delays per token and at the end) stay as they are given."""
