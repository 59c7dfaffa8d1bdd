"""Reading a request's cookies: another application's never matter, and the longest header takes no longer than it is long."""

from __future__ import annotations

from time import process_time
from typing import Any

import pytest

from app.api.http.headers.cookies import cookie_of
from app.api.middleware.credentials import COOKIE, session_of

SESSION = "s" * 43


@pytest.mark.parametrize(
    "header",
    [
        f"checkout_session={SESSION}",
        f'checkout_session="{SESSION}"',
        f"a=1; checkout_session={SESSION};b=2",
        f" a ; =; checkout_session = {SESSION} ",
        f'prefs={{"a":[1,2]}}; checkout_session={SESSION}',
        f'broken="no end; checkout_session={SESSION}',
        f"consent=a b,c; checkout_session={SESSION}; checkout_session={'x' * 43}",
        f"p\xe9=\xff; checkout_session={SESSION}",
    ],
)
def test_another_applications_cookie_signs_nobody_out(header: str) -> None:
    """Whatever it is, ours beside it is found, and the first of ours counts."""
    assert cookie_of([header], COOKIE) == SESSION
    assert session_of(_scope(header)) == SESSION


@pytest.mark.parametrize(
    "header",
    [
        "",
        "a=1",
        "checkout_session",
        "Checkout_Session=x",
        "checkout_session=",
        "checkout_session=\xe9",
        "checkout_session=a'b",
    ],
)
def test_what_is_no_session_is_none(header: str) -> None:
    """A session has one form, so nothing else is looked up."""
    assert session_of(_scope(header)) is None


def test_each_line_of_the_header_is_read() -> None:
    """A proxy may split it."""
    assert cookie_of(["a=1", f"checkout_session={SESSION}"], COOKIE) == SESSION


@pytest.mark.parametrize(
    "part", ['checkout_session="' + "\\\\", "\\", ";", "=;", 'a="', "checkout_session=", " ", "a=b;"]
)
def test_it_takes_no_longer_than_it_is_long(part: str) -> None:
    """Eight times the header takes about eight times as long: squared it would be sixty-four (CVE-2024-7592)."""

    def seconds(size: int) -> float:
        header = (part * size)[:size]
        taken = []
        for _ in range(5):
            began = process_time()
            for _ in range(20):
                cookie_of([header], COOKIE)
            taken.append(process_time() - began)
        return min(taken)

    assert seconds(256_000) < 24 * max(seconds(32_000), 0.000_5)


def _scope(header: str) -> dict[str, Any]:
    return {"type": "http", "headers": [(b"cookie", header.encode("latin-1"))]}
