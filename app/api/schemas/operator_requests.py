"""What a person sends to act on a saga, as strict as an order: who is known by their key, why is asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from app.api.problems.validation import InvalidValue, field_errors, invalid
from app.api.schemas.order import NAMED, PRINTED, TRIM, Reference, Strict

LONGEST_REASON = 1000
Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_REASON),
    PRINTED,
    TRIM,
    NAMED,
    Field(description="Why; it is kept in the trail for ever. No customer's data."),
]
_TAG = re.compile(r'"([0-9]{1,9})-[0-9a-f]+"')


class Operation(Strict):
    """Why a saga is cancelled, or its failed step retried."""

    reason: Reason

    @classmethod
    def of(cls, body: object) -> Self:
        """Return what a body says; raise an `invalid_request` problem that points at all that is wrong."""
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise invalid(field_errors(error)) from None


class Resolution(Operation):
    """Which step an operator settled outside, why, and where that can be looked up."""

    step: Annotated[Reference, Field(description="The step's name.")]
    reference: Annotated[
        Reference | None, Field(description="Where it was settled: a ticket, a refund's id.")
    ] = None


class EmptyObject(Strict):
    """{}, and nothing in it: no page of another site can send that, nor can a misspelt member pass."""

    @model_validator(mode="before")
    @classmethod
    def _is_empty(cls, body: object) -> object:
        if not isinstance(body, dict) or body:
            raise InvalidValue("unknown_member", "Send an empty object: {}.", pointer="")
        return body


def seen_by(if_match: Sequence[str]) -> frozenset[int] | None:
    """Return the lengths of the trail that an If-Match (its header lines) names; None for any.

    A saga's tag begins with the length of its trail. A saga that is being worked on changes its bytes with
    every renewal of a lease; what a person decided on is the trail.
    """
    line = ", ".join(if_match).strip()
    if not if_match or line == "*":
        return None
    return frozenset(int(seq) for seq in _TAG.findall(line))
