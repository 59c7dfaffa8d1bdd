"""The line for each request: by its route, at no cost for the request."""

from __future__ import annotations

import asyncio
import logging

import pytest

from app.api.schemas.order import Order
from app.saga.model.errors import LogUnavailable
from app.telemetry.access_log import AccessLog
from app.telemetry.logs import set_up_logging
from tests.unit.api.served import served
from tests.unit.telemetry.conftest import Lines


async def test_a_request_is_told_by_its_route(lines: Lines) -> None:
    """Never by its path or its query; with what an operator looks for."""
    async with served() as api:
        saga_id = (await api.post()).json()["id"]
        await api.get(f"/sagas/{saga_id}", X_Request_ID="req-1")
        await api.get("/sagas?customer_id=cus-secret")
        await api.get("/no/such/secret")
        await asyncio.sleep(0)
    posted, read, listed, unknown = lines.told("app.access")
    assert set(read) == {
        "event",
        "method",
        "route",
        "status",
        "duration_ms",
        "request_id",
        "logger",
        "level",
        "timestamp",
    }
    assert (read["event"], read["method"], read["route"]) == ("request", "GET", "/sagas/{saga_id}")
    assert (read["status"], read["request_id"], read["level"]) == (200, "req-1", "info")
    assert read["duration_ms"] > 0
    assert (posted["method"], posted["route"], posted["status"]) == ("POST", "/checkout", 201)
    assert (listed["route"], unknown["route"], unknown["status"]) == ("/sagas", "none", 404)
    assert "secret" not in lines.stream.getvalue()


async def test_what_machines_ask_is_told_at_debug_and_a_known_caller_by_name(lines: Lines) -> None:
    """An unknown method is the caller's own word."""
    log = AccessLog()
    log.note(method="GET", route="/livez", status=200, took=0.1, request_id="a", caller="")
    log.note(method="SECRET", route="/sagas", status=405, took=0.1, request_id="b", caller="shop-a")
    await asyncio.sleep(0)
    alive, other = lines.told("app.access")
    assert (alive["level"], other["level"]) == ("debug", "info")
    assert (other["method"], other["caller"], other["duration_ms"]) == ("other", "shop-a", 100.0)
    assert "caller" not in alive


@pytest.mark.parametrize(("level", "access"), [("warning", True), ("debug", False)])
async def test_no_line_is_made_where_nobody_wants_one(lines: Lines, level: str, *, access: bool) -> None:
    """The request pays for nothing."""
    set_up_logging(level, access=access)
    log = AccessLog()
    log.note(method="GET", route="/sagas", status=200, took=0.1, request_id="a", caller="")
    await asyncio.sleep(0)
    assert log._noted == []
    assert lines.told("app.access") == []


async def test_a_line_is_made_behind_the_request(lines: Lines) -> None:
    """While the answer is made there is nothing but a note."""
    log = AccessLog()
    log.note(method="GET", route="/sagas", status=200, took=0.1, request_id="a", caller="")
    assert lines.told("app.access") == []
    await asyncio.sleep(0)
    assert len(lines.told("app.access")) == 1


def test_the_servers_own_lines_have_the_same_form_and_no_paths(lines: Lines) -> None:
    """Its line for each request, which tells the query, is silent; what it says else isn't."""
    logging.getLogger("uvicorn.error").warning("Shutting %s", "down")
    logging.getLogger("uvicorn.access").error('127.0.0.1 - "GET /sagas?customer_id=cus-secret" 200')
    (line,) = lines.told("uvicorn.error")
    assert (line["event"], line["level"]) == ("Shutting down", "warning")
    assert "secret" not in lines.stream.getvalue()


def test_a_traceback_tells_where_and_not_what(lines: Lines) -> None:
    """An error's words may be a customer's, as those of a driver or a parser are; our own never are."""
    logger = logging.getLogger("app.somewhere")
    try:
        try:
            Order.of({"secret": "secret"}, max_items=1)
        except Exception as error:
            raise LogUnavailable("The log is away.") from error
    except LogUnavailable:
        logger.exception("it broke down")
    try:
        int("secret")
    except ValueError:
        logger.exception("it broke down again")
    first, second = lines.told("app.somewhere")
    assert "app.saga.model.errors.LogUnavailable: The log is away.\n\ncaused by\n\n" in first["exception"]
    assert "test_access_log.py" in second["exception"]
    assert second["exception"].endswith("builtins.ValueError")
    assert "secret" not in second["exception"].replace('int("secret")', "")
