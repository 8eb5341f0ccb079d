"""Another distribution that owns the import name ``blis`` is detected and explained."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def pretend_installed(directory: Path, name: str, version: str) -> None:
    """Give ``directory`` the metadata of an installed distribution."""
    metadata = directory / f"{name}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def run_blis(home: Path, *more: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python -m blis --help`` from the package in ``home``, with ``more`` behind it on the path."""
    path = os.pathsep.join(str(entry) for entry in (home, *more))
    return subprocess.run(
        [sys.executable, "-m", "blis", "--help"],
        cwd=home,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def home(repository: Path, tmp_path: Path) -> Path:
    """A directory with a copy of the package, as pip would lay it out."""
    site = tmp_path / "site-packages"
    shutil.copytree(repository / "blis", site / "blis", ignore=shutil.ignore_patterns("__pycache__"))
    return site


def test_mixed_files_are_an_error_that_says_what_to_do(home: Path) -> None:
    pretend_installed(home, "blis", "1.3.0")
    run = run_blis(home)
    assert run.returncode == 2
    assert run.stdout == ""
    assert f"two distributions own the import name 'blis' in {home}" in run.stderr
    assert "blis 1.3.0 (a linear-algebra library" in run.stderr
    assert "'python3 -m venv blis-env'" in run.stderr
    assert "'pip uninstall --yes blis'" in run.stderr
    assert "'pip install --force-reinstall --no-deps'" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_explanation_survives_an_overwritten_package(home: Path) -> None:
    """The other library was installed last, so ``blis/__init__.py`` is its own."""
    (home / "blis" / "__init__.py").write_text("__version__ = '1.3.0'\n")
    pretend_installed(home, "blis", "1.3.0")
    run = run_blis(home)
    assert run.returncode == 2
    assert "two distributions own the import name" in run.stderr


def test_a_hidden_library_is_a_warning(home: Path, tmp_path: Path) -> None:
    pretend_installed(tmp_path / "elsewhere", "blis", "1.3.0")
    run = run_blis(home, tmp_path / "elsewhere")
    assert run.returncode == 0, run.stderr
    assert f"blis: warning: the linear-algebra library blis 1.3.0 in {tmp_path / 'elsewhere'}" in run.stderr
    assert "Usage" in run.stdout


def test_its_own_distribution_is_no_clash(home: Path) -> None:
    pretend_installed(home, "blis_sim", "0.1.0")
    run = run_blis(home)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
