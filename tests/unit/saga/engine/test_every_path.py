"""Every way that a saga can go: all answers, crashes and takeovers, judged by what then stands outside.

Participants here keep what really happened, which the saga only hears of: an action that answered
nothing may have had its effect, may have got lost, or may still land, and a crash may come before or
after anything that leaves the process or becomes durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.saga import (
    Context,
    EventType,
    MemoryLog,
    NewSaga,
    RetryPolicy,
    SagaDefinition,
    SagaEvent,
    SagaFenced,
    SagaOrchestrator,
    SagaState,
    SagaStatus,
    StepOutcomeUnknown,
    StepRejected,
    StepStatus,
    StepUnavailable,
    StoredSaga,
    fold,
)
from app.saga.engine.lease import Lease
from app.saga.engine.saga_instance import SagaInstance
from app.saga.model.errors import LeaseLost
from app.saga.model.step import JSON
from app.saga.ports.log import RowChange, StartResult
from app.saga.rules.decide import POISON_AFTER
from app.saga.rules.fold import apply, initial
from tests.builders import VirtualClock, a_saga, an_action
from tests.builders import told as words_of

NAMES = ("payment", "inventory", "shipping")
ALMOST_FOR_EVER = 1e9
EVERYTHING = pytest.mark.parametrize(
    "everything", [False, pytest.param(True, marks=pytest.mark.proof)], ids=["a part", "everything"]
)
"""Walk the whole product (130,000 lives, minutes) instead of its faces: the way back in full for a short
way there, and the way there in full for a short way back; neither looks at how the other went."""


class Way(StrEnum):
    """What an action or a compensation does, and what its caller hears of it."""

    OK = "ok"
    REJECTED = "rejected"  # nothing, and says so for good
    UNAVAILABLE = "unavailable"  # nothing, and says so for now
    UNKNOWN_DONE = "unknown, done"  # its effect, but no answer
    UNKNOWN_LOST = "unknown, lost"  # nothing, and no answer
    UNKNOWN_LATE = "unknown, late"  # its effect at last, when nobody asks any more


DEFINITE_NO = {Way.REJECTED, Way.UNAVAILABLE}
FORWARD = tuple(Way)
BACK = tuple(Way)[:5]
BACK_CLEAR = (Way.OK, Way.REJECTED)
FORWARD_HEARD = (Way.OK, Way.REJECTED, Way.UNAVAILABLE, Way.UNKNOWN_LATE)
BACK_HEARD = (Way.OK, Way.REJECTED, Way.UNAVAILABLE, Way.UNKNOWN_LOST)

LEGAL_EDGES = {
    ("running", "compensating"),
    ("running", "completed"),
    ("running", "needs_attention"),
    ("compensating", "compensated"),
    ("compensating", "needs_attention"),
    # Several events of one append may pass a status through within it:
    *((status, status) for status in ("running", "compensating")),
}


class Crash(BaseException):
    """The process is gone: no handler of the service's own sees it."""


@dataclass
class Fate:
    """Picks what happens, as planned; what is not planned goes well. Notes what it was asked."""

    plan: Sequence[int] = ()
    asked: list[tuple[int, int]] = field(default_factory=list)

    def pick(self, options: Sequence[Way]) -> Way:
        position = len(self.asked)
        picked = self.plan[position] % len(options) if position < len(self.plan) else 0
        self.asked.append((picked, len(options)))
        return options[picked]

    def next_plan(self) -> list[int] | None:
        """Return the plan after this one, in the order of an exhaustive walk; None after the last."""
        picks = [picked for picked, _ in self.asked]
        for position in reversed(range(len(picks))):
            if picks[position] + 1 < self.asked[position][1]:
                return [*picks[:position], picks[position] + 1]
        return None


@dataclass
class World:
    """Everything outside of the saga, and when its process dies or stands still."""

    fate: Fate
    crashes: frozenset[int] = frozenset()
    poison: str | None = None
    stands_still_at: int | None = None
    cancelled_at: int | None = None
    cancel: Callable[[], Awaitable[object]] | None = None
    forward: Sequence[Way] = FORWARD
    back: Sequence[Way] = BACK
    boundaries: int = 0
    sends: list[tuple[str, str]] = field(default_factory=list)
    still: asyncio.Event = field(default_factory=asyncio.Event)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.participants = {name: Participant(name, self) for name in NAMES}

    async def boundary(self) -> None:
        """A moment at which the process may die, or stand still until it is woken."""
        self.boundaries += 1
        if self.boundaries == self.cancelled_at and self.cancel is not None:
            await self.cancel()
        if self.boundaries in self.crashes:
            raise Crash
        if self.boundaries == self.stands_still_at:
            self.still.set()
            await self.wake.wait()

    def land(self) -> None:
        """Let everything that is still on its way arrive."""
        for participant in self.participants.values():
            participant.land()


