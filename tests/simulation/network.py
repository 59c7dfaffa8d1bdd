"""The way to the three services and back, on which everything can go wrong, and the real books behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, replace

from app.gateway.answer import Answer, compensated, done, found
from app.gateway.port import Call, JsonObject, Participant
from app.saga.model.errors import FailureKind, StepOutcomeUnknown, StepUnavailable
from app.saga.model.step import Closed
from app.sandbox.dispatcher import Dispatcher
from app.sandbox.records import phases
from app.sandbox.request import Request, Verb, problem
from app.sandbox.stores.memory_store import MemoryStore
from tests.proof.evidence import LedgerLine, LedgerStanding, standing_of
from tests.simulation.loop import WORLD, Process
from tests.simulation.plan import AFTER, Fault
from tests.simulation.world import World

CLIENT_TIMEOUT = 1.0
"""How long a gateway waits for an answer."""

KEY_SECONDS = 24 * 3600.0
"""How long a service remembers a key."""

Hear = Callable[[Answer], None]


def _nobody(_answer: Answer) -> None:
    """Hear an answer that was lost."""


class Books:
    """The sandbox's dispatcher over its own tables, in memory, with one bad habit of real providers.

    A key is forgotten after a day: whoever sends its PUT again then gets the work done once more.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._first: dict[tuple[Participant, str], float] = {}
        self._desk = Dispatcher(initial_stock=1_000_000, stock={})
        self._store = MemoryStore(Participant, limit=1_000_000)

    def serve(self, request: Request, *, refuse: bool = False, status: int = 0) -> Answer:
        """Answer a request that arrived; with a `status`, by that error alone."""
        if status:
            answer, applied = problem(status, "trouble", "Something went wrong."), False
        else:
            again = request.verb is Verb.PUT and self._forgotten(request)
            if again:
                self._desk._books[request.service].do(self._store, request)
            answer, applied = self._desk.serve(self._store, request, refuse=refuse)
            applied = applied or again
        happened = phases(arrived=True, applied=applied, replied=True)
        self._store.note(request, happened, fault=None, status=answer.status)
        return answer

    def _forgotten(self, request: Request) -> bool:
        """Whether this is a repeat whose key is too old to be known for one, though the work stands."""
        first = self._first.setdefault((request.service, request.reference), self._now())
        if self._now() - first < KEY_SECONDS:
            return False
        states = replace(request, verb=Verb.GET, body=None)
        answer, _ = self._desk.serve(self._store, states, refuse=False)
        return answer.status == 200

    def lines(self) -> list[LedgerLine]:
        """Return all that happened, in its order."""
        return [
            LedgerLine(
                phase=record.phase,
                service=record.service,
                action=record.action,
                reference=record.reference,
                idempotency_key=record.idempotency_key,
                fingerprint=record.fingerprint,
                status=record.status,
            )
            for record in self._store.records(0)
        ]

    def states(self) -> list[LedgerStanding]:
        """Return what every reference has come to."""
        return standing_of([asdict(states) for states in self._desk.states(self._store)])


