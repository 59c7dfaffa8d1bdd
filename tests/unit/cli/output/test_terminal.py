"""What the command line prints of somebody else's words."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console
from rich.text import Text

from app.cli.output import terminal
from app.cli.output.terminal import print_records, safe

NAMES = ("id", "state", "amount", "who", "why")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, Zoë, 日本, 10 €", "plain words, Zoë, 日本, 10 €"),
        ("\x1b]0;pwned\x07\x1b[2J", "\\x1b]0;pwned\\x07\\x1b[2J"),
        ("a\rb\nc\td\x7f", "a\\x0db\\x0ac\\x09d\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("evil-\u202egnp.exe\u2066", "evil-\\u202egnp.exe\\u2066"),
        ("mail\u2028by hand\u2029", "mail\\u2028by hand\\u2029"),
        ("\ud800", "\\ud800"),
        ("\ufeff\u200b\U000e0041", "\\ufeff\\u200b\\U000e0041"),
        ("👩\u200d🚀 a\u200cb", "👩\u200d🚀 a\u200cb"),
        ("[bold]not markup[/]", "[bold]not markup[/]"),
    ],
)
def test_nothing_that_is_printed_does_anything_but_show(text: str, shown: str) -> None:
    assert safe(text) == shown


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", "Zo\\xeb-\\U0001f381"), ("cp1252", "Zoë-\\U0001f381"), ("utf-8", "Zoë-🎁")],
)
def test_what_the_terminals_encoding_lacks_is_escaped(
    encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert safe("Zoë-🎁") == shown


def printed(
    width: int, monkeypatch: pytest.MonkeyPatch, *rows: tuple[str, ...], prose: bool = True
) -> list[str]:
    out = Console(file=io.StringIO(), width=width)
    monkeypatch.setattr(terminal, "console", lambda: out)
    print_records(NAMES, [tuple(map(Text, row)) for row in rows], headline=3, prose=prose)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


ROW = ("019c0b7e-5f00-7a31-8c22-5b0d9e4f7a10", "stuck", "19.99 EUR", "a" * 90, "It can't be done. " * 6)


def test_a_table_is_printed_where_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(400, monkeypatch, ROW)
    assert len(lines) == 5
    assert all(value.strip() in lines[3] for value in ROW)


def test_a_narrow_terminal_gets_every_value_whole_and_prose_between_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = printed(80, monkeypatch, ROW, ROW)
    assert lines[0] == "  ".join(ROW[:3])
    assert lines[1] == f"    who {ROW[3]}"
    assert " ".join(line.strip() for line in lines[2:4]) == ROW[4].strip()
    assert all(len(line) <= 80 for line in lines[2:4])
    assert lines[4:] == lines[:4]


def test_short_values_share_a_line_and_empty_ones_take_none(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ("i" * 40, "s" * 40, "1", "ada", "x")
    assert printed(60, monkeypatch, row, prose=False)[1:] == ["    who ada  why x"]
    assert printed(60, monkeypatch, (*row[:3], "", "x"), prose=False)[1:] == ["    why x"]
