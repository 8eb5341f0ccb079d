"""The import contracts and the ban on global random state hold, and a violation is caught."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
LAYERS = "Imports point down the layers BROKEN"
WALL_CLOCK = "aiohttp and asyncio stay where the wall clock is BROKEN"
SIMPY = "simpy stays where processes run BROKEN"


@pytest.fixture
def tree(repository: Path, tmp_path: Path) -> Path:
    """A copy of the package and its configuration, to plant violations in."""
    shutil.copytree(repository / "blis", tmp_path / "blis", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv += ['--no-cache']; {LINT_IMPORTS}"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def plant(tree: Path, module: str, statement: str) -> None:
    """Append ``statement`` to ``module``, which is made if it doesn't exist."""
    path = tree / module
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(f"\n{statement}\n")


def test_the_package_keeps_its_contracts(tree: Path) -> None:
    run = lint_imports(tree)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 kept, 0 broken." in run.stdout


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("blis/spec/__init__.py", "import blis.trace", LAYERS),
        ("blis/errors.py", "import blis.rng", LAYERS),
        ("blis/metrics/__init__.py", "from blis.clients import target", LAYERS),
        ("blis/simulation.py", "import blis.report", LAYERS),
        ("blis/stray.py", "", LAYERS),
        ("blis/cluster/__init__.py", "import asyncio", WALL_CLOCK),
        ("blis/simulation.py", "def fetch() -> None:\n    import aiohttp", WALL_CLOCK),
        ("blis/metrics/__init__.py", "import simpy", SIMPY),
        ("blis/cli/__init__.py", "import simpy", SIMPY),
    ],
)
def test_a_planted_import_is_caught(tree: Path, module: str, statement: str, contract: str) -> None:
    plant(tree, module, statement)
    run = lint_imports(tree)
    assert run.returncode == 1, run.stdout + run.stderr
    assert contract in run.stdout


def test_what_later_layers_may_import_is_allowed(tree: Path) -> None:
    """The wall-clock layers, where they exist, may use asyncio, aiohttp and simpy."""
    plant(tree, "blis/server/__init__.py", "import asyncio\nimport aiohttp\nimport simpy")
    plant(tree, "blis/serve/__init__.py", "import asyncio\nimport aiohttp\nimport simpy")
    plant(tree, "blis/observation.py", "import asyncio\nimport simpy\nimport blis.server")
    run = lint_imports(tree)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("import random", "TID251"),
        ("from random import choice", "TID251"),
        ("import numpy as np\nnp.random.seed(1)", "NPY002"),
        ("import numpy\nnumpy.random.exponential(1.0)", "NPY002"),
        ("from numpy.random import RandomState", "TID251"),
    ],
)
@pytest.mark.parametrize("folder", ["blis", "tests", "benchmarks"])
def test_global_random_state_is_caught(repository: Path, folder: str, statement: str, rule: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", f"{folder}/planted.py", "--no-cache", "-"],
        cwd=repository,
        input=f"{statement}\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 1, run.stderr
    assert rule in run.stdout


def modules(repository: Path) -> list[Path]:
    return sorted((repository / "blis").rglob("*.py"))


def lists_its_names(path: Path) -> bool:
    """Whether the module has an ``__all__``, or nothing but a docstring."""
    body = ast.parse(path.read_text()).body
    names = {ast.unparse(target) for node in body if isinstance(node, ast.Assign) for target in node.targets}
    names |= {ast.unparse(node.target) for node in body if isinstance(node, ast.AnnAssign)}
    return "__all__" in names or all(isinstance(node, ast.Expr) for node in body)


def test_every_module_lists_its_public_names(repository: Path) -> None:
    missing = [str(path.relative_to(repository)) for path in modules(repository) if not lists_its_names(path)]
    assert missing == []


def test_generators_come_from_named_streams_only(repository: Path) -> None:
    """Outside blis/rng.py nothing makes a numpy generator of its own, seeded or not."""
    makers = {"default_rng", "Generator", "SeedSequence", "PCG64", "PCG64DXSM", "Philox", "SFC64", "MT19937"}
    found = [
        f"{path.relative_to(repository)}:{node.lineno}: {ast.unparse(node)}"
        for path in modules(repository)
        if path.name != "rng.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] in makers
    ]
    assert found == []