class Network:
    """Carries requests to the books, and answers back, as far as the faults let it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.books = Books(world.loop.time)
        self.in_transit = 0
        self._until_rest: list[tuple[float, Request, str]] = []
        self._silent: dict[Participant, tuple[float, bool]] = {}
        """Until when a service keeps silent, and whether it still does what is asked."""

    def carry(self, request: Request, who: str, hear: Hear, fault: Fault | None, after: Fault | None) -> None:
        """Send a request off; `hear` gets the answer, if one comes. `after` strikes once it has arrived."""
        kind = fault.kind if fault else ""
        delay = self._world.latency()
        if fault is not None and kind == "silent":
            self._world.disturbed(fault.seconds)
            self._silent[request.service] = (self._world.loop.elapsed + fault.seconds, fault.moment == AFTER)
        until, done_all_the_same = self._silent.get(request.service, (0.0, True))
        silent = self._world.loop.elapsed < until
        if kind == "lost_request" or (silent and not done_all_the_same):
            return
        if silent:
            hear = _nobody
        if fault is not None and kind == "late":
            if not fault.seconds:
                self._until_rest.append((self._world.loop.elapsed, request, who))
                return
            delay += fault.seconds
        if fault is not None and kind == "slow":
            delay += fault.seconds
        self._send(delay, request, who, hear, fault, after)
        if fault is not None and kind == "doubled":
            self._send(delay + fault.seconds, request, who, None, None, None)

    async def land(self) -> None:
        """Return once every request that is still on its way has arrived."""
        while self.in_transit:  # noqa: ASYNC110 (virtual time, and nobody else to tell)
            await asyncio.sleep(1.0)
        for sent_at, request, who in self._until_rest:
            if self._world.loop.elapsed - sent_at < KEY_SECONDS / 2:  # no network keeps one for a day
                self._arrive(request, who, None, None, None)

    def _send(
        self,
        delay: float,
        request: Request,
        who: str,
        hear: Hear | None,
        fault: Fault | None,
        after: Fault | None,
    ) -> None:
        self.in_transit += 1

        def arrive() -> None:
            self.in_transit -= 1
            self._arrive(request, who, hear, fault, after)

        self._world.loop.call_later(delay, arrive, context=WORLD)

    def _arrive(
        self, request: Request, who: str, hear: Hear | None, fault: Fault | None, after: Fault | None
    ) -> None:
        kind = fault.kind if fault else ""
        status = fault.status if fault and kind == "error" else 0
        answer = self.books.serve(request, refuse=kind == "rejected", status=status)
        self._world.note(who, f"{request.service}.{request.verb}", request.reference, str(answer.status))
        if after is not None:
            self._world.hit(after)
        if hear is None or kind in {"lost_answer", "late"}:
            return
        if fault is not None and kind == "error_after":
            answer = Answer(status=fault.status, document=None)
        elif kind == "garbled":
            answer = Answer(status=answer.status, document=None)
        self._world.loop.call_later(self._world.latency(), hear, answer, context=WORLD)


class ServiceGateway:
    """The port to one service, for one process."""

    def __init__(self, world: World, network: Network, process: Process, service: Participant) -> None:
        self._world = world
        self._network = network
        self._process = process
        self._service = service

    async def put(self, call: Call, body: JsonObject) -> JsonObject:
        return done(await self._ask(Verb.PUT, call, body))

    async def delete(self, call: Call) -> JsonObject:
        return compensated(await self._ask(Verb.DELETE, call))

    async def get(self, call: Call) -> JsonObject | Closed | None:
        return found(await self._ask(Verb.GET, call))

    async def capture(self, call: Call) -> JsonObject:
        return done(await self._ask(Verb.CAPTURE, call))

    async def aclose(self) -> None: ...

    async def _ask(self, verb: Verb, call: Call, body: JsonObject | None = None) -> Answer:
        world, who = self._world, self._process.name
        after = await world.step(self._process)
        fault = world.faults.strike(f"{self._service}.{verb}")
        what = f"{self._service}.{verb}"
        world.note(who, what, call.reference, fault.kind if fault else "sent")
        if fault is not None and fault.kind == "refused":
            await asyncio.sleep(world.latency())
            raise StepUnavailable("The connection was refused.")
        request = Request(
            service=self._service,
            verb=verb,
            reference=call.reference,
            idempotency_key=call.idempotency_key,
            body=body,
        )
        answered: asyncio.Future[Answer] = world.loop.create_future()

        def hear(answer: Answer) -> None:
            if not answered.done():
                answered.set_result(answer)

        self._network.carry(request, who, hear, fault, after)
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT):
                answer = await answered
        except TimeoutError:
            world.note(who, what, call.reference, "silence")
            raise StepOutcomeUnknown(
                "The service did not answer in time.", code="timeout", kind=FailureKind.TIMEOUT
            ) from None
        world.note(who, what, call.reference, f"heard {answer.status}")
        return answer
