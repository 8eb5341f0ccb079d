"""`make` on a machine whose Python can't serve says what is missing and what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

PATCHES = {
    "old": ("sitecustomize.py", "import sys\nsys.version_info = (3, 9, 2, 'final', 0)\n"),
    "no venv": ("venv.py", "raise ModuleNotFoundError(\"No module named 'venv'\")\n"),
    "no ensurepip": ("ensurepip.py", "raise ModuleNotFoundError(\"No module named 'ensurepip'\")\n"),
}


def make_demo(repository: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``make demo`` in a bare copy of the build files, with only ``folder``/bin and the system on PATH."""
    shutil.copy(repository / "Makefile", folder)
    shutil.copy(repository / "pyproject.toml", folder)
    make = shutil.which("make")
    assert make is not None
    return subprocess.run(
        [make, "demo", *arguments],
        cwd=folder,
        env={"PATH": f"{folder / 'bin'}:/nonexistent", "SHELL": "/bin/sh"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def install_python(folder: Path, patch: str) -> None:
    """Put a ``python3`` into ``folder``/bin that is the running Python with one thing patched away."""
    name, source = PATCHES[patch]
    (folder / "patches").mkdir()
    (folder / "patches" / name).write_text(source)
    (folder / "bin").mkdir()
    script = folder / "bin" / "python3"
    version = ' if [ "$1" = --version ]; then echo "Python 3.9.2"; exit 0; fi;' if patch == "old" else ""
    script.write_text(f'#!/bin/sh\n{version}PYTHONPATH={folder / "patches"} exec {sys.executable} "$@"\n')
    script.chmod(0o755)


@pytest.mark.parametrize(
    ("patch", "found", "remedy"),
    [
        ("old", "blis needs Python 3.11 or later, and 'python3' is Python 3.9.2.", "make PYTHON=python3.11"),
        ("no venv", "has no venv module or no pip", "apt-get install python3-venv"),
        ("no ensurepip", "has no venv module or no pip", "apt-get install python3-venv"),
    ],
)
def test_an_unfit_python_is_explained(repository: Path, tmp_path: Path, patch: str, found: str, remedy: str) -> None:
    install_python(tmp_path, patch)
    run = make_demo(repository, tmp_path)
    assert run.returncode == 2
    assert found in run.stderr
    assert remedy in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_missing_python_is_explained(repository: Path, tmp_path: Path) -> None:
    run = make_demo(repository, tmp_path)
    assert run.returncode == 2
    assert "there is no 'python3'" in run.stderr
    assert "apt-get install python3 python3-venv" in run.stderr


def test_another_python_can_be_named(repository: Path, tmp_path: Path) -> None:
    run = make_demo(repository, tmp_path, "PYTHON=/opt/none/python3.12")
    assert run.returncode == 2
    assert "there is no '/opt/none/python3.12'" in run.stderr


def test_a_fit_python_gets_past_the_checks(repository: Path, tmp_path: Path) -> None:
    """The virtual environment is made and pip started: it fails, for the copy has no package to install."""
    run = make_demo(repository, tmp_path, f"PYTHON={sys.executable}", "RUN=false")
    assert (tmp_path / ".venv" / "bin" / "python").exists()
    assert "-m pip install" in run.stdout
    assert not (tmp_path / ".venv" / "installed").exists()


def test_help_names_every_target(repository: Path) -> None:
    text = (repository / "Makefile").read_text()
    targets = text.split(".PHONY:")[1].splitlines()[0].split()
    environment = {"PATH": os.environ["PATH"]}  # without the MAKEFLAGS of a `make test` that runs this
    run = subprocess.run(
        ["make", "help"], cwd=repository, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert {f"make {target}" for target in targets if target != "help"} == {
        " ".join(line.split()[:2]) for line in run.stdout.splitlines()
    }
