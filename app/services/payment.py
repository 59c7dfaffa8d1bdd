"""Payment: charge the customer; refund or void to undo it."""

from __future__ import annotations

from typing import Literal

from app.gateway.answer import unusable
from app.gateway.port import Call, Gateway, GatewayVerb, Participant
from app.gateway.resources import Payment, Undone, checked
from app.saga.model.step import JSON, Closed, Context
from app.sandbox.gateway import SandboxGateway
from app.services.context import CheckoutContext

Capture = Literal["immediate", "deferred"]
"""Whether money is taken at once, or held until `capture` takes it."""


class PaymentService:
    """Takes money and gives it back; without a gateway, in a sandbox of its own.

    Whatever is asked can be asked again: the payment is known by `reference`. Every method raises
    `StepRejected`, `StepUnavailable` or `StepOutcomeUnknown`.
    """

    def __init__(self, gateway: Gateway | None = None) -> None:
        self._gateway = gateway or SandboxGateway.in_memory(Participant.PAYMENT)

    async def do(
        self,
        *,
        reference: str,
        order_id: str,
        customer_id: str,
        amount: int,
        currency: str,
        payment_method: str,
        capture: Capture = "immediate",
        simulate: str | None = None,
        traceparent: str | None = None,
    ) -> Payment:
        """Charge `amount` minor units once; return the payment, which is of exactly what was asked."""
        call = _call(GatewayVerb.EXECUTE, reference, simulate, traceparent)
        answer = await self._gateway.put(
            call,
            {
                "order_id": order_id,
                "customer_id": customer_id,
                "amount": amount,
                "currency": currency,
                "payment_method": payment_method,
                "capture": capture,
            },
        )
        payment = checked(Payment, answer)
        _expect(payment, amount, currency, "captured" if capture == "immediate" else "authorized")
        return payment

    async def capture(
        self,
        *,
        reference: str,
        amount: int,
        currency: str,
        simulate: str | None = None,
        traceparent: str | None = None,
    ) -> Payment:
        """Take the money that a deferred payment holds; return the payment."""
        call = _call(GatewayVerb.CONFIRM, reference, simulate, traceparent)
        payment = checked(Payment, await self._gateway.capture(call))
        _expect(payment, amount, currency, "captured")
        return payment

    async def compensate(
        self, *, reference: str, simulate: str | None = None, traceparent: str | None = None
    ) -> Undone:
        """Give the money back, also where none was taken; no charge under `reference` succeeds afterwards."""
        call = _call(GatewayVerb.COMPENSATE, reference, simulate, traceparent)
        return checked(Undone, await self._gateway.delete(call))

    async def look_up(self, *, reference: str, traceparent: str | None = None) -> Payment | Closed | None:
        """Return the payment that stands, None where none does yet, `Closed` where none will."""
        answer = await self._gateway.get(_call(GatewayVerb.EXECUTE, reference, None, traceparent))
        return answer if answer is None or isinstance(answer, Closed) else checked(Payment, answer)


class PaymentStep:
    """Charges the order's amount."""

    name = Participant.PAYMENT.value

    def __init__(self, service: PaymentService | None = None) -> None:
        self._service = service or PaymentService()

    async def execute(self, context: Context) -> dict[str, JSON]:
        """Charge; return payment_id, amount, currency and status."""
        order = CheckoutContext(context)
        payment = await self._service.do(
            reference=order.saga_id,
            order_id=order.order_id,
            customer_id=order.customer_id,
            amount=order.amount,
            currency=order.currency,
            payment_method=order.payment_method,
            simulate=order.simulate,
            traceparent=order.traceparent,
        )
        return payment.result()

    async def compensate(self, context: Context) -> dict[str, JSON]:
        """Refund or void; return what the service says of it."""
        order = CheckoutContext(context)
        undone = await self._service.compensate(
            reference=order.saga_id, simulate=order.simulate, traceparent=order.traceparent
        )
        return undone.result()

    async def look_up(self, context: Context) -> dict[str, JSON] | Closed | None:
        """Return the payment that stands as `execute` does, None where none does yet, `Closed` where none will."""
        order = CheckoutContext(context)
        payment = await self._service.look_up(reference=order.saga_id, traceparent=order.traceparent)
        if isinstance(payment, Payment):
            _expect(payment, order.amount, order.currency, "captured")
            return payment.result()
        return payment


def _call(action: GatewayVerb, reference: str, simulate: str | None, traceparent: str | None) -> Call:
    return Call.to(
        Participant.PAYMENT, action, reference=reference, simulate=simulate, traceparent=traceparent
    )


def _expect(payment: Payment, amount: int, currency: str, status: str) -> None:
    """A charge of something else may stand: unknown, so that it is undone, and never a success."""
    wanted = {"amount": amount, "currency": currency, "status": status}
    wrong = [member for member, value in wanted.items() if getattr(payment, member) != value]
    if wrong:
        raise unusable(f"The payment's {', '.join(wrong)} differs from what was asked.")
