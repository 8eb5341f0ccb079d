"""A calibration as a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from blis.calibration import Calibration, Comparison, Estimate, Rating
from blis.calibration.results import RATED, Run, worst
from blis.report.blocks import Block, Facts, Grid, Mood, Row, printable
from blis.report.numbers import NOTHING, count, error, milliseconds, per_second, plural, share

__all__ = ["LEVELS", "MOODS", "TITLES", "report"]

TITLES = {
    "ttft_us": "TTFT",
    "e2e_us": "E2E",
    "tpot_us": "TPOT",
    "itl_us": "ITL",
    "output_tokens_per_s": "Output tokens/s",
}
"""Names of the metrics for people."""
LEVELS = {"running": "Running", "waiting": "Waiting", "kv_usage": "KV cache in use"}
"""Names, for people, of what servers tell of themselves."""
MOODS: dict[Rating | None, Mood] = {
    Rating.EXCELLENT: "good",
    Rating.GOOD: "good",
    Rating.FAIR: "doubtful",
    Rating.POOR: "bad",
    None: "",
}
"""How a rating is to be taken."""
_FIGURES = ("mean", "p50", "p90", "p95", "p99")
_BREAKDOWNS = {"slo_classes": "SLO class", "tenants": "Tenant", "phases": "Load"}
_MATCHED = {
    "request_id": "request id, as the simulation is a replay",
    "key": "client, session, round and client sequence",
    "order": "client, session, round and order of arrival",
}
_ONE = 1 - 1e-9
_NOTES = (
    "Bias: mean of simulated minus real, over the real mean. An interval with 0 in it leaves its direction open.",
    "Output tokens/s are compared window by window; gaps of ITL don't go in pairs.",
)


_SERVER_NOTES = (
    "The servers' own metrics and the simulation at the same times; simulated KV use is as if no blocks were shared.",
)


def report(calibration: Calibration) -> list[Block]:
    """Return a calibration's report."""
    blocks: list[Block] = [_overview(calibration), _errors(calibration), _figures(calibration.overall)]
    if rows := list(_groups(calibration)):
        head = (
            "By group",
            "pairs",
            "TTFT\nMAPE",
            "TTFT\nbias",
            "TTFT\nr",
            "E2E\nMAPE",
            "E2E\nbias",
            "E2E\nr",
            "rating",
        )
        blocks.append(Grid(head, tuple(rows), tuple(_left_out(calibration)), spare=(6, 3)))
    if calibration.servers:
        blocks.append(_servers(calibration.servers))
    blocks.append(_settings(calibration))
    if calibration.warnings:
        blocks.append(_listed("Warnings", calibration.warnings))
    blocks.append(_listed("Known limitations", calibration.limitations))
    return blocks


def _overview(calibration: Calibration) -> Facts:
    requests = calibration.requests
    rest = ", ".join(f"{count(amount)} {reason}" for reason, amount in requests.excluded.reasons().items())
    counts = f"{count(requests.calibrated)} of {count(requests.total)}" + (f"; {rest}" if rest else "")
    ends = f"{count(requests.ok)} ok, {count(requests.timeout)} timed out, {count(requests.error)} with errors"
    bootstrap = calibration.bootstrap
    blocks = f"blocks of {plural(bootstrap.block_requests, 'request')}"
    facts = [
        ("Real", _run(calibration.real)),
        ("Simulated", _run(calibration.simulated)),
        ("Requests", ends),
        ("Compared", counts),
        ("Matched by", _MATCHED[calibration.matched_by]),
        ("Intervals", f"95 %, from {count(bootstrap.resamples)} resamples in {blocks}"),
        ("Rating", f"{calibration.rating or NOTHING} (the worse of {' and '.join(TITLES[name] for name in RATED)})"),
    ]
    return Facts("Calibration", tuple((label, printable(text)) for label, text in facts))


def _run(run: Run) -> str:
    seed = f", seed {run.seed}" if run.seed is not None else ""
    return f"{run.path + ': ' if run.path else ''}{plural(run.requests, 'request')}, {run.mode}{seed}"


def _errors(calibration: Calibration) -> Grid:
    head = ("Prediction", "pairs", "MAPE", "95 %", "bias", "95 %", "r", "rank r", "KS D", "rating")
    rows = []
    for name, comparison in calibration.overall.items():
        if not comparison.n:
            continue
        bias = comparison.bias.share if comparison.bias else None
        cells = (
            count(comparison.n) if comparison.mape else NOTHING,
            _value(comparison.mape, share),
            _interval(comparison.mape, share),
            _value(bias, error),
            _interval(bias, error),
            _value(comparison.pearson_r, _two),
            NOTHING if comparison.spearman_r is None else _two(comparison.spearman_r),
            NOTHING if comparison.ks is None else _two(comparison.ks.d),
            comparison.rating or NOTHING,
        )
        rows.append(Row((TITLES[name], *cells), MOODS[comparison.rating]))
    return Grid(head, tuple(rows), _NOTES, spare=(8, 7, 5, 3))