class Participant:
    """Somebody else's service: an idempotent PUT by reference, and a DELETE that closes the reference."""

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self.stands = False
        self.closed = False
        self.on_its_way = False
        self.answers: list[Way | None] = []
        self.bodies: list[Context] = []
        self.undone: list[Way | None] = []
        self._world = world

    async def execute(self, context: Context) -> Mapping[str, JSON]:
        self._world.sends.append(("execute", self.name))
        self.bodies.append(dict(context))
        self.answers.append(None)
        if self.name == self._world.poison:
            raise Crash
        await self._world.boundary()
        way = self._world.fate.pick(self._world.forward)
        if self.closed and way is Way.OK:
            way = Way.REJECTED
        if way in {Way.OK, Way.UNKNOWN_DONE}:
            self._put()
        self.on_its_way |= way is Way.UNKNOWN_LATE
        await self._world.boundary()
        self.answers[-1] = way
        _answer(way)
        return {"reference": f"{context['saga_id']}/{self.name}"}

    async def compensate(self, context: Context) -> None:
        self._world.sends.append(("compensate", self.name))
        self.undone.append(None)
        assert context["saga_id"] == self.bodies[0]["saga_id"] if self.bodies else True
        await self._world.boundary()
        way = self._world.fate.pick(self._world.back)
        if way in {Way.OK, Way.UNKNOWN_DONE}:
            self.stands, self.closed = False, True
        await self._world.boundary()
        self.undone[-1] = way
        _answer(way)

    def land(self) -> None:
        if self.on_its_way:
            self._put()

    def _put(self) -> None:
        if not self.closed:
            self.stands = True


def _answer(way: Way) -> None:
    if way is Way.REJECTED:
        raise StepRejected
    if way is Way.UNAVAILABLE:
        raise StepUnavailable
    if way is not Way.OK:
        raise StepOutcomeUnknown


class MortalLog(MemoryLog):
    """A log in memory at whose doors the process may die, before or after the write."""

    def __init__(self, clock: VirtualClock, world: World) -> None:
        super().__init__(clock)
        self._world = world

    async def start(self, saga: NewSaga, event: SagaEvent, *, owner: str) -> StartResult:
        await self._world.boundary()
        result = await super().start(saga, event, owner=owner)
        await self._world.boundary()
        return result

    async def append(
        self, saga_id: str, *, epoch: int, events: Sequence[SagaEvent], change: RowChange | None = None
    ) -> None:
        await self._world.boundary()
        await super().append(saga_id, epoch=epoch, events=events, change=change)
        await self._world.boundary()


