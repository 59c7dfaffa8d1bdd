"""Inventory: reserve the order's items; release them to undo it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.gateway.port import Participant
from app.gateway.resources import Reservation
from app.saga.model.step import JSON
from app.services.context import CheckoutContext, Item
from app.services.resource import CallOptions, ResourceService, ResourceStep, given


class InventoryService(ResourceService[Reservation]):
    """Reserves items and releases them; without a gateway, in a sandbox of its own."""

    owner = Participant.INVENTORY
    resource = Reservation

    async def do(
        self,
        *,
        reference: str,
        order_id: str,
        items: Sequence[Item],
        metadata: Mapping[str, JSON] | None = None,
        simulate: str | None = None,
        traceparent: str | None = None,
    ) -> Reservation:
        """Reserve all items once, or none."""
        lines = [{"sku": item["sku"], "quantity": item["quantity"]} for item in items]
        return await self._put(
            {"order_id": order_id, "items": lines, **given(metadata=metadata)},
            reference=reference,
            simulate=simulate,
            traceparent=traceparent,
        )


class InventoryStep(ResourceStep[InventoryService]):
    """Reserves the order's items; the result has reservation_id and status."""

    name = Participant.INVENTORY.value
    service_type = InventoryService
    does = "Reserve"
    undone_by = "Release"

    async def do(self, order: CheckoutContext, options: CallOptions) -> Reservation:
        """Reserve all of the order's items."""
        return await self._service.do(
            order_id=order.order_id, items=order.items, metadata=order.metadata, **options
        )
