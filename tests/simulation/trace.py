"""What happened, line by line, and its hash: two runs are the same run exactly when their hashes are."""

from __future__ import annotations

import hashlib


class Trace:
    """Takes a line for every call through a port and for every fault."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, at: float, who: str, what: str, about: str, outcome: str) -> None:
        """Note one call, or its end."""
        self.lines.append(f"{at:.6f} {who} {what} {about} {outcome}")

    @property
    def hash(self) -> str:
        """The whole run in one word."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()
