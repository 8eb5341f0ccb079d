"""The workload spec: who sends what when, as a frozen model and as the YAML it is read from.

All times are whole microseconds (in YAML also text with a unit), all rates requests per second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, PrivateAttr

from blis.errors import Problem, SpecError
from blis.rng import DEFAULT_SEED
from blis.spec.client import ClientSpec
from blis.spec.cohort import CohortSpec
from blis.spec.doubts import doubts
from blis.spec.fields import Count, Micros, NonNegative, unit
from blis.spec.located import Locate, load_yaml, nowhere, read_text
from blis.spec.population import population_findings
from blis.spec.servegen import ServeGenSpec
from blis.spec.stages import StageSpec, stage_findings
from blis.spec.strict import Finding, StrictModel, lookup, path_text, validate
from blis.spec.upgrade import CURRENT_VERSION, Version, upgrade

__all__ = [
    "WorkloadSpec",
    "load_workload",
    "parse_workload",
    "workload_from_dict",
    "workload_of",
]

_ENDLESS = "set horizon or num_requests: with neither, the workload never ends"
_OVERRIDE = "override"
_WIDTH = 120
_CLIENT = {
    "id": "chat",
    "rate_fraction": 1,
    "arrival": {"process": "poisson"},
    "input_distribution": {"type": "lognormal", "params": {"mu": 5.5, "sigma": 0.8}},
    "output_distribution": {"type": "exponential", "params": {"mean": 150}},
}
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class WorkloadSpec(StrictModel):
    """A workload: clients, cohorts, ServeGen data or all of them, with what ends it (``horizon``, ``num_requests``).

    Where ``aggregate_rate`` is above 0, clients and cohorts share it by their rate_fraction; where it is 0, each sends
    at its own ``rate`` and ServeGen data at the measured rates. The same spec and seed give the same requests.
    """

    version: Version = Field(
        default=CURRENT_VERSION, description='Version of this format: "2"; "1" is upgraded.', examples=["2"]
    )
    seed: Count = Field(
        default=DEFAULT_SEED, description="Seed of all random streams.", examples=[7], json_schema_extra=unit("none")
    )
    category: Literal["language", "multimodal", "reasoning"] = Field(
        default="language", description="Kind of requests.", examples=["reasoning"]
    )
    aggregate_rate: NonNegative = Field(
        default=0.0,
        description="Requests/s of all clients; 0 means their own rates.",
        examples=[20],
        json_schema_extra=unit("requests/s"),
    )
    num_requests: Count | None = Field(
        default=None, description="Arrivals stop after this many.", examples=[1000], json_schema_extra=unit("requests")
    )
    horizon: Micros | None = Field(
        default=None, description="Arrivals stop at this time; what is in flight then drains.", examples=["10min"]
    )
    clients: tuple[ClientSpec, ...] = Field(
        default=(), description="The clients; their order changes nothing.", examples=[[_CLIENT]]
    )
    cohorts: tuple[CohortSpec, ...] = Field(
        default=(),
        description="Populations of clients that are alike.",
        examples=[[{**_CLIENT, "id": "people", "population": 500}]],
    )
    stages: tuple[StageSpec, ...] = Field(
        default=(),
        description="Total rates one after another; end the workload.",
        examples=[[{"rate": 5, "duration": "60s"}, {"rate": 10, "duration": "60s"}]],
    )
    servegen_data: ServeGenSpec | None = Field(
        default=None,
        description="Measured data; each chunk becomes a client.",
        examples=[{"path": "servegen-data", "span_end": 3600}],
    )

    _text: str | None = PrivateAttr(None)
    _base_dir: Path = PrivateAttr(Path())
    _warnings: tuple[str, ...] | None = PrivateAttr(None)

    @property
    def text(self) -> str:
        """The YAML this was read from; for a spec made in Python, or read with overrides, YAML that gives it."""
        if self._text is not None:
            return self._text
        dumped: str = yaml.dump(
            self.to_dict(),
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=_WIDTH,
            # Innermost mappings on a line: {process: gamma, cv: 2.5}.
            default_flow_style=None,
        )
        return dumped

    @property
    def senders(self) -> tuple[ClientSpec, ...]:
        """The clients and cohorts: all who share rates."""
        return *self.clients, *self.cohorts

    @property
    def shared(self) -> bool:
        """Whether rates are shares of a total: of the aggregate rate, or of those of stages."""
        return self.aggregate_rate > 0 or bool(self.stages)

    @property
    def base_dir(self) -> Path:
        """The folder that relative paths of the spec start from."""
        return self._base_dir

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but likely not meant, and what an upgrade changed; each says where."""
        if self._warnings is not None:
            return self._warnings
        return tuple(f"{path_text(path)}: {text}" for path, text in doubts(self))

    @property
    def servegen_path(self) -> Path | None:
        """Where the ServeGen data is, if there is any."""
        return None if self.servegen_data is None else self._base_dir / self.servegen_data.path

    def __eq__(self, other: object) -> bool:
        """Whether both describe the same traffic, wherever they were read from."""
        return isinstance(other, WorkloadSpec) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain data, what is at its default left out; :func:`workload_from_dict` reads it."""
        return {"version": self.version, "seed": self.seed, **self.model_dump(exclude_defaults=True)}

    @classmethod
    def prepare(cls, raw: dict[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
        """Upgrade an older version; its warnings are appended to the context's."""
        upgraded, warnings = upgrade(raw)
        context.get("warnings", []).extend(warnings)
        return upgraded

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """There is somebody who sends, an end, and a share for everyone; ids are unique."""
        yield from population_findings(raw)
        yield from stage_findings(raw)
        spanned = (
            not (raw.get("clients") or raw.get("cohorts")) and lookup(raw.get("servegen_data"), "span_end") is not None
        )
        if raw.get("horizon") is None and raw.get("num_requests") is None and not (spanned or raw.get("stages")):
            yield (), _ENDLESS


