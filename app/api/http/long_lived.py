"""Answers that last, streams and long polls: each ends soon after who asked may no longer ask.

A key is revoked or runs out, somebody signs out: from then on a new request is refused, and what is open still
must not go on telling. So whoever is being answered is looked up again, twice in the time that a revocation takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.saga.model.errors import LogUnavailable

LEAST_SECONDS = 0.25
"""How often nobody is looked up more than."""


class LastingAnswers:
    """Ends answers whose callers may no longer ask. `refusals` are what a look raises of those."""

    def __init__(self, refusals: tuple[type[Exception], ...]) -> None:
        self._refusals = refusals
        self._looks: dict[Hashable, asyncio.Task[None]] = {}

    async def answer(
        self,
        app: ASGIApp,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        who: Hashable,
        look: Callable[[], Awaitable[None]],
        seconds: float,
    ) -> Exception | None:
        """Have `app` answer, for no more than `seconds` after `look` would raise; return what it raised.

        None is returned where the answer is whole, or was ended by this after it had begun. Those who are the same
        `who` are looked up together. While the database can't be asked, an answer goes on.
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

        async def keep_looking() -> None:
            pause = max(LEAST_SECONDS, seconds / 2)
            while True:
                await asyncio.sleep(
                    pause - loop.time() % pause
                )  # all at one time, so that one look does for many
                try:
                    await self._together(who, look)
                except LogUnavailable:
                    continue
                except self._refusals as error:
                    refused.append(error)
                    allowed.reschedule(loop.time())
                    return

        looking = loop.create_task(keep_looking())
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
            looking.cancel()
        return None

    async def _together(self, who: Hashable, look: Callable[[], Awaitable[None]]) -> None:
        """Look once for all who are due meanwhile."""
        task = self._looks.get(who)
        if task is None:

            async def one() -> None:
                await look()

            task = self._looks[who] = asyncio.get_running_loop().create_task(one())
            task.add_done_callback(lambda done: self._looked(who, done))
        await asyncio.shield(task)

    def _looked(self, who: Hashable, task: asyncio.Task[None]) -> None:
        del self._looks[who]
        if not task.cancelled():
            task.exception()  # nobody need be waiting for it any more
