"""For all tests in Python."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

made: list[Path] = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A directory of its own for each process: CTest runs many at once, and pytest's common one is cleaned by all of them
    (one that another has just removed is an error there)."""
    if not config.option.basetemp:
        made.append(Path(tempfile.mkdtemp(prefix="dpn-")))
        config.option.basetemp = str(made[0] / "t")


def pytest_sessionfinish(exitstatus: int) -> None:
    """What failed stays to be looked at."""
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        for path in made:
            shutil.rmtree(path, ignore_errors=True)
