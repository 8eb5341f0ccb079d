"""From a trace back to a workload spec that sends such traffic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from blis.characterise.arrivals import Arrivals, of_arrivals
from blis.characterise.empirical import Method, as_spec, measured, short
from blis.characterise.requests import Requests
from blis.errors import BlisError
from blis.spec.arrival import CV_RANGES
from blis.spec.client import ClientSpec
from blis.spec.multimodal import MEDIA
from blis.spec.workload import WorkloadSpec, workload_from_dict
from blis.trace import MISSING, Trace, TraceHeader, facts_for

__all__ = ["fit_spec"]

Rows = npt.NDArray[np.intp]
Data = dict[str, Any]
Facts = TypeVar("Facts")

_LEAST_CV = 0.01
_SLO_CLASSES = get_args(ClientSpec.model_fields["slo_class"].annotation)
_SMALLEST = 0.005
"""Clients with a smaller share of the requests aren't described one by one."""
_OTHERS = "others"
_NOBODY = "client"


def fit_spec(trace: Trace, *, clients: int = 50, lengths: Method = "empirical") -> WorkloadSpec:
    """Return a workload whose traffic is like that of ``trace``: in rate, burstiness, lengths, prefixes and classes.

    Each of the busiest ``clients`` that sends at least 0.5 % of the requests becomes a client of its own (requests of
    one id that differ in tenant, class, model or prefix are clients of their own): its rate, over time where that
    clearly changes; the process that fits its gaps best, with the cv they have; its lengths as ``empirical``
    distributions or ``fitted`` ones; its prefix, timeout, cap, reasoning and modalities. Rounds of sessions make
    sessions, of as many rounds, with the time between answer and next round as think time. All other clients of a
    class, a model and a prefix are pooled into one, those with sessions apart; where they too are less than 0.5 %, all
    of a class are, as single requests whose inputs hold what came before.

    What arrived because something was answered is taken as it came, except for the rounds of sessions; prompts that
    share anything but a named prefix, as those of Mooncake traces do, are taken as new ones. The parts are those of
    ServeGen's characterisation (Xiang et al. 2025).

    Raises:
        BlisError: The trace has no requests.
    """
    requests = Requests(trace)
    if not len(requests):
        raise BlisError("the trace has no requests, so there is nothing to fit a workload to")
    groups, least = _groups(requests), _SMALLEST * len(requests)
    large = min(clients, sum(len(rows) >= least for rows in groups))
    described = [_client(requests, rows, lengths, trace.header) for rows in groups[:large]]
    alike = _alike(requests, groups[large:])
    described += [_client(requests, rows, lengths, trace.header, pooled=True) for rows in alike if len(rows) >= least]
    rest = [rows for rows in alike if len(rows) < least]
    described += [_pool(requests, rows, lengths) for rows in _by_class(requests, rest)]
    found = list(_with_ids(described))
    return workload_from_dict({"version": "2", "horizon": _horizon(requests), "clients": found})


def _horizon(requests: Requests) -> int:
    """Return the end of the arrivals, which no arrival has reached."""
    return max(requests.span_us, int(requests.arrival_us[-1]) + 1)


def _groups(requests: Requests) -> list[Rows]:
    """Return the rows of each client, the busiest first."""
    texts = (requests.client, requests.tenant, requests.slo_class, requests.model, requests.prefix)
    found = _equal(np.arange(len(requests)), *(text.codes for text in texts))
    return sorted(found, key=len, reverse=True)


def _alike(requests: Requests, groups: list[Rows]) -> list[Rows]:
    """Return the rows of all ``groups`` by what they are like, whoever sent them."""
    if not groups:
        return []
    texts = (requests.slo_class, requests.model, requests.prefix)
    return _equal(np.sort(np.concatenate(groups)), *(text.codes for text in texts), requests.in_session)


