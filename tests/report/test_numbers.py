"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blis.report.numbers import count, milliseconds, number, per_second, plural, share, span


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (None, "-"),
        (0, "0"),
        (1, "0.001"),
        (999, "0.999"),
        (999.6, "1.00"),
        (9_994, "9.99"),
        (9_996, "10.0"),
        (99_949, "99.9"),
        (99_960, "100"),
        (1_234_567, "1,235"),
    ],
)
def test_milliseconds(us: float | None, text: str) -> None:
    assert milliseconds(us) == text


@given(st.floats(min_value=1000, max_value=1e12))
def test_milliseconds_lose_less_than_half_a_percent(us: float) -> None:
    assert float(milliseconds(us).replace(",", "")) * 1000 == pytest.approx(us, rel=0.0051)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0.0 %"), (0.0001, "0.1 %"), (0.99999, "99.9 %"), (1, "100.0 %"), (0.5, "50.0 %")],
)
def test_share(value: float | None, text: str) -> None:
    assert share(value) == text


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0 s"),
        (1, "0.001 ms"),
        (160_177, "160 ms"),
        (3_600_000_000, "1 h"),
        (1_000_000, "1 s"),
        (61_250_000, "61.2 s"),
        (7_199_900_000, "7,199.9 s"),
        (7_200_000_000, "2 h"),
        (90_000_000_000, "25 h"),
        (5_430_000_000_000, "1,508 h 20 min"),
    ],
)
def test_span(us: int, text: str) -> None:
    assert span(us) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0, "0"), (5.5, "5.50"), (99.96, "100"), (1234.5, "1,234"), (0.000123, "0.000123")]
)
def test_per_second(value: float | None, text: str) -> None:
    assert per_second(value) == text


def test_counts() -> None:
    assert (count(None), count(0), count(12345)) == ("-", "0", "12,345")
    assert (plural(0, "client"), plural(1, "client")) == ("0 clients", "1 client")
    assert (number(2.5), number(1e6), number(0.5316)) == ("2.5", "1,000,000", "0.532")
