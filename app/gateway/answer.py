"""What a service's answer means: the reading rules of the contract, in one place for every gateway.

2xx to a DELETE                done, with or without a body that can be read
2xx to anything else           done, where the body is a JSON object
408, 425, 429, 5xx, 1xx, 3xx   StepOutcomeUnknown: send it again, after Retry-After where given
any other 4xx                  StepRejected: final, certainly without effect
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.gateway.port import JsonObject
from app.saga.model.errors import FailureKind, StepError, StepOutcomeUnknown, StepRejected
from app.saga.model.step import Closed
from app.values.card_numbers import holds_card_number


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A service's answer. `document` is None where the body is no JSON object that can be read.

    `is_page`: it is HTML, so a page for people, and more likely a proxy's than the service's.
    """

    status: int
    document: JsonObject | None
    retry_after: float | None = None
    is_page: bool = False


def done(answer: Answer) -> JsonObject:
    """Return what a 2xx answer says; for any other raise the error that instructs the orchestrator."""
    if not 200 <= answer.status < 300:
        raise error_of(answer)
    if answer.document is None:
        raise unusable("The service answered what can't be read.", retry_after=answer.retry_after)
    return answer.document


def compensated(answer: Answer) -> JsonObject:
    """Return what a 2xx answer to a DELETE says, if anything; raise what any other means.

    The status decides, whatever the body says. Two bodies are not accepted although they come with a 2xx: an HTML
    page, which a proxy has sent, and the contract's own words for money that has not been refunded (yet). Sending
    the DELETE again is harmless; believing them is not.
    """
    if not 200 <= answer.status < 300:
        raise error_of(answer)
    if answer.is_page:
        raise unusable("A web page came in place of the service's answer.", retry_after=answer.retry_after)
    document = answer.document or {}
    if document.get("status") in _NOT_UNDONE:
        raise unusable("The service says that it is not undone.", retry_after=answer.retry_after)
    return document


def found(answer: Answer) -> JsonObject | Closed | None:
    """Return what the answer to a `get` says; raise what any other answer means.

    A 404 or 410 counts only with a problem's code: a proxy's own "Not Found" would otherwise
    pass for "nothing exists".
    """
    if answer.status in (404, 410):
        if _code(answer) is None:
            raise unusable(f"The service answered {answer.status} without saying why.")
        return None if answer.status == 404 else Closed()
    return done(answer)


def error_of(answer: Answer) -> StepError:
    """Return the error that an answer other than 2xx is.

    A DELETE answered 404 or 410 is rejected like any other request, though it looks like "nothing to
    undo": the contract's DELETE succeeds where nothing exists, because it also closes the reference.
    A service that answers 404 has closed nothing, so a late PUT could still charge: an operator must look.
    """
    status = answer.status
    if status not in _UNKNOWN_4XX and 400 <= status < 500:
        code = _code(answer) or _REJECTED_CODES.get(status, f"http_{status}")
        refused = status in _REFUSED and code not in _OUR_FAULT
        kind = FailureKind.REFUSED if refused else FailureKind.UNUSABLE
        return StepRejected(_message(answer), code=code, kind=kind)
    code, kind = _UNKNOWNS.get(status, ("server_error", FailureKind.UNUSABLE) if status >= 500 else _UNUSABLE)
    return StepOutcomeUnknown(_message(answer), code=code, kind=kind, retry_after=answer.retry_after)


def unusable(message: str, *, retry_after: float | None = None) -> StepOutcomeUnknown:
    """Return the error for an unusable answer: the work may have been done all the same."""
    code, kind = _UNUSABLE
    return StepOutcomeUnknown(message, code=code, kind=kind, retry_after=retry_after)


_NOT_UNDONE = ("pending", "failed")
_UNUSABLE = ("unusable_answer", FailureKind.UNUSABLE)
_UNKNOWN_4XX = frozenset({408, 425, 429})
_REFUSED = frozenset({402, 409, 422})
_OUR_FAULT = frozenset({"reference_reused", "reference_closed", "not_reversible"})
"""Codes that say nothing against the customer's order: the two sides disagree about what has happened."""

_REJECTED_CODES = {402: "card_declined", 409: "conflict", 410: "reference_closed", 422: "unprocessable"}
_UNKNOWNS = {
    408: ("timeout", FailureKind.TIMEOUT),
    425: ("too_early", FailureKind.UNUSABLE),
    429: ("unavailable", FailureKind.UNAVAILABLE),
    503: ("unavailable", FailureKind.UNAVAILABLE),
    504: ("timeout", FailureKind.TIMEOUT),
}
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


def _code(answer: Answer) -> str | None:
    code = answer.document.get("code") if answer.document else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def _message(answer: Answer) -> str:
    """Return the problem's own words, made fit for a log line, or plain ones; none with a card number in them."""
    for member in ("detail", "title"):
        text = answer.document.get(member) if answer.document else None
        if isinstance(text, str):
            readable = "".join(c if c.isprintable() else " " for c in text[:1000]).strip()
            if readable and not holds_card_number(readable):
                return readable[:200]
    return f"The service answered {answer.status}."
