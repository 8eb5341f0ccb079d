"""How the members of cohorts are called."""

from __future__ import annotations

__all__ = ["cohort_of", "member_id"]


def member_id(cohort: str, number: int) -> str:
    """Return the client id of a cohort's member, of which ``number`` counts from 0."""
    return f"{cohort}-{number}"


def cohort_of(client_id: str) -> str | None:
    """Return the id of the cohort whose member would be called ``client_id``, None where none could.

    >>> cohort_of(member_id("web", 17)), cohort_of("web")
    ('web', None)
    """
    cohort, dash, number = client_id.rpartition("-")
    return cohort if dash and number.isascii() and number.isdecimal() else None
