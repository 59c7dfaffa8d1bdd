"""Shipping: book the order's parcel; cancel it to undo it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.gateway.port import Call, Gateway, GatewayVerb, Participant
from app.gateway.resources import Shipment, Undone, checked
from app.saga.model.step import JSON, Closed, Context
from app.sandbox.gateway import SandboxGateway
from app.services.context import CheckoutContext, Item


class ShippingService:
    """Books parcels and cancels them; without a gateway, in a sandbox of its own.

    Whatever is asked can be asked again: the shipment is known by `reference`. Every method raises
    `StepRejected`, `StepUnavailable` or `StepOutcomeUnknown`.
    """

    def __init__(self, gateway: Gateway | None = None) -> None:
        self._gateway = gateway or SandboxGateway.in_memory(Participant.SHIPPING)

    async def do(
        self,
        *,
        reference: str,
        order_id: str,
        items: Sequence[Item],
        address: Mapping[str, JSON],
        simulate: str | None = None,
        traceparent: str | None = None,
    ) -> Shipment:
        """Book one shipment of all items to that address."""
        call = _call(GatewayVerb.EXECUTE, reference, simulate, traceparent)
        lines = [{"sku": item["sku"], "quantity": item["quantity"]} for item in items]
        body = {"order_id": order_id, "items": lines, "address": dict(address)}
        return checked(Shipment, await self._gateway.put(call, body))

    async def compensate(
        self, *, reference: str, simulate: str | None = None, traceparent: str | None = None
    ) -> Undone:
        """Cancel the shipment, also where none was booked; no booking succeeds afterwards."""
        call = _call(GatewayVerb.COMPENSATE, reference, simulate, traceparent)
        return checked(Undone, await self._gateway.delete(call))

    async def look_up(self, *, reference: str, traceparent: str | None = None) -> Shipment | Closed | None:
        """Return the shipment that stands, None where none does yet, `Closed` where none will."""
        answer = await self._gateway.get(_call(GatewayVerb.EXECUTE, reference, None, traceparent))
        return answer if answer is None or isinstance(answer, Closed) else checked(Shipment, answer)


class ShippingStep:
    """Books the order's shipment."""

    name = Participant.SHIPPING.value

    def __init__(self, service: ShippingService | None = None) -> None:
        self._service = service or ShippingService()

    async def execute(self, context: Context) -> dict[str, JSON]:
        """Book; return shipment_id, status and, where the service names them, carrier and tracking_number."""
        order = CheckoutContext(context)
        shipment = await self._service.do(
            reference=order.saga_id,
            order_id=order.order_id,
            items=order.items,
            address=order.shipping_address,
            simulate=order.simulate,
            traceparent=order.traceparent,
        )
        return shipment.result()

    async def compensate(self, context: Context) -> dict[str, JSON]:
        """Cancel; return what the service says of it."""
        order = CheckoutContext(context)
        undone = await self._service.compensate(
            reference=order.saga_id, simulate=order.simulate, traceparent=order.traceparent
        )
        return undone.result()

    async def look_up(self, context: Context) -> dict[str, JSON] | Closed | None:
        """Return the shipment that stands as `execute` does, None where none does yet, `Closed` where none will."""
        order = CheckoutContext(context)
        shipment = await self._service.look_up(reference=order.saga_id, traceparent=order.traceparent)
        return shipment.result() if isinstance(shipment, Shipment) else shipment


def _call(action: GatewayVerb, reference: str, simulate: str | None, traceparent: str | None) -> Call:
    return Call.to(
        Participant.SHIPPING, action, reference=reference, simulate=simulate, traceparent=traceparent
    )
