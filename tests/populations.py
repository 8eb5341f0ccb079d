"""Random clients of a workload, as plain data of a spec."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["ARRIVALS", "DISTRIBUTIONS", "cohorts", "populations"]

ARRIVALS = st.one_of(
    st.just({"process": "poisson"}),
    st.just({"process": "constant"}),
    st.builds(lambda cv: {"process": "gamma", "cv": cv}, st.floats(0.1, 10)),
    st.builds(lambda cv: {"process": "weibull", "cv": cv}, st.floats(0.1, 10)),
)
DISTRIBUTIONS = st.sampled_from(
    [
        {"type": "gaussian", "params": {"mean": 500, "std_dev": 200, "min": 1, "max": 900}},
        {"type": "exponential", "params": {"mean": 100}},
        {"type": "lognormal", "params": {"mu": 5, "sigma": 1}},
        {"type": "pareto_lognormal", "params": {"alpha": 2, "xm": 100, "mu": 4, "sigma": 1, "mix_weight": 0.2}},
        {"type": "constant", "params": {"value": 64}},
        {"type": "empirical", "params": {"10": 0.25, "1000": 0.75}},
    ]
)


def windows(start: int, length: int, gap: int, rate: float | None, arrival: Any) -> dict[str, Any]:
    """Two windows, of which the second may have a rate and an arrival process of its own."""
    ends = [start, start + length, start + length + gap, start + 2 * length + gap]
    first, second = ({"start_us": f"{ends[at]}s", "end_us": f"{ends[at + 1]}s"} for at in (0, 2))
    return {"windows": [{**second, "rate": rate, "arrival": arrival}, first]}


WINDOWS = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 20), st.integers(1, 20)).map(
        lambda at: {"windows": [{"start_us": f"{at[0]}s", "end_us": f"{at[0] + at[1]}s"}]}
    ),
    st.builds(
        windows,
        st.integers(0, 9),
        st.integers(1, 9),
        st.integers(0, 9),
        st.sampled_from([None, 0.5, 15.0]),
        st.one_of(st.none(), ARRIVALS),
    ),
)


@st.composite
def populations(draw: st.DrawFn, least: int = 1) -> list[dict[str, Any]]:
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=least, max_size=4, unique=True))
    return [
        {
            "id": name,
            "rate": draw(st.floats(0.05, 20)),
            "arrival": draw(ARRIVALS),
            "input_distribution": draw(DISTRIBUTIONS),
            "output_distribution": draw(DISTRIBUTIONS),
            "lifecycle": draw(WINDOWS),
            "max_output_tokens": draw(st.sampled_from([None, 50])),
        }
        for name in names
    ]


PATTERNS = st.fixed_dictionaries(
    {},
    optional={
        "diurnal": st.builds(
            lambda hour, ratio: {"peak_hour": hour, "peak_to_trough_ratio": ratio, "day_us": "8s"},
            st.floats(0, 24),
            st.floats(1, 50),
        ),
        "spike": st.builds(
            lambda at, how: {"start_time_us": f"{at}s", "duration_us": "3s", **how},
            st.integers(0, 15),
            st.sampled_from([{"multiplier": 4}, {"multiplier": 0}, {"trace_rate": 30}]),
        ),
        "drain": st.builds(
            lambda at, ramp: {"start_time_us": f"{at}s", "ramp_duration_us": f"{ramp}s"},
            st.integers(0, 19),
            st.integers(0, 9),
        ),
        "prefix_sharing": st.just("per_member"),
    },
)


@st.composite
def cohorts(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to two cohorts, named so that their members come before, between and after the clients."""
    names = draw(st.lists(st.sampled_from(["aa", "bc", "z"]), max_size=2, unique=True))
    return [
        {
            "id": name,
            "population": draw(st.integers(1, 9)),
            "rate": draw(st.floats(0.1, 9)),
            "arrival": draw(ARRIVALS),
            "input_distribution": draw(DISTRIBUTIONS),
            "output_distribution": draw(DISTRIBUTIONS),
            "prefix_group": "docs",
            "prefix_length": 16,
            "lifecycle": draw(WINDOWS),
            **draw(PATTERNS),
        }
        for name in names
    ]
