"""The gateways to payment, inventory and shipping."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from app.sandbox import Ledger
from app.services import Gateway, HttpGateway, Participant, Sandbox, SandboxGateway
from app.settings.settings import Settings


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
    async with AsyncExitStack() as stack:
        sandbox = None
        if not all(url for url, _ in places.values()):
            sandbox = Sandbox(
                Ledger(settings.sandbox_database),
                failure_rate=settings.sandbox_failure_rate,
                seed=settings.sandbox_seed,
                latency_seconds=settings.sandbox_latency_seconds,
            )
            stack.push_async_callback(sandbox.aclose)
        gateways: dict[Participant, Gateway] = {}
        for participant, (url, token) in places.items():
            if sandbox is not None and not url:
                gateways[participant] = SandboxGateway(sandbox, participant)
                continue
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
