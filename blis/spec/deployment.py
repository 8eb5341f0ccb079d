"""Deployment specs: which instances serve, and how requests reach them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, PrivateAttr

from blis.errors import Problem, SpecError
from blis.spec.fields import Checked, Name, refusal, unit, whole
from blis.spec.gateway import AdmissionSpec, RoutingSpec
from blis.spec.instance import InstanceConfig, InstanceKeys, Unresolvable, configure
from blis.spec.latency import LatencySpec, PhysicsSpec
from blis.spec.located import Locate, load_yaml, nowhere, read_text
from blis.spec.overrides import COMMAND_LINE, FLAGS, flag, in_flags, override
from blis.spec.strict import Finding, lookup, path_text, validate
from blis.spec.unmodelled import split_unmodelled
from blis.spec.words import shown

__all__ = [
    "DeploymentSpec",
    "InstanceConfig",
    "LatencySpec",
    "PhysicsSpec",
    "PoolSpec",
    "deployment_from_dict",
    "deployment_of",
    "load_deployment",
    "parse_deployment",
]


def _check_version(value: Any) -> str:
    if value not in ("1", 1) or value is True:
        raise refusal(f"unknown version {shown(value)}; allowed: 1")
    return "1"


_VERSION = Checked("the version, 1", _check_version, {"enum": ["1", 1]})

Instances = Annotated[int, whole(1, 100_000)]


def _without_defaults(schema: dict[str, Any]) -> None:
    for name, prop in schema["properties"].items():
        if name != "instances":
            prop.pop("default", None)
            if name != "name":
                prop["x-default"] = "the deployment's"


class PoolSpec(InstanceKeys):
    """Instances that are alike; a key that isn't given is that of the deployment."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    name: Name = Field(description="Name of the pool, unique in the file.", examples=["h100"])
    instances: Instances = Field(
        default=1, description="Number of instances in the pool.", examples=[4], json_schema_extra=unit("instances")
    )


@dataclass(frozen=True)
class _Origin:
    """Where a spec's values were written; equal specs from different places are equal.

    ``lines`` holds places of keys and their lines, ``flags`` the keys that flags have set, with those flags.
    """

    file: str = field(default="<deployment>", compare=False)
    base_dir: Path | None = field(default=None, compare=False)
    lines: Mapping[tuple[str | int, ...], int | None] = field(default_factory=dict, compare=False)
    flags: Mapping[str, str] = field(default_factory=dict, compare=False)

    def problem(self, pool: int | None, key: str, message: str) -> Problem:
        """Return a problem with a key of a pool, or of the deployment where ``pool`` is None."""
        if key in self.flags:
            return Problem(COMMAND_LINE, None, self.flags[key], message)
        path = (key,) if pool is None else ("pools", pool, key)
        line = self.lines.get(path) or self.lines.get(("model",)) or self.lines.get(("hardware",))
        return Problem(self.file, line, path_text(path), message)


