"""The pages of docs/reference agree with the code; `python -m tests.docs.reference` updates them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.reference import REFERENCE, SETTING_ROW, settings, written


def test_every_setting_is_listed_once() -> None:
    """And nothing else is listed."""
    listed = SETTING_ROW.findall((REFERENCE / "settings.md").read_text())
    assert sorted(listed) == sorted(settings())


def test_every_setting_is_described() -> None:
    """Each row has a default and a meaning."""
    for variable, row in settings().items():
        assert re.fullmatch(r"\| `\w+` \| \S+ \| \S.*\S \|", row), variable


async def test_the_pages_are_up_to_date(tmp_path: Path) -> None:
    """A change of a setting, a problem or a metric shows here."""
    for page, text in (await written(tmp_path)).items():
        assert page.read_text() == text, f"{page.name} is out of date: run python -m tests.docs.reference"


def test_the_glossary_is_in_order() -> None:
    """And lists no word twice."""
    words = re.findall(r"^\| ([a-z ]+) \| [A-Z`]", (REFERENCE / "glossary.md").read_text(), re.MULTILINE)
    assert words == sorted(set(words))
    assert len(words) > 40
