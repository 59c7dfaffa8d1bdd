"""The clients of a chaos run: they order, repeat themselves wherever they were not answered, and read on.

POST ── transport error, 503, 409 in flight ──▶ the same key at the other replica
     └─ 201, 202, or a problem that has its saga ──▶ accepted
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2 as httpx

from tests.chaos.storm.orders import Order
from tests.chaos.storm.processes import ServerProcess
from tests.proof.evidence import ApiAnswer

REQUEST_SECONDS = 6.0
HANG_UP_SECONDS = 0.05
PAUSE_SECONDS = 0.2
ELSEWHERE = ("order_in_checkout", "order_already_checked_out")
INACTIVE = ("completed", "compensated", "needs_attention")


class Count:
    """Counts events; `reach` returns at the n-th."""

    def __init__(self) -> None:
        self.value = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def add(self) -> None:
        self.value += 1
        for number, future in self._waiting:
            if number <= self.value and not future.done():
                future.set_result(None)
        self._waiting = [waiting for waiting in self._waiting if not waiting[1].done()]

    async def reach(self, number: int) -> None:
        if self.value >= number:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((number, future))
        await future


class Clients:
    """Everybody who uses the API, and what they were answered.

    `accepted` counts the orders that are known to be taken, `asked` the requests that came to an end;
    `saga_of` has each key's saga, `strange` what no client should ever be answered.
    """

    def __init__(self, replicas: Sequence[ServerProcess], *, seed: int, give_up_seconds: float) -> None:
        self.answers: list[ApiAnswer] = []
        self.accepted = Count()
        self.asked = Count()
        self.finished = asyncio.Event()
        self.saga_of: dict[str, str] = {}
        self.unanswered: list[str] = []
        self.unexpected: Counter[str] = Counter()
        self._taken: set[str] = set()
        self._replicas = replicas
        self._rng = random.Random(f"clients {seed}")
        self._give_up_seconds = give_up_seconds
        self._http: list[httpx.AsyncClient] = []

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Hold the connections."""
        async with contextlib.AsyncExitStack() as stack:
            for replica in self._replicas:
                client = httpx.AsyncClient(
                    base_url=replica.url,
                    timeout=REQUEST_SECONDS,
                    trust_env=False,
                    verify=False,
                    limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
                )
                self._http.append(await stack.enter_async_context(client))
            yield

    async def place_all(self, orders: Sequence[Order], *, clients: int) -> None:
        """Have so many clients place the orders, each one after the other, while others look on."""
        waiting = iter(orders)

        async def client() -> None:
            for order in waiting:
                await self._place(order)

        watching = [asyncio.create_task(self._watch()) for _ in range(2)]
        try:
            await asyncio.gather(*(client() for _ in range(clients)))
        finally:
            self.finished.set()
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def read(self, saga_id: str, replica: int, *, wait: int = 0) -> dict[str, Any] | None:
        """Return how a replica shows a saga; None where it gives no answer, or none for now."""
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        answer = await self._ask(replica, "GET", f"/sagas/{saga_id}", headers=headers)
        if answer is None or answer.status == 503:
            return None
        if answer.status != 200:
            self.unexpected[f"GET of an acknowledged saga: {answer.status}"] += 1
            return None
        return dict(answer.document)

    async def found(self, saga_id: str, replica: int) -> dict[str, Any] | None:
        """Return how a replica shows a saga, asked again while it gives no answer, or none for now."""
        answer = await self._answered(replica, f"/sagas/{saga_id}")
        return dict(answer.document) if answer is not None else None

    async def all_rest(self, *, seconds: float) -> bool:
        """Return True once no saga is under way any more, False if that takes longer."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            if not await self._any("running") and not await self._any("compensating"):
                return True
            await asyncio.sleep(PAUSE_SECONDS)
        return False

    async def listed(self) -> list[str]:
        """Return the id of every saga that there is."""
        ids: list[str] = []
        path: str | None = "/sagas?limit=100"
        while path is not None:
            answer = await self._answered(0, path)
            if answer is None:
                break
            ids += [saga["id"] for saga in answer.document["data"]]
            following = answer.document["next_cursor"]
            path = f"/sagas?limit=100&cursor={following}" if following else None
        return ids

    async def _answered(self, replica: int, path: str) -> ApiAnswer | None:
        """Return what is at a path; None, noted as unexpected, where the last answer within the time isn't a 200."""
        give_up = time.monotonic() + self._give_up_seconds
        while True:
            answer = await self._ask(replica, "GET", path, headers={})
            if answer is not None and answer.status == 200:
                return answer
            if (answer is not None and answer.status != 503) or time.monotonic() > give_up:
                self.unexpected[f"GET {path}: {answer.status if answer else 'no answer'}"] += 1
                return None
            await asyncio.sleep(PAUSE_SECONDS)

    async def _any(self, status: str) -> bool:
        answer = await self._ask(0, "GET", f"/sagas?limit=1&status={status}", headers={})
        return answer is None or answer.status != 200 or bool(answer.document["data"])

    async def _place(self, order: Order) -> None:
        replica = order.first
        give_up = time.monotonic() + self._give_up_seconds
        hang_up = order.hangs_up
        while time.monotonic() < give_up:
            answer = await self._post(order, replica, hang_up=hang_up)
            hang_up = False
            replica += 1
            if answer is not None and self._accepts(order, answer):
                break
            await asyncio.sleep(PAUSE_SECONDS * self._rng.random())
        else:
            self.unanswered.append(order.key)
            return
        if order.repeats:
            again = await self._post(order, replica)
            if again is not None:
                self._accepts(order, again)
        if order.follows and order.key in self.saga_of:
            for number in range(5):
                saga = await self.read(self.saga_of[order.key], replica + number, wait=1)
                if saga is not None and saga["status"] in INACTIVE:
                    return

    def _accepts(self, order: Order, answer: ApiAnswer) -> bool:
        """Whether that answer says where the order is now. Note an answer that no client should get."""
        saga, code = answer.saga, answer.document.get("code")
        if saga is not None:
            if self.saga_of.setdefault(order.key, saga["id"]) != saga["id"]:
                self.unexpected["two sagas under one key"] += 1
        elif not (order.in_two_tabs and code in ELSEWHERE):
            if answer.status != 503 and code != "checkout_in_progress":
                self.unexpected[f"POST: {answer.status} {code}"] += 1
            return False
        if order.key not in self._taken:
            self._taken.add(order.key)
            self.accepted.add()
        return True

    async def _watch(self) -> None:
        """Read sagas that have just started, at either replica, as fast as somebody clicks."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)  # a pause that nothing ends early
            if recent := list(self.saga_of.values())[-100:]:
                await self.read(self._rng.choice(recent), self._rng.randrange(2))

    async def _post(self, order: Order, replica: int, *, hang_up: bool = False) -> ApiAnswer | None:
        return await self._ask(
            replica,
            "POST",
            "/checkout",
            headers=order.headers,
            order=order,
            seconds=HANG_UP_SECONDS if hang_up else REQUEST_SECONDS,
        )

    async def _ask(
        self,
        replica: int,
        method: str,
        path: str,
        *,
        headers: dict[str, str],
        order: Order | None = None,
        seconds: float = REQUEST_SECONDS,
    ) -> ApiAnswer | None:
        """Send one request and keep its answer; None where none came."""
        body = order.body if order else None
        try:
            async with asyncio.timeout(seconds):
                response = await self._http[replica % len(self._http)].request(
                    method, path, json=body, headers=headers
                )
        except (httpx.TransportError, TimeoutError):
            return None
        finally:
            self.asked.add()
        answer = ApiAnswer(
            method=method,
            path=path,
            status=response.status_code,
            document=response.json(),
            idempotency_key=order.key if order else None,
            order=body,
        )
        self.answers.append(answer)
        return answer
