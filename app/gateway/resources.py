"""What the services keep, as their answers must show it: services.yaml.

Required members are read strictly: an answer that only looks like a success may hide a charge of another amount.
Optional members are read liberally, as none is a reason to compensate an order: a number may be spelt `3998.0`, an optional
text may be empty or long, or no text at all, a compensation needs no body. Further members are kept, within
limits: `kept`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from app.gateway.answer import unusable
from app.gateway.kept_members import kept, storable_text
from app.saga.model.step import JSON

LONGEST_TEXT = 4_096
"""Characters. A longer id is refused; a longer optional text is left out."""

NO_NUL = r"\A[^\x00]*\z"
"""For a text that a log can keep; pydantic refuses halves of a surrogate pair by itself, where a text has a pattern."""

_EXACT = 2**53
"""Up to here every whole number is a float of its own."""


def _whole(value: object) -> object:
    """JSON has one kind of number: 3998.0 is 3998."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    return value


def _optional_text(value: object) -> str | None:
    return storable_text(value) if isinstance(value, str) and len(value) <= LONGEST_TEXT else None


Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT, pattern=NO_NUL)]
Whole = Annotated[int, BeforeValidator(_whole)]
OptionalText = Annotated[str | None, BeforeValidator(_optional_text)]


_PLAIN = frozenset({str, int, bool, float, type(None)})


class Resource(BaseModel):
    """What exists at a service under a reference, with whatever else the service says about it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    def result(self) -> dict[str, JSON]:
        """Return it as a step's result: the contract's members, and those kept of the others."""
        more: dict[str, Any] = self.model_extra or {}
        if not more and all(type(value) in _PLAIN for value in vars(self).values()):
            return {name: value for name, value in vars(self).items() if value is not None}
        known = self.model_dump(exclude_none=True, exclude=set(more) or None)
        return known | {name: value for name, value in kept(more).items() if name not in known}


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


class Compensated(Resource):
    """The answer to a compensation. Its status says that nothing exists any more; any word will do."""

    status: OptionalText = None


R = TypeVar("R", bound=Resource)


def checked(model: type[R], answer: object) -> R:
    """Return the answer as that resource; raise `StepOutcomeUnknown` where it isn't one.

    The message names the members that are wrong and never their values, which are untrusted.
    """
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        wrong = sorted({str(e["loc"][0]) for e in error.errors(include_input=False) if e["loc"]})
    raise unusable(f"The service's answer is no {model.__name__}: {', '.join(wrong) or 'not an object'}.")
