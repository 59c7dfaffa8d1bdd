"""What goes wrong in a chaos run, and when: the n-th accepted order, never the clock."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is done to a process."""

    KILL = "kill"
    STOP = "stop"
    RESTART_DATABASE = "restart database"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """At the `at`-th accepted order, something happens to the first of `victims` that is up then."""

    at: int
    kind: Kind
    victims: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A run's orders and faults, all from one seed."""

    seed: int
    orders: int
    clients: int
    lease_seconds: float
    faults: Sequence[Fault]

    def count(self, kind: Kind) -> int:
        """Return how many faults of that kind there are."""
        return Counter(fault.kind for fault in self.faults)[kind]


def a_plan(
    seed: int,
    *,
    orders: int,
    clients: int,
    lease_seconds: float = 3.0,
    kills: int,
    stops: int,
    restarts: int,
    replicas: Sequence[str],
    services: Sequence[str],
) -> Plan:
    """Spread the faults evenly over the orders, in a random sequence, each upon a random victim.

    The first kill and the first stop go to a replica, so that there is always something to take over.
    """
    rng = random.Random(seed)
    kinds = [Kind.KILL] * kills + [Kind.STOP] * stops
    rng.shuffle(kinds)
    for number in range(restarts):  # in equal distances; a run with one has it in the middle
        kinds.insert(round((number + 0.5) * (kills + stops) / restarts) + number, Kind.RESTART_DATABASE)
    pace = orders * 0.9 / len(kinds)
    faults, seen = [], set[Kind]()
    for number, kind in enumerate(kinds, start=1):
        victims: list[str] = []
        if kind is not Kind.RESTART_DATABASE:
            everybody = [*replicas, *services]
            rng.shuffle(everybody)
            victims = everybody
            if kind not in seen:  # a stable sort: replicas first
                victims = sorted(everybody, key=lambda name: name not in replicas)
            seen.add(kind)
        faults.append(Fault(at=round(number * pace), kind=kind, victims=tuple(victims)))
    return Plan(seed=seed, orders=orders, clients=clients, lease_seconds=lease_seconds, faults=faults)
