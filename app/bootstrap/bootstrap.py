"""Where everything is wired, once, from the settings; whoever else needs a setting gets a plain value."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from uuid_utils import uuid4, uuid7

from app.access.keys import Keys
from app.access.read_tokens import ReadTokens
from app.access.sessions import Sessions
from app.access.unknown_credentials import UnknownCredentials
from app.api import ApiSettings, AppContext
from app.api.middleware.loopback import is_loopback
from app.api.middleware.startup import StartFailed
from app.api.problems.catalogue import PROBLEMS
from app.api.problems.problem import MEDIA_TYPE, Problem
from app.api.routes.events import frame_of
from app.api.schemas.event_body import event_bytes
from app.checkout.definition import checkout_saga
from app.operations.change_notifier import ChangeNotifier
from app.operations.event_streams import EventStreams
from app.operations.operator import Operator
from app.operations.reading import SagaReader
from app.operations.retention import Retention
from app.operations.starting import SagaStarter
from app.operations.statistics import Statistics
from app.saga.engine.cancellation_poll import CancellationPoll
from app.saga.engine.lease import Lease
from app.saga.engine.lease_keeper import LeaseKeeper
from app.saga.engine.orchestrator import SagaOrchestrator
from app.saga.engine.recovery import Recovery
from app.saga.engine.runner import SagaRunner
from app.saga.engine.saga_instance import SagaInstance
from app.saga.model.definition import Definitions, SagaDefinition
from app.saga.model.errors import LogUnavailable
from app.saga.model.events import Observer
from app.saga.model.retry import RetryPolicy
from app.saga.ports.clock import SystemClock
from app.sandbox import Ledger
from app.server import ConnectionLimits
from app.server.running import running_server
from app.services import (
    Gateway,
    HttpGateway,
    InventoryService,
    InventoryStep,
    Participant,
    PaymentService,
    PaymentStep,
    Sandbox,
    SandboxGateway,
    ShippingService,
    ShippingStep,
)
from app.settings.settings import Settings
from app.storage import Storage, open_storage
from app.storage.access.keys import SqlKeys
from app.storage.access.sessions import SqlSessions
from app.storage.engine.database import Database, UnsafeDatabase, ping
from app.storage.engine.migrations import fault, require_current, upgrade
from app.storage.engine.start_faults import database_fault
from app.storage.engine.translation import translated
from app.storage.retention.retention import SqlRetention
from app.storage.sagas.statistics import SqlStatistics
from app.telemetry.log_writer import the_log_writer
from app.telemetry.logs import log_events, log_with_trace
from app.telemetry.metrics import Gauges, Metrics
from app.telemetry.multiprocess import share_metrics
from app.webhooks import RetrySchedule, WebhookClient, WebhookSender, WebhookService
from app.webhooks.sender import MAX_CONCURRENT, Destination

if TYPE_CHECKING:
    from app.telemetry.traces import Traces

_logger = logging.getLogger(__name__)

GUARD_SECONDS = 0.5
"""How much longer than a call its step may take, so that the call's own answer comes first."""

HEALTH_SECONDS = 2.0
"""How long a check of readiness may take before it counts as failed."""


def api_settings(settings: Settings) -> ApiSettings:
    """Return the API's share of the settings."""
    remote = any((settings.payment_url, settings.inventory_url, settings.shipping_url))
    return ApiSettings(
        max_body_bytes=settings.max_body_bytes,
        body_seconds=settings.body_timeout_seconds,
        max_uploads=settings.max_uploads,
        max_items=settings.max_items,
        max_in_flight=settings.max_in_flight,
        wait_seconds=settings.wait_seconds,
        max_wait_seconds=settings.max_wait_seconds,
        storage_patience_seconds=settings.storage_patience_seconds,
        require_idempotency_key=settings.require_idempotency_key,
        page_size=settings.page_size,
        max_page_size=settings.max_page_size,
        rate_limit_per_second=settings.rate_limit_per_second,
        allow_open=settings.allow_open,
        public_metrics=settings.public_metrics,
        cors_origins=settings.origins,
        heartbeat_seconds=settings.heartbeat_seconds,
        health_cache_seconds=settings.health_cache_seconds,
        simulate_allowed=settings.sandbox_remote or not remote,
    )


def connection_limits(settings: Settings) -> ConnectionLimits:
    """Return what a client's connection may take, before the API hears of a request."""
    return ConnectionLimits(
        head_bytes=settings.max_header_bytes,
        head_seconds=settings.header_timeout_seconds,
        idle_seconds=settings.keep_alive_seconds,
        refusal=_refusal,
    )


