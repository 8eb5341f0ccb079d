"""Pages with tables and plots."""

from __future__ import annotations

import sys
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from blis.errors import BlisError
from blis.metrics import summarize
from blis.report.comparison import comparison
from blis.report.html import html_report
from blis.report.plain import plain
from blis.trace import Trace

Make = Callable[..., Trace]


class Outline(HTMLParser):
    """Texts and ids of a page; scripts apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.ids: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link"):
            self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif data.strip():
            self.texts.append(data.strip())


def page(**traces: Trace) -> str:
    return html_report({name: (trace, summarize(trace)) for name, trace in traces.items()})


def test_one_trace(make: Make) -> None:
    text = page(run=make())
    outline = Outline(text)
    assert outline.open == []
    assert {"cdf-ttft_us", "cdf-tpot_us", "cdf-e2e_us", "cdf-itl", "time-load-0", "time-ttft-0"} <= set(outline.ids)
    assert "cdf-first_answer_us" not in outline.ids
    assert "Side by side" not in outline.texts
    # Everything of the report is there.
    for block in ("Simulated run", "Requests", "Latency, ms", "Service", "By group"):
        assert block in outline.texts
    assert "16.5 output tokens/s, 150 input tokens/s (214 with shared prefixes)" in outline.texts
    # The lines: all, and each class.
    (plot,) = [script for script in outline.scripts if '"cdf-ttft_us"' in script]
    assert all(f'"name":"{name}"' in plot for name in ("all", "batch", "critical"))
    assert "clients see" not in text


def test_equal_traces_give_equal_pages(make: Make) -> None:
    assert page(run=make()) == page(run=make())


def test_nothing_is_fetched(make: Make) -> None:
    text = page(run=make())
    body = text[text.index("<body>") :]
    assert "src=" not in body
    assert "http" not in body
    assert "<link" not in text[: text.index("<script>")]


def test_several_traces_share_plots(make: Make) -> None:
    near, far = make(), make(network={"chat": {"rtt_ms": 10}}, deployment=None)
    text = page(near=near, far=far)
    outline = Outline(text)
    assert "Side by side" in outline.texts
    assert {"time-load-0", "time-load-1"} <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))
    (plot,) = [script for script in outline.scripts if '"cdf-ttft_us"' in script]
    assert all(f'"name":"{name}"' in plot for name in ("near", "far, at the server", "far, as clients see it"))
    assert '"name":"batch"' not in plot


def test_names_and_labels_are_text(make: Make) -> None:
    nasty = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    text = page(**{nasty: make({"slo_class": [nasty, nasty, "b", "b"], "tenant_id": [nasty, "a", "b", "c"]})})
    assert "<script>alert" not in text
    assert "<img" not in text[text.index("<body>") :]
    outline = Outline(text)
    assert nasty in outline.texts


def test_an_empty_trace_has_no_plots(make: Make) -> None:
    outline = Outline(page(run=Trace.from_columns({}, make(run={"span_us": 0}).header)))
    assert outline.ids == []
    assert "arrived" in outline.texts


def test_without_plotly(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(BlisError, match="plots need plotly"):
        page(run=make())


def test_side_by_side(make: Make) -> None:
    def lines(**traces: Trace) -> dict[str, list[str]]:
        grid = comparison({name: summarize(trace) for name, trace in traces.items()})
        return {row.cells[0]: list(row.cells[1:]) for row in grid.rows} | {"notes": list(grid.notes)}

    found = lines(a=make(), b=make(slo_targets={}, network={"chat": {"rtt_ms": 11}}))
    assert found["TTFT p50, ms"] == ["40.0", "40.0"]
    assert found["TTFT p99 as clients see it, ms"] == ["-", "981"]
    assert found["SLO attainment"] == ["66.7 %", "-"]
    assert found["notes"] == []
    seen: dict[str, Any] = lines(a=make(network={"chat": {"rtt_ms": 11}}), b=make(mode="real", slo_targets={}))
    assert seen["SLO attainment"] == ["33.3 %", "-"]
    assert len(seen["notes"]) == 1
    same = make(slo_targets={})
    assert "SLO attainment" not in lines(a=same, b=same)
    assert "TTFT p50, ms" in plain([comparison({"a": summarize(same)})])
