"""Keys and sessions that nobody has: what those who ask with them may cost.

Each is looked up in the database once, and forgotten after a moment; and one address may ask for so many a second.
Nobody is kept out by others at his address, which may be a proxy's: what was found here before is looked up without
a limit, and beyond the limit whatever is among the names that there are, which are listed at most once a second.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

MOST_REMEMBERED = 10_000
_IPV6_NETWORK = 64
"""One customer of a provider has as many addresses as these bits leave."""


_LONGEST_ADDRESS = 64


class TooManyUnknownCredentials(Exception):
    """This address asks for too much that nobody has; nothing was looked up. `seconds` from now it may again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many keys that nobody has: ask again in {seconds} s.")
        self.seconds = seconds


class UnknownCredentials:
    """Remembers for `seconds` what nobody has, and lets an address ask for `per_second` of it; 0 is no limit."""

    def __init__(
        self, *, seconds: float, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._per_second = per_second
        self._burst = max(1.0, 2 * per_second)
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def has(self, name: str) -> bool:
        """Whether nobody had this a moment ago."""
        until = self._until.get(name)
        return until is not None and self._clock() < until

    async def find(
        self, name: str, *, address: str | None, existing: Existing, look: Callable[[], Awaitable[T | None]]
    ) -> T | None:
        """Return what `look` finds, or None for what nobody has; raise `TooManyUnknownCredentials` without looking."""
        if self.has(name):
            return None
        counted = True
        try:
            self.take(address)
        except TooManyUnknownCredentials:
            if not await existing.has(name):
                raise
            counted = False
        found = await look()
        if found is None:
            self.add(name)
        elif counted:
            self.give_back(address)
        return found

    def take(self, address: str | None) -> None:
        """Count a look-up, before it begins, as many do at once; raise `TooManyUnknownCredentials` where this address has had its share.

        None is nobody's address.
        """
        if address is None or not self._per_second:
            return
        left = self._tokens(_network(address))
        if left < 1:
            raise TooManyUnknownCredentials(math.ceil((1 - left) / self._per_second))
        self._note(address, left - 1)

    def give_back(self, address: str | None) -> None:
        """Count a look-up no more: somebody has what was asked for."""
        if address is not None and self._per_second:
            self._note(address, self._tokens(_network(address)) + 1)

    def add(self, name: str) -> None:
        """Note that nobody has this."""
        if self._seconds:
            self._until[name] = self._clock() + self._seconds
            self._until.move_to_end(name)
            if len(self._until) > MOST_REMEMBERED:
                self._until.popitem(last=False)

    def _note(self, address: str, left: float) -> None:
        network = _network(address)
        self._left[network] = (left, self._clock())
        self._left.move_to_end(network)
        if len(self._left) > MOST_REMEMBERED:
            self._left.popitem(last=False)

    def _tokens(self, network: str) -> float:
        now = self._clock()
        left, at = self._left.get(network, (self._burst, now))
        return min(self._burst, left + (now - at) * self._per_second)


class Existing:
    """The names that there are, as `read` gives them: asked at most once in `seconds`, however many ask here."""

    def __init__(
        self,
        read: Callable[[], Coroutine[Any, Any, frozenset[str]]],
        *,
        seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._seconds = seconds
        self._clock = clock
        self._until = 0.0
        self._reading: asyncio.Task[frozenset[str]] | None = None

    async def has(self, name: str) -> bool:
        """Whether there is one of this name; raise what `read` raised, to all who ask within that time."""
        if self._reading is None or (self._reading.done() and self._clock() >= self._until):
            self._until = self._clock() + self._seconds
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        return name in await asyncio.shield(self._reading)


def _network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:_LONGEST_ADDRESS]  # a proxy that is trusted with everything may pass on anything
    if ip.version == 4:
        return address
    return str(ipaddress.ip_network((int(ip), _IPV6_NETWORK), strict=False))
