"""The pages with promises name tests, commands and pages that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.processes import ROOT

PAGES = ("docs/guarantees.md", "docs/how-to/fail-over-postgresql.md")
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page: str) -> None:
    """A page must not claim a proof that was renamed or removed."""
    text = (ROOT / page).read_text()
    tests = re.findall(r"\btests/[\w/.]+\b", text)
    assert tests
    assert [name for name in tests if not (ROOT / name).exists()] == []
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [link for link in links if not (ROOT / Path(page).parent / link).exists()] == []
    made = set(re.findall(r"\bmake ([a-z]+)", text))
    assert made
    assert made <= TARGETS


def test_every_promise_has_its_mechanism_and_its_proof() -> None:
    """One row each, none without a test."""
    rows = [
        line.split(" | ") for line in (ROOT / PAGES[0]).read_text().splitlines() if line.startswith("| **")
    ]
    assert len(rows) >= 10
    assert [row[0] for row in rows if len(row) != 3 or "tests/" not in row[2]] == []
