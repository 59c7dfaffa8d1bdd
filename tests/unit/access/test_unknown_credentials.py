"""Keys and sessions that don't exist: looked up once, and at a limited rate for each address."""

from __future__ import annotations

import asyncio

import pytest

from app.access.unknown_credentials import (
    MAX_REMEMBERED,
    ExistingNames,
    TooManyUnknownCredentials,
    UnknownCredentials,
)
from app.saga.model.errors import LogUnavailable


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_unknown_credential_is_remembered_for_a_moment() -> None:
    clock = Clock()
    unknown = UnknownCredentials(seconds=5, per_second=0, clock=clock)
    unknown.add("a")
    assert unknown.has("a")
    assert not unknown.has("b")
    clock.now = 5.0
    assert not unknown.has("a")


def test_each_address_has_a_rate_of_its_own() -> None:
    """The addresses of one IPv6 customer share one."""
    clock = Clock()
    unknown = UnknownCredentials(seconds=0, per_second=10, clock=clock)
    for n in range(20):
        unknown.take(f"2001:db8::{n:x}")
    for _ in range(100):
        with pytest.raises(TooManyUnknownCredentials):
            unknown.take("2001:db8::ffff")
    with pytest.raises(TooManyUnknownCredentials) as refused:
        unknown.take("2001:db8::ffff")
    assert refused.value.seconds == 1
    for other in ("2001:db8:0:1::1", "192.0.2.1", None):
        unknown.take(other)
    clock.now = 0.1
    unknown.take("2001:db8::1")


def test_a_credential_that_exists_is_not_counted() -> None:
    unknown = UnknownCredentials(seconds=0, per_second=1, clock=Clock())
    for _ in range(10):
        unknown.take("192.0.2.1")
        unknown.give_back("192.0.2.1")


async def test_concurrent_look_ups_stay_within_the_rate_of_their_address() -> None:
    """Each is counted before its look-up starts."""
    unknown = UnknownCredentials(seconds=5, per_second=2, clock=Clock())
    looked, answered = [], asyncio.Event()

    async def nobody() -> None:
        looked.append(1)
        await answered.wait()

    async def none() -> frozenset[str]:
        return frozenset()

    existing = ExistingNames(none)
    asked = [
        asyncio.create_task(unknown.find(str(n), address="192.0.2.1", existing=existing, look_up=nobody))
        for n in range(50)
    ]
    await asyncio.wait(asked, timeout=0.05)
    answered.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert len(looked) == 4
    assert sum(isinstance(one, TooManyUnknownCredentials) and one.seconds == 1 for one in found) == 46


async def test_existing_names_are_read_at_most_once_in_an_interval() -> None:
    """However many calls there are; a failure is raised to all of them, and not kept longer."""
    clock, reads = Clock(), []

    async def read() -> frozenset[str]:
        reads.append(clock.now)
        if len(reads) == 1:
            raise LogUnavailable("away")
        return frozenset({"a"})

    existing = ExistingNames(read, clock=clock)
    for _ in range(3):
        with pytest.raises(LogUnavailable):
            await existing.has("a")
    clock.now = 1.0
    assert await asyncio.gather(*(existing.has(name) for name in "aba")) == [True, False, True]
    assert reads == [0.0, 1.0]


def test_a_rate_of_zero_is_no_limit_and_memory_is_bounded() -> None:
    unknown = UnknownCredentials(seconds=5, per_second=0, clock=Clock())
    for n in range(MAX_REMEMBERED + 5):
        unknown.take("192.0.2.1")
        unknown.add(str(n))
    assert not unknown.has("4")
    assert unknown.has("5")
    limited = UnknownCredentials(seconds=5, per_second=1, clock=Clock())
    for n in range(MAX_REMEMBERED + 5):
        limited.take(f"{'x' * 1000}{n}"[::-1])
    assert len(limited._buckets) == MAX_REMEMBERED
    assert max(map(len, limited._buckets)) < 100
