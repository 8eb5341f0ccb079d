"""The header of a trace: what was run, and how to read the rows."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import yaml
from pydantic import Field

from blis.errors import SpecError, TraceError
from blis.spec.fields import Count, Micros, NonNegative, Positive, Text
from blis.spec.multimodal import MEDIA
from blis.spec.names import cohort_of
from blis.spec.strict import StrictModel, load_yaml, validate

if TYPE_CHECKING:
    from blis.spec.client import ClientSpec
    from blis.spec.workload import WorkloadSpec

__all__ = [
    "READABLE_VERSIONS",
    "TRACE_VERSION",
    "Mode",
    "NetworkFacts",
    "SloFacts",
    "TraceHeader",
    "facts_for",
    "networks_of",
]

Facts = TypeVar("Facts")

Mode = Literal["generated", "simulated", "real", "replayed"]

TRACE_VERSION = 2
"""The version blis writes."""
READABLE_VERSIONS = (2, 3)
_MEDIA_BYTES = [f"{kind}_bytes_per_token" for kind in MEDIA]
_OLDER_KEYS = ("created_at", "workload_spec", "workload_seed")


class NetworkFacts(StrictModel):
    """The network between a client and the servers; round trips are uniform in rtt ± jitter.

    A token takes 4 bytes on the wire, one of an image, audio or video as many as is said here.
    """

    rtt_ms: NonNegative = 0.0
    bandwidth_mbps: Positive | None = None
    jitter_ms: NonNegative | None = None
    image_bytes_per_token: NonNegative | None = None
    audio_bytes_per_token: NonNegative | None = None
    video_bytes_per_token: NonNegative | None = None


class SloFacts(StrictModel):
    """What a client expects of its requests; None where it expects nothing."""

    ttft_us: Micros | None = None
    tpot_us: Micros | None = None
    e2e_us: Micros | None = None


class TraceHeader(StrictModel):
    """Facts about a whole trace.

    ``mode``: generated (arrivals and lengths only), simulated, real (observed from a client) or replayed (another
    trace's requests, simulated). Times in rows count from the run's start; ``epoch_us`` says when that was in a real
    trace, in microseconds since 1970. ``warm_up_requests`` rows, by request id, come before the measurement proper.
    ``spec`` is the workload's text as it was written. ``network`` and ``slo_targets`` go by client id, those of a
    cohort's members by the cohort's id and ``-*`` (see :func:`facts_for`). ``run`` holds
    what was counted over the run as a whole: ``span_us``, ``horizon_us``, ``claimed_blocks``, ``allocated_blocks``,
    ``pools`` (pool by instance), ``stage_starts_us`` and more.

    What varies between equal runs (dates, versions, machines) belongs in the provenance file instead.
    """

    trace_version: Count = TRACE_VERSION
    time_unit: Literal["microseconds"] = "microseconds"
    mode: Mode = "simulated"
    warm_up_requests: Count = 0
    seed: Count | None = None
    epoch_us: Count | None = None
    hardware: Text | None = None
    deployment: dict[str, Any] | None = None
    server: dict[str, Any] | None = None
    network: dict[str, NetworkFacts] = Field(default_factory=dict)
    slo_targets: dict[str, SloFacts] = Field(default_factory=dict)
    notes: list[Text] = Field(default_factory=list)
    run: dict[str, Any] = Field(default_factory=dict)
    spec_sha256: Text | None = None
    spec: Text | None = None

    @classmethod
    def prepare(cls, raw: dict[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
        """Move what only older traces have (``created_at``, a network for all clients, ...) into ``run``."""
        data = dict(raw)
        older = {key: data.pop(key) for key in _OLDER_KEYS if key in data}
        if isinstance(network := data.get("network"), Mapping) and network:
            if not any(isinstance(value, Mapping | NetworkFacts) for value in network.values()):
                older["network"] = data.pop("network")
        if older and isinstance(data.get("run", {}), Mapping):
            data["run"] = {**older, **data.get("run", {})}
        # Plain data only, so that a header read back equals the one written.
        return {
            key: _plain(value) if key in ("deployment", "server", "run") else value
            for key, value in data.items()
            if value is not None
        }

    @classmethod
    def with_spec(cls, spec: str, **facts: Any) -> TraceHeader:
        """A header with the workload's text and its SHA-256."""
        return cls(spec=spec, spec_sha256=hashlib.sha256(spec.encode("utf-8", "backslashreplace")).hexdigest(), **facts)

    @classmethod
    def of_workload(cls, workload: WorkloadSpec, run: Mapping[str, Any], **facts: Any) -> TraceHeader:
        """The header of a run of ``workload``: what it says itself, what was counted (``run``), and other ``facts``."""
        said = {
            "aggregate_rate": workload.aggregate_rate,
            "horizon_us": workload.horizon,
            "num_requests": workload.num_requests,
        }
        return cls.with_spec(
            workload.text,
            seed=workload.seed,
            network=networks_of(workload),
            slo_targets={
                name: SloFacts(**sender.slo_targets.model_dump())
                for name, sender in _named(workload)
                if sender.slo_targets
            },
            run={**run, **{key: value for key, value in said.items() if value is not None}},
            **facts,
        )

    @classmethod
    def from_yaml(cls, text: str, file: str) -> TraceHeader:
        """Read a header; ``file`` is its name in errors.

        Raises:
            TraceError: with every problem found, each with its line.
        """
        try:
            data, locate = load_yaml(text, file)
            version = data.get("trace_version") if isinstance(data, dict) else None
            if isinstance(data, dict) and version not in READABLE_VERSIONS:
                found = "no trace_version" if version is None else f"trace_version {version!r}"
                readable = " and ".join(map(str, READABLE_VERSIONS))
                raise TraceError(
                    f"{file}:{locate(('trace_version',)) or 1}: trace_version: found {found}; this blis reads the"
                    f" versions {readable}"
                )
            return validate(cls, data, locate, file)
        except SpecError as error:
            raise TraceError(str(error)) from None

    def to_yaml(self) -> str:
        """The header as YAML, the workload's text last; equal headers give equal text."""
        data = self.model_dump(mode="python")
        data["trace_version"] = TRACE_VERSION
        for name in ("network", "slo_targets"):
            data[name] = {client: _without_none(facts) for client, facts in data[name].items()}
        kept = {key: value for key, value in data.items() if value is not None and value not in ({}, [])}
        text: str = yaml.dump(_plain(kept), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
        return text


def networks_of(workload: WorkloadSpec) -> dict[str, NetworkFacts]:
    """The networks of a workload's clients and cohorts, as a header has them; those without one are left out."""
    found: dict[str, NetworkFacts] = {}
    for name, sender in _named(workload):
        if sender.network is None:
            continue
        media = {} if sender.multimodal is None else {key: getattr(sender.multimodal, key) for key in _MEDIA_BYTES}
        found[name] = NetworkFacts(
            rtt_ms=sender.network.rtt_ms,
            bandwidth_mbps=sender.network.bandwidth_mbps or None,
            jitter_ms=sender.network.jitter_ms or None,
            **media,
        )
    return found


def _named(workload: WorkloadSpec) -> Iterator[tuple[str, ClientSpec]]:
    """Iterate over clients and cohorts with the names under which a header has what they say."""
    for client in workload.clients:
        yield client.id, client
    for cohort in workload.cohorts:
        yield f"{cohort.id}-*", cohort


def facts_for(facts: Mapping[str, Facts], client_id: str) -> Facts | None:
    """Return what a header's ``network`` or ``slo_targets`` say of a client, by its own id or by its cohort's.

    >>> facts_for({"web-*": 1, "api": 2}, "web-17"), facts_for({"web-*": 1, "api": 2}, "web")
    (1, None)
    """
    known = facts.get(client_id)
    if known is not None:
        return known
    cohort = cohort_of(client_id)
    return None if cohort is None else facts.get(f"{cohort}-*")


def _without_none(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value is not None}


def _plain(value: Any) -> Any:
    """Reduce a value to what YAML and JSON share: numpy's numbers, tuples and enums included; NaN becomes null."""
    match value:
        case Enum():
            return _plain(value.value)
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case bool() | None:
            return value
        case np.bool_():
            return bool(value)
        case int() | np.integer():
            return int(value)
        case float() | np.floating():
            return None if math.isnan(value) else float(value)
        case Mapping():
            return {_plain(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset() | np.ndarray():
            return [_plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
        case _:
            return str(value)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes long texts as blocks, and quotes every text that some version of YAML takes for something else."""


def _represent_text(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.\d+|\d[\d_]*(\.\d*)?)([eE][-+]?\d+)?$"), list("-+.0123456789")
)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"0o[0-7]+$"), ["0"])