_REFUSALS = {400: "bad_request", 408: "request_timeout", 431: "header_fields_too_large"}


def _refusal(status: int, words: str) -> tuple[bytes, bytes]:
    answer = Problem(_REFUSALS[status], words).response(str(uuid4()))
    return MEDIA_TYPE.encode(), bytes(answer.body)


class ServiceHealth:
    """Whether this process can take work, check by check."""

    def __init__(self, storage: Storage, lease: Lease, draining: asyncio.Event) -> None:
        self._engine = storage.engine
        self._journal = storage.journal
        self._lease = lease
        self._draining = draining

    async def checks(self) -> Mapping[str, str | None]:
        """Return each check by name: None when it is well, else what is wrong."""
        database, schema = await self._database()
        if database is None and self._journal.away:
            database = "The database takes no writes."
        return {
            "database": database,
            "schema": schema,
            "lease": None if self._lease.held else "The lease has lapsed.",
            "draining": "The process is stopping." if self._draining.is_set() else None,
        }

    async def _database(self) -> tuple[str | None, str | None]:
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                async with translated():
                    await ping(self._engine)
                    return None, await fault(self._engine)
        except (LogUnavailable, TimeoutError) as error:
            unsafe = isinstance(error.__cause__, UnsafeDatabase)
            return (
                str(error.__cause__) if unsafe else "The database does not answer.",
                "Unknown while the database does not answer.",
            )


def saga_definitions(
    settings: Settings, gateways: Mapping[Participant, Gateway]
) -> tuple[SagaDefinition, ...]:
    """Return the definitions that this process runs. `POST /checkout` begins the first.

    A saga finishes on the definition that it began with: keep an older version behind the first one for as
    long as a saga of it is unfinished.
    """
    checkout = checkout_saga(
        payment=PaymentStep(PaymentService(gateways[Participant.PAYMENT])),
        inventory=InventoryStep(InventoryService(gateways[Participant.INVENTORY])),
        shipping=ShippingStep(ShippingService(gateways[Participant.SHIPPING])),
        policy=_policy(settings, settings.step_max_attempts),
        compensation=_policy(settings, settings.compensation_max_attempts),
        deadline=settings.deadline_seconds,
        key_window=settings.key_window_seconds,
    )
    return (checkout,)


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[AppContext]:
    """Open everything behind the API, and on leaving close it so that others can go on at once.

    Raise `SchemaOutdated`, `SchemaAhead`, `DatabaseUrlError`, `UnsafeDatabase` or `LogUnavailable`, in a full sentence,
    where it can't begin.
    """
    url = settings.database_url.get_secret_value()
    await _prepare_schema(url, settings)
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(
            open_storage(url, pool_size=settings.database_pool_size, listen=True)
        )
        clock = await log_time(storage)
        lease = Lease(clock, new_owner(), settings.lease_seconds)
        traces = _traces(settings, clock)
        if traces is not None:
            stack.push_async_callback(traces.close)
        gateways = await stack.enter_async_context(
            open_gateways(settings, now=clock.now, traced=traces.header if traces else lambda: None)
        )
        sagas = saga_definitions(settings, gateways)
        definition, definitions = sagas[0], Definitions(sagas)
        watch = EventStreams(
            storage.queries,
            frame=frame_of,
            poll_seconds=settings.watch_poll_seconds,
            max_subscribers=settings.max_watchers,
        )
        metrics = Metrics(
            steps=list(dict.fromkeys(step.name for one in sagas for step in one)),
            problems=PROBLEMS,
            census=storage.queries.census,
            lags=lambda: storage.deliveries.lags(settings.webhook_endpoints, now=clock.now()),
            folder=share_metrics(),
        )
        _count_dropped_log_lines(metrics)
        storage.journal.on_batch = metrics.batch
        observers: list[Observer] = [log_events, metrics.observe, watch.observe]
        if traces is not None:
            observers.append(traces.observe)
        orchestrator = SagaOrchestrator(
            definition,
            storage.log,
            clock=clock,
            lease=lease,
            park_after=settings.park_after_seconds,
            observers=observers,
        )
        runner = SagaRunner(
            definitions, storage.log, orchestrator, clock=clock, around=partial(_around, traces)
        )
        keeper = LeaseKeeper(storage.log, lease, clock=clock, new_owner=new_owner, drop=runner.drop)
        cancellations = CancellationPoll(
            storage.log, runner, lease, poll_seconds=settings.recovery_poll_seconds
        )
        recovery = Recovery(
            storage.log,
            runner,
            definitions,
            lease,
            clock=clock,
            poll_seconds=settings.recovery_poll_seconds,
            max_in_flight=settings.recovery_max_in_flight,
        )
        keys = await _keys(settings, storage, clock)
        recovery.on_takeover = metrics.resumed
        metrics.watch(_gauges(runner, lease, storage, watch))
        reader = SagaReader(
            runner,
            storage.log,
            storage.queries,
            definitions,
            lease_until=lambda: lease.expires_at,
            lease_held=lambda: lease.held,
        )
        draining = asyncio.Event()
        history = SqlStatistics(storage.log)
        pulse = ChangeNotifier(history, max_subscribers=settings.max_watchers)
        drain = Drain(draining, recovery, runner, settings.drain_seconds, (watch.quiesce, pulse.quiesce))
        endpoints = settings.webhook_endpoints
        sender = _sender(settings, storage, reader, clock)
        service = AppContext(
            starter=SagaStarter(
                runner,
                storage.log,
                reader,
                definition=definition,
                new_id=lambda: new_saga_id(clock.now()),
            ),
            reader=reader,
            operator=Operator(
                runner,
                storage.log,
                definitions,
                now=clock.now,
                new_id=lambda: str(uuid4()),
                wake=recovery.wake,
                observers=observers,
            ),
            webhooks=WebhookService(storage.outbox, storage.deliveries, reader, endpoints, clock=clock),
            health=ServiceHealth(storage, lease, draining),
            keys=keys,
            read_tokens=ReadTokens(keys, now=clock.now, seconds=settings.read_token_seconds),
            sessions=Sessions(keys, SqlSessions(storage.log), now=clock.now, hours=settings.session_hours),
            statistics=Statistics(history, now=clock.now),
            changes=pulse,
            streams=watch,
            metrics=metrics,
            in_flight=lambda: runner.in_flight,
            now=clock.now,
            draining=draining,
            closing=drain.over,
        )
        retention = open_retention(settings, storage, clock)
        retention.on_redacted, retention.on_deleted = metrics.redacted, metrics.deleted
        # The lease is taken first and released last; what claims sagas stops before those under way are drained.
        for component in (watch, metrics, pulse, keeper, cancellations, recovery, sender, retention):
            await stack.enter_async_context(component)
        with _told_to_stop(drain):
            yield service
        drain.begin()
        await recovery.stop()
        await asyncio.gather(runner.drain(drain.left), sender.stop(drain.left))


