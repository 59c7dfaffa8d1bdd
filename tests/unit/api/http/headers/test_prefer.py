"""Prefer, as RFC 7240 has it."""

from __future__ import annotations

import time

import pytest

from app.api.http.headers.prefer import Preference, preference


@pytest.mark.parametrize(
    ("headers", "respond_async", "wait"),
    [
        ([], False, None),
        (["respond-async"], True, None),
        (["Respond-Async"], True, None),
        (["wait=10"], False, 10),
        (["WAIT = 10"], False, 10),
        (['wait="10"'], False, 10),
        (["wait=0"], False, 0),
        (["respond-async, wait=10"], True, 10),
        (["respond-async", "wait=10"], True, 10),
        (["respond-async; foo=bar, wait=10; baz"], True, 10),
        (['return=minimal; foo="a,b;c", wait=3'], False, 3),
        ([r'foo="a\",b", wait=3'], False, 3),
        (["wait=1, wait=2"], False, 1),
        (['respond-async=""'], True, None),
        (["respond-async=yes"], False, None),
        (["wait=-1"], False, None),
        (["wait=soon"], False, None),
        (["wait"], False, None),
        (["wait=1.5"], False, None),
        (["wait=\u0661"], False, None),
        (["wait==1, respond-async"], True, None),
        ([",,  ,respond-async,"], True, None),
        (['"unclosed, wait=5'], False, 5),
        (["a" * 2000 + ", wait=5"], False, None),
    ],
)
def test_preferences_are_read_and_what_is_none_is_left_alone(
    headers: list[str],
    respond_async: bool,
    wait: int | None,
) -> None:
    assert preference(headers) == Preference(respond_async=respond_async, wait=wait)


def test_a_wait_beyond_all_bounds_is_capped() -> None:
    wished = preference(["wait=" + "9" * 900])
    assert wished.seconds(25, at_most=60) == 60
    assert wished.applied(at_most=60) == {"Preference-Applied": "wait=60"}


def test_the_wait_is_the_servers_unless_the_caller_prefers_otherwise() -> None:
    assert preference([]).seconds(25, at_most=60) == 25
    assert preference(["wait=3"]).seconds(25, at_most=60) == 3
    assert preference(["respond-async"]).seconds(25, at_most=60) == 0
    assert preference(["respond-async, wait=3"]).seconds(25, at_most=60) == 3


def test_what_was_applied_is_said() -> None:
    assert preference([]).applied(at_most=60) == {}
    assert preference(["respond-async, wait=3"]).applied(at_most=60) == {
        "Preference-Applied": "respond-async, wait=3"
    }
    assert preference(["respond-async, wait=3"]).applied(at_most=60, can_go_on=False) == {
        "Preference-Applied": "wait=3"
    }


@pytest.mark.parametrize(
    "text", ['"\\' * 500, "; " * 500 + "=", "a=" * 500, '"' * 999, "a" + " " * 900 + "!", ";" * 999]
)
def test_no_header_takes_long_to_read(text: str) -> None:
    began = time.process_time()
    preference([text])
    assert time.process_time() - began < 0.5
