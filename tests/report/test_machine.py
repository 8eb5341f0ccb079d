"""The JSON object of a run."""

from __future__ import annotations

import json
from collections.abc import Callable

from blis.metrics import summarize
from blis.report.machine import machine_readable, to_json
from blis.trace import Trace

Make = Callable[..., Trace]


def test_it_says_what_was_run(make: Make) -> None:
    trace = make()
    data = machine_readable(trace.header, summarize(trace), ["a doubt"])
    assert data["run"] == {
        "seed": 42,
        "deployment": trace.header.deployment,
        "aggregate_rate": 4.0,
        "horizon_us": 1_000_000,
    }
    assert data["warnings"] == ["a doubt"]
    assert data["conservation"]["timed_out"] == 1


def test_it_is_json_without_nan(make: Make) -> None:
    trace = make({"status": ["rejected"] * 4})
    text = to_json(machine_readable(trace.header, summarize(trace))).decode()
    assert text.endswith("}\n")
    found = json.loads(text, parse_constant=lambda name: f"not JSON: {name}")
    assert found["overall"]["ttft_us"] == {
        "n": 0,
        **dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "max")),
    }
    assert "not JSON" not in text


def test_names_that_are_no_text_are_escaped() -> None:
    assert to_json({"a\udcff": ["\udcff", "é"]}).decode() == '{\n  "a\\\\udcff": [\n    "\\\\udcff",\n    "é"\n  ]\n}\n'
