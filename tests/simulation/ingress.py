"""The ingress of a replica: a request is answered by the API's own routes, in the replica's process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from app.api.http.uploads import Uploads
from app.api.middleware.rate_limit import RateLimit
from app.api.problems.handlers import problem_of
from app.api.problems.problem import Problem
from app.api.routes.checkout import place_checkout
from app.api.routes.sagas import read_saga
from app.api.schemas.rendered_sagas import RenderedSagas
from tests.proof.evidence import ApiAnswer
from tests.simulation.replica import SETTINGS, Replica
from tests.simulation.world import World


class _State:
    """What the API keeps beside its routes."""

    def __init__(self, replica: Replica) -> None:
        self.service = replica.service
        self.admission = replica.admission
        self.uploads = Uploads(limit=SETTINGS.max_uploads, seconds=SETTINGS.body_seconds)
        self.rate = RateLimit(0)
        self.rendered = RenderedSagas()
        self.settings = SETTINGS


class _App:
    def __init__(self, replica: Replica) -> None:
        self.state = _State(replica)


class Ingress:
    """Where clients ask; every answer that reaches one is kept, in that order."""

    def __init__(self, world: World, replicas: list[Replica]) -> None:
        self._world = world
        self._replicas = replicas
        self._asked = 0
        self.answers: list[ApiAnswer] = []
        self.faults: list[str] = []

    async def post(
        self,
        replica: int,
        order: Mapping[str, Any],
        *,
        key: str | None,
        prefer: str | None = None,
        patience: float,
    ) -> ApiAnswer | None:
        """Send POST /checkout; return its answer, None where none came in time."""
        body = json.dumps(order).encode()
        headers = [(b"content-type", b"application/json")]
        if key is not None:
            headers.append((b"idempotency-key", key.encode()))
        if prefer is not None:
            headers.append((b"prefer", prefer.encode()))
        request = self._request(self._replicas[replica], "POST", "/checkout", headers, body)
        answer = await self._ask(replica, request, lambda: place_checkout(request), patience)
        if answer is None:
            return None
        return self._keep(
            ApiAnswer(
                method="POST",
                path="/checkout",
                status=answer[0],
                document=answer[1],
                idempotency_key=key,
                order=order,
            ),
            replica,
        )

    async def get(self, replica: int, saga_id: str, *, patience: float) -> ApiAnswer | None:
        """Send GET /sagas/{id}."""
        path = f"/sagas/{saga_id}"
        request = self._request(self._replicas[replica], "GET", path, [], b"")
        answer = await self._ask(replica, request, lambda: read_saga(request, saga_id), patience)
        if answer is None:
            return None
        return self._keep(ApiAnswer(method="GET", path=path, status=answer[0], document=answer[1]), replica)

    def _problem(self, error: Exception) -> Problem:
        """Return the problem that an error is; what is none is a fault of the product's or the harness's."""
        try:
            return problem_of(error)
        except Exception as fault:
            self.faults.append(repr(fault))
            raise

    def _keep(self, answer: ApiAnswer, replica: int) -> ApiAnswer:
        self.answers.append(answer)
        saga = answer.saga or {}
        self._world.note(
            f"client at {replica}",
            answer.method,
            str(saga.get("id", answer.path)),
            f"{answer.status} {saga.get('status')}",
        )
        return answer

    def _request(
        self, replica: Replica, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> Request:
        self._asked += 1

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        return Request(
            {
                "type": "http",
                "method": method,
                "path": path,
                "query_string": b"",
                "headers": headers,
                "app": _App(replica),
                "state": {"request_id": f"req-{self._asked}"},
            },
            receive,
        )

    async def _ask(
        self,
        number: int,
        request: Request,
        route: Callable[[], Coroutine[Any, Any, Response]],
        patience: float,
    ) -> tuple[int, Any] | None:
        """Have the replica answer; None where it is down, breaks down, or takes longer than the client waits."""
        replica, loop = self._replicas[number], self._world.loop
        if replica.service is None or replica.process is None:
            await asyncio.sleep(self._world.latency())
            return None
        answered: asyncio.Future[Any] = loop.create_future()
        replica.open[answered] = None

        async def answer() -> None:
            try:
                response = await route()
            except Exception as error:  # noqa: BLE001 (as the API's own handlers: what isn't a problem is raised again)
                response = self._problem(error).response(request.scope["state"]["request_id"])
            if not answered.done():
                answered.set_result(response)

        loop.spawn(replica.process, answer())
        await asyncio.wait([answered], timeout=patience)
        replica.open.pop(answered, None)
        response: Response | None = answered.result() if answered.done() else None
        answered.cancel()
        if response is None:
            self._world.note(f"client at {number}", request.method, request.url.path, "no answer")
            return None
        return response.status_code, json.loads(bytes(response.body))
