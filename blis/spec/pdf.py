"""Probability tables ("PDFs") from specs and small files: {value: probability, ...} in one checked form.

Probabilities needn't add up to 1: whoever samples normalises. Values are lengths, counts or ratios, so never negative.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blis.spec.strict import Finding, refusals
from blis.spec.words import shown, step

__all__ = ["check_pdf", "examine_pdf", "parse_pdf", "read_pdf"]

_MOST_REPORTED = 10
_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_WHOLE_NUMBER = re.compile(rf"\s*({_NUMBER})\s*")
_ENTRY = re.compile(rf"\s*(['\"]?)\s*({_NUMBER})\s*\1\s*:\s*({_NUMBER})\s*(,|\}})")
_CLOSE = re.compile(r"\s*\}\s*")


def check_pdf(table: Any) -> dict[float, float]:
    """Return the table as {value: probability}, unnormalised, in the order written.

    Keys may be numbers or text that holds one (JSON has no other keys).

    Raises:
        ValidationError: where it isn't a table, is empty, has a negative or infinite number, or nothing but zeros.
    """
    result, findings = examine_pdf(table)
    if findings:
        raise refusals("PDF", findings)
    return result


def examine_pdf(table: Any) -> tuple[dict[float, float], list[Finding]]:
    """Return the sound entries of a table (see :func:`check_pdf`), and what is wrong with it."""
    result: dict[float, float] = {}
    findings: list[Finding] = []
    if not isinstance(table, Mapping):
        return result, [((), f"must be a PDF, a mapping {{value: probability, ...}}, found {shown(table)}")]
    if not table:
        return result, [((), "a PDF must have at least one entry {value: probability}, found none")]
    for key, probability in table.items():
        value = _value(key)
        if value is None:
            findings.append(((step(key),), f"a value of a PDF must be a number >= 0, found {shown(key)}"))
        elif value in result:
            findings.append(((step(key),), f"the value {value:g} is given twice"))
        if _bad(probability):
            findings.append(((step(key),), f"a probability must be a finite number >= 0, found {shown(probability)}"))
        elif value is not None:
            result[value] = float(probability)
    total = sum(result.values())
    if len(findings) > _MOST_REPORTED:
        findings[_MOST_REPORTED:] = [((), f"{len(findings) - _MOST_REPORTED} more entries of this PDF are wrong")]
    elif not findings and total <= 0:
        findings.append(((), "all probabilities are zero; at least one must be > 0"))
    elif not findings and math.isinf(total):
        findings.append(((), "the probabilities add up to more than a number can hold; scale them down"))
    return result, findings


def _bad(probability: Any) -> bool:
    if isinstance(probability, bool) or not isinstance(probability, int | float):
        return True
    try:
        return not 0 <= float(probability) < math.inf
    except OverflowError:
        return True


def _value(key: Any) -> float | None:
    if isinstance(key, str):
        match = _WHOLE_NUMBER.fullmatch(key)
        key = float(match[1]) if match else None
    return None if key is None or _bad(key) else float(key)


def parse_pdf(text: str) -> dict[float, float]:
    """Return the table in ``text``: CSV lines ``value,probability`` (a header line is skipped), or ``{value: p, ...}``.

    The braces form is that of JSON or of a Python dictionary: quotes around values, scientific notation, stray blanks
    and a trailing comma are fine. The text is never evaluated.

    >>> parse_pdf("{'100': 0.5, 200: 5e-1,}")
    {100.0: 0.5, 200.0: 0.5}
    >>> parse_pdf("tokens,probability\\n100,1\\n")
    {100.0: 1.0}

    Raises:
        ValueError: with line and what was found.
    """
    pairs = _parse_braces(text) if text.lstrip().startswith("{") else _parse_csv(text)
    table: dict[float, float] = {}
    for line, value, probability in pairs:
        if value in table:
            raise ValueError(f"line {line}: the value {value:g} is given twice")
        table[value] = probability
    return table


def _parse_braces(text: str) -> list[tuple[int, float, float]]:
    position = text.index("{") + 1
    pairs: list[tuple[int, float, float]] = []
    while (entry := _ENTRY.match(text, position)) is not None:
        pairs.append((_line(text, entry.start(2)) if "\n" in text else 1, float(entry[2]), float(entry[3])))
        position = entry.end() - (entry[4] == "}")
    if _CLOSE.fullmatch(text, position) is None:
        position += len(text[position:]) - len(text[position:].lstrip())
        rest = text[position : position + 30].strip()
        raise ValueError(f"line {_line(text, position)}: expected value: probability, found {shown(rest)}")
    return pairs


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _parse_csv(text: str) -> list[tuple[int, float, float]]:
    pairs: list[tuple[int, float, float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.strip().split(",")
        if cells == [""]:
            continue
        matches = [_WHOLE_NUMBER.fullmatch(cell) for cell in cells]
        if len(matches) == 2 and matches[0] and matches[1]:
            pairs.append((number, float(matches[0][1]), float(matches[1][1])))
        elif pairs or len(cells) != 2 or any(matches):
            raise ValueError(f"line {number}: expected value,probability, found {shown(line.strip())}")
    return pairs


def read_pdf(path: Path) -> dict[float, float]:
    """Return the table in a file (see :func:`parse_pdf`).

    Raises:
        ValueError: with a message for the user, where the file can't be read or its table isn't sound.
    """
    try:
        table, findings = examine_pdf(parse_pdf(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise ValueError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"cannot read {str(path)!r}: it isn't text in UTF-8") from None
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {error}") from None
    if findings:
        place, text = findings[0]
        raise ValueError(f"{str(path)!r}: {f'value {place[0]}: ' if place else ''}{text}")
    return table