@dataclass
class Life:
    """One saga in one world, run by as many processes, one after the other, as it takes."""

    world: World
    policy: RetryPolicy
    compensation: RetryPolicy
    pivot: str | None = None
    deadline: float = ALMOST_FOR_EVER
    park_after: float = ALMOST_FOR_EVER
    jitter: float = 0.5
    told: bool = True
    saga: NewSaga = field(default_factory=a_saga)
    clock: VirtualClock = field(default_factory=VirtualClock)

    def __post_init__(self) -> None:
        self.log = MortalLog(self.clock, self.world)
        self.world.cancel = self._cancel
        self.running: SagaInstance | None = None
        self.sent_when_cancelled: int | None = None
        self.definition = self._defined()

    def _defined(self) -> SagaDefinition:
        definition, past = SagaDefinition("checkout", deadline=self.deadline), False
        for name, step in self.world.participants.items():
            if past:
                definition = definition.then(step, policy=self.policy)
            elif name == self.pivot:
                past = True
                definition = definition.pivot(step, policy=self.policy, compensation=self.compensation)
            else:
                definition = definition.do(step, policy=self.policy, compensation=self.compensation)
        return definition

    def orchestrator(self, lease: Lease | None = None) -> SagaOrchestrator:
        return SagaOrchestrator(
            self.definition,
            self.log,
            clock=self.clock,
            jitter=lambda: self.jitter,
            park_after=self.park_after,
            lease=lease,
        )

    async def begin(self, lease: Lease | None = None) -> None:
        """Live until the saga is given back or rests; raise `Crash` where the process dies."""
        self.running = run = SagaInstance(self.saga, self.definition)
        orchestrator = self.orchestrator(lease)
        await orchestrator.start(run)
        await orchestrator.run(run)

    async def take_over(self, owner: str) -> bool:
        """Return whether there was a saga to claim; live with it as far as it goes."""
        for stored in await self.log.claim(owner=owner, definitions=[("checkout", 1)], limit=1):
            self.running = SagaInstance.of(stored, self.definition)
            await self.orchestrator().run(self.running)
            return True
        return False

    async def _cancel(self) -> None:
        """Have a person stop the saga; who runs it hears of it where they are `told`."""
        request = await self.log.request_cancel(self.saga.id, an_action())
        if request is None:
            return
        self.sent_when_cancelled = len(self.world.sends)
        if self.told and self.running is not None:
            self.running.cancel(request)

    async def finish(self) -> None:
        """Let processes come and go until the saga rests."""
        for process in range(100):
            stored = await self.log.load(self.saga.id)
            if stored is None or fold(self.definition, stored.events).status in _AT_REST:
                return
            try:
                claimed = await self.take_over(f"process {process}")
            except Crash:
                continue
            if not claimed:
                self.clock.advance(600)
        pytest.fail("The saga never came to rest.")

    async def live(self) -> StoredSaga | None:
        """Return the saga when it rests, or None where its start never became durable."""
        with contextlib.suppress(Crash):
            await self.begin()
        await self.finish()
        return await self.log.load(self.saga.id)


_AT_REST = {SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.NEEDS_ATTENTION}


def prefixes(definition: SagaDefinition, events: Sequence[SagaEvent]) -> Iterator[SagaState]:
    state = initial(definition)
    yield state
    for event in events:
        yield (state := apply(state, event))


def judge(life: Life, stored: StoredSaga | None) -> SagaStatus | None:
    """Check every promise about a saga that has come to rest; return its status."""
    world = life.world
    if stored is None:
        assert world.sends == [], "something was sent for a saga that is not durable"
        return None
    events, participants = stored.events, world.participants
    states = list(prefixes(life.definition, events))
    state = states[-1]
    poisoned = any(one.recoveries >= POISON_AFTER for one in states)

    def how() -> str:
        return f"{words_of(events)} {world.fate.asked} {world.crashes}"

    # The trail and the way through it.
    assert [event.seq for event in events] == list(range(1, len(events) + 1)), how()
    assert [event.at for event in events] == sorted(event.at for event in events), how()
    assert stored.status is state.status in _AT_REST, how()
    edges = {(a.status.value, b.status.value) for a, b in itertools.pairwise(states)}
    assert edges <= LEGAL_EDGES, how()
    assert (state.finished_at is None) == (state.status is SagaStatus.NEEDS_ATTENTION), how()
    assert sum(event.type is EventType.SAGA_STARTED for event in events) == 1, how()

    # What was sent: always the same body, compensations one after the other in strict reverse.
    for participant in participants.values():
        assert all(body == participant.bodies[0] for body in participant.bodies), how()
    undoing = [name for action, name in world.sends if action == "compensate"]
    order = [name for n, name in enumerate(undoing) if n == 0 or undoing[n - 1] != name]
    succeeded = {e.step for e in events if e.type is EventType.STEP_SUCCEEDED}
    past_pivot = life.pivot in succeeded  # by the trail: the state forgets it when the pivot is undone
    assert not (past_pivot and state.status is SagaStatus.COMPENSATED), how()
    back = state.failure is not None and not past_pivot
    reverse = list(reversed(state.completion_order)) if back else []
    assert order == (reverse[: len(order)] if poisoned else reverse), how()
    concluded = [
        e.step for e in events if e.type in {EventType.STEP_COMPENSATED, EventType.COMPENSATION_FAILED}
    ]
    assert concluded == (reverse[: len(concluded)] if poisoned else reverse), how()

    # Who may have had an effect, as their answers and the crashes tell, not as the state does.
    crashed_in_turn = {
        before.current.name
        for before, event in zip(states, events, strict=False)
        if event.type is EventType.SAGA_RECOVERED and before.status is SagaStatus.RUNNING and before.current
    }
    for name, participant in participants.items():
        heard_no = all(way in DEFINITE_NO for way in participant.answers)
        step = state.step(name)
        if heard_no and name not in crashed_in_turn:
            assert not participant.undone, f"{name} was undone without an effect: {how()}"
        elif (name in succeeded or not heard_no) and state.status is SagaStatus.COMPENSATED:
            assert step.status is StepStatus.COMPENSATED, f"{name} was not undone: {how()}"
            assert participant.undone[-1] is Way.OK or None in participant.undone, how()

    # What stands in the end, also after everything late has landed.
    world.land()
    standing = {name for name, participant in participants.items() if participant.stands}
    match state.status:
        case SagaStatus.COMPLETED:
            assert succeeded == set(NAMES), how()
            assert standing == set(NAMES), how()
        case SagaStatus.COMPENSATED:
            assert standing == set(), how()
        case _ if past_pivot:
            assert not undoing, f"something was undone past the pivot: {how()}"
        case _ if not poisoned:
            gave_up = {s.name for s in state.steps if s.status is StepStatus.COMPENSATION_FAILED}
            assert gave_up, f"needs attention without a reason: {how()}"
            assert standing <= gave_up, f"something stands that nobody is told of: {how()}"
    return state.status


