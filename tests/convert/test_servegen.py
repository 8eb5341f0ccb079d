"""ServeGen data written out as clients has the data's rates, burstiness and lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import blis
from blis.convert import expanded
from blis.errors import BlisError
from blis.spec.workload import WorkloadSpec, parse_workload, workload_from_dict
from blis.trace import Trace


def both(repository: Path, kind: str, rate: float = 100, **options: Any) -> tuple[WorkloadSpec, Trace, Trace]:
    data = {"path": str(repository / "tests" / "data" / "servegen" / kind), **options}
    spec = workload_from_dict({"horizon": "400s", "aggregate_rate": rate, "servegen_data": data})
    clients = expanded(spec, str)
    assert parse_workload(clients.text) == clients
    assert clients.servegen_data is None
    return clients, blis.generate(spec, warn=str), blis.generate(clients, warn=str)


@pytest.mark.parametrize("kind", ["language", "reasoning", "multimodal"])
def test_traffic_is_that_of_the_data(repository: Path, kind: str) -> None:
    clients, data, written = both(repository, kind)
    assert {one.id for one in clients.clients} == set(data.column("client_id"))
    assert len(written) == pytest.approx(len(data), rel=0.08)
    columns = ["input_tokens", "planned_output_tokens", "text_tokens", "image_tokens", "reason_ratio"]
    for column in columns:
        assert written.column(column).mean() == pytest.approx(data.column(column).mean(), rel=0.06, abs=1e-9), column
    for one in clients.clients:
        counts = [np.count_nonzero(trace.column("client_id") == one.id) for trace in (data, written)]
        assert counts[1] == pytest.approx(counts[0], rel=0.15, abs=40)


def test_a_part_of_the_data_begins_at_0(repository: Path) -> None:
    clients, data, written = both(repository, "language", span_start=100, span_end=350)
    windows = [window for one in clients.clients if one.lifecycle for window in one.lifecycle.windows]
    assert min(window.start_us for window in windows) == 0
    assert max(window.end_us for window in windows) == 250_000_000
    assert len(written) == pytest.approx(len(data), rel=0.1)


def test_what_cannot_be_written_out(repository: Path) -> None:
    with pytest.raises(BlisError, match="no servegen_data"):
        expanded(workload_from_dict({"horizon": 1, "clients": [_client()]}), str)
    data = {"path": str(repository / "tests" / "data" / "servegen" / "language"), "span_start": 10**6}
    with pytest.raises(BlisError, match="nothing is sent in this part of the data"):
        expanded(workload_from_dict({"horizon": "400s", "servegen_data": data}), str)


def test_clients_beside_the_data_stay(repository: Path) -> None:
    data = {"path": str(repository / "tests" / "data" / "servegen" / "language"), "length_correlation": "comonotonic"}
    told: list[str] = []
    spec = expanded(workload_from_dict({"horizon": "400s", "servegen_data": data, "clients": [_client()]}), told.append)
    assert spec.clients[0].id == "mine"
    assert len(spec.clients) > 1
    assert told[0].startswith("length_correlation comonotonic isn't kept")


def _client() -> dict[str, Any]:
    return {
        "id": "mine",
        "rate": 1,
        "arrival": {"process": "poisson"},
        "input_distribution": {"type": "constant", "params": {"value": 10}},
        "output_distribution": {"type": "constant", "params": {"value": 10}},
    }
