"""Named random streams: one seed, one stream per purpose, no global state.

A stream is derived from the seed and the *names* it is for, through stable hashes, so that adding a client,
reordering a file or drawing more from one stream never changes what another gives.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["stream"]


def stream(seed: int, *names: str) -> np.random.Generator:
    """Return the generator for ``names`` (for example a client id and a purpose) under ``seed``.

    Names are hashed with BLAKE2b and fed to :class:`numpy.random.SeedSequence` as its spawn key; each name is
    hashed by itself, so ``("ab", "c")`` and ``("a", "bc")`` are different streams.

    >>> stream(42, "client-a", "arrival").integers(100) == stream(42, "client-a", "arrival").integers(100)
    True
    """
    key: list[int] = []
    for name in names:
        digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
        key += [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=tuple(key))))
