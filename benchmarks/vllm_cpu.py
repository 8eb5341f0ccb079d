"""How well fits predict a real vLLM on a CPU at loads they haven't seen: python benchmarks/vllm_cpu.py [--write].

Reads traces/vllm-cpu. Each load is predicted by a fit to the other two, the sessions and the prefix groups by a fit to
all loads. Beside it stand the floor, a fit to the very traces that are predicted, and, to tell the model's errors from
the machine's, the prediction with all steps as much longer as they were in the predicted traces. --write puts the
table into docs/explanation/accuracy.md. Takes about a minute.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blis.calibration.fit import Fit, fit
from blis.calibration.pace import pace
from blis.calibration.refine import predict, refine
from blis.spec.deployment import deployment_from_dict
from blis.trace import Trace

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "traces" / "vllm-cpu"
PAGE = ROOT / "docs" / "explanation" / "accuracy.md"
MARKS = ("<!-- vllm-cpu -->\n", "<!-- /vllm-cpu -->")
SERVER = deployment_from_dict({"max_num_seqs": 16, "max_num_batched_tokens": 512})
"""What the traces' headers don't tell."""
LOADS = ("load40", "load70", "load100")
OTHERS = ("sessions", "prefixes")
TITLES = {
    "load40": "40 % load",
    "load70": "70 % load",
    "load100": "100 % load",
    "sessions": "sessions",
    "prefixes": "prefix groups",
}
HEAD = (
    "| error, % | E2E mean | ITL mean | TTFT mean | E2E p90 | TTFT p90 | E2E MAPE | E2E r | blocks' E2E | pace |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Latencies:
    """TTFT and E2E of each request, shape (n,), and the mean time between two tokens; µs."""

    ttft: Floats
    e2e: Floats
    itl: float

    @classmethod
    def of(cls, traces: Sequence[Trace]) -> Latencies:
        """The requests of all traces, by trace and request id."""
        ttft, e2e, tokens = [], [], 0
        for trace in traces:
            order = np.argsort(trace.column("request_id"), kind="stable")
            start = trace.column("send_time_us" if trace.header.mode == "real" else "arrival_time_us")
            ttft.append((trace.column("first_chunk_time_us") - start)[order].astype(np.float64))
            e2e.append((trace.column("last_chunk_time_us") - start)[order].astype(np.float64))
            tokens += int((trace.column("output_tokens") - 1).sum())
        first, last = np.concatenate(ttft), np.concatenate(e2e)
        return cls(first, last, float((last - first).sum()) / tokens)


@dataclass(frozen=True)
class Errors:
    """Relative errors of a prediction, of E2E by trace too, r, and how much longer real steps took than predicted."""

    e2e: float
    itl: float
    ttft: float
    e2e_p90: float
    ttft_p90: float
    mape: float
    r: float
    blocks: tuple[float, ...]
    pace: float

    @classmethod
    def of(cls, model: Fit, traces: Sequence[Trace]) -> Errors:
        """Predict traces, and compare all their requests together."""
        predicted = [predict(model, trace) for trace in traces]
        real, ours = Latencies.of(traces), Latencies.of(predicted)
        means = [[Latencies.of([one]).e2e.mean() for one in runs] for runs in (predicted, traces)]
        return cls(
            e2e=float(ours.e2e.mean() / real.e2e.mean()) - 1,
            itl=ours.itl / real.itl - 1,
            ttft=float(ours.ttft.mean() / real.ttft.mean()) - 1,
            e2e_p90=float(np.quantile(ours.e2e, 0.9) / np.quantile(real.e2e, 0.9)) - 1,
            ttft_p90=float(np.quantile(ours.ttft, 0.9) / np.quantile(real.ttft, 0.9)) - 1,
            mape=float(np.mean(np.abs(ours.e2e / real.e2e - 1))),
            r=float(np.corrcoef(ours.e2e, real.e2e)[0, 1]),
            blocks=tuple(float(a / b) - 1 for a, b in zip(*means, strict=True)),
            pace=pace(model, traces),
        )

    def row(self, title: str) -> str:
        """A row of the table."""
        signed = (self.e2e, self.itl, self.ttft, self.e2e_p90, self.ttft_p90)
        blocks = f"{100 * min(self.blocks):+.0f} to {100 * max(self.blocks):+.0f}"
        rest = [f"{100 * self.mape:.1f}", f"{self.r:.3f}", blocks, f"{self.pace:.3f}"]
        return f"| {' | '.join([title, *(f'{100 * value:+.1f}' for value in signed), *rest])} |\n"


def read(name: str) -> list[Trace]:
    """The traces of a load or a workload, block by block."""
    return [Trace.read(header.with_suffix("")) for header in sorted(FOLDER.glob(f"{name}-*.yaml"))]


def fitted(traces: Sequence[Trace]) -> Fit:
    """What ``blis fit`` makes of traces."""
    return refine(fit(traces, SERVER), traces)


def at_pace(model: Fit, factor: float) -> Fit:
    """A model of a machine all of whose steps take ``factor`` times as long."""
    estimate = model.estimate.scaled(factor)
    return replace(model, estimate=estimate, beta=tuple(estimate.values.tolist()))


def rows() -> Iterator[str]:
    """The rows of the table, one by one."""
    traces = {name: read(name) for name in (*LOADS, *OTHERS)}
    for name in (*LOADS, *OTHERS):
        others = [trace for load in LOADS if load != name for trace in traces[load]]
        model = fitted(others)
        yield Errors.of(model, traces[name]).row(f"{TITLES[name]}, held out")
        yield Errors.of(at_pace(model, pace(model, traces[name])), traces[name]).row("at its own pace")
        yield Errors.of(fitted(traces[name]), traces[name]).row(f"{TITLES[name]}, floor")


def main() -> None:
    """Print the table, and write it."""
    print(HEAD, end="")
    table = HEAD
    for row in rows():
        print(row, end="", flush=True)
        table += row
    if "--write" in sys.argv[1:]:
        text = PAGE.read_text(encoding="utf-8")
        before, rest = text.split(MARKS[0])
        PAGE.write_text(before + MARKS[0] + table + MARKS[1] + rest.split(MARKS[1])[1], encoding="utf-8")


if __name__ == "__main__":
    main()
