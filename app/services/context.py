"""The saga's context, read with types.

The context is a plain dictionary of JSON: the order's members, `saga_id`, and each finished step's
result under the step's name. Each member is checked when it is read, so that a compensation, which
needs the saga's id alone, runs whatever else is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from app.saga.model.errors import FailureKind, StepRejected
from app.saga.model.step import JSON, Context


class Item(TypedDict):
    """One line of the order; `unit_price` is in minor units, weight and size are those of one piece."""

    sku: str
    quantity: int
    unit_price: int
    weight_grams: NotRequired[int]
    size_mm: NotRequired[list[int]]


class CheckoutContext:
    """What a checkout's steps know.

    A member that is missing or of another type raises `StepRejected`: nothing has been sent yet, and
    a repeat would find the same.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def saga_id(self) -> str:
        """The saga's id, by which the services know the work."""
        return self._text("saga_id")

    @property
    def order_id(self) -> str:
        """The caller's own name for the order."""
        return self._text("order_id")

    @property
    def customer_id(self) -> str:
        """The caller's own name for the customer."""
        return self._text("customer_id")

    @property
    def currency(self) -> str:
        """ISO 4217, as `EUR`."""
        return self._text("currency")

    @property
    def amount(self) -> int:
        """What the whole order costs, in minor units."""
        amount = self._context.get("amount")
        # A bool is an int to Python, never an amount.
        if type(amount) is not int:
            raise _invalid("amount", "a whole number")
        return amount

    @property
    def items(self) -> list[Item]:
        """The order's lines."""
        items = self._context.get("items")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise _invalid("items", "a list of objects")
        for item in items:
            if not isinstance(item.get("sku"), str) or type(item.get("quantity")) is not int:
                raise _invalid("items", "a list of objects with sku and quantity")
        return items

    @property
    def payment_method(self) -> str:
        """The token that the payment service knows."""
        return self._text("payment_method")

    @property
    def shipping_address(self) -> dict[str, JSON]:
        """Where to, as the caller gave it."""
        address = self._context.get("shipping_address")
        if not isinstance(address, dict):
            raise _invalid("shipping_address", "an object")
        return address

    @property
    def amounts(self) -> dict[str, int] | None:
        """What the amount is made up of, in minor units; None where the order's lines are all of it.

        `items` plus `shipping` and `tax` minus `discount`, of which those are there that the order has.
        """
        given = {
            part: amount
            for part in ("shipping", "tax", "discount")
            if type(amount := self._context.get(f"{part}_amount")) is int
        }
        if not given:
            return None
        items = self.amount - given.get("shipping", 0) - given.get("tax", 0) + given.get("discount", 0)
        return {"items": items, **given}

    @property
    def contact(self) -> Mapping[str, JSON] | None:
        """The customer's `email` and `phone`, where the order has them."""
        contact = self._context.get("contact")
        return {name: at for name, at in contact.items() if at} or None if isinstance(contact, dict) else None

    @property
    def shipping_method(self) -> str | None:
        """The shipping service's word for how it is sent, where the order has one."""
        return self._optional_text("shipping_method")

    @property
    def metadata(self) -> Mapping[str, JSON]:
        """The caller's own notes."""
        metadata = self._context.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def simulate(self) -> str | None:
        """The trouble that the caller asked the sandbox for: the header X-Simulate as it came."""
        return self._optional_text("simulate")

    @property
    def traceparent(self) -> str | None:
        """The W3C trace that the checkout belongs to."""
        return self._optional_text("traceparent")

    def result(self, step: str) -> Mapping[str, JSON] | None:
        """Return a finished step's result, None where the step has not succeeded."""
        result = self._context.get(step)
        return result if isinstance(result, dict) else None

    def _text(self, member: str) -> str:
        text = self._context.get(member)
        if not isinstance(text, str):
            raise _invalid(member, "a text")
        return text

    def _optional_text(self, member: str) -> str | None:
        text = self._context.get(member)
        return text if isinstance(text, str) else None


def _invalid(member: str, wanted: str) -> StepRejected:
    return StepRejected(
        f"The saga's {member} must be {wanted}.", code="invalid_context", kind=FailureKind.UNUSABLE
    )
