"""One call of a service over HTTP, as a step makes it: the gateway's own cost, `rate` and all, is a call's."""

from __future__ import annotations

import uvloop

from tests.bench.calls import through_the_gateway
from tests.bench.sides.clock import asked, tell
from tests.bench.sides.services import stand_in


async def main(url: str) -> None:
    """Measure calls of the stand-in at `url`."""
    given = asked()
    async with through_the_gateway(url, given.clients) as one:
        await tell(given.clients, given.seconds, one)


if __name__ == "__main__":
    with stand_in() as server:
        uvloop.run(main(server.url))
