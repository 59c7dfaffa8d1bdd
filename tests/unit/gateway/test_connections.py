"""What the gateway makes of connections: slow, broken, closed meanwhile, or never made."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from app.saga.model.errors import FailureKind, StepOutcomeUnknown, StepRejected, StepUnavailable
from tests.unit.gateway.asking import BODY, CALL, PATIENCE, a_gateway, refused
from tests.unit.gateway.network import Hostile, Line, answering, hostile, response


async def test_a_body_that_drips_does_not_outlast_the_deadline() -> None:
    async def behave(line: Line) -> None:
        await line.say(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await line.say(b" ")
            await asyncio.sleep(PATIENCE / 20)  # a drip: each read succeeds, the whole never does

    error = await refused(behave, timeout=PATIENCE)
    assert isinstance(error, StepOutcomeUnknown)
    assert (error.code, error.kind) == ("timeout", FailureKind.TIMEOUT)


async def test_silence_is_a_time_out_of_unknown_outcome() -> None:
    error = await refused(lambda line: line.silence(), timeout=PATIENCE)
    assert isinstance(error, StepOutcomeUnknown)
    assert (error.code, error.kind) == ("timeout", FailureKind.TIMEOUT)


async def test_a_connection_that_breaks_after_the_request_is_unknown() -> None:
    async def behave(line: Line) -> None:
        line.reset()

    error = await refused(behave)
    assert isinstance(error, StepOutcomeUnknown)
    assert error.code == "connection_broken"


async def test_a_server_that_hangs_up_without_a_word_is_unknown() -> None:
    async def behave(line: Line) -> None:
        line.writer.close()
        await line.writer.wait_closed()

    assert isinstance(await refused(behave), StepOutcomeUnknown)


@pytest.mark.parametrize("text", [b"HTTP/1.1 200 X\r\nContent-Length: 50\r\n\r\n{", b"SSH-2.0-x\r\n\r\n"])
async def test_an_answer_that_breaks_off_is_unknown(text: bytes) -> None:
    async def behave(line: Line) -> None:
        await line.say(text)
        line.writer.close()
        await line.writer.wait_closed()

    assert isinstance(await refused(behave), StepOutcomeUnknown)


VERBS = {
    "put": lambda gateway: gateway.put(CALL, BODY),
    "delete": lambda gateway: gateway.delete(CALL),
    "get": lambda gateway: gateway.get(CALL),
    "capture": lambda gateway: gateway.capture(CALL),
}


@pytest.mark.parametrize("kept_alive", [True, False])
@pytest.mark.parametrize("farewell", ["reset", "close", "half an answer"])
@pytest.mark.parametrize("verb", VERBS)
async def test_one_attempt_is_one_request(verb: str, farewell: str, kept_alive: bool) -> None:
    """What a second request would be answered must not hide that the first one's outcome is unknown."""
    broken: list[bytes] = []

    async def behave(line: Line) -> None:
        first = len(server.heard) == 1
        if kept_alive and first:
            await line.say(response(200, b"{}"))
        elif not broken:
            broken.append(server.heard[-1])  # it took effect
            if farewell == "half an answer":
                await line.say(b"HTTP/1.1 200 O")
            if farewell == "reset":
                line.reset()
            else:
                line.writer.close()
        else:
            await line.say(response(402, b'{"code": "card_declined"}'))

    async with hostile(behave) as server, a_gateway(server.url) as gateway:
        if kept_alive:
            await gateway.put(CALL, BODY)
        with pytest.raises(StepOutcomeUnknown):
            await VERBS[verb](gateway)
        assert server.heard.count(broken[0]) == (2 if kept_alive and verb == "put" else 1)
        assert len(server.heard) == 1 + kept_alive
        with pytest.raises(StepRejected):  # and the next attempt gets its answer
            await VERBS[verb](gateway)


@pytest.mark.parametrize("last_words", [b"", response(408, b"idle for too long")])
async def test_a_connection_that_the_server_has_closed_meanwhile_costs_no_attempt(last_words: bytes) -> None:
    """It is found out before anything is sent, also where this process's loop hasn't heard of it yet."""

    async def behave(line: Line) -> None:
        await line.say(response(200, b"{}"))
        lines.append(line)

    lines: list[Line] = []
    async with hostile(behave) as server, a_gateway(server.url) as gateway:
        for _ in range(3):
            await gateway.put(CALL, BODY)
            lines[-1].shut(last_words)
        assert len(server.heard) == 3
        assert len(lines) == 3
        assert len(set(server.heard)) == 1


async def test_what_nobody_asked_for_is_not_taken_for_the_next_answer() -> None:
    """A server that answers twice, or says 408 to an idle connection without closing it."""

    async def behave(line: Line) -> None:
        lines.append(line)
        await line.say(response(200, b"{}"))
        if len(lines) == 1:
            await line.say(response(402, b'{"code": "card_declined"}'))

    lines: list[Line] = []
    async with hostile(behave) as server, a_gateway(server.url) as gateway:
        await gateway.put(CALL, BODY)
        assert await gateway.put(CALL, BODY) == {}
        assert lines[0].writer is not lines[1].writer
        assert len(server.heard) == 2


