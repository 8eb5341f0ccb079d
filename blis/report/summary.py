"""A trace's summary as a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from blis.metrics import Anomalies, Distribution, GroupSummary, Summary
from blis.report.blocks import Block, Facts, Grid, Mood, Row, printable
from blis.report.clients import FIGURES, client_latencies, figures, sessions
from blis.report.load import load_blocks
from blis.report.numbers import NOTHING, count, milliseconds, number, per_second, plural, share
from blis.report.run import run_facts
from blis.trace import Status, TraceHeader

__all__ = ["report"]

_MOST_ROWS = 20
_BREAKDOWNS = ("SLO class", "Tenant", "Pool", "Instance", "Client")
_COLUMNS = (
    "requests",
    "completed",
    "TTFT\np50",
    "TTFT\np99",
    "TPOT\np50",
    "TPOT\np99",
    "E2E\np50",
    "E2E\np99",
    "tokens/s",
    "SLO\nmet",
)
_UNITS = "Latencies in ms, output tokens; all of completed requests."
_COMPLETED, _SLO = 1, 9
_SPARE = (4, 6, 2)
"""Columns that a narrow terminal leaves out first: medians of TPOT and E2E, then of TTFT."""


def report(header: TraceHeader, summary: Summary, origins: Mapping[str, str] | None = None) -> list[Block]:
    """Return the report of a trace.

    ``origins`` has words to put in front of a line about what was run, such as the file that the ``Workload`` came
    from.
    """
    blocks: list[Block] = [run_facts(header, summary, origins or {}), *load_blocks(header), _requests(summary)]
    if summary.conservation.completed:
        blocks.append(_latencies(summary))
        if summary.client_view is not None:
            blocks.append(client_latencies(summary.client_view))
        blocks.append(_service(summary))
    if summary.sessions is not None and summary.sessions.sessions:
        blocks.append(sessions(summary))
    if rows := _breakdowns(summary):
        blocks.append(_breakdown_grid(summary, rows))
    if header.notes:
        blocks.append(Facts("Notes", tuple(("", printable(note)) for note in header.notes)))
    return blocks


def _requests(summary: Summary) -> Grid:
    counts = summary.conservation
    ends: list[tuple[str, int, Mood]] = [
        ("completed", counts.completed, "good" if counts.completed == counts.injected else ""),
        ("timed out", counts.timed_out, "bad"),
        ("rejected by admission", counts.rejected, "doubtful"),
        ("dropped, fit no instance", counts.dropped, "bad"),
        ("failed", counts.failed, "bad"),
        ("cut while running", counts.running, "doubtful"),
        ("cut while queued", counts.queued, "doubtful"),
    ]
    rows = [Row(("arrived", count(counts.injected), ""))]
    for label, amount, mood in ends:
        if amount or label == "completed":
            part = share(amount / counts.injected) if counts.injected else NOTHING
            rows.append(Row((label, count(amount), part), mood if amount else "bad" if counts.injected else ""))
    notes = [] if counts.balanced else ["These don't add up: requests are missing from the trace, or in it twice."]
    return Grid(("Requests", "", ""), tuple(rows), (*notes, *_why_dropped(summary)))


def _why_dropped(summary: Summary) -> Iterator[str]:
    outgrown = summary.overall.statuses.get(Status.CONTEXT_OVERFLOW, 0)
    if outgrown:
        yield f"Dropped: {plural(outgrown, 'request')} of sessions whose context outgrew the model's max_model_len."
    unservable = summary.unservable
    if unservable is not None and unservable.model_length:
        beyond = "more tokens, prompt and output, than the model's max_model_len"
        yield f"Dropped: {plural(unservable.model_length, 'request')} of {beyond}."
    if unservable is not None and unservable.kv_cache:
        beyond = "more tokens, prompt and output, than the instance's whole KV cache holds (total_kv_blocks)"
        yield f"Dropped: {plural(unservable.kv_cache, 'request')} of {beyond}."


def _latencies(summary: Summary) -> Grid:
    overall = summary.overall
    kinds: list[tuple[str, Distribution | None]] = [
        ("TTFT  to the first token", overall.ttft_us),
        ("First token after the reasoning", overall.first_answer_us),
        ("ITL   between two tokens", summary.itl_us),
        ("TPOT  per output token", overall.tpot_us),
        ("E2E   to the last token", overall.e2e_us),
        ("Scheduling delay", overall.scheduling_delay_us),
    ]
    if (intended := summary.intended) is not None:
        kinds += [
            ("TTFT from the intended send", intended.ttft_us),
            ("E2E from the intended send", intended.e2e_us),
            ("Sent later than intended", intended.schedule_delay_us),
        ]
    rows = [Row((label, *figures(kind))) for label, kind in kinds if kind is not None and kind.n]
    since = "send" if summary.view == "client" else "arrival"
    notes = [f"Of the {plural(overall.e2e_us.n, 'completed request')}; times count from a request's {since}."]
    if summary.client_view is not None:
        notes.append("At the server; what its clients see through their networks is below.")
    if summary.warm_up_requests:
        notes.append(f"The first {plural(summary.warm_up_requests, 'request')}, the warm-up, left out.")
    if summary.itl_us is None:
        notes.append("The trace doesn't record gaps between tokens (ITL).")
    return Grid(("Latency, ms", *FIGURES), tuple(rows), tuple(notes))


def _service(summary: Summary) -> Facts:
    overall, rates = summary.overall, summary.overall.throughput
    output, own = per_second(rates.output_tokens_per_s), per_second(rates.input_tokens_per_s)
    tokens = f"{output} output tokens/s, {own} input tokens/s"
    if rates.prompt_tokens_per_s not in (None, rates.input_tokens_per_s):
        more = "prefixes and session context" if summary.sessions else "shared prefixes"
        tokens += f" ({per_second(rates.prompt_tokens_per_s)} with {more})"
    facts = [("Throughput", f"{per_second(rates.requests_per_s)} requests/s completed"), ("Tokens", tokens)]
    facts += _targets(summary)
    if summary.cache.hit_rate is not None:
        cached = f"{count(summary.cache.cached_tokens)} prompt tokens not computed again"
        facts.append(("Prefix cache", f"{share(summary.cache.hit_rate)} of KV blocks were hits; {cached}"))
    preempted = f", of {plural(summary.preempted_requests, 'request')}" if overall.preemptions else ""
    facts.append(("Preemptions", f"{count(overall.preemptions)}{preempted}"))
    if summary.jain_fairness is not None and len(summary.tenants) > 1:
        meaning = f"Jain's index of output tokens between {plural(len(summary.tenants), 'tenant')}; 1 is equal"
        facts.append(("Fairness", f"{number(summary.jain_fairness)} ({meaning})"))
    if queueing := _queueing(overall.anomalies):
        facts.append(("Queueing", queueing))
    return Facts("Service", tuple(facts))


def _targets(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield the facts about targets: those of users, so that the clients' view comes first."""
    slo = summary.overall.slo
    if not slo.with_targets:
        return
    seen, view = (slo, "") if summary.client_view is None else (summary.client_view.overall.slo, " as clients see it")
    of = f"of completed requests met all their targets{view} ({count(seen.with_targets)} have any)"
    good = f"{per_second(seen.goodput_requests_per_s)} requests/s, {per_second(seen.goodput_tokens_per_s)} tokens/s"
    at_server = f"; at the server {share(slo.attainment)}" if view else ""
    yield "SLO attainment", f"{share(seen.attainment)} {of}{at_server}"
    at_server = f"; at the server {per_second(slo.goodput_requests_per_s)} requests/s" if view else ""
    yield "Goodput", f"{good}, from these{at_server}"


