"""How a command fails: one sentence on standard error, and an exit code that scripts can tell apart."""

from __future__ import annotations

import typer

from app.cli.terminal import safe

REFUSED = 1
MISUSED = 2
NOT_REACHED = 3
STILL_STUCK = 4
"""What was asked for was done, and the saga needs attention all the same."""


def failure(words: str, code: int = REFUSED) -> typer.Exit:
    """Say what is wrong, and return what to raise."""
    typer.echo(safe(words, keep="\n"), err=True)
    return typer.Exit(code)
