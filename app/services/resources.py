"""What the services keep, as their answers must show it: services.yaml, read strictly.

A member that isn't named here is ignored, and one that is must be exactly what the contract says:
an answer that only looks like a success may hide a charge of another amount.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from app.saga.step import JSON
from app.services.answer import unusable

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """Refuse what no log could keep: NUL, and halves of a surrogate pair."""
    if _UNSTORABLE.search(text):
        raise ValueError("NUL or a lone surrogate")
    return text


Text = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(storable)]


class Resource(BaseModel):
    """What stands at a service under a reference."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    def result(self) -> dict[str, JSON]:
        """Return it as a step's result: the members that were checked, and nothing else."""
        return self.model_dump(exclude_none=True)


class Payment(Resource):
    """A charge, or money held for one. `amount` is in minor units."""

    payment_id: Text
    amount: int
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
    carrier: Text | None = None
    tracking_number: Text | None = None


class PaymentUndone(Resource):
    """Money given back or never taken."""

    status: Literal["refunded", "voided", "closed"]


class ReservationUndone(Resource):
    """Goods put back, or never set aside."""

    status: Literal["released", "closed"]


class ShipmentUndone(Resource):
    """A parcel that won't be sent."""

    status: Literal["cancelled", "closed"]


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
