"""The API over a real checkout, a log in memory and scripted steps, spoken to through HTTP.

Every answer to a described operation is held against the API's description: its status has to stand
there, and its body to fit the schema.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx2 as httpx
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from starlette.routing import Match, Route

from app.api import ApiSettings, AppContext
from app.api.openapi.__main__ import document
from app.api.openapi.example_sagas import ORDER
from app.bootstrap.http_app import create_app
from app.checkout.definition import checkout_saga
from app.operations.operator import Operator
from app.operations.reading import SagaReader
from app.operations.starting import SagaStarter
from app.saga import Definitions, SagaDefinition, SagaEvent, SagaOrchestrator, StoredSaga
from app.saga.engine.runner import SagaRunner
from app.saga.model.errors import LeaseLost
from app.saga.model.step import JSON
from app.saga.ports.log import NewSaga, ReadSaga, StartResult, Stored, load
from app.saga.ports.queries import Kept, SagaFilter, nothing_kept
from tests.builders import QUICK, Answer, NotedLog, ScriptedStep, VirtualClock, an_id, the_most, three_steps
from tests.queries import QueriesOfLog

T = TypeVar("T")


def an_order(**changes: JSON) -> dict[str, JSON]:
    """Return an order that can be checked out."""
    return {**copy.deepcopy(ORDER), **changes}


class ListedLog(NotedLog):
    """A log in memory that can also list."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock, [])
        self.ids: list[str] = []
        self.broken: Exception | None = None

    async def start(self, saga: NewSaga, event: SagaEvent, *, owner: str) -> StartResult:
        if self.broken is not None:
            raise self.broken
        result = await super().start(saga, event, owner=owner)
        if isinstance(result, Stored):
            self.ids.append(saga.id)
        return result

    async def load(self, saga_id: str) -> StoredSaga | None:
        if self.broken is not None:
            raise self.broken
        return await super().load(saga_id)

    async def find(self, saga_id: str, *, kept: Kept[T] = nothing_kept) -> ReadSaga | T | None:  # noqa: ARG002 (it keeps nothing)
        return await load(self, saga_id)

    async def inactive(self, saga_ids: Collection[str]) -> set[str]:
        return await QueriesOfLog(self).inactive(saga_ids)

    async def list_sagas(
        self,
        wanted: SagaFilter,
        *,
        before: str | None,
        limit: int,
        kept: Kept[T] = nothing_kept,  # noqa: ARG002 (it keeps nothing)
    ) -> Sequence[ReadSaga | T]:
        found = [await self.stored(saga_id) for saga_id in sorted(self.ids, reverse=True)]
        return [stored for stored in found if _is_wanted(stored, wanted, before)][:limit]


def _is_wanted(stored: StoredSaga, wanted: SagaFilter, before: str | None) -> bool:
    saga, began = stored.saga, stored.events[0].at
    return (
        wanted.caller in {None, saga.caller}
        and (before is None or saga.id < before)
        and wanted.status in {None, stored.status}
        and wanted.order_id in {None, saga.order_id}
        and wanted.customer_id in {None, saga.customer_id}
        and (wanted.created_after is None or began >= wanted.created_after)
        and (wanted.created_before is None or began < wanted.created_before)
    )


class FakeHealth:
    """Health as a test tells it."""

    def __init__(self) -> None:
        self.found: dict[str, str | None] = {
            "database": None,
            "schema": None,
            "lease": None,
            "draining": None,
        }
        self.broken: Exception | None = None

    async def checks(self) -> Mapping[str, str | None]:
        if self.broken is not None:
            raise self.broken
        return self.found


