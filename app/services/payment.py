"""Payment: charge the customer; refund or void to undo it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from app.gateway.answer import unusable
from app.gateway.port import GatewayVerb, Participant
from app.gateway.resources import Payment, checked
from app.saga.model.step import JSON
from app.services.context import CheckoutContext
from app.services.resource import CallOptions, ResourceService, ResourceStep, given

Capture = Literal["immediate", "deferred"]
"""Whether money is taken at once, or held until `capture` takes it."""


class PaymentService(ResourceService[Payment]):
    """Takes money and gives it back; without a gateway, in a sandbox of its own."""

    owner = Participant.PAYMENT
    resource = Payment

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
        amounts: Mapping[str, int] | None = None,
        contact: Mapping[str, JSON] | None = None,
        metadata: Mapping[str, JSON] | None = None,
        simulate: str | None = None,
        traceparent: str | None = None,
    ) -> Payment:
        """Charge `amount` minor units once; return the payment, which is of exactly what was asked.

        `amounts` says what it is made up of; see `CheckoutContext.amounts`.
        """
        payment = await self._put(
            {
                "order_id": order_id,
                "customer_id": customer_id,
                "amount": amount,
                "currency": currency,
                "payment_method": payment_method,
                "capture": capture,
                **given(amounts=amounts, contact=contact, metadata=metadata),
            },
            reference=reference,
            simulate=simulate,
            traceparent=traceparent,
        )
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
        call = self._call(GatewayVerb.CONFIRM, reference, simulate, traceparent)
        payment = checked(Payment, await self._gateway.capture(call))
        _expect(payment, amount, currency, "captured")
        return payment


class PaymentStep(ResourceStep[PaymentService]):
    """Charges the order's amount; the result has payment_id, amount, currency and status."""

    name = Participant.PAYMENT.value
    service_type = PaymentService
    does = "Charge"
    undone_by = "Refund or void"

    async def do(self, order: CheckoutContext, options: CallOptions) -> Payment:
        """Charge the order's whole amount."""
        return await self._service.do(
            order_id=order.order_id,
            customer_id=order.customer_id,
            amount=order.amount,
            currency=order.currency,
            payment_method=order.payment_method,
            amounts=order.amounts,
            contact=order.contact,
            metadata=order.metadata,
            **options,
        )

    def check(self, found: Payment, order: CheckoutContext) -> None:
        """Raise `StepOutcomeUnknown` for a charge of something else."""
        _expect(found, order.amount, order.currency, "captured")


def _expect(payment: Payment, amount: int, currency: str, status: str) -> None:
    """A charge of something else may exist: unknown, so that it is compensated, and never a success."""
    wanted = {"amount": amount, "currency": currency, "status": status}
    wrong = [member for member, value in wanted.items() if getattr(payment, member) != value]
    if wrong:
        raise unusable(f"The payment's {', '.join(wrong)} differs from what was asked.")
