"""A plan of faults as data: what goes wrong at the n-th event of which kind. A plan can be cut down and kept.

payment.put, inventory.delete, …   the n-th such request to a service
database.write, database.claim, …  the n-th such request to the database
replica-0                          the n-th call of that replica through any port
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace

SERVICES = ("payment", "inventory", "shipping")
DATABASE_CALLS = ("write", "write", "write", "claim", "renew", "load", "release", "abandon")
"""What is asked of the database; writing stands thrice, as most depends on it."""

SERVICE_KINDS = (
    "refused",  # no connection: certainly nothing was done
    "lost_request",  # silence, and nothing was done
    "lost_answer",  # done, and silence
    "slow",  # arrives after `seconds`, so that later ones overtake it
    "late",  # silence, and it arrives after `seconds`; with none, only once everything is at rest
    "doubled",  # arrives again after `seconds`
    "error",  # an error `status`, and nothing was done
    "error_after",  # an error `status`, though it was done
    "rejected",  # a definite no, and nothing was done
    "garbled",  # done, and an answer that can't be read
    "silent",  # the service falls silent for `seconds`: `moment` says whether it still does what is asked
)
DATABASE_KINDS = (
    "database_refused",  # the connection breaks, and nothing was done
    "database_lost_answer",  # done, and the connection breaks
    "database_slow",  # done only after `seconds`
    "database_late",  # the connection breaks, and it is done after `seconds`
    "database_away",  # the database crashes here (`moment`) and is back after `seconds`
)
REPLICA_KINDS = (
    "kill",  # dies at this call (`moment`), and comes back after `seconds`
    "freeze",  # stands still from this call (`moment`) on, for `seconds`
    "stop",  # is told to stop, as by SIGTERM, and comes back after `seconds`
)
NIGHT = "night"
"""All replicas die at a replica's call, and come back after `seconds`: more than a day."""
KINDS = (*SERVICE_KINDS, *DATABASE_KINDS, *REPLICA_KINDS, NIGHT)

BEFORE, AFTER = "before", "after"
"""Moments of a call: before the request leaves, and once it is done, before its answer is heard."""

_NOTHING_DONE = (500, 502, 503, 504, 429, 408)
_DONE_ALL_THE_SAME = (500, 502, 504)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What goes wrong at the `n`-th event `at` a place."""

    kind: str
    at: str
    n: int
    seconds: float = 0.0
    status: int = 0
    moment: str = BEFORE


Plan = tuple[Fault, ...]


def to_json(plan: Plan) -> str:
    """Return a plan as JSON, one fault on a line."""
    return "[" + ",\n ".join(json.dumps(_sparse(fault)) for fault in plan) + "]"


def _sparse(fault: Fault) -> dict[str, object]:
    default = Fault(kind="", at="", n=0)
    return {name: value for name, value in asdict(fault).items() if value != getattr(default, name)}


def of_json(faults: Iterable[dict[str, object]]) -> Plan:
    """Return the plan that JSON holds."""
    return tuple(Fault(**fault) for fault in faults)  # type: ignore[arg-type]


def a_plan(rng: random.Random, *, replicas: int, night: bool = False) -> Plan:
    """Draw a plan. Each draws from a few kinds only, so that no fault hides what another would show.

    (Groce et al., "Swarm Testing", ISSTA 2012.)
    """
    kinds = [kind for kind in _DRAW if rng.random() < 0.35]
    many = rng.randint(1, 14) if kinds else 0
    faults = [_DRAW[kind](rng, kind, replicas) for kind in (rng.choices(kinds, k=many) if many else ())]
    if night:
        hours = rng.uniform(24.0, 30.0)
        faults.append(replace(_replica(rng, NIGHT, replicas), seconds=round(hours * 3600.0)))
    return tuple({(fault.at, fault.n): fault for fault in faults}.values())


def _service(rng: random.Random, kind: str, _replicas: int) -> Fault:
    verb = "put" if kind == "refused" or rng.random() < 0.65 else "delete"
    if kind == "rejected" and rng.random() < 0.9:
        verb = "put"  # a refused compensation ends everything: rare
    status = 0
    if kind == "error":
        status = rng.choice(_NOTHING_DONE)
    elif kind == "error_after":
        status = rng.choice(_DONE_ALL_THE_SAME)
    seconds = 0.0
    if kind in {"slow", "doubled"}:
        seconds = round(rng.uniform(0.0, 4.0), 3)
    elif kind == "late" and rng.random() < 0.6:
        seconds = round(rng.uniform(0.5, 15.0), 3)
    elif kind == "silent":
        seconds = round(rng.uniform(0.5, 6.0), 3)
    return Fault(
        kind=kind,
        at=f"{rng.choice(SERVICES)}.{verb}",
        n=rng.randint(1, 8 if verb == "put" else 4),
        seconds=seconds,
        status=status,
        moment=_moment(rng) if kind == "silent" else BEFORE,
    )


def _database(rng: random.Random, kind: str, _replicas: int) -> Fault:
    call = rng.choice(DATABASE_CALLS)
    seconds = 0.0
    if kind in {"database_slow", "database_late"}:
        seconds = round(rng.choice((0.05, 1.0, 12.0)) * rng.random(), 3)
    elif kind == "database_away":
        seconds = round(rng.choice((0.2, 2.0, 8.0)) * rng.random(), 3)
    return Fault(
        kind=kind,
        at=f"database.{call}",
        n=rng.randint(1, {"write": 20, "release": 2, "abandon": 2}.get(call, 15)),
        seconds=seconds,
        moment=_moment(rng),
    )


def _replica(rng: random.Random, kind: str, replicas: int) -> Fault:
    return Fault(
        kind=kind,
        at=f"replica-{rng.randrange(replicas)}",
        n=rng.randint(3, 40),
        seconds=round(rng.choice((0.3, 10.0, 16.0)) * rng.random(), 3),
        moment=_moment(rng),
    )


def _moment(rng: random.Random) -> str:
    return rng.choice((BEFORE, AFTER))


_DRAW: dict[str, Callable[[random.Random, str, int], Fault]] = {
    **dict.fromkeys(SERVICE_KINDS, _service),
    **dict.fromkeys(DATABASE_KINDS, _database),
    **dict.fromkeys(REPLICA_KINDS, _replica),
}


class Faults:
    """A plan at work: counts the events and says which fault strikes one."""

    def __init__(self, plan: Sequence[Fault]) -> None:
        self._planned = {(fault.at, fault.n): fault for fault in plan}
        self._counts: dict[str, int] = {}
        self.fired: list[Fault] = []
        self.over = False

    def strike(self, at: str) -> Fault | None:
        """Count an event; return the fault that strikes it."""
        n = self._counts[at] = self._counts.get(at, 0) + 1
        if self.over or (fault := self._planned.get((at, n))) is None:
            return None
        self.fired.append(fault)
        return fault
