"""``import blis`` is light, and the public names are there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import blis

HEAVY = ["numpy", "scipy", "simpy", "pandas", "pydantic", "yaml", "aiohttp", "asyncio", "statsmodels", "typer", "rich"]


def python(repository: Path, code: str) -> str:
    """Standard output of ``code`` in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_import_loads_nothing_heavy(repository: Path) -> None:
    code = f"import sys, blis; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert python(repository, code) == "[]\n"


def test_simulate_needs_no_library_of_later_stages(repository: Path) -> None:
    """What `blis.simulate` doesn't use isn't paid for at its cold start."""
    late = ["pandas", "statsmodels", "pyarrow", "plotly", "aiohttp", "scipy.stats"]
    code = f"import sys, blis; blis.simulate; print([name for name in {late!r} if name in sys.modules])"
    assert python(repository, code) == "[]\n"


def test_public_names_are_listed_and_found() -> None:
    assert set(blis.__all__) <= set(dir(blis))
    assert callable(blis.simulate)
    assert callable(blis.calibrate)
    assert blis.simulate.__module__.startswith("blis.simulation")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'blis' has no attribute 'simulat'"):
        getattr(blis, "simulat")  # noqa: B009 (mypy and ruff would both see the typo)


def test_version_is_the_changelogs(repository: Path) -> None:
    """The newest heading of CHANGELOG.md is the package's version, or Unreleased above it."""
    headings = [line for line in (repository / "CHANGELOG.md").read_text().splitlines() if line.startswith("## [")]
    newest = next(line for line in headings if "Unreleased" not in line) if len(headings) > 1 else headings[0]
    assert f"[{blis.__version__}]" in newest or "Unreleased" in newest
