"""The API, built without any I/O; the service behind it is opened when the server starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from app.api.context import OpenService
from app.api.http.uploads import Uploads
from app.api.limits import ApiSettings
from app.api.middleware.admission import Admission
from app.api.middleware.authentication import Authentication
from app.api.middleware.cors import allow_origins
from app.api.middleware.fast_path import FastPath
from app.api.middleware.over_capacity import OverCapacity
from app.api.middleware.proxies.base_path import BasePath
from app.api.middleware.rate_limit import RateLimit
from app.api.middleware.request_context import RequestContextMiddleware
from app.api.openapi.description import DESCRIPTION, VERSION, describe
from app.api.problems.handlers import answer_errors
from app.api.readiness import Readiness
from app.api.routes import (
    checkout,
    events,
    feed,
    health,
    keys,
    metrics,
    operate,
    pages,
    read_tokens,
    sagas,
    webhooks,
)
from app.api.schemas.rendered_sagas import RenderedSagas


def create_api(
    open_service: OpenService,
    settings: ApiSettings | None = None,
    *,
    also: Iterable[APIRouter] = (),
    warm_up: Callable[[], None] = lambda: None,
) -> FastAPI:
    """Return the API. `open_service()` is entered when the server starts and left when it stops.

    `also` are further routes behind the same middleware, such as the dashboard's. `warm_up` is called in a thread once
    the service is open, for what their first answers would take long over.

    app = create_api(lambda: bootstrap.service(settings), ApiSettings(max_in_flight=64))
    """
    settings = settings or ApiSettings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_service() as service:
            app.state.service = service
            asyncio.get_running_loop().run_in_executor(None, warm_up)
            try:
                yield
            finally:
                app.state.service = None

    app = FastAPI(
        title="Checkout",
        version=VERSION,
        description=DESCRIPTION,
        openapi_url=None,  # which pages serves, written once
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # the service has its own
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.service = None
    app.state.uploads = Uploads(limit=settings.max_uploads, seconds=settings.body_seconds)
    app.state.admission = Admission(settings.max_in_flight)
    app.state.rendered = RenderedSagas()
    app.state.readiness = Readiness(
        seconds=settings.health_cache_seconds, storage_timeout=settings.storage_timeout_seconds
    )
    app.state.rate = RateLimit(settings.rate_limit_per_second)
    place = _route(checkout.router, checkout.place_checkout)
    app.add_middleware(FastPath, place=place, read=_route(sagas.router, sagas.read_saga))
    app.add_middleware(
        Authentication,
        allow_unauthenticated=settings.allow_unauthenticated,
        public_metrics=settings.public_metrics,
    )
    app.add_middleware(RequestContextMiddleware)
    app.add_middleware(
        OverCapacity,
        admission=app.state.admission,
        path=place.path,
        hold_seconds=settings.refusal_hold_seconds,
    )
    app.add_middleware(BasePath)
    if settings.cors_origins:
        allow_origins(app, settings.cors_origins)
    answer_errors(app)
    for routes in (
        checkout,
        sagas,
        read_tokens,
        events,
        feed,
        webhooks,
        operate,
        keys,
        health,
        metrics,
        pages,
    ):
        app.router.routes.extend(routes.router.routes)  # built once, not once for each application
    for router in also:
        app.router.routes.extend(router.routes)
    describe(app, settings)
    return app


def _route(router: APIRouter, endpoint: object) -> APIRoute:
    return next(one for one in router.routes if isinstance(one, APIRoute) and one.endpoint is endpoint)
