"""What the project's own server does at a signal, and with its options."""

from __future__ import annotations

import os
import signal

import click
import pytest
import uvicorn

from app.server import service_server
from app.server.service_server import ServiceServer
from app.server.worker import Worker


async def _no_app(*_: object) -> None: ...


def a_server() -> ServiceServer:
    return ServiceServer(uvicorn.Config(_no_app, log_config=None))


def test_the_first_signal_asks_the_service_and_the_server_goes_on_listening() -> None:
    server, asked = a_server(), []
    server.on_first_signal = lambda: asked.append("drain")
    server.handle_exit(signal.SIGTERM, None)
    assert (asked, server.should_exit) == (["drain"], False)


def test_the_second_signal_stops_the_server() -> None:
    server, asked = a_server(), []
    server.on_first_signal = lambda: asked.append("drain")
    server.handle_exit(signal.SIGTERM, None)
    server.handle_exit(signal.SIGTERM, None)
    assert (asked, server.should_exit, server.force_exit) == (["drain"], True, False)


def test_a_second_sigint_leaves_nobody_waiting() -> None:
    server = a_server()
    server.on_first_signal = lambda: None
    server.handle_exit(signal.SIGINT, None)
    server.handle_exit(signal.SIGINT, None)
    assert server.force_exit


def test_a_signal_during_the_start_stops_it_at_once() -> None:
    """There is nothing to drain yet."""
    server = a_server()
    server.handle_exit(signal.SIGTERM, None)
    assert server.should_exit


@pytest.mark.parametrize(
    "arguments", [["--reload"], ["--factory"], ["other:app"], ["--portt", "1"], ["--port", "x"]]
)
def test_an_option_that_it_does_not_take_is_refused(arguments: list[str]) -> None:
    with pytest.raises(click.UsageError):
        service_server.serve(arguments)


def test_a_terminals_sigint_is_left_to_the_workers_parent() -> None:
    """Which passes on that all are to stop; a second one ends a drain."""
    reports, _ = os.pipe()
    server = ServiceServer(uvicorn.Config(_no_app, log_config=None), Worker(reports))
    asked: list[str] = []
    server.on_first_signal = lambda: asked.append("drain")
    server.handle_exit(signal.SIGINT, None)
    assert asked == []
    server.handle_exit(signal.SIGTERM, None)
    server.handle_exit(signal.SIGINT, None)
    assert (asked, server.force_exit) == (["drain"], True)


@pytest.mark.parametrize("given", ["0", "-1", "auto", "1.5"])
def test_a_number_of_workers_that_is_none_is_refused_in_a_sentence(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", given)
    with pytest.raises(click.UsageError, match=f"WEB_CONCURRENCY is '{given}': give a number of workers"):
        service_server.serve([])


def test_the_option_counts_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "auto")
    with pytest.raises(click.UsageError, match="--workers is '0'"):
        service_server.serve(["--workers", "0"])
