"""Reading ServeGen data: what a folder of chunks says, checked, as numbers.

A chunk is a client of a real service, in two files. ``chunk-N-trace.csv`` has no header and one row per window of
time: start (s), rate (requests/s), cv, pattern (Gamma, Weibull or empty), shape, scale; CRLF or LF. A rate of 0 means
that the client was silent. ``chunk-N-dataset.json`` maps the start (s) of longer windows to fields
(``input_tokens``, ...) whose values are Python dictionaries as text, ``"{1035: 0.0169, 1036: 0.5e-3}"``: token
counts and their probabilities. They are parsed, never evaluated, and anything but such numbers is rejected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from blis.errors import BlisError
from blis.spec.servegen_pdf import NUMBER, Pdf, parse_servegen_pdf
from blis.spec.words import did_you_mean, listed

__all__ = ["COLUMNS", "FIELDS", "PATTERNS", "Chunk", "Dataset", "TraceWindows", "find_chunks", "read_trace"]

FloatArray = npt.NDArray[np.float64]
Report = Callable[[str], None]
"""Called with a whole sentence for each thing in a file that can't be used."""

COLUMNS = ("start", "rate", "cv", "pattern", "shape", "scale")
"""Columns of a trace file."""

PATTERNS = ("", "Gamma", "Weibull")
"""Arrival patterns by code; the empty one is a Poisson process."""

FIELDS = (
    "input_tokens",
    "output_tokens",
    "reason_ratio",
    "text_tokens",
    "image_tokens",
    "image_count",
    "audio_tokens",
    "audio_count",
    "video_tokens",
    "video_count",
)
"""Fields of a dataset window."""

_CELL_BYTES = b"0123456789.eE+- \tGamWibul"
_SILENT = -7e99
_SILENT_CELL = b",-7e99\n"
_CHUNK = re.compile(r"chunk-([0-9]+)-(trace\.csv|dataset\.json)")
_NOTHING = re.compile(r"\s*\{\s*(?:0(?:\.0*)?\s*:\s*1(?:\.0*)?\s*,?\s*)?\}\s*")


