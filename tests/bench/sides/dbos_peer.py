"""DBOS in process: whole workflows one after another from as many tasks as there are clients.

As its documentation has it: asynchronous steps and workflows, the workflow's id as idempotency key, its
system database on PostgreSQL; and uvloop, which this service's process has too. It runs in an environment of
its own: `python dbos_peer.py`, without this project.
"""

from __future__ import annotations

import logging
import uuid

import uvloop
from clock import asked, tell  # type: ignore[import-not-found]  # beside this file, as the peer runs it
from dbos import DBOS, SetWorkflowID  # type: ignore[import-not-found]
from dbos_checkout import checkout, launch  # type: ignore[import-not-found]


async def main() -> None:
    """Measure whole workflows."""
    given = asked()
    logging.disable(logging.WARNING)
    launch(given.url)

    async def one() -> None:
        order_id = str(uuid.uuid4())
        with SetWorkflowID(order_id):
            assert await checkout(order_id, given.outcome == "compensated") == given.outcome

    await tell(given.clients, given.seconds, one)
    DBOS.destroy()


if __name__ == "__main__":
    uvloop.run(main())
