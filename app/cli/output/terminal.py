"""What is printed: harmless in any terminal, in any encoding, and whole at any width."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

UNFOLDED = 100_000
"""Columns where nobody looks: what a script reads is never folded."""

_INDENT = 4
_JOINERS = "\u200c\u200d"
"""Parts of words and of emoji, which do nothing else."""
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of what moves the cursor, breaks a line, turns the direction of writing or can't be seen."""


def safe(text: object, *, keep: str = "") -> str:
    r"""Return somebody else's words as a terminal may show them.

    A control character, an escape sequence's first among them, a line separator, or one that turns the
    direction of writing is escaped as Python does (`\x1b`, `\u202e`); `keep` are exceptions. So is what the
    terminal's encoding lacks.
    """
    shown = "".join(_escaped(one) if one not in keep else one for one in str(text))
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def words(text: object, style: str = "") -> Text:
    """Return somebody else's words for rich: harmless, and never markup."""
    return Text(safe(text), style=style)


def console() -> Console:
    """Return where to print: as wide as the terminal, or without end where there is none."""
    found = Console()
    return found if found.is_terminal else Console(width=UNFOLDED)


def print_records(
    names: Sequence[str], rows: Sequence[Sequence[Text]], *, headline: int, prose: bool = False
) -> None:
    """Print a table where it fits; else each record over several lines, of which no value is cut.

    The first `headline` values make a record's first line. With `prose` the last column is sentences, which
    alone are wrapped.
    """
    out = console()
    table = Table(*names)
    for row in rows:
        table.add_row(*row)
    needed = Measurement.get(out, out.options.update(max_width=UNFOLDED), table).maximum
    if needed <= out.width:
        out.print(table)
        return
    for row in rows:
        out.print(Text("  ").join(row[:headline]), soft_wrap=True)
        rest = list(zip(names, row, strict=True))[headline : -1 if prose else None]
        pieces = [Text.assemble((f"{name} ", "dim"), value) for name, value in rest if value.plain]
        for line in _packed(pieces, out.width - _INDENT):
            out.print(Text.assemble(" " * _INDENT, line), soft_wrap=True)
        if prose and row[-1].plain:
            for line in row[-1].wrap(out, max(20, out.width - _INDENT)):
                out.print(Text.assemble(" " * _INDENT, line), soft_wrap=True)


def _packed(pieces: Sequence[Text], width: int) -> list[Text]:
    """Return lines of as many whole pieces as fit."""
    lines: list[Text] = []
    for piece in pieces:
        if lines and cell_len(lines[-1].plain) + 2 + cell_len(piece.plain) <= width:
            lines[-1] = Text.assemble(lines[-1], "  ", piece)
        else:
            lines.append(piece)
    return lines


def _escaped(one: str) -> str:
    if one in _JOINERS or unicodedata.category(one) not in _HARMFUL:
        return one
    return one.encode("ascii", "backslashreplace").decode() if ord(one) > 0x7F else f"\\x{ord(one):02x}"
