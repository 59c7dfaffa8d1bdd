"""How much memory a process has."""

from __future__ import annotations

from pathlib import Path


def resident(process: int) -> float:
    """Return how much memory a process has now, in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
