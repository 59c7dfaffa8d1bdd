"""One process of the service, wired as `app.bootstrap` wires it, with a gate at every port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from starlette.responses import Response

from app.access.principal import ANONYMOUS
from app.api.http.headers.idempotency import fingerprint
from app.api.http.json_encoding import encode
from app.api.problems.problem import Problem
from app.api.schemas.order import Order
from app.api.schemas.outcome import outcome, saga_url
from app.api.schemas.saga_json import saga_json
from app.operations.operator import Operator
from app.operations.operator_rules import OperatorError, OperatorVerb
from app.operations.reading import SagaReader
from app.operations.saga_view import SagaView
from app.operations.starting import SagaStarter
from app.saga.engine.cancellation_poll import CancellationPoll
from app.saga.engine.lease import Lease
from app.saga.engine.lease_keeper import LeaseKeeper
from app.saga.engine.orchestrator import SagaOrchestrator
from app.saga.engine.recovery import Recovery
from app.saga.engine.runner import SagaRunner
from app.saga.model.definition import Definitions
from app.saga.model.errors import LogUnavailable, SagaMoved
from app.saga.model.status import SagaStatus
from app.saga.ports.clock import SystemClock
from app.saga.ports.log import SagaLog
from app.services import (
    Sandbox,
    SandboxGateway,
)
from tests.builders import a_checkout, an_id
from tests.crash.boundary import Gate, Stop
from tests.crash.loop import Process, WorldClock
from tests.crash.ports import GatedClock, GatedGateway, GatedLog
from tests.crash.scenarios import Scenario
from tests.proof.evidence import ApiAnswer, Document
from tests.queries import QueriesOfLog

LEASE_SECONDS = 10.0
POLL_SECONDS = 4.0
PARK_AFTER_SECONDS = 1.0
WAIT_SECONDS = 1.0
REQUEST_ID = "req-1"

OpenLog = Callable[[], AbstractAsyncContextManager[SagaLog]]


class Replica:
    """A process of the service. Each of its methods begins a task in it, which never ends if the process dies."""

    def __init__(
        self,
        name: str,
        scenario: Scenario,
        *,
        open_log: OpenLog,
        sandbox: Sandbox,
        clock: SystemClock | WorldClock,
        breaks: list[str],
        stop: Stop | None = None,
    ) -> None:
        self.process = Process(name)
        self.gate = Gate(self.process, stop)
        self.owners: list[str] = []
        self._scenario = scenario
        self._open_log = open_log
        self._sandbox = sandbox
        self._clock = GatedClock(clock, self.gate)
        self._breaks = breaks
        self._closing = asyncio.Event()
        self._up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._main: asyncio.Task[None] | None = None

    @property
    def abandoned(self) -> int:
        """How many sagas it gave up."""
        return self._log.abandoned

    async def ready(self) -> None:
        """Open the service and return once its loops have gone round; raise `LogUnavailable` where it can't begin."""
        self._main = self.process.begin(self._serve())
        await asyncio.wait({self._main, asyncio.ensure_future(self._up)}, return_when="FIRST_COMPLETED")
        if self._main.done():
            self._main.result()

    async def post(self, order: dict[str, Any], key: str) -> ApiAnswer:
        """Answer a POST /checkout as the API does, with a short wait."""
        return await self.process.begin(self._post(order, key))

    async def get(self, saga_id: str) -> ApiAnswer:
        """Answer a GET of a saga as the API does."""
        return await self.process.begin(self._get(saga_id))

    async def close(self) -> None:
        """End in order, as after SIGTERM."""
        self._closing.set()
        if self._main is not None:
            await self._main

    async def _serve(self) -> None:
        async with self._open_log() as log:
            self._log = GatedLog(log, self.gate, self._breaks)
            keeper, cancellations, recovery = self._wired()
            for component in (keeper, cancellations, recovery):
                await component.start()
            while not self._has_gone_round():
                self.gate.heard.clear()
                await self.gate.heard.wait()
            self._up.set_result(None)
            await self._closing.wait()
            await recovery.stop()
            await self._runner.drain(LEASE_SECONDS)
            await cancellations.stop()
            await keeper.stop()

    def _has_gone_round(self) -> bool:
        answered = self.gate.answered
        return answered["log.renew"] > 1 and answered["log.claim"] > 0

    def _wired(self) -> tuple[LeaseKeeper, CancellationPoll, Recovery]:
        scenario, clock = self._scenario, self._clock
        lease = Lease(clock, self._new_owner(), LEASE_SECONDS)
        definition = a_checkout(
            lambda to: GatedGateway(SandboxGateway(self._sandbox, to), to, self.gate),
            policy=scenario.policy,
            compensation=scenario.compensation,
            deadline=scenario.deadline,
            key_window=scenario.key_window,
        )
        definitions = Definitions([definition])
        orchestrator = SagaOrchestrator(
            definition,
            self._log,
            clock=clock,
            lease=lease,
            jitter=lambda: 1.0,
            park_after=PARK_AFTER_SECONDS,
        )
        self._runner = SagaRunner(definitions, self._log, orchestrator, clock=clock)
        self._reader = SagaReader(
            self._runner, QueriesOfLog(self._log), definitions, lease_until=lambda: lease.expires_at
        )
        self._starter = SagaStarter(
            self._runner, self._log, self._reader, definition=definition, new_id=an_id
        )
        recovery = Recovery(
            self._log,
            self._runner,
            definitions,
            lease,
            clock=clock,
            poll_seconds=POLL_SECONDS,
            max_in_flight=100,
        )
        self._operator = Operator(
            self._runner, self._log, definitions, now=clock.now, new_id=an_id, wake=recovery.wake
        )
        keeper = LeaseKeeper(self._log, lease, clock=clock, new_owner=self._new_owner, drop=self._runner.drop)
        cancellations = CancellationPoll(self._log, self._runner, lease, poll_seconds=POLL_SECONDS)
        return keeper, cancellations, recovery

    def _new_owner(self) -> str:
        self.owners.append(f"{self.process.name}-{len(self.owners) + 1}")
        return self.owners[-1]

    async def _post(self, order: dict[str, Any], key: str) -> ApiAnswer:
        given = Order.of(order, max_items=100).saga_input()
        if self._scenario.simulate is not None:
            given["simulate"] = self._scenario.simulate
        try:
            placed = await self._starter.start(
                given,
                idempotency_key=key,
                fingerprint=fingerprint(caller="", method="POST", path="/checkout", body=order),
                request_id=REQUEST_ID,
            )
            view = await self._reader.wait(placed.saga_id, seconds=WAIT_SECONDS)
            assert view is not None, "a saga that was acknowledged can't be found"
            view = await self._acted(view)
            answer = outcome(view, replayed=placed.replayed)
            if placed.replayed and not view.inactive:
                members = {"saga_url": saga_url(placed.saga_id)}
                answer = Problem("checkout_in_progress", members=members).response(REQUEST_ID)
        except LogUnavailable:
            answer = Problem("storage_unavailable").response(REQUEST_ID)
        return ApiAnswer(
            method="POST",
            path="/checkout",
            status=answer.status_code,
            document=_document(answer),
            idempotency_key=key,
            order=order,
        )

    async def _acted(self, view: SagaView) -> SagaView:
        """Do what a person does in this scenario, if it is time for it, and return how the saga stands then."""
        saga_id, when = view.saga.id, (self._scenario.act, view.state.status)
        verbs = {
            ("cancel", SagaStatus.RUNNING): OperatorVerb.CANCEL,
            ("retry", SagaStatus.NEEDS_ATTENTION): OperatorVerb.RETRY,
        }
        if when not in verbs:
            return view
        with suppress(OperatorError, SagaMoved):  # somebody was first, or it went on meanwhile
            await self._operator.act(verbs[when], saga_id, caller=ANONYMOUS, reason="The customer called.")
        return await self._reader.wait(saga_id, seconds=WAIT_SECONDS) or view

    async def _get(self, saga_id: str) -> ApiAnswer:
        try:
            answer = _shown(await self._reader.get(saga_id))
        except LogUnavailable:
            answer = Problem("storage_unavailable").response(REQUEST_ID)
        return ApiAnswer(
            method="GET",
            path=saga_url(saga_id),
            status=answer.status_code,
            document=_document(answer),
        )


def _shown(view: SagaView | None) -> Response:
    if view is None:
        return Problem("not_found").response(REQUEST_ID)
    return Response(encode(saga_json(view)), 200, media_type="application/json")


def _document(response: Response) -> Document:
    document: Document = json.loads(bytes(response.body))
    return document
