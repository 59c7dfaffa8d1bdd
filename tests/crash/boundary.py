"""The boundaries of a process: every call that it makes through a port, and what can happen to it there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from tests.crash.loop import Gone, Process

T = TypeVar("T")


class Mode(StrEnum):
    """What happens to a process at a boundary."""

    BEFORE = "before"  # it dies right before the call
    AFTER = "after"  # the call has its effect, and it dies before it hears the answer
    LAPSE_BEFORE = "lapse before"  # it stands still before the call, longer than its lease, and goes on
    LAPSE_AFTER = "lapse after"  # the same, with the effect done and the answer waiting
    UNHEARD = "unheard"  # the effect is done, the answer is lost, the process lives on
    UNDONE = "undone"  # nothing was done, nobody can tell, the process lives on
    BROKEN = "broken"  # an append is stored, the journal breaks down over it
    BROKEN_UNDONE = "broken, undone"  # an append isn't stored, the journal breaks down over it


DEATHS = (Mode.BEFORE, Mode.AFTER)
_LAPSES = (Mode.LAPSE_BEFORE, Mode.LAPSE_AFTER)
_DOUBTS = (Mode.UNHEARD, Mode.UNDONE)
_BREAKDOWNS = (Mode.BROKEN, Mode.BROKEN_UNDONE)
LAPSES = frozenset(_LAPSES)
_STOPS_BEFORE = frozenset({Mode.BEFORE, Mode.LAPSE_BEFORE})
_STOPS_AFTER = frozenset({Mode.AFTER, Mode.LAPSE_AFTER})


def modes_at(boundary: str) -> tuple[Mode, ...]:
    """Return all that can happen at a boundary of that name."""
    if boundary.startswith("clock."):
        return (*DEATHS, *_LAPSES)
    return (*DEATHS, *_LAPSES, *_DOUBTS, *(_BREAKDOWNS if boundary.startswith("log.append") else ()))


@dataclass(frozen=True, slots=True)
class Stop:
    """Where something happens, counted from 1, and what."""

    at: int
    mode: Mode

    def __str__(self) -> str:
        return f"{self.mode} {self.at}"


@dataclass(eq=False)
class Gate:
    """The one way out of a process: numbers each call, and lets happen at it what is planned."""

    process: Process
    stop: Stop | None = None
    passed: list[str] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def stopped_at(self) -> str | None:
        """The boundary at which it happened, if it came so far."""
        return self.passed[self.stop.at - 1] if self.stop and len(self.passed) >= self.stop.at else None

    async def go(
        self,
        name: str,
        call: Callable[[], Awaitable[T]],
        *,
        in_doubt: Callable[[Mode, Callable[[], Awaitable[T]]], Awaitable[T]] | None = None,
    ) -> T:
        """Make a call; `in_doubt` makes one whose answer is lost."""
        answer = await self._go(name, call, in_doubt)
        self.answered[name] += 1
        self.heard.set()
        return answer

    async def _go(
        self,
        name: str,
        call: Callable[[], Awaitable[T]],
        in_doubt: Callable[[Mode, Callable[[], Awaitable[T]]], Awaitable[T]] | None,
    ) -> T:
        if self.process.is_buried:
            raise Gone
        self.passed.append(name)
        if self.stop is None or len(self.passed) != self.stop.at:
            return await call()
        mode = self.stop.mode
        if mode in _STOPS_BEFORE:
            await self.process.stop()
            return await call()
        if mode not in _STOPS_AFTER:
            if in_doubt is None:
                raise AssertionError(f"{mode} can't happen at {name}.")
            return await in_doubt(mode, call)
        try:
            answer = await call()
        except Exception:
            await self.process.stop()  # an error is an answer too
            raise
        await self.process.stop()
        return answer
