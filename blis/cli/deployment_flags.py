"""Flags that say which cluster serves the workload."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from blis.cli.flags import micros
from blis.cli.kinds import refuse_other
from blis.errors import Problem, SpecError
from blis.spec.overrides import COMMAND_LINE, FLAGS, flag

if TYPE_CHECKING:
    from blis.spec.deployment import DeploymentSpec

__all__ = ["DeploymentFlags", "load"]

_CLUSTER = "Cluster (flags override the deployment's values)"
_INSTANCE = "Each instance"
_ROUTING = "Admission and routing"
_LATENCY = "Step times"
_TIMES = ("admission_latency", "routing_latency", "snapshot_interval")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentFlags:
    """A deployment file, and what replaces its values; None where a flag wasn't given."""

    deployment: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="Deployment spec, a YAML file. Default: one llama-3.1-8b instance on an H100.",
            rich_help_panel=_CLUSTER,
        ),
    ] = None
    num_instances: Annotated[
        int | None, Option(metavar="N", help="Number of instances. Default: 1.", rich_help_panel=_CLUSTER)
    ] = None
    model: Annotated[
        str | None,
        Option(
            metavar="MODEL",
            help="Model by name, such as llama-3.1-70b or qwen3-14b, or the path of a Hugging Face config.json.",
            rich_help_panel=_CLUSTER,
        ),
    ] = None
    hardware: Annotated[
        str | None, Option(metavar="GPU", help="GPU by name: H100, A100-80 or L40S.", rich_help_panel=_CLUSTER)
    ] = None
    tp: Annotated[
        int | None,
        Option(metavar="N", help="GPUs per instance (tensor parallel). Default: 1.", rich_help_panel=_CLUSTER),
    ] = None

    max_num_seqs: Annotated[
        int | None, Option(metavar="N", help="Most sequences running at once. Default: 256.", rich_help_panel=_INSTANCE)
    ] = None
    max_num_batched_tokens: Annotated[
        int | None, Option(metavar="TOKENS", help="Token budget of a step. Default: 2048.", rich_help_panel=_INSTANCE)
    ] = None
    block_size: Annotated[
        int | None, Option(metavar="TOKENS", help="Tokens in a KV block. Default: 16.", rich_help_panel=_INSTANCE)
    ] = None
    total_kv_blocks: Annotated[
        str | None,
        Option(
            metavar="N|auto",
            help="KV blocks; auto, the default, takes what the GPUs' memory leaves.",
            rich_help_panel=_INSTANCE,
        ),
    ] = None
    gpu_memory_utilization: Annotated[
        float | None,
        Option(metavar="SHARE", help="Share of the memory that auto may use. Default: 0.9.", rich_help_panel=_INSTANCE),
    ] = None
    long_prefill_token_threshold: Annotated[
        int | None,
        Option(
            metavar="TOKENS",
            help="Most prompt tokens of one request in a step; 0, the default: no limit.",
            rich_help_panel=_INSTANCE,
        ),
    ] = None
    max_model_len: Annotated[
        int | None,
        Option(
            metavar="TOKENS",
            help="Most tokens of prompt and output together; 0: no limit. Default: the model's.",
            rich_help_panel=_INSTANCE,
        ),
    ] = None
    scheduler: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Order of the queue: fcfs (default), sjf, priority-fcfs or reverse-priority.",
            rich_help_panel=_INSTANCE,
        ),
    ] = None
    priority_policy: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Where priorities come from: by-class (default), constant, slo-based or inverted-slo.",
            rich_help_panel=_INSTANCE,
        ),
    ] = None
    preemption: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Whom a shortage of KV blocks hits: the latest (fcfs, default) or the least urgent (priority).",
            rich_help_panel=_INSTANCE,
        ),
    ] = None

    admission_policy: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Who is let in: always (default), reject-all or token-bucket.",
            rich_help_panel=_ROUTING,
        ),
    ] = None
    token_bucket_capacity: Annotated[
        float | None, Option(metavar="TOKENS", help="Most prompt tokens a bucket holds.", rich_help_panel=_ROUTING)
    ] = None
    token_bucket_refill_rate: Annotated[
        float | None,
        Option(
            metavar="TOKENS/S", help="Prompt tokens that flow into the bucket per second.", rich_help_panel=_ROUTING
        ),
    ] = None
    admission_latency: Annotated[
        str | None,
        Option(metavar="TIME", help="Time an admission takes: 500us, 2ms. Default: 0.", rich_help_panel=_ROUTING),
    ] = None
    routing_policy: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Which instance: round-robin (default), least-loaded, weighted or always-busiest.",
            rich_help_panel=_ROUTING,
        ),
    ] = None
    routing_scorers: Annotated[
        str | None,
        Option(
            metavar="NAME:WEIGHT,...",
            help="What weighted routing scores instances by. "
            "Default: precise-prefix-cache:2,queue-depth:1,kv-utilization:1.",
            rich_help_panel=_ROUTING,
        ),
    ] = None
    routing_latency: Annotated[
        str | None, Option(metavar="TIME", help="Time a routing decision takes. Default: 0.", rich_help_panel=_ROUTING)
    ] = None
    snapshot_interval: Annotated[
        str | None,
        Option(
            metavar="TIME",
            help="Age at which the router looks at an instance anew; 0, the default: always.",
            rich_help_panel=_ROUTING,
        ),
    ] = None

    latency_model: Annotated[
        str | None,
        Option(
            metavar="NAME|FILE",
            help="How long a step takes: trained-physics (default), physics, roofline or alpha-beta, or the YAML file "
            "of a fitted model.",
            rich_help_panel=_LATENCY,
        ),
    ] = None
    alpha_coeffs: Annotated[
        str | None,
        Option(
            metavar="A,B,C",
            help="Its three alpha coefficients, in microseconds (fixed overheads).",
            rich_help_panel=_LATENCY,
        ),
    ] = None
    beta_coeffs: Annotated[
        str | None,
        Option(
            metavar="A,B,C,...",
            help="Its beta coefficients (step times): 3 for alpha-beta, 11 for trained-physics.",
            rich_help_panel=_LATENCY,
        ),
    ] = None
    async_scheduling: Annotated[
        bool | None,
        Option(
            "--async-scheduling/--no-async-scheduling",
            metavar="",
            help="Plan a step while the one before it runs. Default: off.",
            rich_help_panel=_LATENCY,
        ),
    ] = None


def load(flags: DeploymentFlags) -> DeploymentSpec:
    """Return the deployment that the flags describe.

    Raises:
        SpecError: file or flags are wrong, or contradict each other.
    """
    from blis.spec.deployment import DeploymentSpec, load_deployment
    from blis.spec.latency import is_latency_file

    spec = DeploymentSpec()
    if flags.deployment is not None:
        try:
            spec = load_deployment(flags.deployment)
        except SpecError:
            refuse_other(flags.deployment, "deployment")
            raise
    values = {name: _value(name, getattr(flags, name)) for name in FLAGS}
    if flags.deployment is not None and flags.latency_model is not None and is_latency_file(flags.latency_model):
        # Paths in a deployment start at its folder, those on the command line at the current one.
        values["latency_model"] = os.path.relpath(flags.latency_model, Path(flags.deployment).parent)
    return spec.with_overrides(**values)


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in ("alpha_coeffs", "beta_coeffs"):
        return _numbers(name, value)
    return micros(value) if name in _TIMES else value


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        message = f"must be numbers with commas between them, such as 1.5,0,2; found {text!r}"
        raise SpecError([Problem(COMMAND_LINE, None, flag(name), message)]) from None
