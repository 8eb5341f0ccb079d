"""Links between the pages lead somewhere, and the checker sees those that don't."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def check(repository: Path, root: Path) -> subprocess.CompletedProcess[str]:
    script = repository / "docs" / "check_links.py"
    return subprocess.run(
        [sys.executable, str(script), str(root)], capture_output=True, text=True, check=False, timeout=60
    )


def test_every_link_leads_somewhere(repository: Path) -> None:
    run = check(repository, repository)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# Top\n[in](docs/a.md) [log](CHANGELOG.md) [out](https://example.org)\n")
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n")
    (tmp_path / "docs" / "a.md").write_text("# A page, of sorts\n[up](../README.md#top) [self](#a-page-of-sorts)\n")
    return tmp_path


def test_a_sound_tree_has_no_problems(repository: Path, tree: Path) -> None:
    run = check(repository, tree)
    assert (run.returncode, run.stdout) == (0, "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[x](b.md)", "docs/a.md: link to b.md: no such file"),
        ("[x](../README.md#nowhere)", "docs/a.md: link to ../README.md#nowhere: the page has no such heading"),
    ],
)
def test_broken_links_are_found(repository: Path, tree: Path, text: str, problem: str) -> None:
    with (tree / "docs" / "a.md").open("a") as file:
        file.write(f"{text}\n")
    run = check(repository, tree)
    assert (run.returncode, run.stdout) == (1, f"{problem}\n")


def test_links_in_code_are_none(repository: Path, tree: Path) -> None:
    with (tree / "docs" / "a.md").open("a") as file:
        file.write("`[x](b.md)`\n```text\n[x](b.md)\n```\n")
    assert check(repository, tree).returncode == 0


def test_orphans_are_found(repository: Path, tree: Path) -> None:
    (tree / "docs" / "lonely.md").write_text("# Nobody links here\n")
    run = check(repository, tree)
    assert (run.returncode, run.stdout) == (1, "docs/lonely.md: no link leads here from README.md\n")
