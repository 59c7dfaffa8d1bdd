"""A card number gets in nowhere: not into a table, a log line, a metric, a trace, a webhook, a service or an answer."""

from __future__ import annotations

import asyncio
import json
import logging
import unicodedata
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2 as httpx
import pytest
from fastapi import FastAPI, Request, Response
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr
from sqlalchemy import MetaData, select
from typer.testing import CliRunner

from app.access.scopes import Scope
from app.api.openapi.__main__ import document
from app.cli import app as command_line
from app.settings.settings import Settings
from app.storage import open_storage
from app.telemetry.traces import Traces
from tests.in_process import a_service
from tests.processes import an_order
from tests.unit.gateway.network import serving

CARD = "4000056655665556"
SPELT = (
    CARD,
    "4000 0566 5566 5556",
    "4000-0566-5566-5556",
    "pay with 4000\u00a00566\u00a05566\u00a05556 12/29",
    CARD.translate(str.maketrans("0123456789", "０１２３４５６７８９")),  # noqa: RUF001
)
WITNESS = "tok_witness"
"""Stands in an order that is taken: what is looked through below would show a card, too."""

DESCRIPTION: dict[str, Any] = json.loads(document())


_THE_TESTS_OWN = ("httpx", "httpcore", "hypothesis", "multipart")
"""Loggers of the client that sends the cards."""


def shows_the_card(text: str) -> bool:
    """Whether the digits stand in a text, whatever is between them."""
    plain = unicodedata.normalize("NFKC", text)
    return CARD in "".join(sign for sign in plain if sign.isdigit() or sign.isalpha())


def filled(schema: Mapping[str, Any], value: str) -> Iterator[tuple[str, Any]]:
    """Yield each text member of a request's schema, by its place, with a body in which that member has this value."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield from filled(DESCRIPTION["components"]["schemas"][name], value)
    for kind in schema.get("anyOf", ()):
        yield from filled(kind, value)
    if "string" in str(schema.get("type", "")):
        yield "", value
    for inner, body in filled(schema["items"], value) if "items" in schema else ():
        yield f"/0{inner}", [body]
    for name, member in schema.get("properties", {}).items():
        for inner, body in filled(member, value):
            yield f"/{name}{inner}", {name: body}
    if "patternProperties" in schema:
        yield "/key", {value: "x"}
    for member in schema.get("patternProperties", {}).values():
        for inner, body in filled(member, value):
            yield f"/value{inner}", {"note": body}


def test_every_member_is_filled() -> None:
    """The description is where the members are taken from: a new one is tried, too."""
    order = {place for place, _ in filled({"$ref": "#/components/schemas/Order"}, CARD)}
    address = {
        f"/shipping_address/{name}" for name in ("name", "line1", "line2", "city", "region", "postal_code")
    }
    assert order >= {
        *("/order_id", "/customer_id", "/payment_method", "/items/0/sku", "/metadata/key", "/metadata/value"),
        *address,
    }
    key = {place for place, _ in filled({"$ref": "#/components/schemas/NewKey"}, CARD)}
    assert key >= {"/caller", "/who"}


@dataclass(kw_only=True)
class World:
    """The whole service, what it answers, and all that it tells others."""

    client: httpx.AsyncClient
    log: pytest.LogCaptureFixture
    traces: InMemorySpanExporter
    answers: list[httpx.Response] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    delivered: asyncio.Event

    async def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        answer = await self.client.request(method, path, **given)
        self.answers.append(answer)
        return answer

    async def refused(self, method: str, path: str, **given: Any) -> None:
        answer = await self.ask(method, path, **given)
        assert answer.status_code == 422, (method, path, given, answer.text)
        if answer.headers["content-type"] == "application/problem+json":
            assert answer.json()["code"] == "card_number_refused"
            assert answer.json()["errors"]
        else:
            assert "A card number was sent" in answer.text

    def told(self) -> Iterator[tuple[str, str]]:
        """Yield what came out of the service, by what it is."""
        for answer in self.answers:
            yield "an answer", f"{answer.status_code} {answer.headers} {answer.text}"
        for text in self.heard:
            yield "a service or a webhook", text
        for record in self.log.records:
            if not record.name.startswith(_THE_TESTS_OWN):
                yield "a log line", f"{record.getMessage()} {record.__dict__}"
        for span in self.traces.get_finished_spans():
            yield "a trace", span.to_json()


def outside(heard: list[str], delivered: asyncio.Event) -> FastAPI:
    """Return three services and a webhook's receiver in one, which note all that they get."""
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["PUT", "DELETE", "GET", "POST"])
    async def take(path: str, request: Request) -> Response:
        if path == "hooks":
            delivered.set()
        heard.append(f"{path} {request.headers} {(await request.body()).decode()}")
        if request.method == "DELETE":
            return Response('{"status": "closed"}', media_type="application/json")
        answers = {
            "payments": {"payment_id": "p", "status": "captured", "amount": 3998, "currency": "EUR"},
            "reservations": {"reservation_id": "r", "status": "reserved"},
            "shipments": {"shipment_id": "s", "status": "booked"},
        }
        return Response(json.dumps(answers.get(path.partition("/")[0], {})), media_type="application/json")

    return app


