"""A client of the service's API for the command line.

CHECKOUT_URL is its address (http://127.0.0.1:8000), CHECKOUT_API_KEY the key.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx

from app.cli.output.failing import MISUSED, NOT_REACHED, failure

TIMEOUT_SECONDS = 75.0
CONNECT_SECONDS = 5.0
"""For each address of a name, one after another, so that a silent one doesn't hide the next."""
PAGE_SIZE = 100
"""The largest page of the API."""

_HERE = "http://127.0.0.1:8000"


def client() -> httpx.Client:
    """Return a client of the service, or exit if CHECKOUT_URL or CHECKOUT_API_KEY can't be used."""
    key = os.environ.get("CHECKOUT_API_KEY", "")
    if wrong := _wrong_key(key):
        raise failure(f"CHECKOUT_API_KEY {wrong}", MISUSED)
    url = os.environ.get("CHECKOUT_URL") or _HERE
    if not _is_http(url):
        raise failure(f"CHECKOUT_URL isn't the address of a service: give one such as {_HERE}.", MISUSED)
    return httpx.Client(
        base_url=url,
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS),
        trust_env=False,
    )


def ask(method: str, path: str, **given: Any) -> tuple[dict[str, Any], httpx.Headers]:
    """Return a successful answer's JSON and headers, or exit with the problem's text."""
    with client() as asking:
        try:
            answer = asking.request(method, path, **given)
        except httpx.HTTPError as error:
            raise failure(
                f"The service was not reached ({type(error).__name__}): is CHECKOUT_URL right?", NOT_REACHED
            ) from None
    if not answer.is_success:
        raise failure(problem_words(answer))
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise failure("The answer is not from this service: is CHECKOUT_URL right?", NOT_REACHED)
    return body, answer.headers


@dataclass
class Listing:
    """Sagas page by page, the newest first, at most `limit` of them; once they are through, the cursor behind the last."""

    wanted: Mapping[str, Any]
    limit: int | None
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        left = self.limit
        while left is None or left > 0:
            params = {**self.wanted, "limit": PAGE_SIZE if left is None else min(PAGE_SIZE, left)}
            if self.next_cursor:
                params["cursor"] = self.next_cursor
            page, _ = ask("GET", "/sagas", params=params)
            yield from page["data"]
            self.next_cursor = page["next_cursor"]
            if self.next_cursor is None:
                return
            left = None if left is None else left - len(page["data"])


def problem_words(answer: httpx.Response) -> str:
    """Return a problem's own words."""
    try:
        problem = answer.json()
        lines = [f"{problem['title']}: {problem['detail']}"]
        lines += [
            f"  {one.get('pointer') or one.get('parameter', '')} {one['detail']}"
            for one in problem.get("errors", [])
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"The service answered {answer.status_code}: is CHECKOUT_URL right?"
    if answer.status_code == 401:
        given = "is what was sent" if "Authorization" in answer.request.headers else "is not set"
        lines.append(f"  CHECKOUT_API_KEY {given}.")
    return "\n".join(lines)


def as_json(value: object) -> str:
    """Return JSON in ASCII, which any terminal and any script takes."""
    return json.dumps(value)


def _wrong_key(key: str) -> str | None:
    """Return what is wrong with a key that can't be sent, without a word of it."""
    for place, one in enumerate(key, start=1):
        if "!" <= one <= "~":
            continue
        if one in "\r\n":
            what = "a line end"
        elif one.isspace():
            what = "white space"
        else:
            what = f"U+{ord(one):04X} {unicodedata.name(one, '')}".rstrip()
        return f"has {what} at character {place}, which no key has: set it to the key alone."
    return None


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and not any(one.isspace() or not one.isprintable() for one in url)
    )