def _count_dropped_log_lines(metrics: Metrics) -> None:
    writer = the_log_writer()
    if writer is not None:
        metrics.log_lines_dropped(writer.dropped)
        writer.on_drop = metrics.log_lines_dropped


async def log_time(storage: Storage) -> SystemClock:
    """Return a clock that shows the log's time, whatever this machine's is set to. Raise `LogUnavailable`."""
    clock = SystemClock()
    clock.set_right(await storage.log.time())
    return clock


async def _keys(settings: Settings, storage: Storage, clock: SystemClock) -> Keys:
    """Return who knows the keys; raise `UnauthenticatedExposure` where there are none, and others can reach the service."""
    keys = Keys(
        SqlKeys(storage.log),
        now=clock.now,
        new_id=lambda: new_saga_id(clock.now()),
        cache_seconds=settings.key_cache_seconds,
        unknown=UnknownCredentials(
            seconds=settings.key_cache_seconds, per_second=settings.unknown_keys_per_second
        ),
    )
    if not settings.allow_open and not await keys.required():
        _refuse_to_be_open_elsewhere()
    return keys


class UnauthenticatedExposure(RuntimeError):
    """The service has no keys, and would listen where others can reach it."""


def _refuse_to_be_open_elsewhere() -> None:
    """Raise `UnauthenticatedExposure` where uvicorn is told to listen beyond loopback; other servers are told by request."""
    server = running_server()
    if server is not None:
        host = server.config.host
        if server.config.fd is None and server.config.uds is None and not is_loopback(host):
            raise UnauthenticatedExposure(
                f"There is no API key yet, so whoever reaches {host} could check out and operate: make one with "
                "`python -m app keys create`, listen on 127.0.0.1, or set CHECKOUT_ALLOW_OPEN=true where something "
                "else guards the way."
            )


class TracesMissing(RuntimeError):
    """Traces are wanted, and can't be sent."""