async def test_a_server_that_is_gone_since_the_last_call_was_not_reached() -> None:
    """Its farewell on the idle connection is no sign that a request was sent."""

    async def behave(line: Line) -> None:
        await line.say(response(200, b"{}", headers="Keep-Alive: timeout=60\r\n"))

    async with hostile(behave) as server, a_gateway(server.url) as gateway:
        await gateway.put(CALL, BODY)
        server.stop()
        with pytest.raises(StepUnavailable):
            await gateway.put(CALL, BODY)


async def test_a_server_that_speaks_first_is_asked_all_the_same() -> None:
    """Only a connection that had a request before is looked at: or every new one would be thrown away."""
    async with hostile(answering(response(200, b"{}")), greeting=b"\r\n") as server:
        async with a_gateway(server.url) as gateway:
            assert await gateway.put(CALL, BODY) == {}
        assert len(server.heard) == 1


async def test_a_refused_connection_is_certainly_without_effect() -> None:
    async with hostile(answering(b"")) as gone:
        pass
    async with a_gateway(gone.url) as gateway:
        with pytest.raises(StepUnavailable) as caught:
            await gateway.put(CALL, BODY)
    assert caught.value.kind is FailureKind.UNAVAILABLE


async def test_an_address_that_keeps_silent_does_not_hide_the_one_that_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A service's AAAA that drops packets beside a good A: they are tried side by side."""
    loop, asked = asyncio.get_running_loop(), []
    connect = loop.sock_connect

    async def sock_connect(sock: socket.socket, address: tuple[str, int]) -> None:
        asked.append(address[0])
        if address[0] == "2001:db8::1":
            await asyncio.Event().wait()
        await connect(sock, address)

    async def getaddrinfo(_host: str, port: int, **_: object) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    async with hostile(answering(response(200, b"{}"))) as server:
        url = server.url.replace("127.0.0.1", "payments.example")
        async with a_gateway(url) as gateway:
            assert await gateway.put(CALL, BODY) == {}
    assert asked == ["2001:db8::1", "127.0.0.1"]


async def test_a_name_that_nobody_has_is_certainly_without_effect() -> None:
    async with a_gateway("http://payments.invalid") as gateway:
        with pytest.raises(StepUnavailable):
            await gateway.put(CALL, BODY)


async def test_a_failed_tls_handshake_is_certainly_without_effect() -> None:
    async with hostile(answering(b"no TLS here")) as server:
        url = server.url.replace("http://", "https://")
        # The server waits for a line's end, so the handshake hangs until the deadline.
        async with a_gateway(url, timeout=PATIENCE) as gateway:
            with pytest.raises(StepUnavailable):
                await gateway.put(CALL, BODY)
        assert server.heard == []


async def test_who_finds_no_place_has_sent_nothing() -> None:
    asked = asyncio.Event()

    async def behave(line: Line) -> None:
        asked.set()
        await line.silence()

    async with hostile(behave) as server, a_gateway(server.url, max_connections=1) as gateway:
        first = asyncio.create_task(gateway.put(CALL, BODY))
        await asked.wait()
        gateway._timeout = PATIENCE
        with pytest.raises(StepUnavailable):
            await gateway.put(CALL, BODY)
        assert len(server.heard) == 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_place_is_given_back_whatever_happens() -> None:
    async with (
        hostile(answering(response(500))) as server,
        a_gateway(server.url, max_connections=1) as gateway,
    ):
        for _ in range(3):
            with pytest.raises(StepOutcomeUnknown):
                await gateway.put(CALL, BODY)


class Surprise(Exception):
    """Something that no library has said it raises."""


@pytest.mark.parametrize(
    "surprise",
    [Surprise(), OSError(5, "x"), RecursionError(), MemoryError(), ExceptionGroup("x", [Surprise()])],
)
async def test_no_foreign_exception_slips_through(
    surprise: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def raise_it(*_: object) -> None:
        raise surprise

    def raise_at_once() -> None:
        raise surprise

    async with hostile(answering(response(200, b"{}"))) as server, a_gateway(server.url) as gateway:
        # Before anything was sent, while a body is read, and within the body that is to be sent.
        with monkeypatch.context() as patch:
            patch.setattr(gateway, "_session", raise_at_once)
            with pytest.raises(StepUnavailable):
                await gateway.put(CALL, BODY)
        with monkeypatch.context() as patch:
            patch.setattr(gateway, "_read", raise_it)
            with pytest.raises(StepOutcomeUnknown):
                await gateway.put(CALL, BODY)
        with pytest.raises(StepUnavailable):
            await gateway.put(CALL, {"not": {"JSON"}})
        assert len(server.heard) == 1


async def test_a_cancelled_call_stays_cancelled() -> None:
    asked = asyncio.Event()

    async def behave(line: Line) -> None:
        asked.set()
        await line.silence()

    async with hostile(behave) as server, a_gateway(server.url) as gateway:
        task = asyncio.create_task(gateway.put(CALL, BODY))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert isinstance(server, Hostile)
