"""The whole service, wired once from the settings; each component gets plain values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

from uuid_utils import uuid4

from app.access.read_tokens import ReadTokens
from app.access.sessions import Sessions
from app.api import AppContext
from app.api.problems.catalogue import PROBLEMS
from app.api.routes.events import frame_of
from app.bootstrap.access import open_keys
from app.bootstrap.clock import log_time
from app.bootstrap.gateways import open_gateways
from app.bootstrap.retention import open_retention
from app.bootstrap.saga_definitions import saga_definitions
from app.bootstrap.schema import prepare_schema
from app.bootstrap.telemetry import around_run, count_dropped_log_lines, process_gauges, traces_or_warning
from app.bootstrap.webhooks import open_sender
from app.operations.change_notifier import ChangeNotifier
from app.operations.event_streams import EventStreams
from app.operations.operator import Operator
from app.operations.reading import SagaReader
from app.operations.starting import SagaStarter
from app.operations.statistics import Statistics
from app.process.drain import Drain
from app.process.health import ServiceHealth
from app.process.ids import new_owner, new_saga_id
from app.process.signals import drain_on_signals
from app.saga.engine.cancellation_poll import CancellationPoll
from app.saga.engine.lease import Lease
from app.saga.engine.lease_keeper import LeaseKeeper
from app.saga.engine.orchestrator import SagaOrchestrator
from app.saga.engine.recovery import Recovery
from app.saga.engine.runner import SagaRunner
from app.saga.model.definition import Definitions, SagaDefinition
from app.saga.model.events import Observer
from app.saga.ports.log import StoredSaga
from app.server.worker import Worker
from app.services import Gateway, Participant
from app.settings.settings import Settings
from app.storage import open_storage
from app.storage.access.sessions import SqlSessions
from app.storage.sagas.statistics import SqlStatistics
from app.telemetry.logs import log_events
from app.telemetry.metrics import Metrics
from app.telemetry.multiprocess import share_metrics
from app.webhooks import WebhookService

OpenGateways = Callable[..., AbstractAsyncContextManager[Mapping[Participant, Gateway]]]
"""`open_gateways`, or what a test has instead."""

FindDefinitions = Callable[[Settings, Mapping[Participant, Gateway]], Sequence[SagaDefinition]]
"""`saga_definitions`, or what a test has instead. `POST /checkout` starts the first."""


@asynccontextmanager
async def open_service(
    settings: Settings,
    *,
    gateways: OpenGateways = open_gateways,
    definitions: FindDefinitions = saga_definitions,
    observers: Sequence[Observer] = (log_events,),
) -> AsyncIterator[AppContext]:
    """Open everything behind the API. On leaving, close it so that other replicas can take over at once.

    `gateways` opens the services' gateways and `definitions` returns what runs over them. Both are arguments so that
    a test replaces one of them. `observers` see every event of a saga, beside the metrics, streams and traces.

    Raise `SchemaOutdated`, `SchemaAhead`, `DatabaseUrlError`, `UnsafeDatabase`, `UnauthenticatedExposure`,
    `TracesMissing` or `LogUnavailable`, with a full sentence, where the service can't start.
    """
    url = settings.database_url.get_secret_value()
    await prepare_schema(url, settings)
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(
            open_storage(url, pool_size=settings.database_pool_size, listen=True)
        )
        clock = await log_time(storage)
        worker = Worker.this
        name_owner = new_owner if worker is None else lambda: worker.owns_as(new_owner())
        lease = Lease(clock, name_owner(), settings.lease_seconds)
        traces = traces_or_warning(settings, clock)
        if traces is not None:
            stack.push_async_callback(traces.close)
        services = await stack.enter_async_context(
            gateways(settings, now=clock.now, traced=traces.header if traces else lambda: None)
        )
        sagas = definitions(settings, services)
        known = Definitions(sagas)
        streams = EventStreams(
            storage.queries,
            frame=frame_of,
            poll_seconds=settings.event_stream_poll_seconds,
            max_subscribers=settings.max_event_streams,
            changes=storage.changes,
        )
        metrics = Metrics(
            steps=list(dict.fromkeys(step.name for one in sagas for step in one)),
            problems=PROBLEMS,
            backlog=storage.queries.backlog_stats,
            lags=lambda: storage.deliveries.lags(settings.webhook_endpoints, now=clock.now()),
            folder=share_metrics(),
        )
        count_dropped_log_lines(metrics)
        storage.journal.on_batch = metrics.batch
        observing = [*observers, metrics.observe, streams.observe]
        if traces is not None:
            observing.append(traces.observe)
        orchestrator = SagaOrchestrator(
            sagas[0],
            storage.log,
            clock=clock,
            lease=lease,
            park_after=settings.park_after_seconds,
            observers=observing,
        )
        runner = SagaRunner(known, storage.log, orchestrator, clock=clock, around=partial(around_run, traces))
        keeper = LeaseKeeper(storage.log, lease, clock=clock, new_owner=name_owner, drop=runner.drop)
        cancellations = CancellationPoll(
            storage.log,
            runner,
            lease,
            poll_seconds=settings.recovery_poll_seconds,
            changes=storage.changes,
        )
        recovery = Recovery(
            storage.log,
            runner,
            known,
            lease,
            clock=clock,
            poll_seconds=settings.recovery_poll_seconds,
            max_in_flight=settings.recovery_max_in_flight,
            changes=storage.changes,
        )
        keys = await open_keys(settings, storage, clock)

        def on_takeover(stored: StoredSaga) -> None:
            metrics.resumed(stored)
            cancellations.look_soon()

        recovery.on_takeover = on_takeover
        metrics.watch(process_gauges(runner, lease, storage, streams))
        reader = SagaReader(
            runner,
            storage.queries,
            known,
            lease_until=lambda: lease.expires_at,
            lease_held=lambda: lease.held,
            changes=storage.changes,
        )
        draining = asyncio.Event()
        history = SqlStatistics(storage.log)
        changes = ChangeNotifier(history, max_subscribers=settings.max_event_streams, changes=storage.changes)
        drain = Drain(
            draining,
            settings.drain_seconds,
            idle=runner.idle,
            quiesce=(recovery.quiesce, streams.quiesce, changes.quiesce),
        )
        endpoints = settings.webhook_endpoints
        sender = open_sender(settings, storage, reader, clock)
        service = AppContext(
            starter=SagaStarter(
                runner,
                storage.log,
                reader,
                definition=sagas[0],
                new_id=lambda: new_saga_id(clock.now()),
            ),
            reader=reader,
            operator=Operator(
                runner,
                storage.log,
                known,
                now=clock.now,
                new_id=lambda: str(uuid4()),
                wake=recovery.wake,
                observers=observing,
            ),
            webhooks=WebhookService(storage.outbox, storage.deliveries, reader, endpoints, clock=clock),
            health=ServiceHealth(storage, lease, draining),
            keys=keys,
            read_tokens=ReadTokens(keys, now=clock.now, seconds=settings.read_token_seconds),
            sessions=Sessions(keys, SqlSessions(storage.log), now=clock.now, hours=settings.session_hours),
            statistics=Statistics(history, now=clock.now),
            changes=changes,
            streams=streams,
            metrics=metrics,
            in_flight=lambda: runner.in_flight,
            runs_key=runner.runs_key,
            now=clock.now,
            draining=draining,
            closing=drain.time_up,
        )
        retention = open_retention(settings, storage, clock)
        retention.on_redacted, retention.on_deleted = metrics.redacted, metrics.deleted
        for dead in worker.predecessors if worker is not None else ():
            await storage.log.release(dead)  # its process is gone: nobody has to wait until its lease lapses
        # The lease is taken first and released last; what claims sagas stops before those under way are drained.
        for component in (streams, metrics, changes, keeper, cancellations, recovery, sender, retention):
            await stack.enter_async_context(component)
        with drain_on_signals(drain):
            yield service
        drain.start()
        await recovery.stop()
        await asyncio.gather(runner.drain(drain.seconds_left), sender.stop(drain.seconds_left))