def _equal(rows: Rows, *columns: npt.NDArray[Any]) -> list[Rows]:
    """Split ``rows``, in order, where any of some columns of all rows differ."""
    key = np.zeros(len(rows), np.int64)
    for column in columns:
        values = np.unique(column[rows], return_inverse=True)[1]
        key = np.unique(key * (int(values.max()) + 1) + values, return_inverse=True)[1]
    order = np.argsort(key, kind="stable")
    return [rows[places] for places in np.split(order, np.flatnonzero(np.diff(key[order])) + 1)]


def _by_class(requests: Requests, groups: list[Rows]) -> Iterator[Rows]:
    """Yield the rows of all ``groups`` together, class by class."""
    if not groups:
        return
    rows = np.sort(np.concatenate(groups))
    codes = requests.slo_class.codes[rows]
    for code in np.unique(codes):
        yield rows[codes == code]


def _with_ids(described: list[Data]) -> Iterator[Data]:
    """Give every client an id of its own."""
    taken: set[str] = set()
    for client in described:
        name, number = client["id"], 1
        while client["id"] in taken:
            number += 1
            client["id"] = f"{name}-{number}"
        taken.add(client["id"])
        yield client


def _client(requests: Requests, rows: Rows, lengths: Method, header: TraceHeader, *, pooled: bool = False) -> Data:
    """Describe the requests of one client, or of several that are alike, ``pooled``, as one."""
    first = int(rows[0])
    slo_class, tenants = _slo_class(requests, first), np.unique(requests.tenant.codes[rows])
    names = [requests.client.words[code] for code in np.unique(requests.client.codes[rows])]
    prefix = requests.prefix.words[requests.prefix.codes[first]]
    data: Data = {
        "id": _pooled_id(slo_class) if pooled else names[0] or _NOBODY,
        "tenant_id": requests.tenant.words[tenants[0]] if len(tenants) == 1 else "",
        "slo_class": slo_class,
        "model": requests.model.words[requests.model.codes[first]],
        "streaming": bool(requests.streaming[first]),
        **_arrivals(requests, rows[requests.opening[rows]]),
        **_contents(requests, rows, requests.input_tokens, lengths),
    }
    if prefix and (length := _usual(requests.prefix_tokens[rows])):
        data |= {"prefix_group": prefix, "prefix_length": length}
    if requests.in_session[first]:
        data["session"] = _session(requests, rows)
    if (targets := _common(header.slo_targets, names)) is not None:
        data["slo_targets"] = targets.model_dump(exclude_none=True)
    if (network := _common(header.network, names)) is not None:
        facts = network.model_dump(exclude_none=True)
        sizes = {key: facts.pop(key) for kind in MEDIA if (key := f"{kind}_bytes_per_token") in facts}
        data["network"] = facts
        media = data.get("multimodal", {})
        media |= {key: size for key, size in sizes.items() if key.replace("bytes_per_token", "distribution") in media}
    return data


def _common(facts: Mapping[str, Facts], names: list[str]) -> Facts | None:
    """Return what a header says of all clients of these names, None where it isn't the same."""
    first = facts_for(facts, names[0])
    return first if all(facts_for(facts, name) == first for name in names) else None


def _pooled_id(slo_class: str) -> str:
    return f"{_OTHERS}-{slo_class}" if slo_class else _OTHERS


def _pool(requests: Requests, rows: Rows, lengths: Method) -> Data:
    """Describe requests that have no more than their class in common as one client's."""
    slo_class = _slo_class(requests, int(rows[0]))
    return {
        "id": _pooled_id(slo_class),
        "slo_class": slo_class,
        **_arrivals(requests, rows),
        **_contents(requests, rows, requests.prompt_tokens, lengths),
    }


def _slo_class(requests: Requests, row: int) -> str:
    """Return the class of a request, none where specs don't know it."""
    name = requests.slo_class.words[requests.slo_class.codes[row]]
    return name if name in _SLO_CLASSES else ""


