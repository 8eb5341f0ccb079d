"""A simulated trace as clients see it, each behind its own network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from blis.metrics.stretch import Stretch
from blis.metrics.view import AsRecorded, IntArray
from blis.network import jitter_key, round_trip_us, transfer_us
from blis.spec.multimodal import MEDIA
from blis.trace import MISSING, NetworkFacts, TraceHeader, facts_for
from blis.units import BYTES_PER_TOKEN

__all__ = ["ClientView", "has_client_view"]

FloatArray = npt.NDArray[np.float64]

_NEUTRAL = {"bandwidth_mbps": np.inf, **{f"{kind}_bytes_per_token": float(BYTES_PER_TOKEN) for kind in MEDIA}}
_LONGEST_US = 2.0**60
"""Delays beyond this, some 36,000 years, are cut to it: they must fit the clock."""


def has_client_view(header: TraceHeader) -> bool:
    """Whether the times of a trace are a server's, and a network lies between it and some client."""
    return header.mode not in ("real", "generated") and any(
        network.rtt_ms or network.jitter_ms or network.bandwidth_mbps for network in header.network.values()
    )


class ClientView:
    """The server's times plus what the network adds (:mod:`blis.network`).

    TTFT grows by the round trip and the upload of the whole prompt, E2E by those and the download of the output. A
    client of which the header says nothing has no network.
    """

    def __init__(self, header: TraceHeader) -> None:
        self._seed = header.seed or 0
        self._networks = header.network
        self._clients: Sequence[str] | None = None
        self._facts: dict[str, FloatArray] = {}
        self._keys: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._media: list[str] = []
        self._recorded = AsRecorded()

    def ttft_us(self, stretch: Stretch) -> IntArray:
        """The server's TTFT + rtt + upload; see :class:`blis.metrics.View`."""
        return _plus(self._recorded.ttft_us(stretch), self._to_first_us(stretch))

    def e2e_us(self, stretch: Stretch) -> IntArray:
        """The server's E2E + rtt + upload + download; see :class:`blis.metrics.View`."""
        to_first = self._to_first_us(stretch)
        outputs = np.maximum(stretch.column("output_tokens"), 0).astype(np.float64)
        bandwidths = self._facts["bandwidth_mbps"][stretch.text("client_id").codes]
        return _plus(self._recorded.e2e_us(stretch), to_first, transfer_us(outputs, bandwidths))

    def _to_first_us(self, stretch: Stretch) -> FloatArray:
        """Delay until the first token, shape (m,): the round trip and the upload of the prompt."""
        clients = stretch.text("client_id")
        if clients.words is not self._clients:
            self._look_up(clients.words)
        facts = {name: values[clients.codes] for name, values in self._facts.items()}
        prompts = stretch.prompt_tokens().astype(np.float64)
        more = np.zeros(len(prompts))
        for kind in self._media:
            tokens = np.maximum(stretch.column(f"{kind}_tokens"), 0)
            more += tokens * (facts[f"{kind}_bytes_per_token"] - BYTES_PER_TOKEN)
        numbers = stretch.column("client_seq").astype(np.uint64)
        trip = round_trip_us(facts["rtt_ms"], facts["jitter_ms"], self._keys[clients.codes], numbers)
        return trip + transfer_us(prompts, facts["bandwidth_mbps"], more)

    def _look_up(self, clients: Sequence[str]) -> None:
        self._clients = clients
        # The code of a row without a client is -1: the last.
        names = (*clients, "")
        networks = [facts_for(self._networks, name) for name in names]
        for name in NetworkFacts.model_fields:
            neutral = _NEUTRAL.get(name, 0.0)
            found = [getattr(network, name, None) for network in networks]
            self._facts[name] = np.array([neutral if fact is None else fact for fact in found], np.float64)
        keys = [
            jitter_key(self._seed, name) if network is not None and network.jitter_ms else 0
            for name, network in zip(names, networks, strict=True)
        ]
        self._keys = np.array(keys, np.uint64)
        self._media = [kind for kind in MEDIA if (self._facts[f"{kind}_bytes_per_token"] != BYTES_PER_TOKEN).any()]


def _plus(latency: IntArray, *delays: FloatArray) -> IntArray:
    total = np.minimum(sum(delays), _LONGEST_US).astype(np.int64)
    return np.where(latency == MISSING, MISSING, latency + total)
