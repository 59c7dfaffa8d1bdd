"""Long-lived answers, streams and long polls: each ends soon after its caller has lost access.

When a key is revoked or expires, or an operator signs out, new requests are refused, and open answers must end too. So
each caller is authenticated again regularly, twice within the time in which a revocation takes effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.saga.model.errors import LogUnavailable

SHORTEST_INTERVAL_SECONDS = 0.25
"""The shortest interval between two checks of a caller."""


class LongLivedAnswers:
    """Ends answers whose callers have lost access. `refusals` are the errors by which `check` says so."""

    def __init__(self, refusals: tuple[type[Exception], ...]) -> None:
        self._refusals = refusals
        self._checks: dict[Hashable, asyncio.Task[None]] = {}

    async def answer(
        self,
        app: ASGIApp,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        who: Hashable,
        check: Callable[[], Awaitable[None]],
        seconds: float,
    ) -> Exception | None:
        """Have `app` answer, but end the answer within `seconds` after `check` would raise a refusal.

        Return that refusal if nothing was sent yet; else None. Callers with the same `who` are checked together.
        While the database is unavailable, answers continue.
        """
        began = ended = False

        async def noted(message: Message) -> None:
            nonlocal began, ended
            began = True
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        refused: list[Exception] = []
        loop = asyncio.get_running_loop()
        allowed = asyncio.timeout(None)

        async def keep_checking() -> None:
            while True:
                try:
                    await self._together(who, check)
                except LogUnavailable:
                    pass
                except self._refusals as error:
                    refused.append(error)
                    allowed.reschedule(loop.time())
                    return
                await asyncio.sleep(_until_next(pause))

        pause = max(SHORTEST_INTERVAL_SECONDS, seconds / 2)
        checks: list[asyncio.Task[None]] = []  # most answers are complete before the first
        first = loop.call_later(_until_next(pause), lambda: checks.append(loop.create_task(keep_checking())))
        try:
            async with allowed:
                await app(scope, receive, noted)
        except TimeoutError:
            if not allowed.expired():
                raise
            if not began:
                return refused[0]
            if not ended:
                await send({"type": "http.response.body", "body": b""})
        finally:
            first.cancel()
            for checking in checks:
                checking.cancel()
        return None

    async def _together(self, who: Hashable, check: Callable[[], Awaitable[None]]) -> None:
        """Check once for all that are due meanwhile."""
        task = self._checks.get(who)
        if task is None:

            async def one() -> None:
                await check()

            task = self._checks[who] = asyncio.get_running_loop().create_task(one())
            task.add_done_callback(lambda done: self._checked(who, done))
        await asyncio.shield(task)

    def _checked(self, who: Hashable, task: asyncio.Task[None]) -> None:
        del self._checks[who]
        if not task.cancelled():
            task.exception()  # nobody may be waiting for it any more


def _until_next(pause: float) -> float:
    """Return the seconds until the next check: all at the same time, so that one check does for many."""
    return pause - asyncio.get_running_loop().time() % pause
