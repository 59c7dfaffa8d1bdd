"""Keys and sessions that nobody has: what those who ask with them may cost.

Each is looked up in the database once, and forgotten after a moment; and one address may ask for so many a second.
What was found here before is looked up without a limit, so that nobody is kept out by others at his address.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

MOST_REMEMBERED = 10_000
_IPV6_NETWORK = 64
"""One customer of a provider has as many addresses as these bits leave."""


class TooManyUnknown(Exception):
    """This address asks for too much that nobody has; nothing was looked up. `seconds` from now it may again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many keys that nobody has: ask again in {seconds} s.")
        self.seconds = seconds


class Unknown:
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

    def check(self, address: str | None) -> None:
        """Raise `TooManyUnknown` where this address has had its share; None is nobody's address."""
        if address is None or not self._per_second:
            return
        left = self._tokens(_network(address))
        if left < 1:
            raise TooManyUnknown(math.ceil((1 - left) / self._per_second))

    def add(self, name: str, address: str | None) -> None:
        """Note that nobody has this, and who asked."""
        if self._seconds:
            self._until[name] = self._clock() + self._seconds
            self._until.move_to_end(name)
            if len(self._until) > MOST_REMEMBERED:
                self._until.popitem(last=False)
        if address is not None and self._per_second:
            network = _network(address)
            self._left[network] = (self._tokens(network) - 1, self._clock())
            self._left.move_to_end(network)
            if len(self._left) > MOST_REMEMBERED:
                self._left.popitem(last=False)

    def _tokens(self, network: str) -> float:
        now = self._clock()
        left, at = self._left.get(network, (self._burst, now))
        return min(self._burst, left + (now - at) * self._per_second)


def _network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 4:
        return address
    return str(ipaddress.ip_network((int(ip), _IPV6_NETWORK), strict=False))
