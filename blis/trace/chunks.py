"""When each chunk of each answer arrived: the sidecar that metrics and fitting read.

As CSV a line has a request's id and its chunk times: the first in microseconds since the run's start, then the gaps
to the one before, separated by blanks. As Parquet a row has the id and the list of times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blis.errors import TraceError
from blis.trace.histogram import Histogram

__all__ = ["ChunkTimes", "read_chunks", "write_chunks"]

IntArray = npt.NDArray[np.int64]

HEADER = "request_id,chunk_times_us"


@dataclass(frozen=True, eq=False)
class ChunkTimes:
    """Times of chunks by request.

    ``request_id`` is int64, shape (n,), increasing; the times of request i are ``times_us[starts[i]:starts[i + 1]]``,
    increasing or equal, in microseconds since the run's start; ``starts`` is int64, shape (n + 1,).
    """

    request_id: IntArray
    starts: IntArray
    times_us: IntArray

    @classmethod
    def of(cls, request_ids: Sequence[int], times: Iterable[Sequence[int] | IntArray]) -> ChunkTimes:
        """Gather the times of requests given in any order.

        >>> chunks = ChunkTimes.of([7, 3], [[100, 150], [90]])
        >>> chunks.request_id.tolist(), chunks.starts.tolist(), chunks.times_us.tolist()
        ([3, 7], [0, 1, 3], [90, 100, 150])
        """
        arrays = [np.asarray(own, np.int64) for own in times]
        ids = np.asarray(request_ids, np.int64)
        order = np.argsort(ids, kind="stable")
        arrays = [arrays[at] for at in order.tolist()]
        starts = np.concatenate(([0], np.cumsum([len(own) for own in arrays], dtype=np.int64))).astype(np.int64)
        return cls(ids[order], starts, np.concatenate(arrays) if arrays else np.empty(0, np.int64))

    def __len__(self) -> int:
        """Number of requests."""
        return len(self.request_id)

    @property
    def counts(self) -> IntArray:
        """Chunks of each request, int64, shape (n,)."""
        return np.diff(self.starts)

    def of_request(self, request_id: int) -> IntArray:
        """The times of one request; empty for one that has none."""
        at = int(np.searchsorted(self.request_id, request_id))
        if at == len(self) or self.request_id[at] != request_id:
            return np.empty(0, np.int64)
        return self.times_us[self.starts[at] : self.starts[at + 1]]

    def select(self, wanted: npt.NDArray[np.bool_]) -> ChunkTimes:
        """The requests where ``wanted``, bool of shape (n,), is true."""
        counts = self.counts[wanted]
        starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        return ChunkTimes(self.request_id[wanted], starts, self.times_us[np.repeat(wanted, self.counts)])

    def gaps(self) -> Histogram:
        """The gaps between successive chunks of a request, over all requests, in microseconds.

        >>> ChunkTimes.of([7, 3], [[100, 150, 170], [90]]).gaps().values.tolist()
        [20, 50]
        """
        inside = np.ones(max(len(self.times_us) - 1, 0), np.bool_)
        # Between the last chunk of a request and the first of the next is no gap.
        seams = self.starts[1:-1] - 1
        inside[seams[(seams >= 0) & (seams < len(inside))]] = False
        found = Histogram()
        found.add(np.diff(self.times_us)[inside])
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ChunkTimes):
            return NotImplemented
        return (
            np.array_equal(self.request_id, other.request_id)
            and np.array_equal(self.starts, other.starts)
            and np.array_equal(self.times_us, other.times_us)
        )

    __hash__ = None  # type: ignore[assignment]


def write_chunks(path: Path, chunks: ChunkTimes, *, parquet: bool) -> None:
    """Write all times to ``path``, as Parquet, which takes pyarrow, or as CSV."""
    if parquet:
        import pyarrow as pa
        import pyarrow.parquet as pq

        lists = pa.ListArray.from_arrays(pa.array(chunks.starts, pa.int32()), pa.array(chunks.times_us))
        pq.write_table(pa.table({"request_id": chunks.request_id, "chunk_times_us": lists}), path, compression="zstd")
        return
    gaps = np.diff(chunks.times_us, prepend=0)
    firsts = chunks.starts[:-1][chunks.counts > 0]
    gaps[firsts] = chunks.times_us[firsts]
    texts = list(map(str, gaps.tolist()))
    bounds = chunks.starts.tolist()
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(HEADER + "\n")
        for number, request_id in enumerate(chunks.request_id.tolist()):
            file.write(f"{request_id},{' '.join(texts[bounds[number] : bounds[number + 1]])}\n")


def read_chunks(path: Path) -> ChunkTimes:
    """Read what :func:`write_chunks` wrote.

    Raises:
        TraceError: naming file and line of what is wrong.
    """
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        lists = table.column("chunk_times_us").combine_chunks()
        ids = table.column("request_id").to_numpy()
        return ChunkTimes.of(ids, np.split(lists.flatten().to_numpy(), lists.offsets.to_numpy()[1:-1]))
    ids_read: list[int] = []
    times: list[IntArray] = []
    try:
        with open(path, encoding="utf-8") as file:
            if (head := file.readline().rstrip("\r\n")) != HEADER:
                raise TraceError(f"{path}:1: found {head!r:.80}; allowed is {HEADER}")
            for number, line in enumerate(file, 2):
                ids_read.append(_parse(line, times, f"{path}:{number}"))
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"can't read {path}: {error}") from None
    if len(set(ids_read)) != len(ids_read):
        raise TraceError(f"{path}: a request_id comes twice; each request has one line")
    return ChunkTimes.of(ids_read, times)


def _parse(line: str, times: list[IntArray], place: str) -> int:
    """Add the times of a line to ``times`` and return its request id."""
    name, _, gaps = line.rstrip("\r\n").partition(",")
    try:
        request_id = int(name)
        own = np.array(gaps.split(), np.int64)
    except (ValueError, OverflowError):
        request_id, own = -1, np.empty(0, np.int64)
    if request_id < 0 or (own < 0).any():
        raise TraceError(f"{place}: found {line!r:.80}; allowed is a request_id, a comma, and whole numbers >= 0")
    times.append(own.cumsum())
    return request_id
