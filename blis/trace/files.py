"""Where the files of a trace are, and writing them whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from blis.errors import TraceError

__all__ = ["TraceFiles", "beside", "check_writable", "found", "is_sidecar", "journal_of", "named", "staged"]

_HEADERS = (".yaml", ".yml")
_DATA = (".csv", ".parquet")
_SIDECARS = (
    ".itl.csv",
    ".segments.jsonl",
    ".chunks.csv",
    ".chunks.parquet",
    ".metrics.csv",
    ".metrics.parquet",
    ".provenance.json",
)
_JOURNAL = ".journal.jsonl"


@dataclass(frozen=True, slots=True)
class TraceFiles:
    """The files that make up one trace."""

    header: Path
    data: Path
    itl: Path
    segments: Path
    chunks_csv: Path
    chunks_parquet: Path
    metrics_csv: Path
    metrics_parquet: Path
    provenance: Path

    @property
    def chunks(self) -> Path:
        """Where chunk times are, in the format of the data."""
        return self.chunks_parquet if self.data.suffix == ".parquet" else self.chunks_csv

    @property
    def metrics(self) -> Path:
        """Where the servers' metrics are, in the format of the data."""
        return self.metrics_parquet if self.data.suffix == ".parquet" else self.metrics_csv

    @property
    def paths(self) -> tuple[Path, ...]:
        """All that a trace of this format may have: the data first, the header last."""
        return (self.data, self.itl, self.segments, self.chunks, self.metrics, self.provenance, self.header)

    @property
    def other_data(self) -> Path:
        """Where the rows would be in the other format."""
        return self.data.with_suffix(".csv" if self.data.suffix == ".parquet" else ".parquet")


def named(path: str | os.PathLike[str]) -> TraceFiles:
    """The files to write for ``path``: a prefix, or the name of header or data; ``.parquet`` makes the data Parquet."""
    prefix, suffix = _split(Path(path))
    if not prefix.name:
        raise TraceError(f"{os.fspath(path)!r} names no file; give a prefix such as out/run")
    header = ".yml" if suffix == ".yml" else ".yaml"
    return _files(prefix, header, ".parquet" if suffix == ".parquet" else ".csv")


def journal_of(path: str | os.PathLike[str]) -> Path:
    """Where a run that is to be written to ``path`` keeps its requests until then."""
    prefix = _split(Path(path))[0]
    return prefix.with_name(prefix.name + _JOURNAL)


def check_writable(path: str | os.PathLike[str]) -> TraceFiles:
    """The files that writing to ``path`` would make, once it's clear that it could; for use before a long run.

    Raises:
        TraceError: where the place isn't there, or may not be written to.
    """
    files = named(path)
    folder = files.data.parent
    if not folder.is_dir():
        raise TraceError(f"can't write {files.data}: {folder} is no directory; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise TraceError(f"can't write {files.data}: you may not write to {folder}; choose another directory")
    _refuse_directories(files.paths)
    return files


def beside(path: str | os.PathLike[str]) -> list[Path]:
    """All files that a trace at ``path``, a prefix, header or data, could consist of."""
    prefix = _split(Path(path))[0]
    return [prefix.with_name(prefix.name + ending) for ending in (*_HEADERS, *_DATA, *_SIDECARS)]


def is_sidecar(path: str | os.PathLike[str]) -> bool:
    """Whether a file, by its name, is neither header nor data of a trace but what lies beside them."""
    return _split(Path(path))[1] in _SIDECARS


def found(path: str | os.PathLike[str], header_path: str | os.PathLike[str] | None = None) -> TraceFiles:
    """The files of the trace at ``path``: a prefix, its header or its data.

    Raises:
        TraceError: naming the files that aren't there, or that leave a choice.
    """
    prefix, suffix = _split(Path(path))
    if header_path is not None:
        data = _choose(path, prefix, _DATA if suffix not in _DATA else (suffix,), "data")
        return replace(_files(prefix, "", data), header=Path(header_path))
    header = _choose(path, prefix, _HEADERS if suffix not in _HEADERS else (suffix,), "header")
    data = _choose(path, prefix, _DATA if suffix not in _DATA else (suffix,), "data")
    return _files(prefix, header, data)


def _split(path: Path) -> tuple[Path, str]:
    for suffix in (*_SIDECARS, _JOURNAL, *_HEADERS, *_DATA):
        if path.name.endswith(suffix) and path.name != suffix:
            return path.with_name(path.name[: -len(suffix)]), suffix
    return path, ""


def _files(prefix: Path, header: str, data: str) -> TraceFiles:
    return TraceFiles(*(prefix.with_name(prefix.name + ending) for ending in (header, data, *_SIDECARS)))


def _choose(path: str | os.PathLike[str], prefix: Path, endings: tuple[str, ...], what: str) -> str:
    if not prefix.name:
        raise TraceError(f"{os.fspath(path)!r} names no trace; give the prefix, the header or the data of one")
    there = [ending for ending in endings if prefix.with_name(prefix.name + ending).is_file()]
    if len(there) == 1:
        return there[0]
    names = [str(prefix.with_name(prefix.name + ending)) for ending in there or endings]
    if there:
        raise TraceError(f"{path}: both {' and '.join(names)} are there; name the one you mean")
    hint = f" ({prefix} is a directory: name the trace in it, such as {prefix / 'trace'})" if prefix.is_dir() else ""
    if (journal := journal_of(prefix)).is_file():
        hint = f"; 'blis trace recover {journal}' makes one of what a run that was cut off has left"
    raise TraceError(f"{path}: no {what} of a trace: {' or '.join(names)} not found{hint}")


@contextmanager
def staged(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Give temporary paths beside ``targets``; they take their names when the block ends well, in order.

    When it doesn't, they go and whatever had those names before stays. A temporary path that wasn't written means
    that its target has no place in what was written: an older file of that name is removed.

    Raises:
        TraceError: where the directory can't be written.
    """
    temporary = tuple(target.with_name(f".{target.name}.{os.getpid()}.part") for target in targets)
    _refuse_directories(targets)
    try:
        yield temporary
        for part, target in zip(temporary, targets, strict=True):
            if part.exists():
                os.replace(part, target)
            else:
                target.unlink(missing_ok=True)
    except OSError as error:
        raise TraceError(
            f"can't write {error.filename or targets[0]}: {error.strerror or error}; check that {targets[0].parent} is"
            " a directory with room that you may write to"
        ) from None
    finally:
        for part in temporary:
            _discard(part)


def _refuse_directories(targets: Iterable[Path]) -> None:
    for target in targets:
        if target.is_dir():
            raise TraceError(f"can't write {target}: a directory has that name; remove it, or choose another name")


def _discard(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:
        # The error that led here says more than this one would.
        pass
