"""Workload and deployment specs: strict YAML in, frozen models out.

Import from the modules: :mod:`blis.spec.workload`, :mod:`blis.spec.deployment`, :mod:`blis.spec.presets`,
:mod:`blis.spec.catalogue`, :mod:`blis.spec.schema`.
"""

from __future__ import annotations

__all__: list[str] = []