def open_traces(settings: Settings, clock: SystemClock) -> Traces | None:
    """Return what traces, or None where nobody wants that. Raise `TracesMissing` where they can't be sent."""
    if not settings.traced:
        return None
    try:
        from app.telemetry.traces import Traces  # noqa: PLC0415 (only who wants traces needs the extra)

        return Traces.exporting(now=clock.now)
    except ImportError as error:
        raise TracesMissing(
            f"Traces need the extra `traces` ({error.name} is not installed): pip install "
            "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http, or set CHECKOUT_TRACES=false."
        ) from None
    except ValueError:
        raise TracesMissing(
            "Traces can't be sent, as a variable OTEL_… has a value that OpenTelemetry can't use: correct it, or set "
            "CHECKOUT_TRACES=false."
        ) from None


def _traces(settings: Settings, clock: SystemClock) -> Traces | None:
    """Return what traces. Raise `TracesMissing` where CHECKOUT_TRACES wants them and they can't be sent.

    A collector's address alone may come from the platform: there the service warns, and starts all the same.
    """
    try:
        return open_traces(settings, clock)
    except TracesMissing as missing:
        if settings.traces:
            raise
        _logger.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set, and no traces are sent. %s", missing)
        return None


@contextmanager
def _around(traces: Traces | None, run: SagaInstance) -> Iterator[None]:
    """Be entered around each run of a saga, in its task."""
    with log_with_trace(run), traces.around(run) if traces else nullcontext():
        yield


def _gauges(runner: SagaRunner, lease: Lease, storage: Storage, watch: EventStreams) -> Gauges:
    gauges = Gauges()
    gauges.add("in_flight", "Sagas in this process's hands.", lambda: runner.in_flight)
    gauges.add("lease_held", "Whether this process may act.", lambda: lease.held, across="livemin")
    gauges.add(
        "database_away",
        "Whether the database took nothing at the last try.",
        lambda: storage.journal.away,
        across="livemax",
    )
    gauges.add("journal_queue", "Entries that wait to be stored.", lambda: storage.journal.queued)
    gauges.add("watchers", "Open streams of events.", lambda: watch.subscribers)
    return gauges


@asynccontextmanager
async def open_gateways(
    settings: Settings,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    traced: Callable[[], str | None] = lambda: None,
) -> AsyncIterator[dict[Participant, Gateway]]:
    """Open a gateway to each service: over HTTP where it has a URL, else to one sandbox of them all."""
    places = {
        Participant.PAYMENT: (settings.payment_url, settings.payment_token),
        Participant.INVENTORY: (settings.inventory_url, settings.inventory_token),
        Participant.SHIPPING: (settings.shipping_url, settings.shipping_token),
    }
    async with AsyncExitStack() as stack:
        sandbox = None
        if not all(url for url, _ in places.values()):
            sandbox = Sandbox(
                Ledger(settings.sandbox_database),
                failure_rate=settings.sandbox_failure_rate,
                seed=settings.sandbox_seed,
                latency_seconds=settings.sandbox_latency_seconds,
            )
            stack.push_async_callback(sandbox.aclose)
        gateways: dict[Participant, Gateway] = {}
        for participant, (url, token) in places.items():
            if sandbox is not None and not url:
                gateways[participant] = SandboxGateway(sandbox, participant)
                continue
            gateways[participant] = HttpGateway(
                participant,
                url,
                timeout=settings.step_timeout_seconds,
                max_connections=settings.max_calls_per_service,
                max_body_bytes=settings.max_answer_bytes,
                bearer_token=token.get_secret_value() if token else None,
                forward_simulate=settings.sandbox_remote,
                now=now,
                traced=traced,
            )
            stack.push_async_callback(gateways[participant].aclose)
        yield gateways


def _sender(settings: Settings, storage: Storage, reader: SagaReader, clock: SystemClock) -> WebhookSender:
    timeout = settings.webhook_timeout_seconds
    lines = [
        Destination(
            endpoint=endpoint,
            client=WebhookClient(
                endpoint.url,
                timeout=timeout,
                max_connections=MAX_CONCURRENT,
                allow_private=settings.webhooks_allow_private,
            ),
        )
        for endpoint in settings.webhook_endpoints
    ]
    return WebhookSender(
        storage.deliveries,
        storage.outbox,
        reader,
        lines,
        render=event_bytes,
        schedule=RetrySchedule(tuple(map(float, settings.webhook_pauses.split(",")))),
        clock=clock,
        owner=new_owner(),
        timeout=timeout,
        poll_seconds=settings.webhook_poll_seconds,
    )


