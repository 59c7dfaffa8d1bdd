"""No link of any page is broken, and every page can be reached from the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.processes import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)(?:#([^)\s]+))?\)")
_CODE = re.compile(r"(?<!`)`((?:app|tests|docs|alembic)/[\w./-]+)`")
_TO_BE_WRITTEN = {"app/services/insurance.py", "tests/test_insurance.py"}
"""Files that the reader of "Add your own step" creates."""
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def _links(page: Path) -> list[tuple[Path, str]]:
    """Return each target of a page's links, with its anchor."""
    found = _LINK.findall(_FENCED.sub("", page.read_text()))
    return [((page.parent / target).resolve() if target else page, anchor) for target, anchor in found]


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_broken(page: Path) -> None:
    """The file exists, and has the heading that the link names."""
    for target, anchor in _links(page):
        assert target.exists(), f"there is no {target}"
        assert not anchor or anchor in _anchors(target), f"{target} has no heading #{anchor}"


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name != "CHANGELOG.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_each_file_that_a_page_names_exists(page: Path) -> None:
    """Also in a code span, without a link. Old entries of the changelog may name old files."""
    named = set(_CODE.findall(_FENCED.sub("", page.read_text()))) - _TO_BE_WRITTEN
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    """Nobody finds a page without a link to it."""
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            waiting += [target for target, _ in _links(page) if target.suffix == ".md"]
    assert set(PAGES) - reached == set()
