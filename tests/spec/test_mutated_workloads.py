"""Whatever is done to a workload, reading it gives a spec or a SpecError, never anything else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from blis.errors import SpecError
from blis.spec.workload import WorkloadSpec, parse_workload, workload_from_dict

SPECS = Path(__file__).resolve().parents[2] / "specs"
TEXTS = [path.read_text() for path in sorted(SPECS.glob("*.yaml"))]
DATA = [yaml.safe_load(text) for text in TEXTS] + [
    {"horizon": "60s", "servegen_data": {"path": "x", "span_start": 0, "span_end": 600, "normalize": "none"}}
]
JARGON = ("Input should", "validation error", "pydantic", "Traceback", "NoneType", "dict", "tuple")

WORDS = st.sampled_from(
    ["gamma", "poisson", "gaussian", "empirical", "1", "2", "60s", "", "file", "pdf", "constant", "nan", "🦜", "\ud800"]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    WORDS,
    st.text(max_size=5),
    st.dates(),
    st.binary(max_size=2),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.integers(0, 9) | st.booleans(), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, child in items for place in places(child, (*path, key)))]


def mutate(data: Any, path: tuple[Any, ...], how: str, value: Any, word: str) -> Any:
    if not path:
        return value if how == "replace" else data
    data = copy.deepcopy(data)
    holder = data
    for part in path[:-1]:
        holder = holder[part]
    match how:
        case "replace":
            holder[path[-1]] = value
        case "delete":
            del holder[path[-1]]
        case "double" if isinstance(holder, list):
            holder.append(holder[path[-1]])
        case _ if isinstance(holder, dict):
            holder[word] = value
    return data


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    data = draw(st.sampled_from(DATA))
    for _ in range(draw(st.integers(1, 4))):
        if not isinstance(data, dict):
            break
        path = draw(st.sampled_from(places(data)))
        how = draw(st.sampled_from(["replace", "replace", "delete", "double", "add"]))
        data = mutate(data, path, how, draw(VALUES), draw(WORDS))
    return data


def check(error: SpecError, lines: int = 10**9) -> None:
    assert error.problems
    for problem in error.problems:
        assert problem.message
        assert problem.line is None or 1 <= problem.line <= lines
        assert not any(word in problem.message for word in JARGON), problem.message


def read(data: Any) -> WorkloadSpec | None:
    try:
        return workload_from_dict(data, base_dir=SPECS)
    except SpecError as error:
        check(error)
        return None


@settings(max_examples=400)
@given(mutated())
def test_mutated_data(data: Any) -> None:
    before = repr(data)
    spec = read(data)
    assert repr(data) == before, "reading changes nothing"
    if spec is not None:
        assert workload_from_dict(spec.to_dict()).to_dict() == spec.to_dict()
        assert parse_workload(yaml.safe_dump(spec.to_dict())).clients == workload_from_dict(spec.to_dict()).clients


@settings(max_examples=300)
@given(mutated())
def test_mutated_data_as_yaml(data: Any) -> None:
    text = yaml.dump(data, allow_unicode=True)
    try:
        parse_workload(text, "f.yaml", base_dir=SPECS)
    except SpecError as error:
        check(error, lines=text.count("\n") + 1)


@settings(max_examples=300)
@given(
    st.sampled_from(TEXTS),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 5), st.text(max_size=3)), max_size=4),
)
def test_mutated_text(text: str, edits: list[tuple[int, int, str]]) -> None:
    for position, length, insertion in edits:
        start = position % (len(text) + 1)
        text = text[:start] + insertion + text[start + length :]
    try:
        parse_workload(text, "f.yaml", base_dir=SPECS)
    except SpecError as error:
        check(error)


@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    try:
        parse_workload(text, "f.yaml")
    except SpecError as error:
        check(error)


@given(
    st.sampled_from(DATA),
    st.dictionaries(st.sampled_from(["seed", "horizon", "aggregate_rate", "clients", "x"]), VALUES),
)
def test_any_overrides(data: Any, overrides: dict[str, Any]) -> None:
    try:
        parse_workload(yaml.safe_dump(data), "f.yaml", base_dir=SPECS, overrides=overrides)
    except SpecError as error:
        check(error)
