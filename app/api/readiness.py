"""Whether the process can take work: asked by everybody, so that many who ask cost no more than one.

The result is cached for a moment, but a process that is stopping says so at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.api.context import AppContext
from app.api.http.json_encoding import Body, SparseBody, encode

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CheckBody(SparseBody):
    """One check; `detail` says what is wrong."""

    ok: bool
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReadyBody(Body):
    """Whether the process can take work."""

    ready: bool
    checks: dict[str, CheckBody]


@dataclass(frozen=True, slots=True)
class Found:
    """A status and a body to answer with, for a service in the state that `of` names, until then."""

    status: int
    content: bytes
    of: tuple[int, bool]
    until: float


class Readiness:
    """Checks a service at most once in `seconds`, and for no longer than `storage_timeout`."""

    def __init__(
        self, *, seconds: float, storage_timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._storage_timeout = storage_timeout
        self._clock = clock
        self._found: Found | None = None
        self._looking: asyncio.Task[Found] | None = None

    async def answer(self, service: AppContext | None) -> tuple[int, bytes]:
        """Return the status and the body of `/readyz`; None is a process that is not up yet."""
        if service is None:
            return _rendered({"started": "The process is not up yet."})
        of = (id(service), service.draining.is_set())
        found = self._found
        if found is None or found.of != of or self._clock() >= found.until:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look(service, of))
            found = await asyncio.shield(self._looking)
        return found.status, found.content

    async def _look(self, service: AppContext, of: tuple[int, bool]) -> Found:
        status, content = _rendered(await self._checks(service))
        self._found = Found(status, content, of, self._clock() + self._seconds)
        return self._found

    async def _checks(self, service: AppContext) -> Mapping[str, str | None]:
        try:
            async with asyncio.timeout(self._storage_timeout):
                return await service.health.checks()
        except TimeoutError:
            return {"checks": "The checks took too long."}
        except Exception:
            _logger.exception("health_checks_failed")
            return {"checks": "The checks failed; the log says how."}


def _rendered(found: Mapping[str, str | None]) -> tuple[int, bytes]:
    checks = {name: CheckBody(ok=wrong is None, detail=wrong) for name, wrong in found.items()}
    body = ReadyBody(ready=all(check.ok for check in checks.values()), checks=checks)
    return 200 if body.ready else 503, encode(body)