def no_pause(attempts: int) -> RetryPolicy:
    return RetryPolicy(attempts=attempts, base=0, cap=0)


async def walk(
    *,
    attempts: int,
    patience: int,
    forward: Sequence[Way],
    back: Sequence[Way],
    crash_at_each: int = 0,
    pivot: str | None = None,
) -> tuple[int, dict[str, int]]:
    """Go every way there is, and each once more for a death at each boundary, or at one in so many."""
    lives, ends = 0, {"completed": 0, "compensated": 0, "needs_attention": 0, "None": 0}

    async def each(crashes: frozenset[int]) -> int:
        """Walk all plans under these crashes; return the most boundaries that one passed."""
        nonlocal lives
        most = 0
        plan: list[int] | None = []
        while plan is not None:
            world = World(Fate(plan), crashes=crashes, forward=forward, back=back)
            life = Life(world, policy=no_pause(attempts), compensation=no_pause(patience), pivot=pivot)
            ends[str(judge(life, await life.live()))] += 1
            lives += 1
            most = max(most, world.boundaries)
            plan = world.fate.next_plan()
        return most

    most = await each(frozenset())
    for moment in range(1, most + 1, crash_at_each) if crash_at_each else ():
        await each(frozenset({moment}))
    return lives, ends


@pytest.mark.parametrize(
    ("pivot", "back", "crash_at_each"),
    [
        ("inventory", BACK_CLEAR, 1),
        ("shipping", BACK_CLEAR, 4),
        *(pytest.param(pivot, BACK, 1, marks=pytest.mark.proof) for pivot in ("inventory", "shipping", None)),
    ],
)
async def test_every_answer_with_a_crash_at_every_moment_ends_well(
    pivot: str | None, back: Sequence[Way], crash_at_each: int
) -> None:
    """Every sequence of answers, each outcome nobody knows in all its truths, a death at each boundary."""
    lives, ends = await walk(
        attempts=1, patience=1, forward=FORWARD, back=back, crash_at_each=crash_at_each, pivot=pivot
    )
    assert lives > 1_000
    assert all(ends.values()), f"a way to end was never taken: {ends}"


@EVERYTHING
async def test_every_answer_to_every_retry_ends_well(*, everything: bool) -> None:
    """Every sequence of the four answers where each action is sent up to twice."""
    patience, back = (2, BACK_HEARD) if everything else (1, (Way.OK, Way.UNKNOWN_LOST))
    lives, ends = await walk(attempts=2, patience=patience, forward=FORWARD_HEARD, back=back)
    assert lives >= 500
    assert min(ends["completed"], ends["compensated"], ends["needs_attention"]) > 0


async def test_every_answer_to_every_retry_of_a_compensation_ends_well() -> None:
    """Every sequence of the four answers where each compensation is sent up to twice."""
    lives, ends = await walk(attempts=1, patience=2, forward=FORWARD_HEARD, back=BACK_HEARD)
    assert lives > 1_000
    assert min(ends["completed"], ends["compensated"], ends["needs_attention"]) > 0


