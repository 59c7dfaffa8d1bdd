"""How long to wait before trying again."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.saga import RetryPolicy

POLICY = RetryPolicy(base=0.5, cap=10.0)


def none() -> float:
    return 0.0


def all_of_it() -> float:
    return 1.0


@pytest.mark.parametrize(
    ("attempt", "ceiling"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 10.0)]
)
def test_the_ceiling_doubles_until_the_cap(attempt: int, ceiling: float) -> None:
    """Exponential back-off."""
    assert POLICY.pause(attempt, jitter=all_of_it) == ceiling


def test_jitter_is_full() -> None:
    """The pause lies anywhere between nothing and the ceiling, in proportion."""
    assert POLICY.pause(3, jitter=none) == 0.0
    assert POLICY.pause(3, jitter=lambda: 0.25) == 0.5


@given(
    attempt=st.integers(1, 100_000),
    jitter=st.floats(0, 1, exclude_max=True),
    retry_after=st.none() | st.floats(),
)
def test_a_pause_is_always_between_nothing_and_an_hour(
    attempt: int, jitter: float, retry_after: float | None
) -> None:
    """Whatever attempt it is, and whatever nonsense a service asks for."""
    pause = POLICY.pause(attempt, jitter=lambda: jitter, retry_after=retry_after)
    assert 0.0 <= pause <= (POLICY.cap if not retry_after else POLICY.max_retry_after)


@given(retry_after=st.floats(0, 3600), jitter=st.floats(0, 1, exclude_max=True))
def test_a_service_is_never_asked_before_the_time_it_named(retry_after: float, jitter: float) -> None:
    """`Retry-After` is the least pause."""
    assert POLICY.pause(2, jitter=lambda: jitter, retry_after=retry_after) >= retry_after


def test_the_back_off_may_be_longer_than_the_service_asked() -> None:
    """`Retry-After` shortens nothing."""
    assert POLICY.pause(5, jitter=all_of_it, retry_after=1.0) == 8.0


@pytest.mark.parametrize("asked", [3601.0, 1e300, math.inf])
def test_no_service_parks_a_saga_for_ever(asked: float) -> None:
    """`Retry-After` is honoured beyond the back-off's cap, but to a limit of its own or the caller's."""
    assert POLICY.pause(1, jitter=none, retry_after=asked) == POLICY.max_retry_after == 3600.0
    assert POLICY.pause(1, jitter=none, retry_after=asked, limit=40.0) == 40.0
    assert RetryPolicy(max_retry_after=0).pause(1, jitter=none, retry_after=asked) == 0.0


@pytest.mark.parametrize("asked", [-5.0, 0.0, math.nan])
def test_a_time_in_the_past_is_no_time(asked: float) -> None:
    """The back-off stays."""
    assert POLICY.pause(1, jitter=all_of_it, retry_after=asked) == 0.5
