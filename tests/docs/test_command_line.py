"""The page on the command line shows every command, and each as it is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer

from app.cli import app as command_line
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "how-to" / "command-line.md").read_text()
ROOT_COMMAND = typer.main.get_command(command_line)


def shown() -> list[str]:
    """Return the commands in the page's blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    return [line.removeprefix("checkout ") for block in blocks for line in block.splitlines()]


def every(command: Any, *above: str) -> Iterator[tuple[str, ...]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield above
        return
    for name, one in below.items():
        yield from every(one, *above, name)


def test_every_command_on_the_page_is_valid() -> None:
    """With its arguments and options."""
    assert shown()
    for line in shown():
        named, words = ROOT_COMMAND, shlex.split(line)
        while below := getattr(named, "commands", None):
            assert words[0] in below, line
            named, words = below[words[0]], words[1:]
        with named.make_context(line, words):
            pass


def test_every_command_is_on_the_page() -> None:
    """A new command must be documented."""
    typed = " ".join(shown()) + " " + PAGE
    missing = [" ".join(path) for path in every(ROOT_COMMAND) if " ".join(path) not in typed]
    assert missing == []
