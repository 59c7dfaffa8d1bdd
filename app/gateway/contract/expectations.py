"""What the contract's cases expect of an answer. Each raises `NotConforming`, with a sentence, if it isn't so."""

from __future__ import annotations

from app.gateway.answer import Answer, compensated, done, found
from app.gateway.contract.probe import NotConforming, Probe
from app.gateway.port import JsonObject, Participant
from app.gateway.resources import Payment, Reservation, Resource, Shipment, checked
from app.saga.model.errors import StepError
from app.saga.model.step import Closed

_RESOURCES: dict[Participant, type[Resource]] = {
    Participant.PAYMENT: Payment,
    Participant.INVENTORY: Reservation,
    Participant.SHIPPING: Shipment,
}
ID_MEMBERS = {
    Participant.PAYMENT: "payment_id",
    Participant.INVENTORY: "reservation_id",
    Participant.SHIPPING: "shipment_id",
}
"""The member with the id of each service\'s resource."""


def expect_resource(
    probe: Probe, answer: Answer, words: str = "PUT", *, status: str = "captured"
) -> JsonObject:
    """Return the resource, read as the checkout reads it; a payment in that status."""
    try:
        resource = checked(_RESOURCES[probe.service], done(answer))
    except StepError as error:
        raise NotConforming(f"{words} was answered {shown(answer)}: {error}") from None
    if isinstance(resource, Payment):
        asked = {"amount": probe.sample.amount, "currency": probe.sample.currency, "status": status}
        for member, value in asked.items():
            if getattr(resource, member) != value:
                raise NotConforming(f"{words} shows a payment of another {member} than was asked.")
    return resource.result()


def expect_same(probe: Probe, first: JsonObject, second: JsonObject, words: str) -> None:
    """Expect two answers to show the same resource."""
    member = ID_MEMBERS[probe.service]
    if first[member] != second[member]:
        raise NotConforming(f"{words} was answered with another {member}: the work was done twice.")


def expect_compensated(answer: Answer, words: str = "DELETE") -> None:
    """Expect the answer to a DELETE to say that the work was reversed."""
    if not 200 <= answer.status < 300:
        raise NotConforming(f"{words} was answered {shown(answer)}, not 2xx.")
    try:
        compensated(answer)
    except StepError as error:
        raise NotConforming(f"{words} was answered {shown(answer)}: {error}") from None


def expect_nothing(probe: Probe, reference: str) -> None:
    """Expect that nothing exists under a reference."""
    if (standing := _looked_up(probe, reference)) is not None:
        raise NotConforming(
            f"GET says {_description_of(standing)}, where nothing exists: it must be 404 with a code."
        )


def expect_closed(probe: Probe, reference: str) -> None:
    """Expect that a reference is closed: a late PUT has no effect."""
    answer = probe.put(reference)
    if answer.status != 410:
        raise NotConforming(
            f"PUT after DELETE was answered {shown(answer)}, not 410: a late PUT would take effect."
        )
    if not isinstance(standing := _looked_up(probe, reference), Closed):
        raise NotConforming(f"GET after DELETE says {_description_of(standing)}: it must be 410 with a code.")


def _looked_up(probe: Probe, reference: str) -> JsonObject | Closed | None:
    answer = probe.get(reference)
    try:
        return found(answer)
    except StepError as error:
        raise NotConforming(f"GET was answered {shown(answer)}: {error}") from None


def _description_of(standing: JsonObject | Closed | None) -> str:
    return (
        "that nothing exists"
        if standing is None
        else "410"
        if isinstance(standing, Closed)
        else "that something exists"
    )


def expect_refused(probe: Probe, body: JsonObject, status: int) -> Answer:
    """Expect a PUT of this body to be refused with this status, without effect."""
    reference = probe.reference()
    answer = probe.put(reference, body)
    if answer.status != status:
        raise NotConforming(f"it was answered {shown(answer)}, not {status}.")
    expect_code(answer, "the refusal")
    expect_nothing(probe, reference)
    return answer


def expect_code(answer: Answer, words: str) -> None:
    """Expect a refusal to have a problem's code."""
    if not code_of(answer):
        raise NotConforming(
            f"{words} ({answer.status}) has no `code`: send problem details (RFC 9457) with one."
        )


def code_of(answer: Answer) -> str | None:
    """Return a problem's code, if the answer has one."""
    code = (answer.document or {}).get("code")
    return code if isinstance(code, str) else None


def shown(answer: Answer) -> str:
    """Return the status and code of an answer, for a sentence."""
    code = code_of(answer)
    return f"{answer.status} {code}" if code else str(answer.status)
