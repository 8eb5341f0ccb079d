"""docs/reference/contracts.md names tests that exist, for every contract."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

CONTRACTS = [
    *(f"BC-{number}" for number in range(1, 13)),
    *(f"NC-{number}" for number in range(1, 5)),
    *(f"EC-{number}" for number in range(1, 6)),
]
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?(?:::(\w+))?`")


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "reference" / "contracts.md").read_text()


def names(path: Path) -> set[tuple[str, ...]]:
    """Tests of a file: (function,) or (class, method), and its classes."""
    found: set[tuple[str, ...]] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add((node.name,))
        if isinstance(node, ast.ClassDef):
            found |= {(node.name, inner.name) for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("contract", CONTRACTS)
def test_each_contract_has_a_row_with_tests_or_says_why_not(page: str, contract: str) -> None:
    (row,) = [line for line in page.splitlines() if line.startswith(f"| {contract} |")]
    assert TEST.search(row) or "not in this version" in row


def test_every_test_that_is_named_exists(page: str, repository: Path) -> None:
    missing = []
    for file, *path in TEST.findall(page):
        wanted = tuple(part for part in path if part)
        if not (repository / file).is_file() or (wanted and wanted not in names(repository / file)):
            missing.append("::".join([file, *wanted]))
    assert missing == []
