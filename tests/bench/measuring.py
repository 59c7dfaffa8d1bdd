"""How a side is measured: a program that prints its figures, or a server under wrk."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache
from pathlib import Path

from tests.bench.page import FeedItem
from tests.bench.peers import NotFetched
from tests.bench.sides.over_http import NoWrk, Server, http
from tests.bench.sides.services import stand_in, urls
from tests.processes import ROOT, the_services, urls_of

Measure = Callable[[int, str], FeedItem]
Services = Callable[[], AbstractContextManager[dict[str, str]]]
"""Runs the three services beside a checkout; gives the environment that points at them."""


class Absent(RuntimeError):
    """A side can't run here, or not with so many clients; the message says why."""


def program(command: list[str], url: str, seconds: float, **env: str) -> Measure:
    """Return how a side that is a program of its own is measured."""

    def measure(clients: int, outcome: str) -> FeedItem:
        given = ["--url", url, "--clients", str(clients), "--seconds", str(seconds), "--outcome", outcome]
        with subprocess.Popen(
            [*command, *given],
            cwd=ROOT,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as side:
            try:
                out, errors = side.communicate(timeout=seconds * 5 + 60)
            except subprocess.TimeoutExpired:
                os.killpg(side.pid, signal.SIGKILL)  # with what it has started itself
                raise Absent("it didn't end in time") from None
        if side.returncode:
            raise Absent(errors.strip().splitlines()[-1] if errors else str(side.returncode))
        told: FeedItem = json.loads(out.splitlines()[-1])
        return told

    return measure


def served(server: Server, seconds: float, *, services: Services | None = None) -> Measure:
    """Return how a server is measured; with `services`, beside those."""

    def measure(clients: int, outcome: str) -> FeedItem:
        try:
            with services() if services else contextlib.nullcontext({}) as beside:
                called = replace(server, env={**server.env, **beside})
                return http(called, clients=clients, seconds=seconds, outcome=outcome)
        except NoWrk as error:
            raise Absent(str(error.__doc__)) from None
        except (AssertionError, subprocess.SubprocessError) as error:
            raise Absent(str(error).partition("\n")[0]) from error

    return measure


@contextlib.contextmanager
def least_services() -> Iterator[dict[str, str]]:
    """Run the stand-in that costs least, one process for all three services."""
    with stand_in() as server:
        yield urls(server)


@contextlib.contextmanager
def sandbox_services() -> Iterator[dict[str, str]]:
    """Run the sandbox's three services, each a process of its own with books on disk."""
    with tempfile.TemporaryDirectory() as folder, the_services(Path(folder)) as servers:
        yield urls_of(servers)


def fetched(prepare: Callable[[], Measure]) -> Measure:
    """Return the measure of a side that is fetched when it is first asked for, and then never again."""

    @cache
    def prepared() -> Measure:
        try:
            return prepare()
        except NotFetched as error:
            return missing(str(error))

    def measure(clients: int, outcome: str) -> FeedItem:
        return prepared()(clients, outcome)

    return measure


def missing(why: str) -> Measure:
    """Return the measure of a side that can't run here."""

    def absent(_clients: int, _outcome: str) -> FeedItem:
        raise Absent(why)

    return absent
