"""Which requests are compared, what becomes of the others, and the values of those that are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blis.calibration.pairing import Matching
from blis.metrics import View
from blis.metrics.latencies import Kind, latency
from blis.metrics.stretch import Stretch, statuses_of
from blis.trace import MISSING, STATUS_CODES, Status, Trace
from blis.trace.observed import NO_USAGE
from blis.units import US_PER_S

__all__ = ["Excluded", "Pairs", "Requests", "Side", "Throughput", "Tokens", "select", "throughput", "token_mismatches"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Excluded:
    """Requests of the real trace that aren't compared, each for the first reason that holds.

    They came before the measurement proper (``warm_up``), didn't end well on the server (``failed``), have an answer
    whose tokens the server didn't count (``uncounted``), have no simulated counterpart (``unmatched``), or one that
    didn't end well (``simulated_failed``).
    """

    warm_up: int
    failed: int
    uncounted: int
    unmatched: int
    simulated_failed: int

    def reasons(self) -> dict[str, int]:
        """The reasons that hold for any request, in words, and for how many."""
        counts = {
            "in the warm-up": self.warm_up,
            "not completed by the server": self.failed,
            "without a count of tokens": self.uncounted,
            "without a simulated counterpart": self.unmatched,
            "not completed in the simulation": self.simulated_failed,
        }
        return {words: count for words, count in counts.items() if count}


@dataclass(frozen=True, slots=True)
class Requests:
    """What became of the real trace's requests.

    ``total`` is the sum of ``ok``, ``timeout`` and ``error`` (every other end), and also that of what was excluded and
    what was calibrated. ``unmatched_simulated`` counts the requests that only the simulated trace has.
    """

    total: int
    ok: int
    timeout: int
    error: int
    excluded: Excluded
    calibrated: int
    unmatched_simulated: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """Pairs whose token counts differ, and the simulated total over the real one (None where that is 0).

    Prompts are compared as the server counted them, or where it didn't, as they were sent. ``unknown_prompts`` are
    the pairs of which one side doesn't record the prompt's length.
    """

    prompt_mismatches: int
    output_mismatches: int
    unknown_prompts: int
    prompt_ratio: float | None
    output_ratio: float | None


@dataclass(frozen=True, slots=True)
class Throughput:
    """Completed work over the time from the first send to the last completion of the calibrated requests."""

    real_requests_per_s: float | None
    simulated_requests_per_s: float | None
    real_output_tokens_per_s: float | None
    simulated_output_tokens_per_s: float | None


@dataclass(frozen=True, slots=True)
class Side:
    """A trace, and from whose point of view its latencies count."""

    trace: Trace
    view: View


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The n requests that are compared, by the time at which the real ones were sent.

    ``rows`` and ``counterparts``, int64 of shape (n,), are their rows in either trace.
    """

    real: Side
    simulated: Side
    rows: Ints
    counterparts: Ints

    def __len__(self) -> int:
        return self.rows.size

    def column(self, name: str) -> tuple[Ints, Ints]:
        """A column of numbers, real and simulated, shape (n,) each."""
        return self.real.trace.column(name)[self.rows], self.simulated.trace.column(name)[self.counterparts]

    def latencies(self, kind: Kind) -> tuple[Floats, Floats]:
        """A latency of each pair in µs, real and simulated, shape (n,) each; negative where there is none."""
        return _latency(kind, self.real)[self.rows], _latency(kind, self.simulated)[self.counterparts]

    def starts_us(self) -> tuple[Floats, Floats]:
        """When each request was sent, real and simulated, µs since the run's start."""
        real, simulated = _starts(self.real.trace), _starts(self.simulated.trace)
        return real[self.rows].astype(np.float64), simulated[self.counterparts].astype(np.float64)

    def answers_us(self) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        """When each answer began and was complete, real and simulated, µs since the run's start.

        One that didn't stream, or whose first token isn't recorded, begins when it is complete.
        """
        firsts, lasts = self.latencies("ttft_us"), self.latencies("e2e_us")
        real, simulated = (
            (start + np.where(first < 0, last, first), start + last)
            for start, first, last in zip(self.starts_us(), firsts, lasts, strict=True)
        )
        return real, simulated


