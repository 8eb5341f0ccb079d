"""What a reader of the report has to know: what no simulation here covers, and what is doubtful in these two traces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from blis.calibration.configuration import Configuration
from blis.calibration.figures import Comparison
from blis.calibration.groups import THROUGHPUT
from blis.calibration.pairing import By
from blis.calibration.selection import Pairs, Requests, Tokens
from blis.trace import MISSING
from blis.units import US_PER_MS

__all__ = ["FEW_PAIRS", "doubts", "limitations"]

FEW_PAIRS = 30
"""Below this many pairs, figures are little more than anecdotes."""
_LIMITATIONS = (
    "Prefix caches may diverge: the simulation shares what prefix groups and sessions say is shared; a server also"
    " finds chance matches, starts with whatever its cache held before, and may evict in another order.",
    "Speculative decoding isn't simulated: one step gives each sequence one token.",
    "Guided decoding and LoRA adapters aren't simulated.",
    "A network is a round trip and a bandwidth: packet loss, TLS, proxies and a client that is too slow have no model.",
    "Real times are those of chunks at the client: several tokens in one chunk make gaps of ITL longer and fewer.",
    "Gaps of ITL are those of all requests, warm-up included, and not paired: they have neither MAPE nor intervals.",
    "A machine's speed wanders from run to run by several per cent; only several real runs can tell that from an error"
    " of the simulation.",
)
_ONE_PREFIX = (
    "All requests share the prefix group {group!r}: cache hits depend on this one prefix, so the run says little about"
    " workloads with several."
)
_UNIT_RATIO = 300
_LATE_P50_US, _LATE_P99_US = 10 * US_PER_MS, 100 * US_PER_MS


def limitations(pairs: Pairs) -> tuple[str, ...]:
    """Return what is known to be missing in every comparison, and in one of a trace like this."""
    codes, words = pairs.real.trace.categories("prefix_group")
    groups = {words[code] for code in np.unique(codes).tolist()}
    shared = tuple(_ONE_PREFIX.format(group=group) for group in groups if group and len(groups) == 1)
    return _LIMITATIONS + shared


def doubts(
    pairs: Pairs,
    by: By,
    requests: Requests,
    tokens: Tokens,
    configuration: Configuration | None,
    overall: Mapping[str, Comparison],
) -> Iterator[str]:
    """Yield a sentence for everything about these two traces that makes the figures doubtful."""
    if len(pairs) < FEW_PAIRS:
        yield f"Only {len(pairs)} requests could be compared; below {FEW_PAIRS}, figures say little."
    yield from _about_traces(pairs, by)
    yield from _about_requests(requests, tokens)
    yield from _about_figures(overall)
    if configuration is None:
        yield "The simulated trace doesn't tell its deployment, so settings can't be compared with the server's."
        return
    for name, values in configuration.differing.items():
        yield f"{name} was simulated as {values.simulated}, but the server has {values.server}."


def _about_traces(pairs: Pairs, by: By) -> Iterator[str]:
    real, simulated = pairs.real.trace.header, pairs.simulated.trace.header
    if real.mode != "real":
        yield f"The trace taken for the real one is {real.mode}: this compares two simulations."
    if simulated.mode == "real":
        yield "The trace taken for the simulated one is real: this compares two observations."
    if by != "request_id" and None not in (real.seed, simulated.seed) and real.seed != simulated.seed:
        yield f"The seeds differ ({real.seed} and {simulated.seed}): requests of one key aren't the same request."
    if by == "order":
        yield "Clients' sequence numbers aren't recorded, so requests were matched by order of arrival."
    sent = pairs.real.trace.column("send_time_us")
    late = (sent - pairs.real.trace.column("arrival_time_us"))[sent != MISSING]
    if late.size:
        p50, p99 = np.quantile(late, (0.5, 0.99)).tolist()
        if p50 > _LATE_P50_US or p99 > _LATE_P99_US:
            late_ms = f"median {p50 / US_PER_MS:.1f} ms, p99 {p99 / US_PER_MS:.1f} ms"
            yield f"Real requests were sent late ({late_ms}): the server saw another load than the one simulated."


def _about_requests(requests: Requests, tokens: Tokens) -> Iterator[str]:
    excluded = requests.excluded
    if excluded.unmatched:
        yield f"{excluded.unmatched} real requests have no simulated counterpart."
    if requests.unmatched_simulated:
        yield f"{requests.unmatched_simulated} simulated requests have no real counterpart."
    if excluded.simulated_failed:
        yield f"{excluded.simulated_failed} requests that the server completed didn't complete in the simulation."
    for kind, count, ratio in (
        ("prompt", tokens.prompt_mismatches, tokens.prompt_ratio),
        ("output", tokens.output_mismatches, tokens.output_ratio),
    ):
        if count:
            times = f"; in all, {ratio:.4g} times as many were simulated" if ratio is not None else ""
            yield f"{count} of {requests.calibrated} pairs differ in {kind} tokens{times}."


def _about_figures(overall: Mapping[str, Comparison]) -> Iterator[str]:
    e2e = overall["e2e_us"]
    if e2e.figures and e2e.figures["p50"].real:
        ratio = e2e.figures["p50"].simulated / e2e.figures["p50"].real
        if ratio > _UNIT_RATIO or ratio < 1 / _UNIT_RATIO:
            yield (
                f"Simulated latencies are {ratio:.3g} times the real ones: check that both traces are in microseconds."
            )
    for name, comparison in overall.items():
        # Windows of time in which nothing is completed are nothing odd.
        if comparison.zero_reals and name != THROUGHPUT:
            yield f"{comparison.zero_reals} pairs have a real {name} of 0, and no part in its MAPE."
        if comparison.rating is not None and comparison.qq is not None:
            if min(len(set(side)) for side in (comparison.qq.real, comparison.qq.simulated)) == 1:
                yield f"One side of {name} hardly varies, so a correlation says little, and neither does the rating."
