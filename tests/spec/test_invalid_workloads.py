"""specs/invalid holds one workload per rule; each gives exactly the errors its head expects, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from blis.errors import SpecError
from blis.spec.workload import load_workload

FOLDER = Path("specs/invalid")
FILES = sorted(path.name for path in (Path(__file__).resolve().parents[2] / FOLDER).glob("*.yaml"))
EXPECT = "# expect: "


@pytest.fixture(autouse=True)
def _at_the_root(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors name files as they were given."""
    monkeypatch.chdir(repository)


def test_there_is_a_file_for_each_rule() -> None:
    assert len(FILES) >= 90


@pytest.mark.parametrize("name", FILES)
def test_errors_are_the_expected_ones(name: str) -> None:
    path = FOLDER / name
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    texts = [line.removeprefix(EXPECT) for line in head if line.startswith(EXPECT)]
    # A problem without a line has a blank there.
    expected = [f"{path}:{text}" if text[0].isdigit() else f"{path}: {text}" for text in texts]
    assert head[0].startswith("# ")
    assert not head[0].startswith(EXPECT), "the first line says in words what is wrong"
    assert expected
    with pytest.raises(SpecError) as caught:
        load_workload(path)
    assert [str(problem) for problem in caught.value.problems] == expected
    assert str(caught.value).count("\n") == len(expected) - 1
