"""Fixtures and settings that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Examples are drawn from a fixed seed, so that a run's verdict depends on the code alone; a slow machine is no failure.
settings.register_profile("blis", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("blis"), derandomize=False, max_examples=2000)
settings.load_profile("blis")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def blis_data() -> Path:
    """The folder of outside data (golden/, servegen/, h100/); skips the test where BLIS_DATA doesn't name one."""
    folder = os.environ.get("BLIS_DATA")
    if not folder:
        pytest.skip("needs outside data: set BLIS_DATA to the folder that holds golden/, servegen/ and h100/")
    path = Path(folder)
    assert path.is_dir(), f"BLIS_DATA names {folder}, which is no folder"
    return path