@EVERYTHING
async def test_two_crashes_in_one_saga_end_well(*, everything: bool) -> None:
    """Every pair of moments, along a way that goes forward, doubts, and goes back."""
    ways = [[0], [0, 0, 1], [0, 0, 5, 0], [0, 5, 1], [3, 0, 4, 2], [0, 4, 0, 0, 1]]
    for plan in ways:
        for first in range(1, 24):
            for second in range(first + 1, first + 16, 1 if everything else 3):
                world = World(Fate(plan), crashes=frozenset({first, second}))
                life = Life(world, policy=no_pause(2), compensation=no_pause(3))
                judge(life, await life.live())


@given(
    plan=st.lists(st.integers(0, 29), max_size=40),
    crashes=st.frozensets(st.integers(1, 60), max_size=8),
    attempts=st.integers(1, 4),
    patience=st.integers(1, 4),
    pivot=st.sampled_from([None, *NAMES]),
    deadline=st.sampled_from([1.0, 30.0, 300.0, ALMOST_FOR_EVER]),
    park_after=st.sampled_from([0.0, 5.0, ALMOST_FOR_EVER]),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_whatever_happens_the_saga_ends_well(
    plan: list[int],
    crashes: frozenset[int],
    attempts: int,
    patience: int,
    pivot: str | None,
    deadline: float,
    park_after: float,
    jitter: float,
) -> None:
    """Any answers, any deaths, any policy, with pauses, parking, a pivot and a deadline."""
    life = Life(
        World(Fate(plan), crashes=crashes),
        policy=RetryPolicy(attempts=attempts, base=1, cap=20),
        compensation=RetryPolicy(attempts=patience, base=1, cap=20),
        pivot=pivot,
        deadline=deadline,
        park_after=park_after,
        jitter=jitter,
    )
    judge(life, asyncio.run(life.live()))


@given(
    plan=st.lists(st.integers(0, 29), max_size=20),
    crashes=st.frozensets(st.integers(1, 40), max_size=4),
    cancelled_at=st.integers(1, 30),
    pivot=st.sampled_from([None, *NAMES]),
    park_after=st.sampled_from([0.0, ALMOST_FOR_EVER]),
    told=st.booleans(),
)
def test_a_saga_that_is_cancelled_at_any_moment_ends_well(
    plan: list[int],
    crashes: frozenset[int],
    cancelled_at: int,
    pivot: str | None,
    park_after: float,
    told: bool,
) -> None:
    """Whatever is under way then, and whoever dies over it: undone in order, or past its pivot and completed."""
    life = Life(
        World(Fate(plan), crashes=crashes, cancelled_at=cancelled_at),
        policy=RetryPolicy(attempts=3, base=1, cap=20),
        compensation=RetryPolicy(attempts=3, base=1, cap=20),
        pivot=pivot,
        park_after=park_after,
        told=told,
    )
    stored = asyncio.run(life.live())
    status = judge(life, stored)
    if stored is None or life.sent_when_cancelled is None:
        return
    words = [event.type for event in stored.events]
    assert words.count(EventType.CANCEL_REQUESTED) <= 1
    assert EventType.CANCEL_REQUESTED not in words or status is not SagaStatus.COMPLETED
    if told and pivot not in {e.step for e in stored.events if e.type is EventType.STEP_SUCCEEDED}:
        since = life.world.sends[life.sent_when_cancelled :]
        assert "execute" not in {action for action, _ in since}, "it went forward though it was to be stopped"


def test_a_saga_that_always_kills_its_process_is_parked_for_a_person() -> None:
    """Five takeovers, then no more: the poison harms nobody else."""
    world = World(Fate(), poison="inventory")
    life = Life(world, policy=no_pause(1), compensation=no_pause(1))
    stored = asyncio.run(life.live())
    assert judge(life, stored) is SagaStatus.NEEDS_ATTENTION
    assert stored is not None
    assert [event.type for event in stored.events].count(EventType.SAGA_RECOVERED) == POISON_AFTER
    assert world.sends.count(("execute", "inventory")) == POISON_AFTER


STANDSTILLS = [[], [1], [0, 1], [0, 0, 1], [0, 3], [0, 5, 2], [0, 0, 4], [0, 0, 1, 2, 0, 1]]


@pytest.mark.parametrize("plan", STANDSTILLS, ids=str)
async def test_a_process_that_wakes_after_its_saga_was_taken_over_changes_nothing(plan: list[int]) -> None:
    """Stopped (SIGSTOP) at any moment, woken when another has finished: fenced, and what it sends comes to nothing."""
    for moment in range(1, 40):
        world = World(Fate(plan), stands_still_at=moment)
        life = Life(world, policy=no_pause(2), compensation=no_pause(2))
        await life.log.renew("zombie", seconds=10)
        lease = Lease(life.clock, "zombie", seconds=10)
        lease.renewed(life.clock.monotonic())
        zombie = asyncio.create_task(life.begin(lease))
        stopped = asyncio.create_task(world.still.wait())
        await asyncio.wait({zombie, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not world.still.is_set():
            stopped.cancel()
            await zombie
            assert moment > world.boundaries
            return
        life.clock.advance(11)
        await life.finish()
        rested = await life.log.load(life.saga.id)
        world.wake.set()
        (ended,) = await asyncio.gather(zombie, return_exceptions=True)
        if rested is None:  # it stood still before its saga was durable, and nobody else knows it
            assert isinstance(ended, LeaseLost)
            await life.finish()
            judge(life, await life.log.load(life.saga.id))
            continue
        assert ended is None or isinstance(ended, SagaFenced | LeaseLost)
        assert await life.log.load(life.saga.id) == rested
        judge_after_standstill(life, rested)
    pytest.fail("The saga has more moments than were tried.")


def judge_after_standstill(life: Life, stored: StoredSaga) -> None:
    """Check what stands once the woken process has sent what it still had in hand, and all has landed."""
    life.world.land()
    standing = {name for name, participant in life.world.participants.items() if participant.stands}
    match stored.status:
        case SagaStatus.COMPLETED:
            assert standing == set(NAMES)
        case SagaStatus.COMPENSATED:
            assert standing == set()
        case _:
            failed = fold(life.definition, stored.events)
            gave_up = {s.name for s in failed.steps if s.status is StepStatus.COMPENSATION_FAILED}
            assert standing <= gave_up


class TestTheJudge:
    """The checker is checked: each of these mistakes has to be caught."""

    async def lived(self, plan: Sequence[int]) -> tuple[Life, StoredSaga]:
        life = Life(World(Fate(plan)), policy=no_pause(1), compensation=no_pause(1))
        stored = await life.live()
        assert stored is not None
        return life, stored

    async def test_it_catches_something_left_standing(self) -> None:
        """A compensation that was acknowledged but did nothing."""
        life, stored = await self.lived([0, 0, 1])
        life.world.participants["payment"].stands = True
        with pytest.raises(AssertionError):
            judge(life, stored)

    async def test_it_catches_an_open_reference_with_an_action_on_its_way(self) -> None:
        """Undone, but not closed: the late action comes through."""
        life, stored = await self.lived([0, 5, 0])
        life.world.participants["inventory"].closed = False
        with pytest.raises(AssertionError):
            judge(life, stored)

    async def test_it_catches_compensation_in_forward_order(self) -> None:
        """Strict reverse, or nothing."""
        life, stored = await self.lived([0, 0, 1])
        life.world.sends[-2:] = reversed(life.world.sends[-2:])
        with pytest.raises(AssertionError):
            judge(life, stored)

    async def test_it_catches_an_attempt_number_in_the_body(self) -> None:
        """The body is identical on every retry."""
        life, stored = await self.lived([])
        body = life.world.participants["payment"].bodies[0]
        life.world.participants["payment"].bodies.append({**body, "attempt": 2})
        with pytest.raises(AssertionError):
            judge(life, stored)

    async def test_it_catches_going_back_past_the_pivot(self) -> None:
        """The trail itself is checked, also where its state would have forgotten the pivot."""
        life, stored = await self.lived([0, 0, 1])
        life.pivot = "inventory"
        with pytest.raises(AssertionError):
            judge(life, stored)

    async def test_it_catches_undoing_what_never_happened(self) -> None:
        """A definite no is not compensated."""
        life, stored = await self.lived([0, 1])
        life.world.participants["inventory"].undone.append(Way.OK)
        with pytest.raises(AssertionError):
            judge(life, stored)
