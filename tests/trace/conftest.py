from __future__ import annotations

from typing import Any

import pytest

from blis.request import ClientFacts
from blis.trace import FINISH_CODES, STATUS_CODES, RecordTable

# In the order of RecordTable.put.
ROW = {
    "client": 0,
    "client_seq": 0,
    "session": -1,
    "round_index": 0,
    "input_tokens": 100,
    "planned_output_tokens": 20,
    "output_tokens": 20,
    "max_output_tokens": 0,
    "prompt_tokens": 100,
    "text": 0,
    "image": 0,
    "audio": 0,
    "video": 0,
    "reason_ratio": 0.0,
    "arrival_us": 1000,
    "deadline_us": -1,
    "first_us": 5000,
    "last_us": 9000,
    "scheduling_delay_us": 250,
    "preemptions": 0,
    "cached_tokens": 0,
    "instance": 0,
    "status_code": STATUS_CODES["ok"],
    "finish_code": FINISH_CODES["stop"],
    "first_step": -1,
    "last_step": -1,
}


@pytest.fixture
def put():
    """Puts a row with the given fields, and plain values elsewhere, into a table."""

    def put(table: RecordTable, request_id: int, **fields: Any) -> None:
        assert not fields.keys() - ROW.keys()
        table.put(request_id, *{**ROW, **fields}.values())

    return put


@pytest.fixture
def table(put) -> RecordTable:
    """Four rows: completed in a session, timed out, rejected, failed with a message."""
    table = RecordTable(["instance_0", "instance_1"])
    a = table.client_index(ClientFacts("a", "t1", "critical", "llama", True, "docs", 48))
    b = table.client_index(ClientFacts("b", streaming=False))
    session = table.session_index("s-1")
    put(table, 2, client=b, instance=-1, status_code=STATUS_CODES["rejected"], finish_code=0, first_us=-1, last_us=-1,
        scheduling_delay_us=-1, output_tokens=0, arrival_us=3000)  # fmt: skip
    put(table, 0, client=a, session=session, round_index=3, prompt_tokens=148, cached_tokens=48, preemptions=2,
        instance=1, first_step=7, last_step=26, max_output_tokens=64)  # fmt: skip
    put(table, 3, client=b, client_seq=1, status_code=STATUS_CODES["unservable"], finish_code=0, first_us=-1,
        last_us=-1, scheduling_delay_us=-1, output_tokens=0, arrival_us=4000)  # fmt: skip
    put(table, 1, client=a, client_seq=1, status_code=STATUS_CODES["timeout"], finish_code=0, output_tokens=5,
        deadline_us=9500, last_us=9400, arrival_us=2000, reason_ratio=0.25, text=60, image=40)  # fmt: skip
    table.messages[3] = "prompt of 100 tokens, limit 64"
    return table
