"""Inventory: set the order's goods aside; put them back to undo it."""

from __future__ import annotations

from collections.abc import Sequence

from app.gateway.port import Call, Gateway, GatewayVerb, Participant
from app.gateway.resources import Reservation, Undone, checked
from app.saga.model.step import JSON, Closed, Context
from app.sandbox.gateway import SandboxGateway
from app.services.context import CheckoutContext, Item


class InventoryService:
    """Sets goods aside and puts them back; without a gateway, in a sandbox of its own.

    Whatever is asked can be asked again: the reservation is known by `reference`. Every method raises
    `StepRejected`, `StepUnavailable` or `StepOutcomeUnknown`.
    """

    def __init__(self, gateway: Gateway | None = None) -> None:
        self._gateway = gateway or SandboxGateway.in_memory(Participant.INVENTORY)

    async def do(
        self,
        *,
        reference: str,
        order_id: str,
        items: Sequence[Item],
        simulate: str | None = None,
        traceparent: str | None = None,
    ) -> Reservation:
        """Set all items aside once, or none."""
        call = _call(GatewayVerb.EXECUTE, reference, simulate, traceparent)
        lines = [{"sku": item["sku"], "quantity": item["quantity"]} for item in items]
        return checked(Reservation, await self._gateway.put(call, {"order_id": order_id, "items": lines}))

    async def compensate(
        self, *, reference: str, simulate: str | None = None, traceparent: str | None = None
    ) -> Undone:
        """Put the items back, also where none were set aside; no reservation succeeds afterwards."""
        call = _call(GatewayVerb.COMPENSATE, reference, simulate, traceparent)
        return checked(Undone, await self._gateway.delete(call))

    async def look_up(self, *, reference: str, traceparent: str | None = None) -> Reservation | Closed | None:
        """Return the reservation that stands, None where none does yet, `Closed` where none will."""
        answer = await self._gateway.get(_call(GatewayVerb.EXECUTE, reference, None, traceparent))
        return answer if answer is None or isinstance(answer, Closed) else checked(Reservation, answer)


class InventoryStep:
    """Reserves the order's items."""

    name = Participant.INVENTORY.value

    def __init__(self, service: InventoryService | None = None) -> None:
        self._service = service or InventoryService()

    async def execute(self, context: Context) -> dict[str, JSON]:
        """Reserve; return reservation_id and status."""
        order = CheckoutContext(context)
        reservation = await self._service.do(
            reference=order.saga_id,
            order_id=order.order_id,
            items=order.items,
            simulate=order.simulate,
            traceparent=order.traceparent,
        )
        return reservation.result()

    async def compensate(self, context: Context) -> dict[str, JSON]:
        """Release; return what the service says of it."""
        order = CheckoutContext(context)
        undone = await self._service.compensate(
            reference=order.saga_id, simulate=order.simulate, traceparent=order.traceparent
        )
        return undone.result()

    async def look_up(self, context: Context) -> dict[str, JSON] | Closed | None:
        """Return the reservation that stands as `execute` does, None where none does yet, `Closed` where none will."""
        order = CheckoutContext(context)
        reservation = await self._service.look_up(reference=order.saga_id, traceparent=order.traceparent)
        return reservation.result() if isinstance(reservation, Reservation) else reservation


def _call(action: GatewayVerb, reference: str, simulate: str | None, traceparent: str | None) -> Call:
    return Call.to(
        Participant.INVENTORY, action, reference=reference, simulate=simulate, traceparent=traceparent
    )
