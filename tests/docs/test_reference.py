"""The pages of docs/reference are the code's: `python -m tests.docs.reference` writes them again."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.reference import REFERENCE, SETTING_ROW, settings, written


def test_every_setting_is_listed_once() -> None:
    """An operator finds each variable, and nothing that isn't one."""
    listed = SETTING_ROW.findall((REFERENCE / "settings.md").read_text())
    assert sorted(listed) == sorted(settings())


def test_every_setting_is_described() -> None:
    """Each row has a default and a meaning."""
    for variable, row in settings().items():
        assert re.fullmatch(r"\| `\w+` \| \S+ \| \S.*\S \|", row), variable


async def test_the_pages_are_what_the_code_says(tmp_path: Path) -> None:
    """Defaults, meanings, statuses and labels; a change of the code shows here."""
    for page, text in (await written(tmp_path)).items():
        assert page.read_text() == text, f"{page.name} is out of date: run python -m tests.docs.reference"


def test_the_glossary_is_in_order() -> None:
    """A word is found by its letters, and listed once."""
    words = re.findall(r"^\| ([a-z ]+) \| [A-Z`]", (REFERENCE / "glossary.md").read_text(), re.MULTILINE)
    assert words == sorted(set(words))
    assert len(words) > 40
