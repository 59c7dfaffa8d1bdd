"""A sender over a real database, with virtual time and a receiver that a test scripts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import insert

from app.api.schemas.event_body import event_bytes
from app.operations.reading import SagaReader
from app.saga import Definitions, SagaOrchestrator
from app.saga.engine.runner import SagaRunner
from app.saga.model.events import SagaEvent
from app.saga.model.status import SagaStatus
from app.saga.ports.log import NewSaga, RowChange
from app.settings.webhook_endpoints import Endpoint, EventName
from app.storage import Storage, open_storage
from app.storage.engine.tables import outbox
from app.storage.outbox.delivery_rows import Delivery, DeliveryStatus
from app.webhooks import RetrySchedule, WebhookSender, WebhookService
from app.webhooks.client import WebhookClient
from app.webhooks.response import WebhookResponse
from app.webhooks.sender import Destination
from tests.builders import (
    NOON,
    VirtualClock,
    a_definition,
    a_saga,
    a_trail,
    finished,
    started,
    succeeded,
)

SECRET = b"s" * 32
DELAYS = (5.0, 300.0, 1800.0)
_ALL_WELL = a_trail(started(), *map(succeeded, ("payment", "inventory", "shipping")), finished())
ACCEPTED = WebhookResponse(status=200)


@dataclass
class Sent:
    """One request as the receiver got it."""

    id: str
    body: bytes
    headers: Mapping[str, str]
    at: datetime


class ScriptedClient(WebhookClient):
    """A receiver that gives the answers that it was told to, in turn, and then takes everything."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__("https://shop.example/hooks", timeout=15.0, max_connections=1)
        self.answers: deque[WebhookResponse] = deque()
        self.sent: list[Sent] = []
        self.heard = asyncio.Event()
        self._clock = clock

    async def post(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> WebhookResponse:
        self.sent.append(Sent(id=headers["webhook-id"], body=body, headers=headers, at=now))
        self.heard.set()
        return self.answers.popleft() if self.answers else ACCEPTED

    @property
    def ids(self) -> list[str]:
        return [sent.id for sent in self.sent]


@dataclass
class World:
    """What a test has in hand."""

    storage: Storage
    reader: SagaReader
    clock: VirtualClock = field(default_factory=VirtualClock)

    def a_replica(
        self, endpoint: Endpoint, *, owner: str = "a", jitter: float = 0.0
    ) -> tuple[WebhookSender, Destination, ScriptedClient]:
        """Return a process's sender with its one destination."""
        client = ScriptedClient(self.clock)
        destination = Destination(endpoint=endpoint, client=client)
        sender = WebhookSender(
            self.storage.deliveries,
            self.storage.outbox,
            self.reader,
            [destination],
            render=event_bytes,
            schedule=RetrySchedule(DELAYS, jitter=lambda: jitter),
            clock=self.clock,
            owner=owner,
            timeout=15.0,
            poll_seconds=1.0,
        )
        return sender, destination, client

    def service(self, *endpoints: Endpoint) -> WebhookService:
        return WebhookService(
            self.storage.outbox, self.storage.deliveries, self.reader, endpoints, clock=self.clock
        )

    async def register(self, *endpoints: Endpoint) -> None:
        names = [endpoint.name for endpoint in endpoints]
        await self.storage.deliveries.register(names, now=self.clock.now())

    async def a_saga(self, *, caller: str = "") -> NewSaga:
        """Store a saga under way."""
        wanted = a_saga(caller=caller, customer_id="cus-1")
        wanted.input.update(customer_id="cus-1", currency="EUR")
        await self.storage.log.start(wanted, started(), owner="me")
        return wanted

    async def completed(self, *, caller: str = "") -> str:
        """Store a saga that completed, and return its event's id."""
        saga = await self.a_saga(caller=caller)
        await self.ends(saga, _ALL_WELL)
        return f"evt_{saga.id.replace('-', '')}_5"

    async def twice(self) -> list[str]:
        """Store a saga with two events, and return their ids.

        Only a person makes a saga rest twice; here the first event is put into the outbox by hand.
        """
        saga = await self.a_saga()
        async with self.storage.log.writing() as connection:
            row = {"saga_id": saga.id, "seq": 1, "type": EventName.NEEDS_ATTENTION, "caller": "", "at": NOON}
            await connection.execute(insert(outbox).values(row))
        await self.ends(saga, _ALL_WELL)
        return [f"evt_{saga.id.replace('-', '')}_{seq}" for seq in (1, 5)]

    async def ends(self, saga: NewSaga, trail: Sequence[SagaEvent]) -> None:
        """Append what follows the start, to the end."""
        change = RowChange(status=SagaStatus.COMPLETED, next_action_at=None, finished_at=NOON)
        await self.storage.log.append(saga.id, epoch=1, events=trail[1:], change=change)

    async def deliveries(self, status: DeliveryStatus | None = None) -> list[Delivery]:
        found = await self.storage.deliveries.list_deliveries(
            status=status, endpoint=None, before=None, limit=100
        )
        return found[::-1]


def an_endpoint(name: str = "shop", **changes: object) -> Endpoint:
    """Return an endpoint that gets everything."""
    members: dict[str, object] = {"url": "https://shop.example/hooks", "secrets": (SECRET,), **changes}
    return Endpoint(name=name, **members)  # type: ignore[arg-type]


@asynccontextmanager
async def a_world(url: str) -> AsyncIterator[World]:
    """Open a world over a migrated database."""
    clock = VirtualClock()
    definitions = Definitions([a_definition()])
    async with open_storage(url) as storage:
        orchestrator = SagaOrchestrator(a_definition(), storage.log, clock=clock)
        runner = SagaRunner(definitions, storage.log, orchestrator, clock=clock)
        reader = SagaReader(runner, storage.queries, definitions, lease_until=lambda: None)
        yield World(storage=storage, reader=reader, clock=clock)
