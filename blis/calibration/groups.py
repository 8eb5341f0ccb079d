"""The comparisons of a report: every metric, over all requests and over groups of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from blis.calibration.bootstrap import Bootstrap, Resampler, errors_block_length
from blis.calibration.comparison import compare, compare_gaps
from blis.calibration.figures import Comparison
from blis.calibration.load import PHASES, Phase, Windows
from blis.calibration.samples import Sample, sample
from blis.calibration.selection import Pairs
from blis.metrics.latencies import Kind
from blis.rng import stream
from blis.trace import Histogram, Trace
from blis.units import US_PER_S

__all__ = ["GAPS", "LATENCIES", "THROUGHPUT", "Groups"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LATENCIES: tuple[Kind, ...] = ("ttft_us", "e2e_us", "tpot_us")
GAPS = "itl_us"
THROUGHPUT = "output_tokens_per_s"
_MOST_LABELS = 50


class Groups:
    """Comparisons of n pairs and of groups of them, all from the same resamples.

    Requests are resampled in blocks as long as the longest that one of the latencies' errors asks for.
    """

    def __init__(self, pairs: Pairs, windows: Windows, resamples: int, seed: int) -> None:
        self._pairs, self._windows = pairs, windows
        self._values = {kind: pairs.latencies(kind) for kind in LATENCIES}
        self._known = {kind: (real >= 0) & (simulated >= 0) for kind, (real, simulated) in self._values.items()}
        block = max(errors_block_length(*self._pick(kind)) for kind in LATENCIES)
        self.bootstrap = Bootstrap(resamples, seed, block)
        self._resampler = Resampler(len(pairs), block, resamples, stream(seed, "calibration", "requests"))
        self._answers = pairs.answers_us()
        self._tokens = tuple(np.maximum(tokens, 0) for tokens in pairs.column("output_tokens"))
        self._everyone = np.ones(len(pairs), np.bool_)
        self._window_resampler = self._for_windows(resamples, seed)

    def overall(self) -> dict[str, Comparison]:
        """All pairs; gaps between tokens too, where both traces have them."""
        result = self._latencies(self._everyone) | self._throughput(self._everyone)
        real, simulated = _gaps(self._pairs.real.trace), _gaps(self._pairs.simulated.trace)
        if real is not None and simulated is not None:
            result[GAPS] = compare_gaps(real, simulated)
        return result

    def labelled(self, column: str) -> tuple[dict[str, dict[str, Comparison]], int]:
        """Groups by a column of labels of the real trace, and how many labels were left out.

        Without any label there is no group. Of more than 50 labels those of the most requests are kept.
        """
        codes, words = self._pairs.real.trace.categories(column)
        counts = np.bincount(codes[self._pairs.rows], minlength=len(words))
        ranked = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)].tolist()
        if not any(words[code] for code in ranked):
            return {}, 0
        members = {words[code]: codes[self._pairs.rows] == code for code in ranked[:_MOST_LABELS]}
        groups = {
            label: self._latencies(members[label]) | self._throughput(members[label]) for label in sorted(members)
        }
        return groups, len(ranked) - len(members)

    def load(self) -> dict[str, Phase]:
        """What the phases are."""
        return self._windows.summary()

    def phases(self) -> dict[str, dict[str, Comparison]]:
        """Groups by how heavy the load was when the requests arrived; none where the load didn't vary."""
        if not self._windows.phased:
            return {}
        found = self._windows.phase_of(self._pairs.column("arrival_time_us")[0])
        return {
            name: self._latencies(found == index) | self._throughput(self._everyone, self._windows.phases == index)
            for index, name in enumerate(PHASES)
        }

    def samples(self) -> Mapping[str, Sample]:
        """Pairs of latencies for plots."""
        sent = self._pairs.starts_us()[0] / US_PER_S
        return {kind: sample(sent[self._known[kind]], *self._pick(kind)) for kind in LATENCIES}

    def _pick(self, kind: Kind) -> tuple[Floats, Floats]:
        real, simulated = self._values[kind]
        return real[self._known[kind]], simulated[self._known[kind]]

    def _latencies(self, members: Flags) -> dict[str, Comparison]:
        result: dict[str, Comparison] = {}
        for kind in LATENCIES:
            used = members & self._known[kind]
            real, simulated = (side[used] for side in self._values[kind])
            result[kind] = compare(real, simulated, self._resampler.places[used], self._resampler)
        return result

    def _throughput(self, members: Flags, windows: Flags | slice = slice(None)) -> dict[str, Comparison]:
        """Output tokens per second, window by window; those of an answer come evenly from its first to its last."""
        if not len(self._windows):
            return {THROUGHPUT: Comparison(0, 0)}
        real, simulated = (rates[windows] for rates in self._rates(members))
        return {THROUGHPUT: compare(real, simulated, self._window_resampler.places[windows], self._window_resampler)}

    def _rates(self, members: Flags) -> tuple[Floats, Floats]:
        real, simulated = (
            self._windows.per_second(begins[members], ends[members], tokens[members])
            for (begins, ends), tokens in zip(self._answers, self._tokens, strict=True)
        )
        return real, simulated

    def _for_windows(self, resamples: int, seed: int) -> Resampler:
        rates = self._rates(self._everyone) if len(self._windows) else (np.zeros(1), np.zeros(1))
        rng = stream(seed, "calibration", "windows")
        return Resampler(rates[0].size, errors_block_length(*rates), resamples, rng)


def _gaps(trace: Trace) -> Histogram | None:
    """Gaps between tokens as recorded, or else between chunks."""
    return trace.itl if trace.itl is not None or trace.chunks is None else trace.chunks.gaps()
