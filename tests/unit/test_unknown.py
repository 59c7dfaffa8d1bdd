"""Keys and sessions that nobody has: looked up once, and so many a second for each address."""

from __future__ import annotations

import pytest

from app.unknown import MOST_REMEMBERED, TooManyUnknown, Unknown


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_nobody_has_is_remembered_for_a_moment() -> None:
    clock = Clock()
    unknown = Unknown(seconds=5, per_second=0, clock=clock)
    unknown.add("a", "192.0.2.1")
    assert unknown.has("a")
    assert not unknown.has("b")
    clock.now = 5.0
    assert not unknown.has("a")


def test_an_address_has_its_share_and_nobody_elses_is_touched() -> None:
    """One customer's IPv6 addresses are one."""
    clock = Clock()
    unknown = Unknown(seconds=0, per_second=10, clock=clock)
    for n in range(20):
        unknown.check("2001:db8::1")
        unknown.add(str(n), f"2001:db8::{n:x}")
    with pytest.raises(TooManyUnknown) as refused:
        unknown.check("2001:db8::ffff")
    assert refused.value.seconds == 1
    for other in ("2001:db8:0:1::1", "192.0.2.1", None):
        unknown.check(other)
    clock.now = 0.1
    unknown.check("2001:db8::1")


def test_no_limit_is_none_and_memory_is_bounded() -> None:
    unknown = Unknown(seconds=5, per_second=0, clock=Clock())
    for n in range(MOST_REMEMBERED + 5):
        unknown.check("192.0.2.1")
        unknown.add(str(n), "192.0.2.1")
    assert not unknown.has("4")
    assert unknown.has("5")
    limited = Unknown(seconds=5, per_second=1, clock=Clock())
    for n in range(MOST_REMEMBERED + 5):
        limited.add(str(n), str(n))
    assert len(limited._left) == MOST_REMEMBERED
