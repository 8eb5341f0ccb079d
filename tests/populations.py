"""Random clients of a workload, as plain data of a spec."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["ARRIVALS", "DISTRIBUTIONS", "populations"]

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
WINDOWS = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 20), st.integers(1, 20)).map(
        lambda at: {"windows": [{"start_us": f"{at[0]}s", "end_us": f"{at[0] + at[1]}s"}]}
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
