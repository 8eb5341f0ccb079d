"""From a call that is over to its row in the trace."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blis.request import Request
from blis.server.answer import Answer
from blis.server.call import Call
from blis.server.wall_clock import WallClockEnvironment
from blis.trace.columns import MISSING
from blis.trace.observed import NO_USAGE, ObservedRow
from blis.trace.status import FinishReason, Status

__all__ = ["chunk_times", "observed_row"]

_CHARACTERS_PER_TOKEN = 4


def observed_row(call: Call, status: Status, message: str, env: WallClockEnvironment) -> ObservedRow:
    """Return the row of a ``call`` that ended with ``status``, and ``message`` in words.

    An answer that didn't stream has no first chunk: nobody saw its first token.
    """
    request, answer = call.request, call.attempt.answer
    chunks = answer.chunk_ns
    streamed = bool(chunks) and request.client.streaming
    tokens = answer.output_tokens
    if status is Status.OK and tokens < 0:
        tokens = _estimate(request, answer)
        message = "; ".join(filter(None, (message, NO_USAGE)))
    return ObservedRow(
        request_id=request.request_id,
        client=request.client,
        client_seq=request.client_seq,
        session_id=request.session_id,
        round_index=request.round_index,
        input_tokens=request.input_tokens,
        prompt_tokens=request.prompt_tokens,
        planned_output_tokens=request.output_tokens,
        max_output_tokens=request.max_output_tokens,
        parts=request.parts,
        reason_ratio=request.reason_ratio,
        deadline_us=MISSING if request.deadline_us is None else request.deadline_us,
        arrival_time_us=request.arrival_us,
        send_time_us=env.at_us(call.sent_ns) if call.sent_ns else MISSING,
        setup_us=call.setup_ns // 1000 if call.sent_ns else 0,
        first_chunk_time_us=env.at_us(chunks[0]) if streamed else MISSING,
        last_chunk_time_us=env.at_us(chunks[-1]) if chunks else MISSING,
        num_chunks=len(chunks),
        output_tokens=tokens,
        server_input_tokens=answer.prompt_tokens,
        cached_tokens=answer.cached_tokens,
        status=status,
        finish_reason=answer.finish_reason,
        error_message=message,
    )


def chunk_times(call: Call, env: WallClockEnvironment) -> npt.NDArray[np.int64]:
    """Return when the chunks with tokens arrived, microseconds since the run's start, int64, shape (chunks,)."""
    return (np.array(call.attempt.answer.chunk_ns, np.int64) - env.to_ns(0)) // 1000


def _estimate(request: Request, answer: Answer) -> int:
    """Guess how many tokens an answer has that the server didn't count; chunks don't tell."""
    if answer.finish_reason == FinishReason.LENGTH:
        return request.output_tokens
    return max(round(answer.characters / _CHARACTERS_PER_TOKEN), 1)