def _figures(overall: Mapping[str, Comparison]) -> Grid:
    rows: list[Row] = []
    for name, comparison in overall.items():
        if not comparison.figures:
            continue
        figures = [comparison.figures[figure] for figure in _FIGURES]
        number: Callable[[float], str] = milliseconds if name.endswith("_us") else per_second
        rows += [
            Row((f"{TITLES[name]}, ms" if name.endswith("_us") else TITLES[name],)),
            Row(("real", *(number(figure.real) for figure in figures))),
            Row(("simulated", *(number(figure.simulated) for figure in figures))),
            Row(("error", *(_value(figure.error, error) for figure in figures))),
        ]
        if any(figure.error and figure.error.low is not None for figure in figures):
            rows.append(Row(("95 %", *(_interval(figure.error, error) for figure in figures))))
    return Grid(("Distributions", *_FIGURES), tuple(rows))


def _servers(levels: Mapping[str, Comparison]) -> Grid:
    head = ("Servers over time", "samples", "real\nmean", "simulated\nmean", "bias", "95 %", "r", "95 %")
    rows = []
    for name, comparison in levels.items():
        mean = comparison.figures["mean"]
        number: Callable[[float], str] = share if name == "kv_usage" else per_second
        cells = (
            count(comparison.n),
            number(mean.real),
            number(mean.simulated),
            _value(mean.error, error),
            _interval(mean.error, error),
            _value(comparison.pearson_r, _two),
            _interval(comparison.pearson_r, _two),
        )
        rows.append(Row((LEVELS[name], *cells)))
    return Grid(head, tuple(rows), _SERVER_NOTES, spare=(7, 5))


def _groups(calibration: Calibration) -> Iterator[Row]:
    for field, title in _BREAKDOWNS.items():
        groups: Mapping[str, Mapping[str, Comparison]] = getattr(calibration, field)
        if len(groups) < 2:
            continue
        yield Row((title,))
        for label, comparisons in groups.items():
            both = [comparisons[name] for name in RATED]
            cells = [cell for comparison in both for cell in _brief(comparison)]
            rating = worst(comparisons)
            name = printable(label) or "(none)"
            if phase := calibration.load.get(label) if field == "phases" else None:
                least, most = per_second(phase.least_requests_per_s), per_second(phase.most_requests_per_s)
                name = f"{name}, {least} to {most}/s"
            yield Row((name, count(both[-1].n), *cells, rating or NOTHING), MOODS[rating])


def _brief(comparison: Comparison) -> tuple[str, str, str]:
    bias = comparison.bias.share if comparison.bias else None
    return _value(comparison.mape, share), _value(bias, error), _value(comparison.pearson_r, _two)


def _left_out(calibration: Calibration) -> Iterator[str]:
    for field, amount in calibration.left_out.items():
        yield f"{_BREAKDOWNS[field]}: {count(amount)} more, those of the fewest requests, not listed."


def _settings(calibration: Calibration) -> Facts:
    settings = calibration.configuration
    differing = {name: f"{value.simulated} (server: {value.server})" for name, value in settings.differing.items()}
    groups = {
        "As the server": settings.matched,
        "Differing": differing,
        "Given": settings.given,
        "Defaults": settings.defaulted,
    }
    facts = [(label, ", ".join(f"{name} {value}" for name, value in group.items())) for label, group in groups.items()]
    return Facts("Simulated settings", tuple((label, printable(text or "none")) for label, text in facts))


def _listed(title: str, texts: tuple[str, ...]) -> Facts:
    return Facts(title, tuple(("", printable(text)) for text in texts))


def _value(estimate: Estimate | None, number: Callable[[float], str]) -> str:
    return NOTHING if estimate is None else number(estimate.value)


def _interval(estimate: Estimate | None, number: Callable[[float], str]) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return NOTHING
    return f"{number(estimate.low).removesuffix(' %')} to {number(estimate.high)}"


def _two(value: float) -> str:
    """Return a number between -1 and 1 to three decimals; only 1 itself is 1.000."""
    return f"{min(value, 0.999) if value < _ONE else value:.3f}"
