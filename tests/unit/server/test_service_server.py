"""What the project's own server does at a signal, and with its options."""

from __future__ import annotations

import signal

import click
import pytest
import uvicorn

from app.server import service_server
from app.server.service_server import ServiceServer


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