@asynccontextmanager
async def a_world(
    url: str, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, *, sandbox: bool = False
) -> AsyncIterator[World]:
    """Run the service; with the sandbox, X-Simulate is taken."""
    traces, heard, delivered = InMemorySpanExporter(), list[str](), asyncio.Event()
    monkeypatch.setattr(
        Traces, "exporting", classmethod(lambda _, *, now: Traces(SimpleSpanProcessor(traces), now=now))
    )
    log.set_level(logging.DEBUG)
    async with serving(outside(heard, delivered)) as others:
        services: dict[str, Any] = (
            {} if sandbox else {f"{name}_url": others for name in ("payment", "inventory", "shipping")}
        )
        endpoint = {
            "name": "shop",
            "url": f"{others}/hooks",
            "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        }
        settings = Settings(
            database_url=SecretStr(url),
            sandbox_database=":memory:",
            traces=True,
            webhooks=SecretStr(json.dumps([endpoint])),
            webhooks_allow_private=True,
            webhook_poll_seconds=0.05,
            **services,
        )
        async with a_service(settings) as client:
            yield World(client=client, log=log, traces=traces, heard=heard, delivered=delivered)


async def rows(url: str) -> list[str]:
    """Return every row of every table."""
    async with open_storage(url) as storage, storage.log.reading() as connection:
        tables = MetaData()
        await connection.run_sync(tables.reflect)
        return [
            f"{table.name}: {row!r}"
            for table in tables.tables.values()
            for row in await connection.execute(select(table))
        ]


def queries() -> Iterator[tuple[str, str]]:
    """Yield every query parameter of every reading, with its path."""
    for path, item in DESCRIPTION["paths"].items():
        for parameter in item.get("get", {}).get("parameters", ()):
            if parameter.get("in") == "query":
                yield path, parameter["name"]
    yield from (("/", name) for name in ("q", "step", "cursor"))
    yield from (("/dashboard/sagas/{saga_id}", "done"), ("/dashboard/sign-in", "next"))


async def fill_everything_in(world: World, card: str) -> None:
    """Write a card number wherever a client can write something."""
    saga_id = (await world.ask("GET", "/sagas")).json()["data"][0]["id"]
    order = an_order("ord-card")
    for _, body in filled({"$ref": "#/components/schemas/Order"}, card):
        await world.refused("POST", "/checkout", json={**order, **body})
        await world.refused("POST", "/checkout", params={"dry_run": "true"}, json={**order, **body})
    for body in (
        card,
        [card],
        {**order, card: 1},
        {**order, "payment_method": int(CARD)},
        {card: {card: card}},
    ):
        await world.refused("POST", "/checkout", json=body)
    for action, shape in (("cancel", "Operation"), ("retry", "Operation"), ("resolve", "Resolution")):
        for _, body in filled({"$ref": f"#/components/schemas/{shape}"}, card):
            whole = {"reason": "They called.", **body}
            await world.refused("POST", f"/sagas/{saga_id}/{action}", json=whole)
            form = await world.ask(
                "POST",
                f"/dashboard/sagas/{saga_id}/{action}",
                data={"seen": "1", **whole},
                headers={"Sec-Fetch-Site": "same-origin"},
            )
            assert form.status_code == 422
    for _, body in filled({"$ref": "#/components/schemas/NewKey"}, card):
        await world.refused("POST", "/keys", json={"caller": "a", "who": "b", "scopes": ["read"], **body})
    await world.refused("POST", "/webhooks/shop/enable", json={card: 1})
    for path, name in queries():
        await world.refused("GET", path.format(saga_id=saga_id), params={name: card})
        await world.refused("GET", path.format(saga_id=saga_id), params={card: name})
    for path in (
        "/sagas/{}",
        "/sagas/{}/events",
        "/problems/{}",
        "/{}",
        "/dashboard/sagas/{}",
        "/dashboard/static/{}",
    ):
        assert (await world.ask("GET", path.format(card))).status_code in {404, 405}, path
    for path in (
        "/keys/{}/revoke",
        "/sagas/{}/cancel",
        "/webhooks/{}/enable",
        "/webhooks/deliveries/{}/redeliver",
    ):
        assert (await world.ask("POST", path.format(card), json={"reason": "x"})).status_code in {404, 422}
    for action in ("redeliver", "enable"):
        path = f"/webhooks/{'deliveries/' if action == 'redeliver' else ''}{card}/{action}"
        assert (await world.ask("POST", path, json={})).status_code in {404, 405}
    for content, media_type in (
        (f'{{"order_id": "{card}"', "application/json"),
        (card, "text/plain"),
        (card, card),
    ):
        headers = {"Content-Type": media_type.encode()}
        await world.ask("POST", "/checkout", content=content.encode(), headers=headers)
    if card.isascii():
        await fill_headers_in(world, card, saga_id)


async def fill_headers_in(world: World, card: str, saga_id: str) -> None:
    """Write a card number into every header that is read."""
    order = an_order("ord-card")
    for name in ("Idempotency-Key", "X-Request-ID", "X-Simulate"):
        await world.refused("POST", "/checkout", json=order, headers={name: card})
        await world.refused("POST", "/checkout", json=order, headers={name: f'"a-{card}"'})
    traced = {"traceparent": f"00-{'ab' * 16}-{CARD}-01", "Prefer": "respond-async"}
    await world.ask("POST", "/checkout", json=an_order("ord-witness"), headers=traced)
    await world.refused("GET", "/livez", headers={"X-Request-ID": card})
    for name in (
        "Prefer",
        "If-Match",
        "If-None-Match",
        "Last-Event-ID",
        "traceparent",
        "User-Agent",
        "Cookie",
    ):
        await world.ask("GET", f"/sagas/{saga_id}", headers={name: card})
    await world.ask(card.replace(" ", "-"), "/sagas")


@pytest.mark.parametrize("sandbox", [False, True], ids=["services", "sandbox"])
async def test_a_card_number_is_refused_and_shown_nowhere(
    database_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, *, sandbox: bool
) -> None:
    """In every spelling and every place; one order that is taken proves that everything is looked through."""
    async with a_world(database_url, caplog, monkeypatch, sandbox=sandbox) as world:
        taken = await world.ask(
            "POST",
            "/checkout",
            json=an_order("ord-witness", payment_method=WITNESS),
            headers={"X-Request-ID": WITNESS, "Idempotency-Key": WITNESS},
        )
        assert taken.status_code == 201
        for card in SPELT:
            await fill_everything_in(world, card)
        assert len((await world.ask("GET", "/sagas")).json()["data"]) == 1
        await world.ask("GET", "/metrics")
        await world.ask("GET", "/events")
        async with asyncio.timeout(60):
            await world.delivered.wait()
        told = [*world.told(), *(("a table", row) for row in await rows(database_url))]
    assert [(what, text) for what, text in told if shows_the_card(text)] == []
    witnessed = {what for what, text in told if WITNESS in text or "witness" in text}
    assert {"a table", "an answer", "a log line", "a service or a webhook"} <= witnessed
    assert any(what == "a trace" for what, _ in told)


@pytest.mark.parametrize("place", ["order_id", "customer_id", "payment_method"])
async def test_who_signs_in_first_is_not_sent_there_with_a_card_number(
    sqlite_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    async with a_world(sqlite_url, caplog, monkeypatch) as world:
        key = {"caller": "shop", "who": "ada", "scopes": list(Scope), "everyone": True}
        assert (await world.ask("POST", "/keys", json=key)).status_code == 201
        answer = await world.ask("GET", "/", params={place: CARD})
        assert answer.status_code == 303
        assert not any(shows_the_card(text) for _, text in world.told())


def test_a_key_made_on_the_command_line_is_held_to_the_same(sqlite_url: str) -> None:
    made = CliRunner().invoke(
        command_line,
        ["keys", "create", "--caller", CARD, "--who", "ada", "--scope", "read"],
        env={"DATABASE_URL": sqlite_url},
    )
    assert made.exit_code != 0
    assert not shows_the_card(made.output)
