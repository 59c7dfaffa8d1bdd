"""A client of real processes that keeps every answer, and what a run of them leaves for the checker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx

from tests.processes import Running
from tests.proof.evidence import ApiAnswer, Evidence, lines_of, standing_of
from tests.proof.invariants import check

ANSWER_SECONDS = 60.0
"""How long a server may give no answer, or a 503, before that is the verdict."""
ASK_AGAIN_SECONDS = 0.1
INACTIVE = frozenset({"completed", "compensated", "needs_attention"})
NO_ANSWER = (httpx.TransportError,)
"""What is raised where no answer came: nobody listens, or the process died."""


class RecordingClient:
    """Asks servers, from any thread, and keeps what they answered. Every request has a connection of its own."""

    def __init__(self) -> None:
        self.answers: list[ApiAnswer] = []
        self._client = httpx.Client(
            timeout=60.0, trust_env=False, verify=False, limits=httpx.Limits(max_keepalive_connections=0)
        )

    def post(
        self, server: Running, order: Mapping[str, Any], key: str, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send an order under an Idempotency-Key."""
        response = self._client.post(
            f"{server.url}/checkout", json=order, headers={"Idempotency-Key": key, **(headers or {})}
        )
        self._keep(response, idempotency_key=key, order=order)
        return response

    def get(self, server: Running, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Read what is at a path."""
        response = self._client.get(f"{server.url}{path}", headers=dict(headers or {}))
        self._keep(response)
        return response

    def found(
        self,
        server: Running,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = ANSWER_SECONDS,
    ) -> dict[str, Any]:
        """Return what is at a path, asked for again while there is no answer or a 503; fail at any other answer."""
        answer = _answered(lambda: self.get(server, path, headers), seconds, lambda it: it.status_code == 200)
        return dict(answer.json())

    def placed(
        self,
        server: Running,
        order: Mapping[str, Any],
        key: str,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = ANSWER_SECONDS,
    ) -> httpx.Response:
        """Return the answer that shows the order's saga; repeat the request while there is none, or a 503."""
        return _answered(lambda: self.post(server, order, key, headers), seconds, shows_a_saga)

    def settled(self, server: Running, saga_ids: Iterable[str], *, seconds: float) -> list[dict[str, Any]]:
        """Return these sagas once every one of them has ended; fail where one hasn't within that time."""
        give_up = time.monotonic() + seconds
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(lambda one: self._settled(server, one, give_up), saga_ids))

    def _settled(self, server: Running, saga_id: str, give_up: float) -> dict[str, Any]:
        saga: dict[str, Any] = {}
        while time.monotonic() < give_up:
            left = give_up - time.monotonic()
            saga = self.found(server, f"/sagas/{saga_id}", {"Prefer": "wait=2"}, seconds=left)
            if saga["status"] in INACTIVE:
                return saga
        raise AssertionError(f"saga {saga_id} did not end: {saga}")

    def prove(self, services: Mapping[str, Running], *, deaths: int | None = None) -> None:
        """Have the checker judge the run by all answers and by the services' ledgers; fail with what it finds."""
        violations = check(
            Evidence(
                answers=self.answers,
                lines=lines_of(self._rows(services, "/records")),
                standing=standing_of(self._rows(services, "/standing")),
                deaths=deaths,
            )
        )
        assert not violations, "\n".join(map(str, violations))

    def _rows(self, services: Mapping[str, Running], path: str) -> list[dict[str, Any]]:
        return [
            row
            for server in services.values()
            for row in self._client.get(f"{server.url}{path}").raise_for_status().json()
        ]

    def _keep(self, response: httpx.Response, **members: Any) -> None:
        if response.request.url.path in {"/readyz", "/livez"}:
            return
        self.answers.append(
            ApiAnswer(
                method=response.request.method,
                path=response.request.url.raw_path.decode(),
                status=response.status_code,
                document=response.json(),
                **members,
            )
        )


def _answered(
    ask: Callable[[], httpx.Response], seconds: float, is_final: Callable[[httpx.Response], bool]
) -> httpx.Response:
    give_up = time.monotonic() + seconds
    while True:
        try:
            answer = ask()
        except NO_ANSWER as error:
            problem = repr(error)
        else:
            if is_final(answer):
                return answer
            problem = f"{answer.status_code} {answer.text}"
            in_progress = answer.status_code == 409 and answer.json()["code"] == "checkout_in_progress"
            assert answer.status_code == 503 or in_progress, problem
        assert time.monotonic() < give_up, f"no other answer within {seconds:.0f} s: {problem}"
        time.sleep(ASK_AGAIN_SECONDS)  # as a client does before it asks again


def shows_a_saga(response: httpx.Response) -> bool:
    """Return whether an answer shows a saga, by itself or in a problem."""
    body = response.json()
    return "trail" in (body.get("saga") or body)


def saga_id_in(response: httpx.Response) -> str:
    """Return the id of the saga that an answer shows."""
    body = response.json()
    shown: str = (body.get("saga") or body)["id"]
    return shown


def words_of(saga: Mapping[str, Any]) -> Sequence[str]:
    """Return what happened to a saga, in order."""
    return [event["event"] for event in saga["trail"]]
