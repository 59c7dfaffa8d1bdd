"""A replica: the product wired as `app.bootstrap` wires it, over simulated ports, in a process that can die."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from itertools import count

from app.api import ApiSettings, AppContext
from app.api.middleware.admission import Admission
from app.operations.operator import Operator
from app.operations.reading import SagaReader
from app.operations.starting import SagaStarter
from app.process.drain import Drain
from app.saga.engine.cancellation_poll import CancellationPoll
from app.saga.engine.lease import Lease
from app.saga.engine.lease_keeper import LeaseKeeper
from app.saga.engine.orchestrator import SagaOrchestrator
from app.saga.engine.recovery import Recovery
from app.saga.engine.runner import SagaRunner
from app.saga.model.definition import Definitions
from app.saga.model.errors import LogUnavailable
from app.saga.model.retry import RetryPolicy
from app.saga.ports.clock import SystemClock
from app.services import (
    Participant,
)
from app.storage.journal.journal import Journal
from tests.builders import a_checkout
from tests.queries import QueriesOfLog
from tests.simulation.loop import WORLD, Process
from tests.simulation.network import CLIENT_TIMEOUT, Network, ServiceGateway
from tests.simulation.storage import Line, ReplicaLog, Writer
from tests.simulation.world import World

LEASE_SECONDS = 5.0
POLL_SECONDS = 1.0
GUARD_SECONDS = 0.25
DRAIN_SECONDS = 2.0
REBOOT_SECONDS = 0.5
"""How soon a process is started again that found no database."""
POLICY = RetryPolicy(timeout=CLIENT_TIMEOUT + GUARD_SECONDS, attempts=3, base=0.1, cap=2.0)
COMPENSATION = RetryPolicy(timeout=CLIENT_TIMEOUT + GUARD_SECONDS, attempts=12, base=0.1, cap=2.0)
PARK_AFTER_SECONDS = 1.0
SETTINGS = ApiSettings(wait_seconds=4.0, max_wait_seconds=6.0, storage_timeout_seconds=2.0)


class ReplicaClock(SystemClock):
    """Virtual time on a machine whose wall clock is off."""

    def __init__(self, world: World, skew: float) -> None:
        self._world = world
        self._skew = timedelta(seconds=skew)
        self._ahead = self._skew

    def now(self) -> datetime:
        return self._world.now() + self._ahead

    def wall(self) -> datetime:
        """Return what the machine itself believes, whatever the product has learnt since."""
        return self._world.now() + self._skew

    def monotonic(self) -> float:
        return self._world.loop.elapsed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def set_right(self, now: datetime) -> None:
        self._ahead = now - self._world.now()


class Replica:
    """One machine: its process, while it has one, is started again whenever it has ended."""

    def __init__(
        self, world: World, network: Network, number: int, skew: float, ids: count[int], deadline: float
    ) -> None:
        self.name = f"replica-{number}"
        self.process: Process | None = None
        self.service: AppContext | None = None
        self.admission: Admission | None = None
        self.lease: Lease | None = None
        self._world = world
        self._network = network
        self._skew = skew
        self._ids = ids
        self._deadline = deadline
        self._lives = 0
        self._stopping: asyncio.Event | None = None
        self._away_until = 0.0
        self.open: dict[asyncio.Future[object], None] = {}
        """The requests that clients have under way here."""

    def boot(self) -> None:
        """Start a process."""
        if self.process is None:
            self._lives += 1
            self.process = Process(self.name)
            life = self._world.loop.spawn(self.process, self._live(self.process))
            life.add_done_callback(self._broke_down, context=WORLD)

    def _broke_down(self, life: asyncio.Task[None]) -> None:
        """A start or an end that raises is no product's way: make the run fail by it."""
        if not life.cancelled() and (error := life.exception()) is not None:
            self._world.loop.broken.append(f"{self.name} broke down: {error!r}")

    def kill(self, seconds: float) -> None:
        if self.process is not None:
            self._over(self.process, seconds)

    def freeze(self, seconds: float) -> None:
        process = self.process
        if process is None:
            return
        loop = self._world.loop
        loop.freeze(process)

        def wake() -> None:
            if process.frozen:
                self.wake()

        loop.call_later(seconds, wake, context=WORLD)

    def wake(self) -> None:
        """Let a frozen process go on."""
        if self.process is not None and self.process.frozen:
            self._world.note(self.name, "wake", "", "")
            self._world.disturbed(0.0)
            self._world.loop.thaw(self.process)

    def stop(self, seconds: float) -> None:
        if self._stopping is None:
            self.kill(seconds)  # not even up: it just ends
            return
        self._away_until = self._world.loop.elapsed + seconds
        self._world.disturbed(seconds + DRAIN_SECONDS + LEASE_SECONDS)
        self._stopping.set()

    @property
    def serving(self) -> bool:
        """Whether it is ready, as /readyz would say."""
        return (
            self.process is not None
            and not self.process.frozen
            and self.service is not None
            and self.lease is not None
            and self.lease.held
        )

    def _over(self, process: Process, seconds: float) -> None:
        """The kernel's share of an end: nothing runs any more, connections break."""
        self._world.loop.kill(process)
        if self.lease is not None:
            self._world.gone[self.lease.owner] = self._world.loop.elapsed
        self.process = self.service = self.admission = self.lease = self._stopping = None
        broken, self.open = list(self.open), {}
        for request in broken:
            if not request.done():
                request.set_result(None)
        self._world.loop.call_later(seconds, self.boot, context=WORLD)

    async def _live(self, process: Process) -> None:
        """Be a process, from its start to its orderly end."""
        world = self._world
        line = Line(world, process)
        journal = Journal(Writer(world, line))
        clock = ReplicaClock(world, self._skew)
        lease = Lease(clock, self._new_owner(), LEASE_SECONDS)
        try:
            await journal.start()
            log = ReplicaLog(world, line, journal)
            definition = a_checkout(
                partial(self._gateway, process),
                policy=POLICY,
                compensation=COMPENSATION,
                deadline=self._deadline,
            )
            definitions = Definitions([definition])
            orchestrator = SagaOrchestrator(
                definition,
                log,
                clock=clock,
                lease=lease,
                jitter=world.rng.random,
                park_after=PARK_AFTER_SECONDS,
            )
            runner = SagaRunner(definitions, log, orchestrator, clock=clock)
            keeper = LeaseKeeper(
                log, lease, clock=clock, new_owner=lambda: self._new_identity(lease), drop=runner.drop
            )
            cancellations = CancellationPoll(log, runner, lease, poll_seconds=POLL_SECONDS)
            recovery = Recovery(
                log,
                runner,
                definitions,
                lease,
                clock=clock,
                poll_seconds=POLL_SECONDS,
                max_in_flight=256,
            )
            for component in (keeper, cancellations, recovery):
                await component.start()
        except (LogUnavailable, TimeoutError):
            self._over(process, REBOOT_SECONDS)
            return
        reader = SagaReader(runner, QueriesOfLog(log), definitions, lease_until=lambda: lease.expires_at)
        drain = Drain(asyncio.Event(), DRAIN_SECONDS, idle=runner.idle, quiesce=(recovery.quiesce,))
        self.lease = lease
        self.admission = Admission(SETTINGS.max_in_flight)
        self.service = AppContext(
            starter=SagaStarter(runner, log, reader, definition=definition, new_id=self._new_id),
            reader=reader,
            operator=Operator(
                runner, log, definitions, now=clock.now, new_id=self._new_id, wake=recovery.wake
            ),
            health=_Healthy(),
            in_flight=lambda: runner.in_flight,
            runs_key=runner.runs_key,
            draining=drain.draining,
            closing=drain.time_up,
        )
        self._stopping = asyncio.Event()
        await self._stopping.wait()
        drain.start()
        await recovery.stop()
        await runner.drain(drain.seconds_left)
        await cancellations.stop()
        await keeper.stop()
        await journal.stop()
        self._over(process, max(0.0, self._away_until - world.loop.elapsed))

    def _gateway(self, process: Process, participant: Participant) -> ServiceGateway:
        return ServiceGateway(self._world, self._network, process, participant)

    def _new_owner(self) -> str:
        return f"{self.name}.{self._lives}.{next(self._ids)}"

    def _new_identity(self, lease: Lease) -> str:
        """A lapse is a death."""
        self._world.deaths += 1
        self._world.counts["lapse"] += 1
        self._world.gone[lease.owner] = self._world.loop.elapsed
        return self._new_owner()

    def _new_id(self) -> str:
        """Return an id in the form of a UUIDv7."""
        return f"01900000-0000-7000-8000-{next(self._ids):012x}"


class _Healthy:
    async def checks(self) -> Mapping[str, str | None]:
        return {}
