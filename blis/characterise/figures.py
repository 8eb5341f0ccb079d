"""A trace's traffic in figures: rates, burstiness, lengths, and who sends it.

The parts are those into which Xiang et al. (2025, "ServeGen: Workload Characterization and Generation of Large Language
Model Serving in Production") take production traffic apart: the arrivals of all clients together and of each of the
busiest, the fitted process of each, the distributions of input and output lengths, and how much of all the traffic few
clients send.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from blis.characterise.arrivals import Arrivals, dispersion, nice_width, of_arrivals
from blis.characterise.fits import LEAST, LENGTHS, Fit, Grouped, fitted
from blis.characterise.requests import Requests
from blis.metrics.distribution import Distribution
from blis.trace import Trace
from blis.units import US_PER_S

__all__ = ["Characterisation", "Client", "Clients", "Lengths", "Prefixes", "Rates", "Sessions", "characterise"]

IntArray = npt.NDArray[np.int64]

_MOST_BINS = 24


@dataclass(frozen=True, slots=True)
class Rates:
    """What arrives per second, in consecutive stretches of ``width_us`` from 0 on.

    The last one is between half and one and a half times as long, so that a short rest shows no chance peak.
    """

    width_us: int
    requests_per_s: list[float]
    prompt_tokens_per_s: list[float]
    output_tokens_per_s: list[float]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of one kind per request, and the distributions that fit them, the best one first."""

    tokens: Distribution
    std_dev: float | None
    fits: list[Fit]


@dataclass(frozen=True, slots=True)
class Client:
    """One client: its share of the requests, its arrivals and its mean lengths."""

    client_id: str
    share: float
    arrivals: Arrivals
    mean_input_tokens: float
    mean_output_tokens: float | None


@dataclass(frozen=True, slots=True)
class Clients:
    """Who sends: how many clients, how few of them make up half and 90 % of the requests, and the busiest ones."""

    count: int
    tenants: int
    for_half: int
    for_90_percent: int
    busiest: list[Client]


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Shared prefixes: how many, and which share of the requests and of the prompt tokens has them."""

    groups: int
    requests_share: float
    tokens_share: float


@dataclass(frozen=True, slots=True)
class Sessions:
    """Conversations: how many there are, and their rounds."""

    count: int
    rounds: Distribution


@dataclass(frozen=True, slots=True)
class Characterisation:
    """A trace's traffic in figures.

    ``span_us`` is the horizon, or the last arrival where there is none. ``dispersion`` is the index of dispersion for
    counts by length of window in microseconds. ``lengths`` has ``input_tokens``, ``output_tokens`` (planned ones, where
    the trace has them) and, where they say more, ``prompt_tokens`` and the parts of multimodal inputs.
    ``length_correlation`` is Spearman's, of input and output lengths; None where one of them doesn't vary.
    """

    mode: str
    requests: int
    span_us: int
    rates: Rates
    arrivals: Arrivals
    dispersion: dict[int, float]
    lengths: dict[str, Lengths]
    reason_ratio: Distribution | None
    length_correlation: float | None
    prefixes: Prefixes | None
    sessions: Sessions | None
    clients: Clients

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain data for JSON."""
        data = asdict(self)
        data["dispersion"] = {str(width): value for width, value in self.dispersion.items()}
        return data


def characterise(trace: Trace, *, top: int = 10) -> Characterisation:
    """Return the figures of a trace's traffic, with those of the ``top`` busiest clients.

    Arrival times and lengths are taken as planned, so that it doesn't matter whether the trace was generated, simulated
    or observed. Of sessions only the first rounds count as arrivals where gaps are concerned, since the others wait.
    """
    requests = Requests(trace)
    return Characterisation(
        mode=trace.header.mode,
        requests=len(requests),
        span_us=requests.span_us,
        rates=_rates(requests),
        arrivals=of_arrivals(requests.arrival_us[requests.opening], requests.span_us),
        dispersion=dispersion(requests.arrival_us, requests.span_us),
        lengths=_lengths(requests),
        reason_ratio=Distribution.of(requests.reason_ratio) if requests.reason_ratio.any() else None,
        length_correlation=_correlation(requests),
        prefixes=_prefixes(requests),
        sessions=_sessions(requests),
        clients=_clients(requests, top),
    )


