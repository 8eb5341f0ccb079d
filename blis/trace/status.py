"""How a request can end, and why a finished one stopped."""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "DROPPED",
    "FAILED",
    "FINISH_CODES",
    "FINISH_REASONS",
    "STATUSES",
    "STATUS_CODES",
    "FinishReason",
    "Status",
]


class Status(StrEnum):
    """The end of a request; every request has exactly one.

    Members compare equal to their text, so ``row.status == "ok"`` works too.
    """

    OK = "ok"
    """Every token arrived."""
    TIMEOUT = "timeout"
    """The deadline passed first."""
    REJECTED = "rejected"
    """Refused by admission, or by a server that said it was too busy (429, 503)."""
    UNSERVABLE = "unservable"
    """Can't fit the instance, however idle it is: too long for the model or for the KV cache."""
    INCOMPLETE = "incomplete"
    """Still queued or running when the run was cut."""
    HTTP_ERROR = "http_error"
    """The server answered with an error code."""
    CONNECT_ERROR = "connect_error"
    """The server couldn't be reached."""
    DISCONNECTED = "disconnected"
    """The connection broke before the answer ended."""
    TRUNCATED = "truncated"
    """The stream ended without its end marker."""
    MALFORMED = "malformed"
    """The answer couldn't be understood."""
    CANCELLED = "cancelled"
    """Given up by the client, for example when the user interrupted the run."""
    CONTEXT_OVERFLOW = "context_overflow"
    """A session's context outgrew the model's limit."""
    ERROR = "error"
    """Failed for a reason that wasn't recorded; only traces from other tools have it."""


class FinishReason(StrEnum):
    """Why a completed answer ended; empty while there is none.

    Real servers give other reasons too (``tool_calls``, ``abort``): traces keep those as they came.
    """

    NONE = ""
    STOP = "stop"
    LENGTH = "length"


STATUSES = tuple(Status)
"""Statuses by code."""
STATUS_CODES: dict[str, int] = {status: code for code, status in enumerate(STATUSES)}
"""Small whole numbers from 0, as :meth:`blis.trace.RecordTable.put` takes them."""
FINISH_REASONS = tuple(FinishReason)
"""Finish reasons by code."""
FINISH_CODES: dict[str, int] = {reason: code for code, reason in enumerate(FINISH_REASONS)}
"""Small whole numbers from 0, as :meth:`blis.trace.RecordTable.put` takes them."""

DROPPED = frozenset({Status.UNSERVABLE, Status.CONTEXT_OVERFLOW})
"""Requests no instance could have served."""
FAILED = frozenset(
    {
        Status.HTTP_ERROR,
        Status.CONNECT_ERROR,
        Status.DISCONNECTED,
        Status.TRUNCATED,
        Status.MALFORMED,
        Status.CANCELLED,
        Status.ERROR,
    }
)
"""Requests that went wrong on the way to a server or back."""