def select(real: Side, simulated: Side, matching: Matching, warm_up: int) -> tuple[Pairs, Requests]:
    """Return the pairs that are compared: past the warm-up (request ids below ``warm_up``), and sound on both sides."""
    completed = [statuses_of(side.trace) == STATUS_CODES[Status.OK] for side in (real, simulated)]
    timed_out = statuses_of(real.trace) == STATUS_CODES[Status.TIMEOUT]
    counterpart = matching.counterpart
    matched = counterpart != MISSING
    answered = np.zeros(len(real.trace), np.bool_)
    answered[matched] = completed[1][counterpart[matched]]
    left = np.ones(len(real.trace), np.bool_)
    excluded = []
    measured = real.trace.column("request_id") >= warm_up
    for passes in (measured, completed[0], _counted(real.trace), matched, answered):
        excluded.append(int(np.count_nonzero(left & ~passes)))
        left &= passes
    rows = np.flatnonzero(left)
    rows = rows[np.argsort(_starts(real.trace)[rows], kind="stable")]
    ok, timeout = int(np.count_nonzero(completed[0])), int(np.count_nonzero(timed_out))
    requests = Requests(
        total=len(real.trace),
        ok=ok,
        timeout=timeout,
        error=len(real.trace) - ok - timeout,
        excluded=Excluded(*excluded),
        calibrated=rows.size,
        unmatched_simulated=matching.unmatched_simulated,
    )
    return Pairs(real, simulated, rows, counterpart[rows]), requests


def _counted(trace: Trace) -> npt.NDArray[np.bool_]:
    """Whether the tokens of each answer are more than an estimate."""
    codes, words = trace.categories("error_message")
    return np.array([not word.endswith(NO_USAGE) for word in words], np.bool_)[codes]


def token_mismatches(pairs: Pairs) -> Tokens:
    """Compare the pairs' prompt and output tokens."""
    prompts = [_prompt_tokens(trace) for trace in (pairs.real.trace, pairs.simulated.trace)]
    real, simulated = prompts[0][pairs.rows], prompts[1][pairs.counterparts]
    known = (real != MISSING) & (simulated != MISSING)
    outputs = [np.maximum(tokens, 0) for tokens in pairs.column("output_tokens")]
    return Tokens(
        prompt_mismatches=int(np.count_nonzero(known & (real != simulated))),
        output_mismatches=int(np.count_nonzero(outputs[0] != outputs[1])),
        unknown_prompts=int(np.count_nonzero(~known)),
        prompt_ratio=_ratio(real[known], simulated[known]),
        output_ratio=_ratio(*outputs),
    )


def throughput(pairs: Pairs) -> Throughput:
    """Completed requests and output tokens per second of either side."""
    rates: list[tuple[float | None, float | None]] = []
    sides = zip(pairs.starts_us(), pairs.answers_us(), pairs.column("output_tokens"), strict=True)
    for start, (_, end), tokens in sides:
        span_s = (float(end.max()) - float(start.min())) / US_PER_S
        rates.append((len(pairs) / span_s, float(np.maximum(tokens, 0).sum()) / span_s) if span_s > 0 else (None, None))
    (real, real_tokens), (simulated, simulated_tokens) = rates
    return Throughput(real, simulated, real_tokens, simulated_tokens)


def _latency(kind: Kind, side: Side) -> Floats:
    return latency(kind, Stretch(side.trace, 0, len(side.trace)), side.view).astype(np.float64)


def _starts(trace: Trace) -> Ints:
    """When each request was sent; in a simulation that is when it arrived."""
    sent = trace.column("send_time_us")
    return np.where(sent == MISSING, trace.column("arrival_time_us"), sent)


def _prompt_tokens(trace: Trace) -> Ints:
    counted, sent = trace.column("server_input_tokens"), trace.column("prompt_tokens")
    return np.where(counted == MISSING, sent, counted)


def _ratio(real: Ints, simulated: Ints) -> float | None:
    total = float(real.sum())
    return float(simulated.sum()) / total if total else None
