"""What a trace's rows become when they are sent again, by hand-made traces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import golden_cases
import numpy as np
import pytest
import simpy
from answering import Answering, Answers

from blis.clients.recording import Recording
from blis.clients.replay import Replay
from blis.errors import BlisError
from blis.request import Request
from blis.trace import SegmentTable, Trace, TraceHeader

Played = tuple[Replay, list[Request]]

OLDER = Path(__file__).resolve().parent.parent / "data" / "traces"


def trace_of(mode: str = "simulated", segments: SegmentTable | None = None, **columns: Sequence[Any]) -> Trace:
    """A trace of these columns; inputs of 10 tokens and outputs of 5 unless given, all completed."""
    count = len(next(iter(columns.values())))
    own = columns.get("input_tokens", [10] * count)
    usual = {"client_id": ["c"] * count, "input_tokens": own, "prompt_tokens": own, "output_tokens": [5] * count}
    return Trace.from_columns({**usual, "status": ["ok"] * count, **columns}, TraceHeader(mode=mode), segments=segments)


def play(
    trace: Trace,
    answers: Answers = lambda request: (100, "ok", request.output_tokens),
    *,
    warnings: list[str] | None = None,
    end_us: int = 1 << 40,
    num_requests: int | None = None,
    **options: Any,
) -> Played:
    recording = Recording(trace, **options, warn=pytest.fail if warnings is None else warnings.append)
    env = simpy.Environment()
    target = Answering(env, answers)
    player = Replay(env, target, recording, end_us=end_us, num_requests=num_requests)
    env.process(player.run())
    env.run()
    return player, target.requests


def times(played: Played) -> list[int]:
    return [request.arrival_us for request in played[1]]


class TestOrder:
    def test_by_time_and_then_by_request_id(self) -> None:
        trace = trace_of(request_id=[3, 7, 5], arrival_time_us=[50, 20, 50], input_tokens=[1, 2, 3])
        player, requests = play(trace)
        assert [request.input_tokens for request in requests] == [2, 1, 3]
        assert [request.client_seq for request in requests] == [0, 1, 2]
        ids = player.request_ids()
        assert ids is not None
        assert ids.tolist() == [7, 3, 5]

    def test_consecutive_ids_need_no_list(self) -> None:
        assert play(trace_of(arrival_time_us=[0, 0, 5]))[0].request_ids() is None

    def test_a_round_keeps_its_place_among_others_of_its_microsecond(self) -> None:
        """Round 1 of each session falls on the microsecond of two requests, between which it was sent."""
        trace = trace_of(
            arrival_time_us=[0, 200, 200, 200],
            last_chunk_time_us=[100, 300, 300, 300],
            session_id=["s", "", "s", ""],
            round_index=[0, 0, 1, 0],
            input_tokens=[1, 2, 3, 4],
        )
        assert [request.input_tokens for request in play(trace)[1]] == [1, 2, 3, 4]

    def test_no_requests(self) -> None:
        assert play(trace_of(arrival_time_us=[]))[1] == []

    def test_ends(self) -> None:
        trace = trace_of(arrival_time_us=[0, 10, 20], session_id=["s", "", "s"], round_index=[0, 0, 1])
        assert times(play(trace, num_requests=2)) == [0, 10]
        assert times(play(trace, num_requests=0)) == []
        assert times(play(trace, end_us=10)) == [0]
        # The round can't start before the answer, at 100.
        assert times(play(trace, end_us=101)) == [0, 10]
        assert times(play(trace, end_us=102)) == [0, 10, 101]


ROUNDS: dict[str, Any] = {
    "arrival_time_us": [0, 1000, 3000],
    "last_chunk_time_us": [400, 1500, 3900],
    "session_id": ["s"] * 3,
    "round_index": [0, 1, 2],
}
SENT: dict[str, Any] = {"arrival_time_us": [0, 100], "send_time_us": [7, 130], "deadline_us": [-1, 600]}


class TestSessions:
    def test_a_round_waits_for_the_answer_and_then_as_long_as_its_client_did(self) -> None:
        # Thinking took 600 and 1500.
        assert times(play(trace_of(**ROUNDS))) == [0, 700, 2300]
        assert times(play(trace_of(**ROUNDS), lambda request: (5000, "ok", 5))) == [0, 5600, 12100]

    def test_open_loop_keeps_the_recorded_times(self) -> None:
        assert times(play(trace_of(**ROUNDS), open_loop=True)) == [0, 1000, 3000]

    def test_speed_divides_thinking_too(self) -> None:
        assert times(play(trace_of(**ROUNDS), speed=2)) == [0, 400, 1250]
        assert times(play(trace_of(**ROUNDS), speed=0.5, open_loop=True)) == [0, 2000, 6000]

    def test_in_a_generated_trace_all_time_between_rounds_is_thinking(self) -> None:
        trace = trace_of("generated", arrival_time_us=[0, 1000, 3000], session_id=["s"] * 3, round_index=[0, 1, 2])
        assert times(play(trace)) == [0, 1100, 3200]

    def test_without_an_answer_the_time_counts_from_sending(self) -> None:
        columns = {**ROUNDS, "last_chunk_time_us": [-1, 1500, 3900], "status": ["rejected", "ok", "ok"]}
        assert times(play(trace_of(**columns), lambda request: (0, "rejected", 0)))[:2] == [0, 1000]
        assert times(play(trace_of(**columns), lambda request: (1200, "ok", 5)))[:2] == [0, 1201]

    def test_a_new_failure_ends_the_session(self) -> None:
        player, requests = play(trace_of(**ROUNDS), lambda request: (10, "timeout", 0))
        assert [request.round_index for request in requests] == [0]
        assert player.unsent == 2

    def test_rounds_that_overlap_wait_and_are_counted(self) -> None:
        warnings: list[str] = []
        trace = trace_of(**{**ROUNDS, "last_chunk_time_us": [1200, 1500, 3900]})
        assert times(play(trace, warnings=warnings)) == [0, 101, 1701]
        assert len(warnings) == 1
        assert warnings[0].startswith("1 of 2 later rounds of sessions began before the round before was answered")

    def test_the_context_grows_by_what_is_produced(self) -> None:
        trace = trace_of(**ROUNDS, prompt_tokens=[10, 25, 40])
        assert [request.segments for request in play(trace)[1]] == [(("s", 10),), (("s", 25),), (("s", 40),)]
        shorter = play(trace, lambda request: (10, "ok", 3))[1]
        assert [request.prompt_tokens for request in shorter] == [10, 23, 36]
        assert [request.context_tokens for request in shorter] == [0, 13, 26]

    def test_a_session_without_context_shares_only_its_prefix(self) -> None:
        trace = trace_of(**ROUNDS, prompt_tokens=[30] * 3, prefix_group=["g"] * 3, prefix_length=[20] * 3)
        assert {request.segments for request in play(trace)[1]} == {(("g", 20), (None, 10))}

    def test_a_session_may_begin_with_any_round(self) -> None:
        trace = trace_of(
            arrival_time_us=[0, 500], session_id=["s", "s"], round_index=[4, 7], prompt_tokens=[60, 90],
            last_chunk_time_us=[100, 700],
        )  # fmt: skip
        requests = play(trace)[1]
        assert [request.segments for request in requests] == [(("s", 60),), (("s", 90),)]
        assert [request.round_index for request in requests] == [4, 7]


class TestRealTraces:
    def test_requests_start_when_they_were_sent(self) -> None:
        played = play(trace_of("real", **SENT))
        assert times(played) == [7, 130]
        assert [request.deadline_us for request in played[1]] == [None, 600]

    def test_or_when_they_were_meant_to_be(self) -> None:
        played = play(trace_of("real", **SENT), intended=True)
        assert times(played) == [0, 100]
        assert [request.deadline_us for request in played[1]] == [None, 600]

    def test_deadlines_are_as_far_away_at_any_speed(self) -> None:
        assert [request.deadline_us for request in play(trace_of("real", **SENT), speed=10)[1]] == [None, 483]

    def test_prompts_are_as_long_as_the_server_counted(self) -> None:
        trace = trace_of(
            "real", arrival_time_us=[0, 1, 2], server_input_tokens=[13, -1, 2], prompt_tokens=[11, 11, 11],
            prefix_group=["", "", "g"], prefix_length=[0, 0, 3],
        )  # fmt: skip
        requests = play(trace)[1]
        assert [request.prompt_tokens for request in requests] == [13, 11, 11]
        assert [request.input_tokens for request in requests] == [10, 10, 10]

    def test_outputs_are_what_the_server_made_and_otherwise_what_was_planned(self) -> None:
        trace = trace_of(
            "real", arrival_time_us=[0, 1, 2, 3, 4], status=["ok", "timeout", "disconnected", "http_error", "ok"],
            output_tokens=[5, 2, 3, 0, -1], planned_output_tokens=[9, 9, -1, 9, 9],
        )  # fmt: skip
        assert [request.output_tokens for request in play(trace)[1]] == [5, 9, 3, 9, 9]

    def test_requests_of_unknown_output_are_left_out_and_the_others_keep_their_ids(self) -> None:
        trace = trace_of(
            "real", arrival_time_us=[0, 1, 2], status=["ok", "connect_error", "ok"], output_tokens=[5, 0, 5]
        )
        warnings: list[str] = []
        player, requests = play(trace, warnings=warnings)
        ids = player.request_ids()
        assert ids is not None
        assert ids.tolist() == [0, 2]
        assert times((player, requests)) == [0, 2]
        assert warnings == ["the output lengths of 1 of 3 requests aren't known: those are left out"]


class TestOlderForms:
    def test_prefixes_of_unknown_length(self) -> None:
        warnings: list[str] = []
        _, requests = play(Trace.read(OLDER / "older22"), warnings=warnings)
        assert [request.segments for request in requests] == [((None, 107),), (("grp3", 50), (None, 75))]
        assert warnings == [
            "the prefix_length of 1 of 2 requests isn't known: their shared prefixes are taken to have 50 tokens"
        ]

    def test_the_form_of_27_columns(self) -> None:
        warnings: list[str] = []
        _, requests = play(Trace.read(OLDER / "older27"), warnings=warnings)
        assert [(request.prompt_tokens, request.client.model) for request in requests] == [(12, "m")]
        assert len(warnings) == 1

    def test_sessions_whose_inputs_grow_are_taken_to_include_their_context(self) -> None:
        trace = trace_of(
            arrival_time_us=[0, 1, 200, 201, 400], session_id=["grows", "fixed", "grows", "fixed", "fixed"],
            round_index=[0, 0, 1, 1, 2], input_tokens=[10, 10, 15, 10, 90], prompt_tokens=[-1] * 5,
            last_chunk_time_us=[9, 9, 300, 300, 500],
        )  # fmt: skip
        warnings: list[str] = []
        requests = play(trace, warnings=warnings)[1]
        assert {request.segments for request in requests if request.session_id == "grows"} == {
            (("grows", 10),),
            (("grows", 15),),
        }
        assert all(key is None for r in requests if r.session_id == "fixed" for key, _ in r.segments)
        assert len(warnings) == 1
        assert warnings[0].startswith("sessions without prompt_tokens: 2; the inputs of 1 of them grow")

    @pytest.mark.real
    @pytest.mark.skipif(golden_cases.root() is None, reason=golden_cases.SKIP_REASON)
    def test_golden_traces_give_the_requests_that_they_are_known_to_hold(self) -> None:
        for case in {case.folder: case for case in golden_cases.find()}.values():
            requests = play(Trace.read(case.folder / "trace"), warnings=[])[1]
            for request, known in zip(requests, case.requests, strict=True):
                for name in ("arrival_us", "input_tokens", "prompt_tokens", "segments", "output_tokens", "deadline_us"):
                    assert getattr(request, name) == getattr(known, name), f"{case.folder}: {name}"


class TestRows:
    def test_everything_a_request_has(self) -> None:
        trace = trace_of(
            arrival_time_us=[5], client_id=["c"], tenant_id=["t"], slo_class=["batch"], model=["m"], streaming=[True],
            prefix_group=["g"], prefix_length=[7], client_seq=[12], prompt_tokens=[17], planned_output_tokens=[9],
            max_output_tokens=[9], finish_reason=["length"], deadline_us=[300], reason_ratio=[0.25],
            text_tokens=[4], image_tokens=[6],
        )  # fmt: skip
        (request,) = play(trace)[1]
        client = request.client
        assert (client.client_id, client.tenant_id, client.slo_class, client.model) == ("c", "t", "batch", "m")
        assert (client.streaming, client.prefix_group, client.prefix_length) == (True, "g", 7)
        assert (request.client_seq, request.input_tokens, request.prompt_tokens) == (12, 10, 17)
        assert request.segments == (("g", 7), (None, 10))
        assert (request.output_tokens, request.max_output_tokens, request.capped) == (9, 9, True)
        assert (request.deadline_us, request.reason_ratio, request.parts) == (300, 0.25, (4, 6, 0, 0))

    def test_whether_the_limit_cut_an_unfinished_output(self) -> None:
        trace = trace_of(
            arrival_time_us=[0, 1, 2], status=["timeout", "timeout", "ok"], finish_reason=["", "", "stop"],
            planned_output_tokens=[9, 8, 9], max_output_tokens=[9, 9, 9],
        )  # fmt: skip
        assert [request.capped for request in play(trace)[1]] == [True, False, False]

    def test_segments_beside_the_trace_win_over_its_columns(self) -> None:
        table = SegmentTable()
        table.put(8, (("x", 4), (None, 30)))
        trace = trace_of(request_id=[4, 8], arrival_time_us=[0, 1], segments=table)
        assert [request.segments for request in play(trace)[1]] == [((None, 10),), (("x", 4), (None, 30))]

    def test_tokens_that_contradict_each_other(self) -> None:
        trace = trace_of(arrival_time_us=[0], prompt_tokens=[12], prefix_group=["g"], prefix_length=[20])
        with pytest.raises(
            BlisError, match=r"request 0 has a prompt of 12 tokens \(prompt_tokens\), but a shared prefix"
        ):
            play(trace)

    def test_a_speed_that_needs_longer_than_the_clock_counts(self) -> None:
        with pytest.raises(BlisError, match="speed is 1e-09, at which"):
            play(trace_of(arrival_time_us=[10**9]), speed=1e-9)

    def test_columns_that_are_all_equal_take_no_room(self) -> None:
        trace = trace_of(arrival_time_us=np.arange(1000), input_tokens=np.full(1000, 3))
        requests = play(trace)[1]
        assert {request.input_tokens for request in requests} == {3}