def _queueing(anomalies: Anomalies | None) -> str:
    """Return which requests waited for other reasons than load; empty where none did."""
    if anomalies is None:
        return ""
    counts = [
        (anomalies.priority_inversions, "passed by a later one of their class, no shorter"),
        (anomalies.head_of_line_blocked or 0, "blocked by a long prompt without room at the head of the queue"),
        (anomalies.starved, "starved by others that came later"),
    ]
    found = [f"{count(amount)} {what}" for amount, what in counts if amount]
    return f"of {plural(anomalies.judged, 'request')}, {'; '.join(found)}" if found else ""


def _groups(summary: Summary) -> Mapping[str, Mapping[str, GroupSummary]]:
    groups = (summary.slo_classes, summary.tenants, summary.pools, summary.instances, summary.clients)
    return dict(zip(_BREAKDOWNS, groups, strict=True))


def _breakdowns(summary: Summary) -> list[Row]:
    """Return the rows of all breakdowns that have something to compare."""
    rows: list[Row] = []
    figures: dict[str, list[tuple[str, ...]]] = {}
    for name, groups in _groups(summary).items():
        if len(groups) < 2:
            continue
        labels = sorted(groups, key=_natural)
        lines = [Row((printable(label) or "(none)", *_cells(groups[label]))) for label in labels[:_MOST_ROWS]]
        figures[name] = [line.cells[1:] for line in lines]
        if name == "Client" and sorted(figures[name]) == sorted(figures.get("Tenant", [])):
            # Each tenant is one client: the same lines again.
            continue
        rows += [Row((name,)), *lines]
        if len(labels) > _MOST_ROWS:
            rows.append(Row((f"  and {len(labels) - _MOST_ROWS} more, see --json",)))
    for name, labels_left in summary.too_many.items():
        rows.append(Row((f"{name.replace('_', ' ')}: {labels_left:,}, too many to list",)))
    return rows


def _cells(group: GroupSummary) -> tuple[str, ...]:
    kinds = (group.ttft_us, group.tpot_us, group.e2e_us)
    latencies = [milliseconds(figure) for kind in kinds for figure in (kind.p50, kind.p99)]
    done = share(group.completed / group.requests) if group.requests else NOTHING
    met = share(group.slo.attainment) if group.slo.with_targets else NOTHING
    return (count(group.requests), done, *latencies, per_second(group.throughput.output_tokens_per_s), met)


def _breakdown_grid(summary: Summary, rows: list[Row]) -> Grid:
    """Return the breakdowns, without the columns that say nothing: all completed, nobody with targets."""
    silent = set()
    if summary.overall.completed == summary.overall.requests:
        silent.add(_COMPLETED)
    if not summary.overall.slo.with_targets:
        silent.add(_SLO)
    kept = [column for column in range(len(_COLUMNS)) if column not in silent]
    lines = [
        row if len(row.cells) == 1 else Row((row.cells[0], *(row.cells[column + 1] for column in kept))) for row in rows
    ]
    spare = tuple(kept.index(column) + 1 for column in _SPARE)
    notes = (_UNITS,) if summary.client_view is None else (_UNITS, "All of this is the server's view.")
    return Grid(("By group", *(_COLUMNS[column] for column in kept)), tuple(lines), notes, spare)


def _natural(label: str) -> list[tuple[int, int | str]]:
    """Sort instance_2 before instance_10."""
    parts: list[tuple[int, int | str]] = []
    word = ""
    for letter in label + "\0":
        if word and letter.isdecimal() != word[-1].isdecimal():
            parts.append((0, int(word)) if word.isdecimal() else (1, word))
            word = ""
        word += letter
    return parts
