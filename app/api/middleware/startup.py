"""How a failed start is reported: in one sentence if the cause is known, not by a traceback."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class StartFailed(RuntimeError):
    """The service can't start. The message says why, and what to do."""


async def run_lifespan(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run an application's lifespan, and report a `StartFailed` to the server by its message.

    Starlette sends the traceback before it raises, so that message is held back until the error is known.
    """
    failed: list[Message] = []

    async def hold_back(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed":
            failed.append(message)
        else:
            await send(message)

    try:
        await app(scope, receive, hold_back)
    except StartFailed as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        raise
    except BaseException:
        for message in failed:
            await send(message)
        raise
    for message in failed:
        await send(message)
