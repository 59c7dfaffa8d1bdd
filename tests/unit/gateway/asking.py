"""A gateway that asks a server which behaves as a test wants."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from app.saga.model.errors import StepError
from app.services import Call, GatewayVerb, HttpGateway, Participant
from tests.unit.gateway.network import Behaviour, answering, hostile, response

REFERENCE = "0193b3c8-0000-7000-8000-000000000001"


CALL = Call.to(Participant.PAYMENT, GatewayVerb.EXECUTE, reference=REFERENCE)


BODY = {"order_id": "ord-1", "amount": 1999}


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


PATIENCE = 0.4
"""A deadline that is meant to pass; any other is long enough never to."""


@asynccontextmanager
async def a_gateway(url: str, **options: Any) -> AsyncIterator[HttpGateway]:
    given = {"timeout": 30.0, "now": lambda: NOW, "new_span_id": lambda: "00f067aa0ba902b7", **options}
    gateway = HttpGateway(Participant.PAYMENT, url, **given)
    try:
        yield gateway
    finally:
        await gateway.aclose()


async def put(behave: Behaviour, **options: Any) -> dict[str, Any]:
    """Return what a put gets from a server that behaves so."""
    async with hostile(behave) as server, a_gateway(server.url, **options) as gateway:
        return await gateway.put(CALL, BODY)


async def refused(behave: Behaviour, **options: Any) -> StepError:
    """Return the error that a put gets from a server that behaves so."""
    with pytest.raises(StepError) as caught:
        await put(behave, **options)
    return caught.value


def problem(status: int, body: Any, headers: str = "") -> Behaviour:
    content = json.dumps(body).encode()
    return answering(response(status, content, content_type="application/problem+json", headers=headers))


async def deleted(behave: Behaviour) -> dict[str, Any]:
    async with hostile(behave) as server, a_gateway(server.url) as gateway:
        return await gateway.delete(CALL)
