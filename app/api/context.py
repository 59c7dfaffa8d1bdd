"""The use cases that the API serves; bootstrap provides them while the process runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from starlette.requests import Request

from app.access.keys import Keys
from app.access.principal import ANONYMOUS, Principal
from app.access.read_tokens import ReadTokens
from app.access.sessions import Sessions
from app.api.limits import ApiSettings
from app.api.problems.problem import Problem
from app.operations.change_notifier import ChangeNotifier
from app.operations.event_streams import EventStreams
from app.operations.operator import Operator
from app.operations.reading import SagaReader
from app.operations.starting import SagaStarter
from app.operations.statistics import Statistics
from app.saga.engine.waiting import Closing
from app.telemetry.metrics import Metrics
from app.webhooks import WebhookService


class Health(Protocol):
    """Whether this process can take work."""

    async def checks(self) -> Mapping[str, str | None]:
        """Return each check by name (database, schema, lease, draining): None when it is healthy, else what is wrong.

        The texts are shown to everybody, so they hold no secret.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class AppContext:
    """The use cases behind the API, and the state of its process.

    `keys` authenticates requests; without it everyone may do everything. `sessions` holds the page's sessions;
    `statistics` and `changes` give the page its figures and notify it of changes. `streams` serves clients that
    follow sagas live, `metrics` counts. `in_flight` counts the sagas that this process runs, `runs_key` tells whether one of an
    Idempotency-Key and a caller (None: any) is among them, `now` is the
    database's time. Set `draining` when the process is asked to stop: no new checkout starts here. Set `closing`
    when the drain is over: a request that still waits for a saga is answered at once with the saga as it is.
    """

    starter: SagaStarter
    reader: SagaReader
    operator: Operator
    health: Health
    in_flight: Callable[[], int]
    runs_key: Callable[[str, str | None], bool] = lambda _key, _caller: False
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    keys: Keys | None = None
    webhooks: WebhookService | None = None
    sessions: Sessions | None = None
    read_tokens: ReadTokens | None = None
    statistics: Statistics | None = None
    changes: ChangeNotifier | None = None
    streams: EventStreams | None = None
    metrics: Metrics | None = None
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    closing: Closing = field(default_factory=Closing)


OpenService = Callable[[], AbstractAsyncContextManager[AppContext]]
"""Opens everything behind the API and closes it again; entered when the server starts."""


def service_of(request: Request) -> AppContext:
    """Return the service; raise a `not_ready` problem while there is none."""
    service: AppContext | None = getattr(request.app.state, "service", None)
    if service is None:
        raise Problem("not_ready")
    return service


def webhooks_of(request: Request) -> WebhookService:
    """Return the webhook service; raise a `not_ready` problem while there is none."""
    webhooks = service_of(request).webhooks
    if webhooks is None:
        raise Problem("not_ready")
    return webhooks


def settings_of(request: Request) -> ApiSettings:
    """Return the limits that the API was built with."""
    settings: ApiSettings = request.app.state.settings
    return settings


def caller_of(request: Request) -> Principal:
    """Return the request's caller; without API keys all requests have the same one."""
    caller: Principal = request.scope.get("state", {}).get("caller", ANONYMOUS)
    return caller


def count_problem(request: Request, name: str) -> None:
    """Count an answered problem."""
    service: AppContext | None = getattr(request.app.state, "service", None)
    if service is not None and service.metrics is not None:
        service.metrics.refused(name)
