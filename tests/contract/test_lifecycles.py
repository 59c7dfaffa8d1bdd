"""Everything with a start and a stop keeps the same protocol: any order, concurrently, cancelled, and no task is left."""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

import app
from app.checkout.redaction import CHECKOUT_REDACTION
from app.operations.change_notifier import ChangeNotifier
from app.operations.event_streams import EventStreams
from app.operations.reading import SagaReader
from app.operations.retention import Retention
from app.saga import SagaOrchestrator
from app.saga.background.lifecycle import Lifecycle
from app.saga.engine.cancellation_poll import CancellationPoll
from app.saga.engine.lease import Lease
from app.saga.engine.lease_keeper import LeaseKeeper
from app.saga.engine.recovery import Recovery
from app.saga.engine.runner import SagaRunner
from app.saga.model.definition import Definitions
from app.saga.ports.clock import SystemClock
from app.saga.ports.queries import BacklogStats
from app.settings.webhook_endpoints import Endpoint
from app.storage import Storage, open_storage
from app.storage.engine.change_listener import ChangeListener
from app.storage.engine.changes import LocalChanges
from app.storage.engine.database import Database
from app.storage.journal.journal import Journal
from app.storage.journal.postgres_writer import PostgresWriter
from app.storage.journal.sqlite_writer import SqliteWriter
from app.storage.retention.retention import SqlRetention
from app.storage.sagas.statistics import SqlStatistics
from app.telemetry.metrics import Gauges, Metrics
from app.webhooks import RetrySchedule, WebhookSender
from app.webhooks.client import WebhookClient
from app.webhooks.sender import Destination
from tests.builders import a_definition
from tests.interleavings import any_order, connections_closed, tasks_left

ROUNDS = 6
SOON = 0.001


class _Parts:
    """What the components are made of, over one database."""

    def __init__(self, url: str, storage: Storage, folder: Path) -> None:
        self.url = url
        self.storage = storage
        self.folder = folder
        self.clock = SystemClock()
        self.lease = Lease(self.clock, "owner-0", 30.0)
        definition = a_definition()
        self.definitions = Definitions([definition])
        orchestrator = SagaOrchestrator(definition, storage.log, clock=self.clock, lease=self.lease)
        self.runner = SagaRunner(self.definitions, storage.log, orchestrator, clock=self.clock)

    def cancellation_poll(self) -> CancellationPoll:
        return CancellationPoll(self.storage.log, self.runner, self.lease, poll_seconds=SOON)

    def change_notifier(self) -> ChangeNotifier:
        return ChangeNotifier(SqlStatistics(self.storage.log), poll_seconds=SOON)

    def local_changes(self) -> LocalChanges:
        return LocalChanges()

    def change_listener(self) -> ChangeListener:
        """On SQLite there is nothing to connect to: it tries, and fails, until it is stopped."""
        return ChangeListener(Database(self.url).connect_postgres)

    def event_streams(self) -> EventStreams:
        return EventStreams(self.storage.queries, frame=repr, poll_seconds=SOON)  # type: ignore[arg-type]

    def journal(self) -> Journal:
        database = Database(self.url)
        if database.is_postgres:
            return Journal(PostgresWriter(database.connect_postgres))
        return Journal(SqliteWriter(database.connect_sqlite, database.verify))

    def lease_keeper(self) -> LeaseKeeper:
        names = count(1)
        return LeaseKeeper(
            self.storage.log,
            self.lease,
            clock=self.clock,
            new_owner=lambda: f"owner-{next(names)}",
            drop=self.runner.drop,
        )

    def metrics(self) -> Metrics:
        async def backlog() -> BacklogStats:
            raise NotImplementedError

        metrics = Metrics(steps=[], problems=[], backlog=backlog, folder=self.folder)
        metrics.watch(Gauges())
        return metrics

    def recovery(self) -> Recovery:
        self.lease.renewed(self.clock.monotonic())
        return Recovery(
            self.storage.log,
            self.runner,
            self.definitions,
            self.lease,
            clock=self.clock,
            poll_seconds=SOON,
            max_in_flight=10,
        )

    def retention(self) -> Retention:
        class Hasty(SystemClock):
            async def sleep(self, seconds: float) -> None:
                await super().sleep(min(seconds, SOON))

        return Retention(
            SqlRetention(self.storage.log, CHECKOUT_REDACTION),
            clock=Hasty(),
            keep_data=timedelta(days=1),
            keep_sagas=timedelta(days=2),
            batch=10,
            pause_seconds=0.0,
        )

    def sender(self) -> WebhookSender:
        endpoints = [Endpoint(name=name, url="https://shop.example/", secrets=(b"x" * 32,)) for name in "ab"]
        reader = SagaReader(
            self.runner,
            self.storage.queries,
            self.definitions,
            lease_until=lambda: None,
        )
        return WebhookSender(
            self.storage.deliveries,
            self.storage.outbox,
            reader,
            [
                Destination(
                    endpoint=endpoint, client=WebhookClient(endpoint.url, timeout=1.0, max_connections=1)
                )
                for endpoint in endpoints
            ],
            render=lambda _event, _view: b"",
            schedule=RetrySchedule((1.0,)),
            clock=self.clock,
            owner="owner-0",
            timeout=1.0,
            poll_seconds=SOON,
        )


COMPONENTS: Mapping[type[Lifecycle], Callable[[_Parts], Lifecycle]] = {
    CancellationPoll: _Parts.cancellation_poll,
    ChangeListener: _Parts.change_listener,
    ChangeNotifier: _Parts.change_notifier,
    EventStreams: _Parts.event_streams,
    Journal: _Parts.journal,
    LeaseKeeper: _Parts.lease_keeper,
    LocalChanges: _Parts.local_changes,
    Metrics: _Parts.metrics,
    Recovery: _Parts.recovery,
    Retention: _Parts.retention,
    WebhookSender: _Parts.sender,
}


@pytest.mark.parametrize("component", COMPONENTS)
async def test_a_component_leaves_no_task_whatever_the_order_of_its_calls(
    component: type[Lifecycle], database_url: str, tmp_path: Path
) -> None:
    """The same component throughout: whatever was done to it, it can be started again."""
    async with open_storage(database_url) as storage:
        mine = tasks_left()
        one = COMPONENTS[component](_Parts(database_url, storage, tmp_path))
        for seed in range(ROUNDS):
            await any_order(one, random.Random(seed))
            await connections_closed()
            assert tasks_left() <= mine
        await one.start()
        assert not one.quiescing
        await one.stop()
        await connections_closed()
        assert tasks_left() <= mine


def test_every_component_of_the_service_is_in_this_suite() -> None:
    for module in pkgutil.walk_packages(app.__path__, "app."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    pending, found = [Lifecycle], set()
    while pending:
        subclasses = pending.pop().__subclasses__()
        pending += subclasses
        found |= {one for one in subclasses if one.__module__.startswith("app.")}
    assert found == COMPONENTS.keys()
