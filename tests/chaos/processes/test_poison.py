"""A saga that kills each process that runs it is parked, and the sagas beside it end well."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import AbstractContextManager
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.chaos.apps.supervisor import KILLED
from tests.chaos.recording_client import RecordingClient, saga_id_in, words_of
from tests.processes import Running, an_order, free_port, running, the_services, together, urls_of

NEIGHBOURS = 30
DEATHS = 5
LAPSED = "lease_lost"
"""What a replica logs that has stood still for too long: that is a death too."""
SETTLED_SECONDS = 120.0
ENV = {
    "CHECKOUT_LEASE_SECONDS": "2",  # with 1 a busy machine lets leases lapse, and neighbours are blamed for it
    "CHECKOUT_RECOVERY_POLL_SECONDS": "0.1",
    "CHECKOUT_LOG_LEVEL": "warning",
}
SLOW = {"SANDBOX_LATENCY_SECONDS": "0.4"}


def _a_replica(env: dict[str, str], log: Path) -> AbstractContextManager[Running]:
    """Run a replica that comes back whenever it dies."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "tests.chaos.apps.supervisor",
        "tests.chaos.apps.poisoned_app:app",
        str(port),
    ]
    return running(command, port=port, env={**env, **ENV}, log=log, ready="/readyz")


def _placed(client: RecordingClient, server: Running, order_id: str, **members: object) -> str:
    """Return the id of an order's saga, whichever of the server's processes takes it."""
    headers = {"Prefer": "respond-async"}
    order = an_order(order_id, **members)
    return saga_id_in(client.placed(server, order, order_id, headers, seconds=SETTLED_SECONDS))


def _most_in_a_row(saga: dict[str, Any]) -> int:
    """Return how often it was taken over without having got on in between."""
    rows = [len(list(row)) for word, row in groupby(words_of(saga)) if word == "saga_recovered"]
    return max(rows, default=0)


def test_poison_is_parked_and_its_neighbours_finish(postgres_url: str, tmp_path: Path) -> None:
    """It took its process down five times; thirty sagas were under way beside it, and none of them is blamed."""
    client = RecordingClient()
    with the_services(tmp_path, SLOW) as services:
        env = {"DATABASE_URL": postgres_url, **urls_of(services)}
        logs = [tmp_path / "a.log", tmp_path / "b.log"]
        with together(*(_a_replica(env, log) for log in logs)) as replicas:
            doomed, other = replicas
            orders = [f"ord-{number}" for number in range(NEIGHBOURS)]
            neighbours = [_placed(client, doomed, order) for order in orders[: NEIGHBOURS // 2]]
            poison = _placed(client, doomed, "ord-poison", customer_id="poison")
            neighbours += [_placed(client, doomed, order) for order in orders[NEIGHBOURS // 2 :]]
            parked = client.settled(other, [poison], seconds=SETTLED_SECONDS)[0]
            sagas = client.settled(other, neighbours, seconds=SETTLED_SECONDS)
        said = "".join(log.read_text() for log in logs)
        assert Counter(saga["status"] for saga in sagas) == {"completed": NEIGHBOURS}
        assert (parked["status"], parked["failure"]["code"]) == ("needs_attention", "poisoned")
        assert said.count(KILLED) == DEATHS
        assert max(map(_most_in_a_row, sagas)) > 1, "nobody was hit: the run proves nothing"
        client.prove(services, deaths=DEATHS + said.count(LAPSED))