def _rates(requests: Requests) -> Rates:
    width = nice_width(requests.span_us, _MOST_BINS)
    bins = max(1, (requests.span_us + width // 2) // width)
    at = np.minimum(requests.arrival_us // width, bins - 1)
    seconds = np.full(bins, width / US_PER_S)
    seconds[-1] = max(requests.span_us - (bins - 1) * width, 1) / US_PER_S

    def per_second(weights: IntArray | None) -> list[float]:
        rates: list[float] = (np.bincount(at, weights, bins) / seconds).tolist()
        return rates

    return Rates(
        width, per_second(None), per_second(requests.prompt_tokens), per_second(np.maximum(requests.output_tokens, 0))
    )


def _lengths(requests: Requests) -> dict[str, Lengths]:
    kinds = {"input_tokens": requests.input_tokens}
    if (requests.prompt_tokens != requests.input_tokens).any():
        kinds["prompt_tokens"] = requests.prompt_tokens
    kinds["output_tokens"] = requests.output_tokens[requests.output_tokens >= 0]
    return {name: _length(values) for name, values in {**kinds, **requests.parts}.items()}


def _length(values: IntArray) -> Lengths:
    # None of a modality is no length.
    positive = values[values > 0]
    fits = fitted(LENGTHS, Grouped.of(positive)) if len(positive) >= LEAST else []
    deviation = float(values.std()) if len(values) else None
    return Lengths(Distribution.of(values.copy()), deviation, fits)


def _correlation(requests: Requests) -> float | None:
    known = requests.output_tokens >= 0
    one, other = _ranks(requests.input_tokens[known]), _ranks(requests.output_tokens[known])
    if len(one) < LEAST or not one.std() or not other.std():
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _ranks(values: IntArray) -> npt.NDArray[np.float64]:
    """Ranks from 1 on; equal values share their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: npt.NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks


def _prefixes(requests: Requests) -> Prefixes | None:
    sharing = requests.prefix_tokens > 0
    if not sharing.any():
        return None
    tokens = float(requests.prefix_tokens.sum() / max(int(requests.prompt_tokens.sum()), 1))
    return Prefixes(len(np.unique(requests.prefix.codes[sharing])), float(sharing.mean()), tokens)


def _sessions(requests: Requests) -> Sessions | None:
    own = requests.session.codes[requests.in_session]
    if not len(own):
        return None
    rounds = np.unique(own, return_counts=True)[1]
    return Sessions(len(rounds), Distribution.of(rounds))


def _clients(requests: Requests, top: int) -> Clients:
    counts = np.bincount(requests.client.codes, minlength=len(requests.client.words))
    busiest = np.argsort(-counts, kind="stable")[: int(np.count_nonzero(counts))]
    reached = np.cumsum(counts[busiest])
    half, most = (int(np.searchsorted(reached, share * len(requests))) + bool(len(reached)) for share in (0.5, 0.9))
    tenants = len(np.unique(requests.tenant.codes)) if len(requests) else 0
    return Clients(len(busiest), tenants, half, most, [_client(requests, int(code)) for code in busiest[:top]])


def _client(requests: Requests, code: int) -> Client:
    own = requests.client.codes == code
    outputs = requests.output_tokens[own & (requests.output_tokens >= 0)]
    return Client(
        requests.client.words[code],
        float(own.mean()),
        of_arrivals(requests.arrival_us[own & requests.opening], requests.span_us),
        float(requests.input_tokens[own].mean()),
        float(outputs.mean()) if len(outputs) else None,
    )