class Served:
    """What a test has in hand: the API's client, and everything behind it."""

    def __init__(self, steps: list[ScriptedStep]) -> None:
        self.clock = VirtualClock()
        self.log = ListedLog(self.clock)
        self.payment, self.inventory, self.shipping = steps
        self.definition: SagaDefinition = checkout_saga(
            payment=self.payment,
            inventory=self.inventory,
            shipping=self.shipping,
            policy=QUICK,
            compensation=QUICK,
        )
        self.runner, self.starter, self.reader = self.a_replica()
        self.takeovers: set[asyncio.Task[None]] = set()
        self.service = AppContext(
            starter=self.starter,
            reader=self.reader,
            operator=self.an_operator(self.runner),
            health=FakeHealth(),
            in_flight=lambda: self.runner.in_flight,
            runs_key=self.runner.runs_key,
        )
        self.app: FastAPI
        self.client: httpx.AsyncClient

    def serve_from_another_replica(self) -> SagaRunner:
        """Have requests served by a replica that shares nothing but the log; return its runner."""
        runner, starter, reader = self.a_replica()
        object.__setattr__(self.service, "starter", starter)
        object.__setattr__(self.service, "reader", reader)
        return runner

    def a_replica(self) -> tuple[SagaRunner, SagaStarter, SagaReader]:
        """Return a replica's runner, and what starts and reads sagas there."""
        definitions = Definitions([self.definition])
        orchestrator = SagaOrchestrator(self.definition, self.log, clock=self.clock, jitter=the_most)
        runner = SagaRunner(definitions, self.log, orchestrator, clock=self.clock)
        reader = SagaReader(runner, self.log, definitions, lease_until=lambda: None)
        starter = SagaStarter(runner, self.log, reader, definition=self.definition, new_id=an_id)
        return runner, starter, reader

    def an_operator(self, runner: SagaRunner) -> Operator:
        """Return the operator's actions at the replica that has this runner; what becomes due continues there."""

        def wake() -> None:
            task = asyncio.create_task(self._take_over(runner))
            self.takeovers.add(task)
            task.add_done_callback(self.takeovers.discard)

        return Operator(
            runner, self.log, Definitions([self.definition]), now=self.clock.now, new_id=an_id, wake=wake
        )

    async def _take_over(self, runner: SagaRunner) -> None:
        """Claim as recovery does what nobody owns; the sagas under way are their living owner's."""
        with contextlib.suppress(LeaseLost):
            await self.log.renew("local", seconds=1e9)
        for stored in await self.log.claim(
            owner="local", definitions=[("checkout", self.definition.version)], limit=100
        ):
            runner.resume(stored)

    @property
    def health(self) -> FakeHealth:
        health = self.service.health
        assert isinstance(health, FakeHealth)
        return health

    @property
    def sends(self) -> list[str]:
        """What was sent to the services."""
        return [line for line in self.payment.journal if not line.startswith("log ")]

    async def post(
        self, order: object = None, *, key: str | None = None, url: str = "/checkout", **headers: str
    ) -> httpx.Response:
        """Post an order; headers are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named["Idempotency-Key"] = key
        content = json.dumps(an_order() if order is None else order).encode()
        return await self.client.post(
            url, content=content, headers={"Content-Type": "application/json"} | named
        )

    async def post_bytes(self, content: bytes, **headers: str) -> httpx.Response:
        """Post these very bytes."""
        named = {"Content-Type": "application/json"} | {n.replace("_", "-"): v for n, v in headers.items()}
        return await self.client.post("/checkout", content=content, headers=named)

    async def get(self, url: str, **headers: str) -> httpx.Response:
        return await self.client.get(url, headers={n.replace("_", "-"): v for n, v in headers.items()})

    def stored_nothing(self) -> bool:
        """Whether no saga was made and nothing was sent."""
        return not self.log.ids and not self.sends


@asynccontextmanager
async def served(
    settings: ApiSettings | None = None,
    script: Mapping[str, Iterable[Answer]] | None = None,
    **answers: Iterable[Answer],
) -> AsyncIterator[Served]:
    """Serve the API; `inventory=[…]` scripts a step's answers, `undo_payment=[…]` a compensation's, `script` several."""
    api = Served(three_steps([], **{**(script or {}), **answers}))

    @asynccontextmanager
    async def open_service() -> AsyncIterator[AppContext]:
        yield api.service

    api.app = create_app(open_service, settings or ApiSettings(wait_seconds=5.0))
    transport = httpx.ASGITransport(app=api.app)
    hooks = {"response": [_fits_the_description]}
    async with (
        api.app.router.lifespan_context(api.app),
        httpx.AsyncClient(
            transport=transport, base_url="http://checkout.test", event_hooks=hooks
        ) as api.client,
    ):
        try:
            yield api
        finally:
            await api.runner.drop()


DESCRIPTION: dict[str, Any] = json.loads(document())


async def _fits_the_description(response: httpx.Response) -> None:
    """Fail where the answer is not one that the API's description has."""
    operation = DESCRIPTION["paths"].get(_template(response.request), {}).get(response.request.method.lower())
    if operation is None:
        return
    assert str(response.status_code) in operation["responses"], f"{response.status_code} is not described"
    described = operation["responses"][str(response.status_code)]
    for name in described.get("headers", {}):
        assert name in response.headers or name in {
            "Idempotent-Replayed",
            "Preference-Applied",
            *_SOMETIMES,
        }, name
    await response.aread()
    media_type = response.headers.get("content-type", "").partition(";")[0]
    if "content" not in described:
        assert not response.content
        return
    assert media_type in described["content"], media_type
    if media_type.endswith("json"):
        schema = {**described["content"][media_type]["schema"], "components": DESCRIPTION["components"]}
        Draft202012Validator(schema).validate(json.loads(response.content))


_SOMETIMES = {"Link", "Location", "Retry-After", "Saga-Status"}
"""Headers that not every problem of a status has."""


_PATHS = [(path, Route(path, endpoint=lambda _: None, methods=None)) for path in DESCRIPTION["paths"]]


def _template(request: httpx.Request) -> str:
    scope = {"type": "http", "path": request.url.path, "method": request.method, "root_path": ""}
    return next((path for path, route in _PATHS if route.matches(scope)[0] is not Match.NONE), "")


def problem(response: httpx.Response, status: int, name: str, code: str | None = None) -> dict[str, Any]:
    """Return the problem that an answer is; fail where it is another."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["type"]) == (status, f"/problems/{name}"), body
    assert response.headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert body["code"] == (code or name)
    return body
