"""Keys and sessions that don't exist: limits on what requests with them cost.

Each is looked up in the database once and then remembered for a moment; and each address has a rate of such look-ups.
A client is never locked out by others behind the same address (a proxy's, say): credentials verified here before are
looked up without a limit, and beyond the limit so are those in the list of existing names, read at most once a second.
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

MAX_REMEMBERED = 10_000

_IPV6_NETWORK = 64
"""Addresses of one IPv6 customer share these first bits."""

_MAX_ADDRESS_LENGTH = 64


class TooManyUnknownCredentials(Exception):
    """This address sends too many credentials that don't exist; nothing was looked up. Try again in `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many keys that don't exist: try again in {seconds} s.")
        self.seconds = seconds


class UnknownCredentials:
    """Remembers what doesn't exist for `seconds`, and limits an address to `per_second` such look-ups; 0 is no limit."""

    def __init__(
        self, *, seconds: float, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._per_second = per_second
        self._burst = max(1.0, 2 * per_second)
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def has(self, name: str) -> bool:
        """Whether this was looked up a moment ago and doesn't exist."""
        until = self._until.get(name)
        return until is not None and self._clock() < until

    async def find(
        self,
        name: str,
        *,
        address: str | None,
        existing: ExistingNames,
        look_up: Callable[[], Awaitable[T | None]],
    ) -> T | None:
        """Return what `look_up` finds, or None; raise `TooManyUnknownCredentials` without calling it."""
        if self.has(name):
            return None
        counted = True
        try:
            self.take(address)
        except TooManyUnknownCredentials:
            if not await existing.has(name):
                raise
            counted = False
        found = await look_up()
        if found is None:
            self.add(name)
        elif counted:
            self.give_back(address)
        return found

    def take(self, address: str | None) -> None:
        """Take a token for a look-up, before it starts; raise `TooManyUnknownCredentials` where none is left.

        None is no address: it has no limit.
        """
        if address is None or not self._per_second:
            return
        tokens = self._tokens(_network(address))
        if tokens < 1:
            raise TooManyUnknownCredentials(math.ceil((1 - tokens) / self._per_second))
        self._set(address, tokens - 1)

    def give_back(self, address: str | None) -> None:
        """Return the token of a look-up that found something."""
        if address is not None and self._per_second:
            self._set(address, self._tokens(_network(address)) + 1)

    def add(self, name: str) -> None:
        """Remember that this doesn't exist."""
        if self._seconds:
            self._until[name] = self._clock() + self._seconds
            self._until.move_to_end(name)
            if len(self._until) > MAX_REMEMBERED:
                self._until.popitem(last=False)

    def _set(self, address: str, tokens: float) -> None:
        network = _network(address)
        self._buckets[network] = (tokens, self._clock())
        self._buckets.move_to_end(network)
        if len(self._buckets) > MAX_REMEMBERED:
            self._buckets.popitem(last=False)

    def _tokens(self, network: str) -> float:
        now = self._clock()
        tokens, at = self._buckets.get(network, (self._burst, now))
        return min(self._burst, tokens + (now - at) * self._per_second)


class ExistingNames:
    """The names that exist, as `read` returns them; it is called at most once in `seconds`."""

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
        """Whether this name exists; raise what `read` raised, to all calls within that time."""
        if self._reading is None or (self._reading.done() and self._clock() >= self._until):
            self._until = self._clock() + self._seconds
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        return name in await asyncio.shield(self._reading)


def _network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:_MAX_ADDRESS_LENGTH]  # a proxy that is trusted may pass on anything
    if ip.version == 4:
        return address
    return str(ipaddress.ip_network((int(ip), _IPV6_NETWORK), strict=False))