class DeploymentSpec(InstanceKeys):
    """A cluster: instances, all alike or in pools, behind admission and routing."""

    version: Annotated[str, _VERSION] = Field(default="1", description="Version of this format.", examples=["1"])
    instances: Instances = Field(
        default=1,
        description="Number of instances, where there are no pools.",
        examples=[4],
        json_schema_extra=unit("instances"),
    )
    admission: AdmissionSpec = Field(
        default_factory=lambda: AdmissionSpec(),
        description="Who is let in.",
        examples=[{"policy": "token-bucket", "capacity": 100_000, "refill_rate": 20_000}],
    )
    routing: RoutingSpec = Field(
        default_factory=lambda: RoutingSpec(), description="Who goes where.", examples=[{"policy": "least-loaded"}]
    )
    pools: tuple[PoolSpec, ...] = Field(
        default=(),
        description="Instances of different kinds side by side.",
        examples=[[{"name": "h100", "instances": 2}, {"name": "a100", "hardware": "A100-80"}]],
    )

    _origin: _Origin = PrivateAttr(default_factory=_Origin)

    @classmethod
    def across(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:
        """Pools have names of their own, and say themselves how many instances they have."""
        pools = raw.get("pools")
        if not isinstance(pools, list | tuple) or not pools:
            return
        if "instances" in raw:
            yield ("instances",), "with pools, each pool says how many instances it has; remove it here"
        names: dict[Any, int] = {}
        for index, pool in enumerate(pools):
            name = lookup(pool, "name")
            if isinstance(name, str) and names.setdefault(name, index) != index:
                yield ("pools", index, "name"), f"pools[{names[name]}] has the name {shown(name)} too; rename one"

    def resolve(self) -> list[InstanceConfig]:
        """Return one configuration per instance, pools in order.

        Raises:
            SpecError: for each pool whose keys don't go together, with file and line, or the flag to change.
        """
        configs: list[InstanceConfig] = []
        problems: list[Problem] = []
        shared = {key: getattr(self, key) for key in InstanceKeys.model_fields}
        pools: list[tuple[int | None, PoolSpec | None]] = [*enumerate(self.pools)] or [(None, None)]
        for index, pool in pools:
            own = {} if pool is None else {k: getattr(pool, k) for k in pool.model_fields_set if k in shared}
            try:
                config = configure(shared | own, self._origin.base_dir)
            except Unresolvable as error:
                problems.append(self._origin.problem(index, error.key, str(error)))
                continue
            name, count = ("", self.instances) if pool is None else (pool.name, pool.instances)
            first = len(configs)
            configs += [replace(config, name=f"instance_{first + i}", pool=name) for i in range(count)]
        if problems:
            raise SpecError(problems)
        return configs

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that :func:`deployment_from_dict` turns into an equal deployment, defaults included."""
        data = self.model_dump(mode="json", exclude_none=True, exclude={"pools", "version", "instances"})
        data = {"version": self.version, "instances": self.instances} | data
        if self.pools:
            del data["instances"]
            data["pools"] = [pool.model_dump(mode="json", exclude_unset=True) for pool in self.pools]
        return data

    def with_overrides(self, **flags: Any) -> DeploymentSpec:
        """Return this deployment with the flags that aren't None in place of its own values.

        Keywords are the command line's flags with underscores, see :data:`blis.spec.overrides.FLAGS`. A flag about
        instances holds for every pool.

        Raises:
            SpecError: a flag's value is wrong, or contradicts the deployment.
            TypeError: there is no such flag.
        """
        given = {name: value for name, value in flags.items() if value is not None}
        if not given:
            return self
        data = override(self.model_dump(mode="json", exclude_unset=True), given)
        try:
            spec = validate(DeploymentSpec, data, file=COMMAND_LINE)
        except SpecError as error:
            raise in_flags(error) from None
        spec._origin = replace(self._origin, flags={**self._origin.flags, **{FLAGS[n][0]: flag(n) for n in given}})
        return spec


def deployment_of(deployment: DeploymentSpec | Mapping[str, Any] | str | Path | None) -> DeploymentSpec:
    """Return the deployment given as a spec, as its plain data or as the path of its YAML file; the default for None.

    Raises:
        SpecError: with every problem.
    """
    if isinstance(deployment, DeploymentSpec):
        return deployment
    if deployment is None:
        return DeploymentSpec()
    return deployment_from_dict(deployment) if isinstance(deployment, Mapping) else load_deployment(deployment)


def load_deployment(path: str | Path) -> DeploymentSpec:
    """Read a deployment file; a relative path of a config.json in it starts at the file's folder.

    Raises:
        SpecError: with everything that is wrong with the file.
    """
    return parse_deployment(read_text(path), str(path), Path(path).parent)


def parse_deployment(text: str, file: str = "<deployment>", base_dir: Path | None = None) -> DeploymentSpec:
    """Read a deployment from YAML text.

    Raises:
        SpecError: with everything that is wrong with the text.
    """
    problems: list[Problem] = []
    data, locate = load_yaml(text, file, problems)
    return _checked(data, locate, file, base_dir, problems)


def deployment_from_dict(data: Mapping[str, Any], base_dir: Path | None = None) -> DeploymentSpec:
    """Return the deployment that plain data describes, with the keys of a deployment file.

    >>> deployment_from_dict({"instances": 2, "hardware": "A100-80"}).resolve()[1].name
    'instance_1'

    Raises:
        SpecError: with everything that is wrong with the data.
    """
    return _checked(data, nowhere, "<deployment>", base_dir, [])


def _checked(data: Any, locate: Locate, file: str, base_dir: Path | None, problems: list[Problem]) -> DeploymentSpec:
    if isinstance(data, Mapping):
        data, findings = split_unmodelled(data)
        problems = problems + [Problem(file, locate(path), path_text(path), text) for path, text in findings]
    spec = validate(DeploymentSpec, data, locate, file, problems=problems)
    places: list[tuple[str | int, ...]] = [(key,) for key in InstanceKeys.model_fields if key in data]
    places += [("pools", i, key) for i in range(len(spec.pools)) for key in InstanceKeys.model_fields]
    spec._origin = _Origin(file, base_dir, {place: locate(place) for place in places})
    return spec
