"""What the services keep, as their answers must show it: services.yaml.

What is needed is read strictly: an answer that only looks like a success may hide a charge of another amount.
What isn't needed is read liberally, as it is no reason to undo an order: a number may be spelt `3998.0`, an optional
text may be empty or long, or be no text at all, an undo needs no words. Members beyond the contract are kept, within
bounds: `kept`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from app.gateway.answer import unusable
from app.gateway.kept_members import kept, storable_text
from app.saga.model.step import JSON

LONGEST_TEXT = 4_096
"""Characters. A longer id can't be used; an optional text that is longer is left out."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_EXACT = 2**53
"""Up to here every whole number is a float of its own."""


def storable(text: str) -> str:
    """Refuse what no log could keep: NUL, and halves of a surrogate pair."""
    if _UNSTORABLE.search(text):
        raise ValueError("NUL or a lone surrogate")
    return text


def _whole(value: object) -> object:
    """JSON has one kind of number: 3998.0 is 3998."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    return value


def _optional_text(value: object) -> str | None:
    return storable_text(value) if isinstance(value, str) and len(value) <= LONGEST_TEXT else None


Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT), AfterValidator(storable)]
Whole = Annotated[int, BeforeValidator(_whole)]
OptionalText = Annotated[str | None, BeforeValidator(_optional_text)]


class Resource(BaseModel):
    """What stands at a service under a reference, with whatever else the service says of it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    def result(self) -> dict[str, JSON]:
        """Return it as a step's result: the contract's members, and what is kept of others."""
        more: dict[str, Any] = self.model_extra or {}
        known = self.model_dump(exclude_none=True, exclude=set(more) or None)
        return (
            known | {name: value for name, value in kept(more).items() if name not in known}
            if more
            else known
        )


class Payment(Resource):
    """A charge, or money held for one. `amount` is in minor units."""

    payment_id: Text
    amount: Whole
    currency: Text
    status: Literal["authorized", "captured"]


class Reservation(Resource):
    """Goods set aside."""

    reservation_id: Text
    status: Literal["reserved"]


class Shipment(Resource):
    """A parcel to be sent."""

    shipment_id: Text
    status: Literal["booked"]
    carrier: OptionalText = None
    tracking_number: OptionalText = None


class Undone(Resource):
    """What is no more, or never was: a payment, a reservation, a shipment. The answer itself says that; any word will do."""

    status: OptionalText = None


R = TypeVar("R", bound=Resource)


def checked(model: type[R], answer: object) -> R:
    """Return the answer as that resource; raise `StepOutcomeUnknown` where it isn't one.

    The message names the members that are wrong and never their values, which are a stranger's.
    """
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        wrong = sorted({str(e["loc"][0]) for e in error.errors(include_input=False) if e["loc"]})
    raise unusable(f"The service's answer is no {model.__name__}: {', '.join(wrong) or 'not an object'}.")
