"""The page about coverage has the floor that is enforced, and the command that measures."""

from __future__ import annotations

import re
import tomllib

from tests.processes import ROOT
from tests.proof.__main__ import MEASURED

PAGE = (ROOT / "docs/reference/coverage.md").read_text()


def test_the_floor_on_the_page_is_the_one_that_fails_a_run() -> None:
    report = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]["report"]
    assert re.findall(r"less than ([\d.]+) %", PAGE) == [str(report["fail_under"])]


def test_the_page_names_what_is_measured() -> None:
    line = next(line for line in PAGE.splitlines() if line.startswith("Measured"))
    assert tuple(re.findall(r"`(tests/\w+)`", line)) == MEASURED
