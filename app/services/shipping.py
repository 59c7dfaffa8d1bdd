"""Shipping: book the order's shipment; cancel it to undo it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from app.gateway.port import Participant
from app.gateway.resources import Shipment
from app.saga.model.step import JSON
from app.services.context import CheckoutContext, Item
from app.services.resource import CallOptions, ResourceService, ResourceStep, given

_SHIPPED: tuple[Literal["sku", "quantity", "weight_grams", "size_mm"], ...] = (
    "sku",
    "quantity",
    "weight_grams",
    "size_mm",
)
"""What a shipment needs of a line: not its price."""


class ShippingService(ResourceService[Shipment]):
    """Books shipments and cancels them; without a gateway, in a sandbox of its own."""

    owner = Participant.SHIPPING
    resource = Shipment

    async def do(
        self,
        *,
        reference: str,
        order_id: str,
        items: Sequence[Item],
        address: Mapping[str, JSON],
        method: str | None = None,
        contact: Mapping[str, JSON] | None = None,
        metadata: Mapping[str, JSON] | None = None,
        simulate: str | None = None,
        traceparent: str | None = None,
    ) -> Shipment:
        """Book one shipment of all items, with their weights and sizes, to that address."""
        lines = [{name: item[name] for name in _SHIPPED if name in item} for item in items]
        return await self._put(
            {
                "order_id": order_id,
                "items": lines,
                "address": dict(address),
                **given(method=method, contact=contact, metadata=metadata),
            },
            reference=reference,
            simulate=simulate,
            traceparent=traceparent,
        )


class ShippingStep(ResourceStep[ShippingService]):
    """Books the order's shipment; the result has shipment_id, status and, where known, carrier and tracking_number."""

    name = Participant.SHIPPING.value
    service_type = ShippingService
    does = "Book"
    undone_by = "Cancel"

    async def do(self, order: CheckoutContext, options: CallOptions) -> Shipment:
        """Book one shipment of all of the order's items."""
        return await self._service.do(
            order_id=order.order_id,
            items=order.items,
            address=order.shipping_address,
            method=order.shipping_method,
            contact=order.contact,
            metadata=order.metadata,
            **options,
        )
