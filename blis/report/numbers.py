"""Numbers as people read them. A figure that doesn't exist is a dash."""

from __future__ import annotations

from blis.units import US_PER_MS, US_PER_S

__all__ = ["NOTHING", "count", "error", "milliseconds", "number", "per_second", "plural", "share", "span"]

NOTHING = "-"
_MINUTE, _HOUR = 60, 3600


def count(value: int | None) -> str:
    """Return a whole number with its thousands set apart.

    >>> count(1234567)
    '1,234,567'
    """
    return NOTHING if value is None else f"{value:,}"


def plural(value: int, noun: str) -> str:
    """Return a number of things.

    >>> plural(1, "client"), plural(2000, "client")
    ('1 client', '2,000 clients')
    """
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def number(value: float) -> str:
    """Return a number to three digits or more, without needless zeros.

    >>> number(40.0), number(0.12345), number(12345.6)
    ('40', '0.123', '12,346')
    """
    if value == int(value) or abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def milliseconds(value_us: float | None) -> str:
    """Return microseconds as milliseconds, to three digits or more where there are as many.

    >>> milliseconds(7321.4), milliseconds(2_345_678), milliseconds(4), milliseconds(0)
    ('7.32', '2,346', '0.004', '0')
    """
    if value_us is None:
        return NOTHING
    value = value_us / US_PER_MS
    # Three digits, but nothing below a microsecond.
    decimals = 0 if value >= 99.95 or value == 0 else 1 if value >= 9.995 else 2 if value >= 0.9995 else 3
    return f"{value:,.{decimals}f}"


def per_second(value: float | None) -> str:
    """Return a rate to three digits or more.

    >>> per_second(38.456), per_second(6123.4), per_second(0.01234)
    ('38.5', '6,123', '0.0123')
    """
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def share(value: float | None) -> str:
    """Return a share in percent; only all is 100.0 %, and only nothing 0.0 %.

    >>> share(0.12345), share(0.99999), share(1.0)
    ('12.3 %', '99.9 %', '100.0 %')
    """
    if value is None:
        return NOTHING
    percent = value * 100
    if 0 < value < 1:
        percent = min(max(percent, 0.1), 99.9)
    return f"{percent:.1f} %"


def error(value: float) -> str:
    """Return a relative error in percent, with its sign.

    >>> error(0.1), error(-0.0456), error(0.0)
    ('+10.0 %', '-4.6 %', '0.0 %')
    """
    return f"{value * 100:+.1f} %" if abs(value) >= 0.0005 else "0.0 %"


def span(us: int) -> str:
    """Return a stretch of time in the unit that suits it.

    >>> span(500), span(62_100_000), span(9_000_000_000)
    ('0.500 ms', '62.1 s', '2 h 30 min')
    """
    if 0 < us < US_PER_S:
        return f"{milliseconds(us)} ms"
    seconds = us / US_PER_S
    if seconds < 2 * _HOUR and (seconds % _HOUR or not us):
        return f"{seconds:,.1f} s".replace(".0 s", " s")
    hours, minutes = divmod(round(seconds / _MINUTE), _MINUTE)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"
