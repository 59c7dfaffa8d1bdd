"""The gateways to payment, inventory and shipping."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from app.sandbox import Ledger
from app.sandbox.ledger import IN_MEMORY
from app.server.workers_folder import workers_folder
from app.services import Gateway, Participant, Sandbox, SandboxGateway
from app.settings.settings import Settings

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_gateways(
    settings: Settings,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    traced: Callable[[], str | None] = lambda: None,
) -> AsyncIterator[dict[Participant, Gateway]]:
    """Open a gateway to each service: over HTTP where it has a URL, else to one sandbox of them all."""
    places = {
        Participant.PAYMENT: (settings.payment_url, settings.payment_token),
        Participant.INVENTORY: (settings.inventory_url, settings.inventory_token),
        Participant.SHIPPING: (settings.shipping_url, settings.shipping_token),
    }
    simulated = [participant for participant, (url, _) in places.items() if not url]
    async with AsyncExitStack() as stack:
        sandbox = None
        if simulated:
            database = settings.sandbox_database
            sandbox = Sandbox(
                Ledger(
                    database,
                    services=simulated,
                    remembered_sagas=settings.sandbox_memory_sagas,
                    shared_by=_shared_by_workers() if database == IN_MEMORY else None,
                ),
                failure_rate=settings.sandbox_failure_rate,
                seed=settings.sandbox_seed,
                latency_seconds=settings.sandbox_latency_seconds,
            )
            stack.push_async_callback(sandbox.aclose)
            _logger.info(
                "sandbox_used",
                extra={"services": ", ".join(simulated), "database": database},
            )
        gateways: dict[Participant, Gateway] = {}
        for participant, (url, token) in places.items():
            if sandbox is not None and not url:
                gateways[participant] = SandboxGateway(sandbox, participant)
                continue
            from app.services import HttpGateway  # noqa: PLC0415 - with aiohttp, which is slow to import

            gateways[participant] = HttpGateway(
                participant,
                url,
                timeout=settings.step_timeout_seconds,
                max_connections=settings.max_calls_per_service,
                max_body_bytes=settings.max_answer_bytes,
                bearer_token=token.get_secret_value() if token else None,
                forward_simulate=settings.sandbox_remote,
                now=now,
                traced=traced,
            )
            stack.push_async_callback(gateways[participant].aclose)
        yield gateways


def _shared_by_workers() -> str | None:
    """Return the file by which several workers share a sandbox in memory; it is gone with their server.

    Any worker may continue any saga, so a saga's payment must be known to all of them.
    """
    folder = workers_folder("sandbox")
    return None if folder is None else str(folder / "books")
