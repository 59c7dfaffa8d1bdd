"""Traces of the real service: from the caller's span over the checkout to the service that is called."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr

from app.bootstrap.service import open_service
from app.bootstrap.telemetry import TracesMissing
from app.settings.settings import Settings
from app.telemetry.traces import Traces
from tests.in_process import a_service
from tests.processes import an_order
from tests.unit.gateway.network import serving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Give what gets the spans in a collector's stead."""
    found = InMemorySpanExporter()

    def exporting(_cls: type[Traces], *, now: Any) -> Traces:
        return Traces(SimpleSpanProcessor(found), now=now)

    monkeypatch.setattr(Traces, "exporting", classmethod(exporting))
    return found


def a_payment_service(heard: list[str]) -> FastAPI:
    """Return a service that declines every card, and notes which trace it is called in."""
    app = FastAPI()

    @app.put("/payments/{reference}")
    async def decline(reference: str, request: Request) -> JSONResponse:
        heard.append(request.headers["traceparent"])
        problem = {"type": "about:blank", "code": "card_declined", "detail": reference}
        return JSONResponse(problem, 402, media_type="application/problem+json")

    return app


def some_settings(url: str, **members: Any) -> Settings:
    return Settings(database_url=SecretStr(url), sandbox_database=":memory:", **members)


@pytest.mark.parametrize("traced", [True, False])
async def test_a_service_is_called_in_the_callers_trace(
    sqlite_url: str, exporter: InMemorySpanExporter, *, traced: bool
) -> None:
    """Below the span of the step's call, or below one that nobody shows where nothing is traced here."""
    heard: list[str] = []
    async with serving(a_payment_service(heard)) as payment_url:
        settings = some_settings(sqlite_url, payment_url=payment_url, traces=traced)
        async with a_service(settings, "http://checkout") as client:
            headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
            answer = await client.post("/checkout", json=an_order("ord-1"), headers=headers)
    assert answer.status_code == 402
    (header,) = heard
    assert header.startswith(f"00-{TRACE}-")
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == ({"checkout", "payment.execute"} if traced else set())
    for name, parent in (("checkout", CALLER), ("payment.execute", None)) if traced else ():
        span = spans[name]
        assert span.context is not None
        assert span.parent is not None
        assert f"{span.context.trace_id:032x}" == TRACE
        assert parent in {None, f"{span.parent.span_id:016x}"}
        assert name == "checkout" or f"{span.context.span_id:016x}" == header.split("-")[2]


async def test_traces_without_the_extra_stop_the_start_with_a_sentence(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names what to install, and how to do without."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    settings = some_settings(sqlite_url, traces=True)
    with pytest.raises(TracesMissing, match=r"pip install opentelemetry-sdk .*CHECKOUT_TRACES=false"):
        async with open_service(settings):
            pytest.fail("it started")


@pytest.mark.parametrize(
    ("env", "traced"),
    [
        ({}, False),
        ({"CHECKOUT_TRACES": "1"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "CHECKOUT_TRACES": "false"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "", "CHECKOUT_TRACES": ""}, False),
    ],
)
def test_traces_are_sent_only_where_somebody_wants_them(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, traced: bool
) -> None:
    """A collector's address is a wish; CHECKOUT_TRACES has the last word."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert Settings().traced is traced
