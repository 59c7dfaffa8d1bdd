"""A request to the sandbox, checked as strictly as services.yaml reads."""

from __future__ import annotations

import hashlib
import marshal
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.gateway.answer import Answer
from app.gateway.port import GatewayVerb, JsonObject, Participant
from app.gateway.resources import NO_NUL
from app.saga.model.cached_attribute import cached_attribute
from app.saga.model.step import JSON
from app.values.canonical_json import canonical


class Verb(StrEnum):
    """What a request asks."""

    PUT = "put"  # do the work
    DELETE = "delete"  # undo it
    CAPTURE = "capture"  # make it final
    GET = "get"  # read the resource

    @property
    def action(self) -> GatewayVerb | None:
        """The action that it carries out; None for one that only reads."""
        return _ACTIONS.get(self)


_ACTIONS = {
    Verb.PUT: GatewayVerb.EXECUTE,
    Verb.DELETE: GatewayVerb.COMPENSATE,
    Verb.CAPTURE: GatewayVerb.CONFIRM,
}


@dataclass(kw_only=True)
class Request:
    """One request, as it came; `body` is None where none did. Nobody changes it."""

    service: Participant
    verb: Verb
    reference: str
    idempotency_key: str = ""
    body: JsonObject | None = None

    @cached_attribute
    def fingerprint(self) -> str:
        """Identifies the body by its canonical form (RFC 8785); empty without a body."""
        return fingerprint_of(self.body)

    @cached_attribute
    def packed(self) -> bytes:
        """The body in a few bytes, until somebody wants to compare it; see `unpacked`."""
        return marshal.dumps(self.body)


def fingerprint_of(body: JsonObject | None) -> str:
    """Return what identifies a body; empty without one. Raise `TypeError` or `ValueError` for one that is no JSON."""
    return "" if body is None else hashlib.sha256(canonical(body).encode("ascii")).hexdigest()


def unpacked(packed: bytes) -> JsonObject | None:
    """Return the body that a request of this process had packed."""
    body: JsonObject | None = marshal.loads(packed)  # noqa: S302 (our own bytes, which never left the process)
    return body


class Refusal(Exception):
    """The request is refused, and nothing was done."""

    def __init__(self, status: int, code: str, detail: str, **extra: JSON) -> None:
        super().__init__(detail)
        self.answer = problem(status, code, detail, **extra)


def problem(status: int, code: str, detail: str, **extra: JSON) -> Answer:
    """Return a problem's details (RFC 9457)."""
    document: JsonObject = {"type": "about:blank", "status": status, "code": code, "detail": detail, **extra}
    return Answer(status=status, document=document)


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


Text = Annotated[str, Field(min_length=1, max_length=1024, pattern=NO_NUL)]


class Line(_Body):
    """So many of one kind of goods."""

    sku: Text
    quantity: int = Field(ge=1, le=2**31)


class PaymentBody(_Body):
    """What to charge, to whom."""

    order_id: Text
    customer_id: Text
    amount: int = Field(ge=0, lt=2**53)
    currency: str = Field(pattern="^[A-Z]{3}$")
    payment_method: Text
    capture: Literal["immediate", "deferred"]


class ReservationBody(_Body):
    """What to set aside."""

    order_id: Text
    items: list[Line] = Field(min_length=1)


class ShipmentBody(_Body):
    """What to send, where to."""

    order_id: Text
    items: list[Line] = Field(min_length=1)
    address: dict[str, JSON]


B = TypeVar("B", bound=_Body)


def checked_body(model: type[B], request: Request) -> B:
    """Return the body with types, read once; raise `Refusal` naming the member that is wrong, never its value."""
    read = request.__dict__.get("_checked")
    if isinstance(read, model):
        return read
    try:
        body = model.model_validate(request.body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = "/" + "/".join(str(part) for part in first["loc"])
        raise Refusal(400, "invalid_request", f"The body's {where}: {first['msg']}", pointer=where) from None
    request.__dict__["_checked"] = body
    return body
