"""What an operator sends to act on a saga, read as strictly as an order. Their key says who; they have to say why."""

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
    Field(description="Why. It is recorded in the trail for ever, so don't put a customer's data in it."),
]
_TAG = re.compile(r'"([0-9]{1,9})-[0-9a-f]+"')


class Operation(Strict):
    """Why a saga is cancelled, or its failed step retried."""

    reason: Reason

    @classmethod
    def of(cls, body: object) -> Self:
        """Return the operation in a body. Raise an `invalid_request` problem that points at all errors."""
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise invalid(field_errors(error)) from None


class Resolution(Operation):
    """Which step an operator settled outside, why, and where to look that up."""

    step: Annotated[Reference, Field(description="The step's name.")]
    reference: Annotated[
        Reference | None, Field(description="Where it was settled: a ticket, a refund's id.")
    ] = None


class EmptyObject(Strict):
    """{}: an empty object, which another site's page can't send, and which has no misspelt members."""

    @model_validator(mode="before")
    @classmethod
    def _is_empty(cls, body: object) -> object:
        if not isinstance(body, dict) or body:
            raise InvalidValue("unknown_member", "Send an empty object: {}.", pointer="")
        return body


def seen_by(if_match: Sequence[str]) -> frozenset[int] | None:
    """Return the lengths of the trail in an If-Match header (its lines); None for any.

    A saga's tag begins with the length of its trail. While a saga runs, its bytes change with every renewal of a lease,
    but an operator decides by the trail.
    """
    line = ", ".join(if_match).strip()
    if not if_match or line == "*":
        return None
    return frozenset(int(seq) for seq in _TAG.findall(line))
