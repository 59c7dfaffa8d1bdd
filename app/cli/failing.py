"""How a command fails: one sentence on standard error, and an exit code that scripts can tell apart."""

from __future__ import annotations

import typer

REFUSED = 1
MISUSED = 2
NOT_REACHED = 3


def failure(words: str, code: int = REFUSED) -> typer.Exit:
    """Say what is wrong, and return what to raise."""
    typer.echo(words, err=True)
    return typer.Exit(code)
