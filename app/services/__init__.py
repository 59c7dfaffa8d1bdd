"""The services that a checkout asks, and the gateways to them. Start reading at `gateway`."""

from typing import TYPE_CHECKING, Any

from app.gateway.answer import Answer
from app.gateway.port import Call, Gateway, GatewayVerb, Participant
from app.gateway.resources import Payment, Reservation, Shipment
from app.saga.model.step import Closed
from app.sandbox import Sandbox, SandboxGateway, SimulationError
from app.services.context import CheckoutContext, Item
from app.services.inventory import InventoryService, InventoryStep
from app.services.payment import PaymentService, PaymentStep
from app.services.shipping import ShippingService, ShippingStep

if TYPE_CHECKING:
    from app.gateway.http_gateway import HttpGateway
    from app.gateway.reachability import reachable

__all__ = [
    "Answer",
    "Call",
    "CheckoutContext",
    "Closed",
    "Gateway",
    "GatewayVerb",
    "HttpGateway",
    "InventoryService",
    "InventoryStep",
    "Item",
    "Participant",
    "Payment",
    "PaymentService",
    "PaymentStep",
    "Reservation",
    "Sandbox",
    "SandboxGateway",
    "Shipment",
    "ShippingService",
    "ShippingStep",
    "SimulationError",
    "reachable",
]


def __getattr__(name: str) -> Any:
    """Import what needs aiohttp when it is asked for: that takes a tenth of a process's start, and the sandbox needs none."""
    if name == "HttpGateway":
        from app.gateway.http_gateway import HttpGateway  # noqa: PLC0415

        return HttpGateway
    if name == "reachable":
        from app.gateway.reachability import reachable  # noqa: PLC0415

        return reachable
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
