"""Everything outside of a saga: participants that keep what really happened, and when the process dies or stands still.

A saga only hears of it: an action that answered nothing may have taken effect, may have got lost, or may still
land, and a crash may come before or after anything that leaves the process or becomes durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from app.saga import (
    Context,
    StepOutcomeUnknown,
    StepRejected,
    StepUnavailable,
)
from app.saga.model.step import JSON

NAMES = ("payment", "inventory", "shipping")


class Way(StrEnum):
    """What an action or a compensation does, and what its caller hears of it."""

    OK = "ok"
    REJECTED = "rejected"  # nothing, and says so for good
    UNAVAILABLE = "unavailable"  # nothing, and says so for now
    UNKNOWN_DONE = "unknown, done"  # its effect, but no answer
    UNKNOWN_LOST = "unknown, lost"  # nothing, and no answer
    UNKNOWN_LATE = "unknown, late"  # its effect at last, when nobody asks any more


DEFINITE_NO = {Way.REJECTED, Way.UNAVAILABLE}


FORWARD = tuple(Way)


BACK = tuple(Way)[:5]


class Crash(BaseException):
    """The process is gone: no handler of the service's own sees it."""


@dataclass
class Fate:
    """Picks what happens, as planned; what is not planned goes well. Notes what it was asked."""

    plan: Sequence[int] = ()
    asked: list[tuple[int, int]] = field(default_factory=list)

    def pick(self, options: Sequence[Way]) -> Way:
        position = len(self.asked)
        picked = self.plan[position] % len(options) if position < len(self.plan) else 0
        self.asked.append((picked, len(options)))
        return options[picked]

    def next_plan(self) -> list[int] | None:
        """Return the plan after this one, in the order of an exhaustive walk; None after the last."""
        picks = [picked for picked, _ in self.asked]
        for position in reversed(range(len(picks))):
            if picks[position] + 1 < self.asked[position][1]:
                return [*picks[:position], picks[position] + 1]
        return None


@dataclass
class World:
    """Everything outside of the saga, and when its process dies or stands still."""

    fate: Fate
    crashes: frozenset[int] = frozenset()
    poison: str | None = None
    stands_still_at: int | None = None
    cancelled_at: int | None = None
    cancel: Callable[[], Awaitable[object]] | None = None
    forward: Sequence[Way] = FORWARD
    back: Sequence[Way] = BACK
    boundaries: int = 0
    sends: list[tuple[str, str]] = field(default_factory=list)
    still: asyncio.Event = field(default_factory=asyncio.Event)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.participants = {name: Participant(name, self) for name in NAMES}

    async def boundary(self) -> None:
        """A moment at which the process may die, or stand still until it is woken."""
        self.boundaries += 1
        if self.boundaries == self.cancelled_at and self.cancel is not None:
            await self.cancel()
        if self.boundaries in self.crashes:
            raise Crash
        if self.boundaries == self.stands_still_at:
            self.still.set()
            await self.wake.wait()

    def land(self) -> None:
        """Let everything that is still on its way arrive."""
        for participant in self.participants.values():
            participant.land()


class Participant:
    """Somebody else's service: an idempotent PUT by reference, and a DELETE that closes the reference."""

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self.stands = False
        self.closed = False
        self.on_its_way = False
        self.answers: list[Way | None] = []
        self.bodies: list[Context] = []
        self.undone: list[Way | None] = []
        self._world = world

    async def execute(self, context: Context) -> Mapping[str, JSON]:
        self._world.sends.append(("execute", self.name))
        self.bodies.append(dict(context))
        self.answers.append(None)
        if self.name == self._world.poison:
            raise Crash
        await self._world.boundary()
        way = self._world.fate.pick(self._world.forward)
        if self.closed and way is Way.OK:
            way = Way.REJECTED
        if way in {Way.OK, Way.UNKNOWN_DONE}:
            self._put()
        self.on_its_way |= way is Way.UNKNOWN_LATE
        await self._world.boundary()
        self.answers[-1] = way
        _answer(way)
        return {"reference": f"{context['saga_id']}/{self.name}"}

    async def compensate(self, context: Context) -> None:
        self._world.sends.append(("compensate", self.name))
        self.undone.append(None)
        assert context["saga_id"] == self.bodies[0]["saga_id"] if self.bodies else True
        await self._world.boundary()
        way = self._world.fate.pick(self._world.back)
        if way in {Way.OK, Way.UNKNOWN_DONE}:
            self.stands, self.closed = False, True
        await self._world.boundary()
        self.undone[-1] = way
        _answer(way)

    def land(self) -> None:
        if self.on_its_way:
            self._put()

    def _put(self) -> None:
        if not self.closed:
            self.stands = True


def _answer(way: Way) -> None:
    if way is Way.REJECTED:
        raise StepRejected
    if way is Way.UNAVAILABLE:
        raise StepUnavailable
    if way is not Way.OK:
        raise StepOutcomeUnknown
