"""The random numbers of a run, all drawn from its one seed."""

from __future__ import annotations

import random


def rng_for(seed: int, what: str) -> random.Random:
    """Return one of a seed's streams of random numbers, so that a shorter plan leaves the scenario as it was."""
    return random.Random(f"{seed}:{what}")