def workload_of(spec: WorkloadSpec | Mapping[str, Any] | str | Path) -> WorkloadSpec:
    """Return the workload given as a spec, as its plain data or as the path of its YAML file.

    Raises:
        SpecError: with every problem.
    """
    if isinstance(spec, WorkloadSpec):
        return spec
    return workload_from_dict(spec) if isinstance(spec, Mapping) else load_workload(spec)


def load_workload(path: str | Path, *, overrides: Mapping[str, Any] | None = None) -> WorkloadSpec:
    """Read a workload spec from a YAML file.

    ``overrides`` replace the spec's values before anything is checked, as flags of a command do: ``{"seed": 7,
    "horizon": "60s"}``. A value of None stands for a flag that wasn't given; a mapping replaces the keys it has. A
    relative path in an override starts from the current folder, one in the file from the file's.

    Raises:
        SpecError: with every problem of the file, each with line and place.
    """
    return parse_workload(read_text(path), str(path), base_dir=Path(path).parent, overrides=overrides)


def parse_workload(
    text: str,
    file: str = "<spec>",
    *,
    base_dir: str | Path = ".",
    overrides: Mapping[str, Any] | None = None,
) -> WorkloadSpec:
    """Read a workload spec from YAML text; see :func:`load_workload`.

    >>> spec = parse_workload('''
    ... horizon: 60s
    ... aggregate_rate: 10
    ... clients:
    ...   - id: chat
    ...     rate_fraction: 1
    ...     arrival: {process: gamma, cv: 2.5}
    ...     input_distribution: {type: lognormal, params: {mu: 5, sigma: 1}}
    ...     output_distribution: {type: exponential, params: {mean: 200}}
    ... ''', overrides={"seed": 7})
    >>> spec.horizon, spec.seed, spec.clients[0].arrival.cv
    (60000000, 7, 2.5)

    Raises:
        SpecError: with every problem of the text.
    """
    problems: list[Problem] = []
    data, locate = load_yaml(text, file, problems)
    return _build(data, locate, file, Path(base_dir), overrides or {}, problems, text)


def workload_from_dict(data: Mapping[str, Any], *, base_dir: str | Path = ".", file: str = "<spec>") -> WorkloadSpec:
    """Return the workload that ``data``, the plain data of a spec's YAML, stands for.

    Raises:
        SpecError: with every problem.
    """
    return _build(data, nowhere, file, Path(base_dir), {}, [], None)


def _build(
    data: Any,
    locate: Locate,
    file: str,
    base_dir: Path,
    overrides: Mapping[str, Any],
    problems: list[Problem],
    text: str | None,
) -> WorkloadSpec:
    given = {key: value for key, value in overrides.items() if value is not None}
    merged = _override(data, given) if given and isinstance(data, Mapping) else data
    noted: list[Finding] = []
    context = {"base_dir": base_dir, "warnings": noted}
    try:
        spec = validate(WorkloadSpec, merged, locate, file, context=context, problems=problems)
    except SpecError as error:
        raise SpecError([_with_source(problem, given) for problem in error.problems]) from None
    noted += doubts(spec)
    spec._text = None if given else text
    spec._base_dir = base_dir
    spec._warnings = tuple(str(Problem(file, locate(path), path_text(path), note)) for path, note in noted)
    return spec


def _override(data: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(data)
    for key, value in given.items():
        if isinstance(value, Mapping):
            old = merged.get(key)
            value = {**(old if isinstance(old, Mapping) else {}), **value}
            if key == "servegen_data" and isinstance(given[key].get("path"), str | Path):
                value["path"] = str(Path(value["path"]).absolute())
        merged[key] = value
    return merged


def _with_source(problem: Problem, given: Mapping[str, Any]) -> Problem:
    """Let a problem of an overridden value name the override, not a line of the file."""
    for key, value in given.items():
        places = [f"{key}.{inner}" for inner in value] if isinstance(value, Mapping) else [key]
        if any(problem.path == place or problem.path.startswith((f"{place}.", f"{place}[")) for place in places):
            return replace(problem, file=_OVERRIDE, line=None)
    return problem