def open_retention(settings: Settings, storage: Storage, clock: SystemClock) -> Retention:
    """Return what lets old sagas of a database leave; it is not started."""

    def days(count: int) -> timedelta | None:
        return timedelta(days=count) if count else None

    return Retention(
        SqlRetention(storage.log),
        clock=clock,
        keep_data=days(settings.keep_data_days),
        keep_sagas=days(settings.keep_sagas_days),
        batch=settings.retention_batch,
        pause_seconds=settings.retention_pause_seconds,
        endpoints=[endpoint.name for endpoint in settings.webhook_endpoints],
    )


@contextmanager
def start_failures(settings: Settings) -> Iterator[None]:
    """Raise `StartFailed` with one sentence for what keeps the service from starting, where its cause is known."""
    try:
        yield
    except (UnauthenticatedExposure, TracesMissing) as error:
        raise StartFailed(str(error)) from error
    except Exception as error:
        sentence = database_fault(error, settings.database_url.get_secret_value())
        if sentence is None:
            raise
        raise StartFailed(sentence) from error


async def _prepare_schema(url: str, settings: Settings) -> None:
    database = Database(url)
    if settings.auto_migrate == "true" or (settings.auto_migrate == "auto" and not database.is_postgres):
        await asyncio.to_thread(upgrade, url)
    engine = database.migration_engine()
    try:
        await require_current(engine)
    finally:
        await engine.dispose()


class Drain:
    """The end of a process: one span of time for the open requests and the sagas that run here together."""

    def __init__(
        self,
        begun: asyncio.Event,
        recovery: Recovery,
        runner: SagaRunner,
        seconds: float,
        at_once: Sequence[Callable[[], None]] = (),
    ) -> None:
        self.begun = begun
        self.over = asyncio.Event()
        self._at_once = at_once
        self._recovery = recovery
        self._runner = runner
        self._seconds = seconds
        self._until = 0.0
        self._task: asyncio.Task[None] | None = None

    def begin(self, hang_up: Callable[[], None] = lambda: None) -> None:
        """Take nothing new; whoever still waits when the time is over is answered with how the saga stands.

        `hang_up` is called once nobody needs to be listened to any more: nothing runs here, or the time is over.
        """
        if self.begun.is_set():
            return
        loop = asyncio.get_running_loop()
        self._until = loop.time() + self._seconds
        self._recovery.quiesce()
        self.begun.set()
        for send_away in self._at_once:
            send_away()
        loop.call_later(self._seconds, self.over.set)
        self._task = loop.create_task(self._hang_up_when_idle(hang_up))

    @property
    def left(self) -> float:
        """How many seconds are left of it."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    async def _hang_up_when_idle(self, hang_up: Callable[[], None]) -> None:
        await self._runner.idle(self._seconds)
        hang_up()


@contextmanager
def _told_to_stop(drain: Drain) -> Iterator[None]:
    """Hear SIGTERM and SIGINT before the server does, which would only tell once every request is answered.

    uvicorn's own handler would stop listening at once, where /readyz and new checkouts are to be answered
    503 while the drain lasts; and have the process die of the signal after an orderly end, where asked by
    its `should_exit` it ends with 0. A second signal goes to uvicorn as it is.
    """
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, Any] = {}
    told = False

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal told
        then = before[signal.Signals(number)]
        server = getattr(then, "__self__", None)
        if not isinstance(server, uvicorn.Server):
            loop.call_soon_threadsafe(drain.begin)
        elif not told:
            told = True
            loop.call_soon_threadsafe(drain.begin, partial(setattr, server, "should_exit", True))
            return
        else:
            server.should_exit = True
        if callable(then):
            then(number, frame)

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.getsignal(number)
            signal.signal(number, hear)
    except ValueError:  # not in the main thread: a test's server, which is told otherwise
        before.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def new_saga_id(now: datetime) -> str:
    """Return an id that sorts behind all made earlier, at any replica: `now` is the time that they share."""
    return str(uuid7(nanoseconds=int(now.timestamp() * 1_000_000) * 1_000))


def new_owner() -> str:
    """Return a name for this process as an owner of sagas: readable, and never used again."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid7()}"


def _policy(settings: Settings, attempts: int) -> RetryPolicy:
    return RetryPolicy(
        timeout=settings.step_timeout_seconds + GUARD_SECONDS,
        attempts=attempts,
        base=settings.retry_base_seconds,
        cap=settings.retry_cap_seconds,
        max_retry_after=settings.max_retry_after_seconds,
    )
