"""What kind of file a file is, so that a wrong one can be told from a faulty one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from blis.errors import BlisError

__all__ = ["Kind", "kind_of", "refuse_other", "written"]

Kind = Literal["workload", "deployment", "server", "trace", ""]

_WORKLOAD_KEYS = (
    "clients",
    "cohorts",
    "servegen_data",
    "aggregate_rate",
    "horizon",
    "num_requests",
    "seed",
    "category",
)
_DEPLOYMENT_KEYS = ("instances", "model", "hardware", "tp", "pools", "routing", "admission", "scheduler", "latency")
_SERVER_KEYS = ("url",)
_OTHERWISE: dict[Kind, str] = {
    "workload": "is a workload, not a deployment; give it as SPEC",
    "deployment": "is a deployment, not a workload; give it with --deployment",
    "server": "is the config of a server; give it to blis observe with --server-config",
    "trace": "is a trace, not a spec; 'blis replay' sends its requests again, 'blis metrics' reports on it",
}


def written(file: str | Path) -> Mapping[str, Any]:
    """Return the mapping in a YAML file before anything is checked; empty where there is none to be read."""
    from blis.spec.strict import load_yaml

    try:
        data, _ = load_yaml(Path(file).read_text(encoding="utf-8-sig"), str(file), [])
    except (OSError, ValueError, BlisError):
        return {}
    return data if isinstance(data, Mapping) else {}


def kind_of(file: str | Path) -> Kind:
    """Return what a file seems to be by its name and its top-level keys; empty where they don't tell."""
    path = Path(file)
    if path.suffix in (".csv", ".parquet", ".jsonl"):
        return "trace"
    if not path.exists():
        # The prefix of a trace names no file itself.
        return "trace" if any(path.with_name(path.name + end).exists() for end in (".yaml", ".yml")) else ""
    data = written(path)
    if "trace_version" in data:
        return "trace"
    if any(key in data for key in _SERVER_KEYS):
        return "server"
    workload, deployment = (sum(key in data for key in keys) for keys in (_WORKLOAD_KEYS, _DEPLOYMENT_KEYS))
    return "workload" if workload > deployment else "deployment" if deployment > workload else ""


def refuse_other(file: str, wanted: Kind) -> None:
    """Raise an error if a file that couldn't be used is plainly of another kind than the one that is ``wanted``.

    Raises:
        BlisError: saying where a file of its kind goes.
    """
    kind = kind_of(file)
    if kind not in ("", wanted) and kind in _OTHERWISE:
        raise BlisError(f"{file}: {_OTHERWISE[kind]}")
