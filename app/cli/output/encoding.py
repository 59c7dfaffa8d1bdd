"""Standard output and error in any encoding."""

from __future__ import annotations

import io
import sys


def take_any_character() -> None:
    """Have standard output and error escape what their encoding lacks, rather than raise over it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
