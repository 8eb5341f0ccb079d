"""What is measured: workloads and deployments, each under a name.

This module imports nothing but the standard library, so that naming a case costs no memory: a process's peak is part of
what is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["CASES", "Case", "select"]


@dataclass(frozen=True)
class Case:
    """One measurement.

    ``clients`` are the workload's clients, cohorts where they have a population, and ``rate`` is its requests per
    second; a function of the deployment's latency model where the rate follows from a concurrency. ``most_timeouts``
    and ``most_bytes`` are what a request may cost at most, in bare SimPy timeouts and in bytes; None where nothing is
    promised.
    """

    name: str
    about: str
    clients: tuple[dict[str, Any], ...]
    rate: float | Callable[[], float]
    deployment: dict[str, Any] = field(default_factory=dict)
    requests: int = 20_000
    write: bool = False
    most_timeouts: float | None = None
    most_bytes: float | None = None

    def workload(self) -> dict[str, Any]:
        """Return the workload as :func:`blis.simulate` takes it."""
        return {
            "version": "2",
            "seed": 1,
            "aggregate_rate": self.rate() if callable(self.rate) else self.rate,
            "num_requests": self.requests,
            "clients": [client for client in self.clients if "population" not in client],
            "cohorts": [client for client in self.clients if "population" in client],
        }

    def quick(self) -> Case:
        """Return the same case with a twentieth of the requests, and no promises."""
        return replace(self, requests=max(self.requests // 20, 500), most_timeouts=None, most_bytes=None)


def constant(value: int) -> dict[str, Any]:
    return {"type": "constant", "params": {"value": value}}


def client(name: str = "c", prompt: Any = 512, output: Any = 256, **more: Any) -> dict[str, Any]:
    """Return a Poisson client; whole numbers stand for constant lengths."""
    return {
        "id": name,
        "rate_fraction": 1.0,
        "arrival": {"process": "poisson"},
        "input_distribution": constant(prompt) if isinstance(prompt, int) else prompt,
        "output_distribution": constant(output) if isinstance(output, int) else output,
        **more,
    }


MODEL = {"model": "llama-3.1-8b", "hardware": "H100"}
BUSY = Case("busy", "one busy instance, 20 requests/s, 512 in, 256 out", (client(),), 20, MODEL)
MODELS: dict[str, dict[str, Any]] = {
    "roofline": {"model": "roofline"},
    "alpha-beta": {"model": "alpha-beta"},
    "physics": {"model": "physics"},
    "fitted": {
        "model": "fitted",
        "coefficients": {"alpha": [5000, 0, 0, 0], "beta": [4000, 50, 0.05, 15, 0.0004, 500]},
    },
}
CONCURRENCY = 64
SIZES = (1_000, 10_000, 100_000, 1_000_000)
INSTANCES = (1, 4, 16, 64)
OUTPUTS = (64, 256, 1024, 4096)
GROUPS = tuple(
    client(f"group-{number}", 128, 128, prefix_group=f"prefix-{number}", prefix_length=2048) for number in range(8)
)
EXPONENTIAL = client(output={"type": "exponential", "params": {"mean": 256}})


def steady_rate(prompt: int, output: int) -> float:
    """Return the rate at which :data:`CONCURRENCY` requests decode at once on average (Little's law).

    A request decodes for ``output`` steps, whose duration is that of a batch of so many sequences, each half way.
    """
    from blis.latency import BatchSums, build
    from blis.spec.deployment import deployment_from_dict

    model = build(deployment_from_dict(MODEL).resolve()[0])
    context = CONCURRENCY * (prompt + output // 2)
    step = model.step_us(BatchSums(decodes=CONCURRENCY, decode_context=context, sequences=CONCURRENCY))
    return CONCURRENCY / (output * step / 1e6)


def several(instances: int, requests: int = 20_000, **routing: Any) -> Case:
    """Return as many busy instances behind a router."""
    policy = routing or {"policy": "least-loaded"}
    return Case(
        f"instances-{instances}",
        f"{instances} instances, 20 requests/s each, {policy['policy']}",
        (client(),),
        20 * instances,
        {**MODEL, "instances": instances, "routing": policy},
        requests,
    )


def _headlines() -> list[Case]:
    one = replace(BUSY, requests=100_000, most_timeouts=22, most_bytes=300)
    return [one, replace(several(16, 100_000), name="sixteen", most_timeouts=35, most_bytes=300)]


def _sizes() -> list[Case]:
    return [
        replace(BUSY, name=f"requests-{size}", about=f"{size:,} requests", requests=size, most_bytes=most)
        for size, most in zip(SIZES, (None, None, 300, 300), strict=True)
    ]


def _models() -> list[Case]:
    return [
        replace(BUSY, name=name, about=f"{name} in place of trained-physics", deployment={**MODEL, "latency": model})
        for name, model in MODELS.items()
    ]


def _loads() -> list[Case]:
    return [
        replace(BUSY, name="light", about="2 requests/s", rate=2),
        replace(BUSY, name="overloaded", about="200 requests/s, more than can be served", rate=200),
        replace(BUSY, name="mixed", about="outputs exponential", clients=(EXPONENTIAL,)),
        replace(
            BUSY,
            name="asynchronous",
            about="asynchronous scheduling",
            deployment={**MODEL, "async_scheduling": True},
        ),
        Case("prefix-heavy", "8 prefixes of 2048 tokens, 128 own, 128 out", GROUPS, 20, MODEL),
        replace(
            BUSY,
            name="kv-starved",
            about="1500 KV blocks, outputs exponential: preemptions",
            clients=(EXPONENTIAL,),
            deployment={**MODEL, "total_kv_blocks": 1500},
        ),
        replace(
            BUSY,
            name="chunked",
            about="prompts of 4096 in chunks of at most 512",
            clients=(client(prompt=4096),),
            rate=6,
            deployment={**MODEL, "long_prefill_token_threshold": 512},
        ),
    ]


def _outputs() -> list[Case]:
    lengths = {
        output: {"input_distribution": constant(128), "output_distribution": constant(output)} for output in OUTPUTS
    }
    return [
        Case(
            f"output-{output}",
            f"{output} output tokens, {CONCURRENCY} requests at a time, each followed by another",
            ({"id": "c", "concurrency": CONCURRENCY, **lengths[output]},),
            0,
            MODEL,
            5_000,
        )
        for output in OUTPUTS
    ] + [
        Case(
            f"poisson-{output}",
            f"{output} output tokens, Poisson arrivals, {CONCURRENCY} requests at a time on average",
            (client(prompt=128, output=output),),
            lambda output=output: steady_rate(128, output),  # type: ignore[misc]
            MODEL,
            5_000,
        )
        for output in (OUTPUTS[0], OUTPUTS[-1])
    ]


def _all() -> dict[str, Case]:
    weighted = replace(several(16, policy="weighted"), name="weighted-16")
    cohort = replace(
        several(8, 300_000),
        name="cohort",
        about="100,000 clients that send 3 requests each",
        clients=(client(population=100_000),),
        most_bytes=1600,
    )
    trace = replace(BUSY, name="written", about="10^6 requests, the trace written", requests=1_000_000, write=True)
    cases = [
        *_headlines(), *_sizes(), *map(several, INSTANCES), weighted, *_models(), *_loads(), *_outputs(), cohort, trace,
    ]  # fmt: skip
    return {case.name: case for case in cases}


CASES = _all()


def select(names: list[str]) -> list[Case]:
    """Return the cases of these names, or all; exits with the names there are where one is unknown."""
    unknown = [name for name in names if name not in CASES and name != "cold-start"]
    if unknown:
        raise SystemExit(f"no case {', '.join(unknown)}; there are: cold-start, {', '.join(CASES)}")
    return [CASES[name] for name in names if name in CASES] if names else list(CASES.values())
