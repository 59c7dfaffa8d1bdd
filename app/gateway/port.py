"""The port to a service outside: one resource, which the caller names.

The caller names the resource (`reference`, the saga's id), so both the work and its compensation can be sent
again whenever an outcome is unknown:

    put(reference) ──▶ exists ──delete(reference)──▶ closed for good
                                                       ▲
    (nothing)      ──────────delete(reference)─────────┘   a late put is refused

An adapter raises `StepRejected`, `StepUnavailable` and `StepOutcomeUnknown` and nothing else,
whatever happens on the wire; the contract suite holds each to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from app.saga.model.errors import FailureKind, StepRejected
from app.saga.model.step import JSON, Closed

JsonObject = dict[str, JSON]


class ResourceOwner(Protocol):
    """A service, and the resource that it keeps."""

    @property
    def value(self) -> str:
        """The service's name, which is its step's."""

    @property
    def resource(self) -> str:
        """The resource's name in a URL, a plural."""


class Participant(StrEnum):
    """The three services of a checkout, each by the name of its step."""

    PAYMENT = "payment"  # keeps payments
    INVENTORY = "inventory"  # keeps reservations
    SHIPPING = "shipping"  # keeps shipments

    @property
    def resource(self) -> str:
        """The resource's name in a URL."""
        return _RESOURCES[self]


_RESOURCES = {
    Participant.PAYMENT: "payments",
    Participant.INVENTORY: "reservations",
    Participant.SHIPPING: "shipments",
}


class GatewayVerb(StrEnum):
    """A request to a service."""

    EXECUTE = "execute"  # do the work: put
    COMPENSATE = "compensate"  # undo it and close the reference: delete
    CONFIRM = "confirm"  # make it final: capture


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What every request carries, whatever it asks. The same action of a saga makes the same call.

    `simulate` asks a sandbox for faults; `traceparent` is the W3C trace that the call belongs to.
    """

    reference: str
    idempotency_key: str
    simulate: str | None = None
    traceparent: str | None = None

    @classmethod
    def to(
        cls,
        service: ResourceOwner,
        action: GatewayVerb,
        *,
        reference: str,
        simulate: str | None = None,
        traceparent: str | None = None,
    ) -> Call:
        """Raise `StepRejected` for a reference that can't be sent, as then nothing is."""
        if not _REFERENCE.fullmatch(reference):
            raise StepRejected(
                "The reference must be 1 to 64 visible ASCII characters, the first a letter or digit.",
                code="invalid_reference",
                kind=FailureKind.UNUSABLE,
            )
        return cls(
            reference=reference,
            # The key holds neither attempt nor host, so that a repeat is recognised as one.
            idempotency_key=f"{reference}:{service.value}:{action}",
            simulate=simulate,
            traceparent=traceparent,
        )


# Beginning with a letter or digit keeps ".." from climbing in a URL's path.
_REFERENCE = re.compile(r"[A-Za-z0-9][!-~]{0,63}")


class Gateway(Protocol):
    """One resource of one service. Every method may be called again with the same arguments.

    An answer is the service's JSON object as received: check a member before you use it.
    """

    async def put(self, call: Call, body: JsonObject) -> JsonObject:
        """Do the work once; return the resource."""

    async def delete(self, call: Call) -> JsonObject:
        """Undo the work and close the reference; also succeed where nothing exists.

        Return the service's answer, which may be empty.
        """

    async def get(self, call: Call) -> JsonObject | Closed | None:
        """Return the resource, None where none exists yet, `Closed` where none will."""

    async def capture(self, call: Call) -> JsonObject:
        """Make the resource final; return it."""

    async def aclose(self) -> None:
        """Close the gateway's connections. It can't be used afterwards."""