def _arrivals(requests: Requests, rows: Rows) -> Data:
    found = of_arrivals(requests.arrival_us[rows], requests.span_us)
    data: Data = {"rate": short(found.rate_per_s or 0.0), "arrival": _process(found)}
    if found.trend is not None:
        edges = [round(at * found.trend.window_us) for at in range(len(found.trend.rates_per_s) + 1)]
        edges[-1] = _horizon(requests)
        stretches = zip(edges, edges[1:], found.trend.rates_per_s, strict=False)
        windows = [{"start_us": start, "end_us": end, "rate": short(rate)} for start, end, rate in stretches if rate]
        data["lifecycle"] = {"windows": windows}
    return data


def _process(found: Arrivals) -> Data:
    """Return the process that fits best, with the cv that the gaps have."""
    family = found.fits[0].family if found.fits else "exponential"
    if family == "constant":
        return {"process": "constant"}
    cv = found.steady_cv
    if family == "exponential" or cv is None:
        return {"process": "poisson"}
    return {"process": family, "cv": short(min(max(cv, _LEAST_CV), CV_RANGES[family][-1]))}


def _contents(requests: Requests, rows: Rows, inputs: npt.NDArray[np.int64], lengths: Method) -> Data:
    """Describe what requests hold and produce; ``inputs`` are the lengths of those without modalities."""
    outputs = requests.output_tokens[rows]
    produced = outputs[outputs > 0]
    parts = {name: values[rows] for name, values in requests.parts.items()}
    multimodal = any(values.any() for name, values in parts.items() if name != "text_tokens")
    if multimodal:
        texts = parts.get("text_tokens", np.zeros(len(rows), np.int64))
        data: Data = {"input_distribution": measured(texts), "multimodal": _media(parts, lengths)}
    else:
        data = {"input_distribution": as_spec(np.maximum(inputs[rows], 1), lengths)}
    # A trace that doesn't say how long outputs are, or of requests that all failed, says nothing else either.
    data["output_distribution"] = as_spec(produced if len(produced) else np.ones(1, np.int64), lengths)
    if (ratio := requests.reason_ratio[rows]).any():
        data["reasoning"] = {"reason_ratio_distribution": measured(ratio)}
    caps, timeouts = requests.max_output_tokens[rows], requests.timeout_us[rows]
    if caps[0] > 0 and (caps == caps[0]).all():
        data["max_output_tokens"] = int(caps[0])
    if timeouts[0] > 0 and (timeouts == timeouts[0]).all():
        data["timeout"] = int(timeouts[0])
    return data


def _media(parts: dict[str, npt.NDArray[np.int64]], lengths: Method) -> Data:
    """Describe images, audio and video: all of a kind in a request count as one item."""
    data: Data = {}
    for kind in MEDIA:
        tokens = parts.get(f"{kind}_tokens")
        if tokens is None or not tokens.any():
            continue
        data[f"{kind}_distribution"] = as_spec(tokens[tokens > 0], lengths)
        if not tokens.all():
            data[f"{kind}_count_distribution"] = measured((tokens > 0).astype(np.int64))
    return data


def _session(requests: Requests, rows: Rows) -> Data:
    order = rows[np.lexsort((requests.round_index[rows], requests.session.codes[rows]))]
    codes = requests.session.codes[order]
    following = np.flatnonzero(np.diff(codes) == 0)
    before, after = order[following], order[following + 1]
    answered = np.where(
        requests.answered_us[before] == MISSING, requests.arrival_us[before], requests.answered_us[before]
    )
    own = requests.input_tokens[order] + requests.prefix_tokens[order]
    data: Data = {"max_rounds": measured(np.unique(codes, return_counts=True)[1])}
    if len(following):
        data["think_time_us"] = measured(np.maximum(requests.arrival_us[after] - answered, 0))
    if (requests.prompt_tokens[order] <= own).all():
        data["context_growth"] = "fixed"
    return data


def _usual(values: npt.NDArray[np.int64]) -> int:
    """Return the value that comes most often."""
    distinct, counts = np.unique(values, return_counts=True)
    return int(distinct[int(counts.argmax())])
