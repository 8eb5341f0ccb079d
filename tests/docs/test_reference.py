"""The reference pages say what the code says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from blis.trace.columns import COLUMNS
from blis.trace.status import STATUSES


def check(repository: Path, docs: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(docs / "build_reference.py"), "--check"],
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_generated_pages_are_current(repository: Path) -> None:
    run = check(repository, repository / "docs")
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_stale_or_missing_page_is_found(repository: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(repository / "docs", docs)
    (docs / "reference" / "catalogue.md").unlink()
    workload = docs / "reference" / "workload.md"
    workload.write_text(workload.read_text().replace("horizon", "horizons"))
    run = check(repository, docs)
    assert run.returncode == 1
    assert run.stdout.splitlines() == [
        "docs/reference/workload.md isn't what the code says: run 'make docs'",
        "docs/reference/catalogue.md isn't what the code says: run 'make docs'",
    ]


def test_every_column_and_status_of_a_trace_is_explained(repository: Path) -> None:
    page = (repository / "docs" / "reference" / "trace.md").read_text()
    missing = [name for name in [*(column.name for column in COLUMNS), *STATUSES] if f"`{name}`" not in page]
    assert missing == []
