"""The index of the decisions lists each with its number and title."""

from __future__ import annotations

import re

from tests.processes import ROOT

DECISIONS = ROOT / "docs" / "adr"


def test_the_index_lists_every_decision_by_its_number_and_title() -> None:
    """The file name is the number and the title, and no number is used twice."""
    listed = re.findall(
        r"^\| (\d+) \| \[(.+)\]\(((\d{4})-[\w-]+\.md)\) \|$",
        (DECISIONS / "README.md").read_text(),
        re.MULTILINE,
    )
    assert [name for _, _, name, _ in listed] == sorted(page.name for page in DECISIONS.glob("0*.md"))
    for number, title, name, digits in listed:
        assert int(number) == int(digits)
        assert (DECISIONS / name).read_text().startswith(f"# {number}. {title}\n"), name
        words = re.sub(r"[^a-z0-9 ]", "", title.lower()).replace(" ", "-")
        assert name == f"{digits}-{words}.md"
    numbers = [int(number) for number, *_ in listed]
    assert len(numbers) == len(set(numbers))
