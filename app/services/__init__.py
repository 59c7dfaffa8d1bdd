"""The services that a checkout asks, and the gateways to them. Start reading at `gateway`."""

from app.saga.model.step import Closed
from app.services.answer import Answer
from app.services.context import CheckoutContext, Item
from app.services.gateway import Action, Call, Gateway, Service
from app.services.http_gateway import HttpGateway
from app.services.inventory import InventoryService, InventoryStep
from app.services.payment import PaymentService, PaymentStep
from app.services.reach import reachable
from app.services.resources import Payment, Reservation, Shipment
from app.services.sandbox import Sandbox, SandboxGateway, SimulationError
from app.services.shipping import ShippingService, ShippingStep

__all__ = [
    "Action",
    "Answer",
    "Call",
    "CheckoutContext",
    "Closed",
    "Gateway",
    "HttpGateway",
    "InventoryService",
    "InventoryStep",
    "Item",
    "Payment",
    "PaymentService",
    "PaymentStep",
    "Reservation",
    "Sandbox",
    "SandboxGateway",
    "Service",
    "Shipment",
    "ShippingService",
    "ShippingStep",
    "SimulationError",
    "reachable",
]