class TraceWindows(NamedTuple):
    """The windows of a trace in which the client was active: arrays of shape (n,), in order of their start.

    ``starts`` and ``ends`` are seconds, ``rates`` requests per second above 0, ``patterns`` indices into
    :data:`PATTERNS`, ``shapes`` the pattern's shape parameter (not used by the empty pattern).
    """

    starts: FloatArray
    ends: FloatArray
    rates: FloatArray
    patterns: npt.NDArray[np.int64]
    shapes: FloatArray

    def where(self, mask: npt.NDArray[np.bool_]) -> TraceWindows:
        """Return the windows where ``mask``, bool of shape (n,), is set."""
        return TraceWindows(
            self.starts[mask], self.ends[mask], self.rates[mask], self.patterns[mask], self.shapes[mask]
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """The files of one client, ``name`` being chunk-N; ``dataset`` is None where the file is missing."""

    name: str
    trace: Path
    dataset: Path | None


def find_chunks(folder: Path, report: Report) -> list[Chunk]:
    """Return the chunks in ``folder`` by number.

    A chunk with only one of its two files is reported; one without a trace is left out. Raises :class:`BlisError`
    if the folder doesn't exist or has no chunks, naming subfolders that do.
    """
    if not folder.is_dir():
        raise BlisError(f"{folder}: no such folder: servegen_data.path must be a folder of chunk-N-trace.csv files")
    found: dict[int, dict[str, Path]] = {}
    for path in folder.iterdir():
        match = _CHUNK.fullmatch(path.name)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = path
    chunks = []
    for number in sorted(found):
        trace, dataset = found[number].get("trace.csv"), found[number].get("dataset.json")
        if trace is None:
            report(f"{dataset}: there is no chunk-{number}-trace.csv beside it, so the chunk has no arrivals")
            continue
        if dataset is None:
            report(f"{trace}: there is no chunk-{number}-dataset.json beside it, so the chunk is left out")
        chunks.append(Chunk(f"chunk-{number}", trace, dataset))
    if not chunks:
        near = sorted({str(path.parent) for path in folder.glob("*/**/chunk-*-trace.csv")})
        hint = f"; there are some in {', '.join(near[:5])}" if near else ""
        raise BlisError(f"{folder}: no chunk-N-trace.csv files here{hint}: set servegen_data.path to their folder")
    return chunks


class Dataset:
    """A dataset file whose windows are parsed when they are asked for.

    Its text stays in memory until :meth:`release`; after that, each window asked for reads the file again.
    ``starts`` are the seconds at which its non-empty windows start, increasing. A window is empty if every field is
    ``{}`` or ``{0: 1.0}``. Windows that can't be read at all are reported and left out. Raises :class:`BlisError` if
    the file can't be opened or isn't JSON.
    """

    def __init__(self, path: Path, report: Report) -> None:
        self.path = path
        self._keys: dict[float, str] = {}
        self._texts: dict[str, Any] | None = _load_json(path)
        for key, fields in self._texts.items():
            start = _number(key)
            if start is None or start < 0:
                report(f"{path}: window {key!r}: must be a start in seconds, at least 0; the window is left out")
            elif not isinstance(fields, dict) or not all(isinstance(text, str) for text in fields.values()):
                report(f"{path}: window {key!r}: must map fields to texts '{{value: probability}}'; it is left out")
            elif not all(_NOTHING.fullmatch(text) for text in fields.values()):
                self._keys[start] = key
        self.starts: list[float] = sorted(self._keys)

    def read(self, start: float) -> dict[str, Pdf]:
        """Return the PDFs of the window that starts at ``start``; a field that is ``{}`` has length 0.

        Raises :class:`BlisError` naming file, window and field for text that isn't a PDF or a field nobody knows.
        """
        key = self._keys[start]
        texts = _load_json(self.path) if self._texts is None else self._texts
        if key not in texts:
            raise BlisError(f"{self.path}: window {key!r} is gone: the file changed while it was in use")
        pdfs = {}
        for field, text in texts[key].items():
            place = f"{self.path}: window {key!r}: {field}"
            if field not in FIELDS:
                raise BlisError(f"{place}: unknown field{did_you_mean(field, FIELDS)}; known are {listed(FIELDS)}")
            try:
                pdfs[field] = parse_servegen_pdf(text)
            except ValueError as error:
                raise BlisError(f"{place}: {error}") from None
        return pdfs

    def release(self) -> None:
        """Let go of the file's text."""
        self._texts = None


def read_trace(path: Path, time_window: float, report: Report) -> TraceWindows:
    """Read the active windows of a trace file; each lasts ``time_window`` seconds, or until the next row if sooner.

    Rows that can't be used are reported with file, line, column and what was found, and left out. Raises
    :class:`BlisError` if the file can't be opened.
    """
    raw = _read(path).translate(None, b"\r").strip()
    rows = _quick_rows(raw)
    if rows is None:
        rows = _careful_rows(path, raw.decode(errors="replace"), report)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    steps = np.diff(rows[:, 0])
    if (steps == 0).any():
        report(f"{path}: start {rows[int(np.argmax(steps == 0)), 0]:g} has two rows; only the first of them is used")
        rows = rows[np.concatenate(([True], steps > 0))]
        steps = np.diff(rows[:, 0])
    if len(steps) and steps.min() < time_window:
        report(
            f"{path}: rows are {steps.min():g} s apart, less than the time_window of {time_window:g} s: each is used "
            f"up to the next row; set servegen_data.time_window to the length of the data's windows"
        )
    ends = np.minimum(rows[:, 0] + time_window, np.append(rows[1:, 0], np.inf)[: len(rows)])
    active = rows[:, 1] > 0
    starts, rates, _, patterns, shapes, _ = rows[active].T
    return TraceWindows(starts, ends[active], rates, patterns.astype(np.int64), shapes)


def _quick_rows(raw: bytes) -> FloatArray | None:
    """Read a well-formed trace as one JSON array, shape (rows, 6) with pattern codes; None if anything is odd."""
    lines = raw.count(b"\n") + 1
    if raw.translate(None, _CELL_BYTES) != (b",,,,,\n" * lines)[:-1]:
        return None
    # Most rows of real traces are silent: of these only the start is parsed, with a mark after it.
    flat = (raw + b"\n").replace(b",0,0,,0,0\n", _SILENT_CELL)
    flat = flat.replace(b"Gamma", b"1").replace(b"Weibull", b"2").replace(b",,", b",0,").replace(b"\n", b",")
    try:
        numbers = np.array(orjson.loads(b"[" + flat[:-1] + b"]"), dtype=np.float64)
        marks = np.flatnonzero(numbers == _SILENT)
        silent = np.zeros((len(marks), len(COLUMNS)))
        silent[:, 0] = numbers[marks - 1]
        active = np.delete(numbers, np.concatenate((marks, marks - 1))).reshape(lines - len(marks), len(COLUMNS))
    except (orjson.JSONDecodeError, ValueError, TypeError):
        return None
    named = active[:, 3] > 0
    names = raw.count(b"Gamma") + raw.count(b"Weibull")
    # Empty cells read as 0 above, so make sure that they are patterns and nothing else.
    empty = np.count_nonzero(~named) + len(marks)
    if names != np.count_nonzero(named) or raw.count(b",,") != empty or not (active[named, 1:] > 0).all():
        return None
    rows = np.concatenate((active, silent))
    return rows if np.isfinite(rows).all() and (rows >= 0).all() else None


def _careful_rows(path: Path, text: str, report: Report) -> FloatArray:
    rows = []
    for line, content in enumerate(text.splitlines(), start=1):
        if not content.strip():
            continue
        try:
            rows.append(_row([cell.strip() for cell in content.split(",")]))
        except ValueError as error:
            report(f"{path}:{line}: {error}; the row is left out")
    return np.array(rows, dtype=np.float64).reshape(-1, len(COLUMNS))


def _row(cells: list[str]) -> list[float]:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"must have {len(COLUMNS)} columns ({', '.join(COLUMNS)}), found {len(cells)}")
    if cells[3] not in PATTERNS:
        raise ValueError(f"pattern: must be Gamma, Weibull or empty, found {cells[3]!r}")
    row = [0.0] * len(COLUMNS)
    row[3] = PATTERNS.index(cells[3])
    # A silent window has nothing but a start and a rate of 0, and no pattern means that no parameters follow.
    used = 2 if row[3] == 0 or _number(cells[1]) == 0 else len(COLUMNS)
    for at in range(len(COLUMNS)):
        if at == 3:
            continue
        number = _number(cells[at])
        if number is None and at >= used and not cells[at]:
            continue
        if number is None or number < 0:
            raise ValueError(f"{COLUMNS[at]}: must be a number >= 0, found {cells[at]!r}")
        if at >= used:
            continue
        if at == 4 and number == 0:
            raise ValueError(f"{COLUMNS[at]}: must be above 0 for the pattern {cells[3]}, found {cells[at]!r}")
        row[at] = number
    return row


def _number(text: str) -> float | None:
    """Return the finite decimal number that ``text`` is, else None."""
    if not re.fullmatch(NUMBER, text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BlisError(f"{path}: can't be read: {error.strerror}") from None


def _load_json(path: Path) -> dict[str, Any]:
    try:
        windows = orjson.loads(_read(path))
    except orjson.JSONDecodeError as error:
        raise BlisError(f"{path}:{error.lineno}: isn't JSON: {error.msg}") from None
    if not isinstance(windows, dict):
        raise BlisError(f"{path}: must be a JSON object of windows by their start in seconds")
    return windows
