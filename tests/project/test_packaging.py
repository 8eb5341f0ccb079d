"""The wheel holds all that the main job needs, and runs it where no source tree is in sight."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

SOURCES = ["pyproject.toml", "README.md", "LICENSE"]
CLEAN = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "BLIS_DATA")}


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**CLEAN, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built offline from a copy of the sources (so that git doesn't decide what is in it)."""
    tree = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        shutil.copy(repository / name, tree)
    shutil.copytree(repository / "blis", tree / "blis", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tree / "dist", tree, cwd=tree)
    (built,) = (tree / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel; dependencies are borrowed from the running one through a .pth file.

    Entries of a .pth file are searched, their own .pth files aren't read: an editable install can't leak in.
    """
    home = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home.parent)
    run(
        *(sys.executable, "-m", "pip", "--python", home / "bin" / "python", "--disable-pip-version-check"),
        *("install", "--quiet", "--no-deps", "--no-index", wheel),
        cwd=home.parent,
    )
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    return home


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A working directory that has nothing to do with the source tree."""
    return tmp_path


def test_the_wheel_holds_every_file_of_the_package(repository: Path, wheel: Path) -> None:
    package = repository / "blis"
    wanted = {
        f"blis/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("blis/")}
    assert held == wanted
    assert {"blis/py.typed", "blis/spec/data/models.yaml", "blis/spec/data/gpus.yaml"} <= held


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    text = archive.read(metadata).decode()
    assert "Name: blis-sim\n" in text
    assert "License-Expression: Apache-2.0\n" in text
    assert "Requires-Python: >=3.11\n" in text
    top = {name.split("/")[0] for name in archive.namelist()}
    assert {entry for entry in top if not entry.endswith(".dist-info")} == {"blis"}
    assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())


def test_the_installed_package_is_the_one_that_runs(environment: Path, elsewhere: Path) -> None:
    home = run(environment / "bin" / "python", "-c", "import blis; print(blis.__file__)", cwd=elsewhere)
    assert home.startswith(str(environment))


def test_the_main_job_runs_elsewhere(repository: Path, environment: Path, elsewhere: Path) -> None:
    shutil.copy(repository / "specs" / "servegen-two-clients.yaml", elsewhere / "mine.yaml")
    output = run(
        *(environment / "bin" / "blis", "simulate", "mine.yaml", "--num-requests", "40", "--num-instances", "2"),
        *("--trace-out", "run", "--json"),
        cwd=elsewhere,
    )
    figures = json.loads(output)
    assert figures["overall"]["completed"] == 40
    assert sorted(figures["instances"]) == ["instance_0", "instance_1"]
    rows = (elsewhere / "run.csv").read_text().splitlines()
    assert len(rows) == 41
    assert rows[0].startswith("request_id,client_id,tenant_id,slo_class")


@pytest.mark.parametrize("preset", ["distribution", "chatbot", "summarization", "contentgen", "multidoc"])
def test_presets_are_in_the_package(environment: Path, elsewhere: Path, preset: str) -> None:
    output = run(
        *(environment / "bin" / "python", "-m", "blis", "simulate", "--workload", preset),
        *("--rate", "1", "--num-requests", "5", "--json"),
        cwd=elsewhere,
    )
    figures = json.loads(output)
    assert figures["overall"]["completed"] == 5
    assert list(figures["clients"]) == [preset]


@pytest.mark.parametrize("kind", ["workload", "deployment"])
def test_schemas_are_in_the_package(environment: Path, elsewhere: Path, kind: str) -> None:
    schema = json.loads(run(environment / "bin" / "blis", "schema", kind, cwd=elsewhere))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "properties" in schema


def test_the_catalogue_is_in_the_package(environment: Path, elsewhere: Path) -> None:
    code = "from blis.spec.catalogue import gpu, model; print(model('llama-3.1-8b').layers, gpu('L40S').bandwidth_tbs)"
    assert run(environment / "bin" / "python", "-c", code, cwd=elsewhere) == "32 0.864\n"
