"""The services that a checkout asks, and the gateways to them. Start reading at `gateway`."""

from app.gateway.answer import Answer
from app.gateway.http_gateway import HttpGateway
from app.gateway.port import Call, Gateway, GatewayVerb, Participant
from app.gateway.reachability import reachable
from app.gateway.resources import Payment, Reservation, Shipment
from app.saga.model.step import Closed
from app.sandbox import Sandbox, SandboxGateway, SimulationError
from app.services.context import CheckoutContext, Item
from app.services.inventory import InventoryService, InventoryStep
from app.services.payment import PaymentService, PaymentStep
from app.services.shipping import ShippingService, ShippingStep

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
