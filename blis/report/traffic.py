"""What traffic is like, as a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from blis.characterise.arrivals import Arrivals
from blis.characterise.figures import Characterisation, Client, Lengths
from blis.characterise.fits import Fit
from blis.metrics import Distribution
from blis.report.blocks import Block, Facts, Grid, Row, printable
from blis.report.numbers import NOTHING, count, number, per_second, plural, share, span
from blis.units import US_PER_S

__all__ = ["report"]

_BAR = 30
_LENGTHS = {
    "input_tokens": "Input",
    "prompt_tokens": "Prompt with its context",
    "output_tokens": "Output",
    "text_tokens": "Text",
    "image_tokens": "Images",
    "audio_tokens": "Audio",
    "video_tokens": "Video",
}
_FIGURES = ("mean", "p50", "p90", "p95", "p99", "max")
_PROCESSES = {"exponential": "Poisson", "gamma": "gamma", "weibull": "Weibull", "constant": "constant"}


def report(found: Characterisation, origins: Mapping[str, str]) -> list[Block]:
    """Return the report of a trace's traffic, after the labelled texts of ``origins``."""
    facts = [(label, printable(text)) for label, text in origins.items()]
    blocks: list[Block] = [Facts("Traffic", (*facts, *_traffic(found)))]
    if not found.requests:
        return blocks
    blocks += [Facts("Burstiness", tuple(_burstiness(found))), _over_time(found), _lengths(found)]
    if rows := _fits(found):
        notes = ("AIC above that of the best; KS is the largest difference of cumulative probability.",)
        blocks.append(Grid(("Fits", "parameters", "AIC", "KS"), tuple(rows), notes))
    blocks.append(_clients(found))
    return blocks


def _traffic(found: Characterisation) -> Iterator[tuple[str, str]]:
    requests = plural(found.requests, "request")
    if found.span_us and found.requests:
        mean, peak = found.requests / found.span_us * US_PER_S, max(found.rates.requests_per_s)
        requests += f" in {span(found.span_us)}: {per_second(mean)} per second"
        requests += f", {per_second(peak)} in the busiest {span(found.rates.width_us)}"
    yield "Requests", requests
    clients = found.clients
    if clients.count > 1:
        tenants = f" of {plural(clients.tenants, 'tenant')}" if clients.tenants > 1 else ""
        few = f"{_senders(clients.for_half)} half of the requests, {_senders(clients.for_90_percent)} 90 %"
        yield "Clients", f"{plural(clients.count, 'client')}{tenants}; {few}"
    if (prefixes := found.prefixes) is not None:
        groups = plural(prefixes.groups, "shared prefix").replace("prefixs", "prefixes")
        tokens = f"{share(prefixes.tokens_share)} of all prompt tokens"
        yield "Prefixes", f"{groups}, at the start of {share(prefixes.requests_share)} of the requests; {tokens}"
    if (sessions := found.sessions) is not None:
        rounds = (
            f"{number(sessions.rounds.mean or 0)} rounds on average, at most {count(int(sessions.rounds.max or 0))}"
        )
        yield "Sessions", f"{plural(sessions.count, 'session')} of {rounds}"
    if found.reason_ratio is not None:
        yield "Reasoning", f"{share(found.reason_ratio.mean)} of a request's output on average"


def _senders(clients: int) -> str:
    return f"{count(clients)} send{'s' if clients == 1 else ''}"


def _burstiness(found: Characterisation) -> Iterator[tuple[str, str]]:
    arrivals = found.arrivals
    text = NOTHING
    if arrivals.cv is not None:
        text = f"cv {number(arrivals.cv)} (a Poisson process has 1)"
    if arrivals.trend is not None:
        text += f"; {number(arrivals.trend.cv)} around the changing rate"
    yield "Gaps", text
    if found.dispersion:
        windows = (f"{number(value)} in {span(width)}" for width, value in found.dispersion.items())
        yield "Counts", f"index of dispersion (Poisson: 1) {', '.join(windows)}"
    if found.length_correlation is not None:
        yield "Lengths", f"rank correlation of input and output {number(found.length_correlation)}"


def _over_time(found: Characterisation) -> Grid:
    rates = found.rates
    peak = max(rates.requests_per_s)
    rows = []
    columns = zip(rates.requests_per_s, rates.prompt_tokens_per_s, rates.output_tokens_per_s, strict=True)
    for at, (requests, *tokens) in enumerate(columns):
        bar = "#" * round(_BAR * requests / peak) if peak else ""
        cells = (per_second(requests), *(per_second(value) for value in tokens), bar.ljust(_BAR))
        rows.append(Row((span(at * rates.width_us) if at else "0 s", *cells)))
    head = ("Over time, per second from", "requests", "prompt tokens", "output tokens", "")
    return Grid(head, tuple(rows), spare=(4, 3, 2))


def _lengths(found: Characterisation) -> Grid:
    rows = [_length(_LENGTHS[name], own) for name, own in found.lengths.items()]
    notes = ("Outputs as planned, where the trace tells.",) if found.mode != "generated" else ()
    return Grid(("Lengths, tokens", "mean", "std dev", *_FIGURES[1:]), tuple(rows), notes, spare=(5, 2))


def _length(label: str, own: Lengths) -> Row:
    return Row((label, _tokens(own.tokens.mean), _tokens(own.std_dev), *_percentiles(own.tokens)))


def _percentiles(tokens: Distribution) -> tuple[str, ...]:
    return tuple(_tokens(getattr(tokens, figure)) for figure in _FIGURES[1:])


def _tokens(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}" if value >= 100 else number(value)


def _fits(found: Characterisation) -> list[Row]:
    rows: list[Row] = []
    trend = found.arrivals.trend is not None
    for title, fits in (
        ("Gaps between all arrivals, µs" + (", at the mean rate" if trend else ""), found.arrivals.fits),
        *((f"{_LENGTHS[name]} tokens", found.lengths[name].fits) for name in ("input_tokens", "output_tokens")),
    ):
        if fits:
            rows.append(Row((title,)))
            rows += [_fit(fit, fits[0].aic) for fit in fits]
    return rows


def _fit(fit: Fit, best: float) -> Row:
    params = ", ".join(f"{name} {_parameter(value)}" for name, value in fit.params.items())
    return Row(
        (fit.family.replace("_", "-"), params, "best" if fit.aic == best else f"+{fit.aic - best:,.0f}", _ks(fit))
    )


def _parameter(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _ks(fit: Fit) -> str:
    return f"{fit.ks:.3f}"


def _clients(found: Characterisation) -> Grid:
    rows = [_client(client) for client in found.clients.busiest]
    head = ("Busiest clients", "requests", "share", "per second", "cv", "process", "mean\ninput", "mean\noutput")
    more = found.clients.count - len(rows)
    notes = (f"And {plural(more, 'client')} more.",) if more else ()
    return Grid(head, tuple(rows), notes, spare=(3, 1))


def _client(client: Client) -> Row:
    own = client.arrivals
    cv = own.steady_cv
    return Row(
        (
            printable(client.client_id) or "(none)",
            count(own.requests),
            share(client.share),
            per_second(own.rate_per_s),
            NOTHING if cv is None else number(round(cv, 3)),
            _process(own),
            _tokens(client.mean_input_tokens),
            _tokens(client.mean_output_tokens),
        )
    )


def _process(arrivals: Arrivals) -> str:
    return _PROCESSES[arrivals.fits[0].family] if arrivals.fits else NOTHING
