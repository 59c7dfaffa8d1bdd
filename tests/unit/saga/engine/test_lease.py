"""The lease of a process: never believed longer than it was granted."""

from __future__ import annotations

from datetime import datetime

import pytest

from app.saga.engine.lease import Lease
from app.saga.model.errors import LeaseLost
from tests.builders import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def lease(clock: VirtualClock) -> Lease:
    return Lease(clock, "replica-1", seconds=10)


def test_nobody_may_act_before_the_first_grant(lease: Lease) -> None:
    """A lease has to be granted."""
    assert not lease.held
    with pytest.raises(LeaseLost):
        lease.check()


def test_it_counts_from_before_the_request_was_sent(clock: VirtualClock, lease: Lease) -> None:
    """The answer's way back is not added to the lease."""
    asked_at = clock.monotonic()
    clock.advance(4)
    lease.renewed(asked_at)
    clock.advance(5.5)
    lease.check()
    clock.advance(0.5)
    assert not lease.held


def test_it_lapses_at_its_very_end(clock: VirtualClock, lease: Lease) -> None:
    """At that moment another may have taken over."""
    lease.renewed(clock.monotonic())
    clock.advance(10)
    with pytest.raises(LeaseLost):
        lease.check()


def test_renewing_prolongs_it(clock: VirtualClock, lease: Lease) -> None:
    """Each grant counts from its own request."""
    lease.renewed(clock.monotonic())
    clock.advance(9)
    lease.renewed(clock.monotonic())
    clock.advance(9)
    lease.check()


def test_an_answer_that_comes_late_shortens_nothing(clock: VirtualClock, lease: Lease) -> None:
    """Grants may arrive out of order; the longest holds."""
    early = clock.monotonic()
    clock.advance(5)
    lease.renewed(clock.monotonic())
    lease.renewed(early)
    clock.advance(9)
    lease.check()


def test_it_watches_the_monotonic_clock_alone(lease: Lease) -> None:
    """A wall clock that is set right neither ends nor prolongs it."""

    class Jumping(VirtualClock):
        def now(self) -> datetime:
            pytest.fail("the lease asked the wall clock")

    clock = Jumping()
    lease = Lease(clock, "replica-1", seconds=10)
    lease.renewed(clock.monotonic())
    lease.check()


def test_a_lost_lease_stays_lost(clock: VirtualClock, lease: Lease) -> None:
    """A lapse is a death: a grant still on its way does not bring the owner back to life."""
    lease.renewed(clock.monotonic())
    lease.lost()
    assert not lease.held
    lease.renewed(clock.monotonic())
    assert not lease.held
