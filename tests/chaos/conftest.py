"""Keeps what a chaos test that failed has left: its processes' logs, the services' books, a SQLite database."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.processes import ROOT

KEPT = ROOT / ".cache" / "chaos"


def kept(left: Path, test: str, place: Path = KEPT) -> Path:
    """Copy a test's directory to where no later run removes it; return that."""
    name = re.sub(r"\W+", "-", test).strip("-")
    copy = place / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}-{name}"
    shutil.copytree(left, copy)
    return copy


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Name the copy in the failure."""
    report = yield
    left = getattr(item, "funcargs", {}).get("tmp_path")
    if report.when == "call" and report.failed and left is not None:
        where = kept(left, item.name)
        report.sections.append(("kept", f"The processes' logs and the services' books are kept in {where}"))
    return report
