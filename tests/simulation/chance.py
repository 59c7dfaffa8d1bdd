"""All chance of a run, drawn from its one seed."""

from __future__ import annotations

import random


def by_chance(seed: int, what: str) -> random.Random:
    """Return one of a seed's streams of chance, so that a shorter plan leaves the scenario as it was."""
    return random.Random(f"{seed}:{what}")
