"""Everything that can go wrong: one table from a problem's name to its status, its text and what to do.

`type` is `/problems/{name}`, a page of this API, and as stable as the table. `code` is the same name,
except for a failed checkout, whose `code` is the failure's own: a service may say `insufficient_funds`
tomorrow, and its `type` is still `/problems/payment_declined`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from app.saga.model.errors import FailureKind
from app.saga.model.state import Failure


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A row of the table. `retry_after` is in seconds; None where coming back later changes nothing."""

    status: int
    title: str
    happened: str
    to_do: str
    retry_after: int | None = None


_NEW_KEY = "To try this order again, send it under a new Idempotency-Key: a repeat of this one gets this answer again."
_COMPENSATED = "Every step that took effect was compensated; `saga` has the details."
_NO_SAGA = "No saga was started."
_NOTHING = "Nothing was changed."

PROBLEMS: Mapping[str, ProblemType] = MappingProxyType(
    {
        # What the caller sent
        "bad_request": ProblemType(
            400,
            "The request can't be read",
            f"The request is not valid HTTP. {_NOTHING}",
            "Fix the request.",
        ),
        "malformed_json": ProblemType(
            400,
            "The body is not JSON",
            f"The body is not one JSON text in UTF-8, or it has a member twice. {_NOTHING}",
            "Fix the body; `detail` says where the error is. An Idempotency-Key sent with it is still free.",
        ),
        "idempotency_key_required": ProblemType(
            400,
            "An Idempotency-Key is required",
            f"This server starts a checkout only under an Idempotency-Key. {_NO_SAGA}",
            "Send a header Idempotency-Key with a new random value, such as a UUID, and the same one in every repeat.",
        ),
        "invalid_idempotency_key": ProblemType(
            400,
            "The Idempotency-Key can't be used",
            f"The Idempotency-Key is not one header of 1 to 255 visible ASCII characters. {_NO_SAGA}",
            "Send one Idempotency-Key, such as a UUID, bare or in double quotes.",
        ),
        "bad_simulation": ProblemType(
            400,
            "The simulation can't be read",
            f"X-Simulate is not a list of service.action=fault[:times]. {_NO_SAGA}",
            "Fix the part that `detail` names, e.g. X-Simulate: shipping.execute=unavailable:2.",
        ),
        "simulation_unavailable": ProblemType(
            400,
            "Simulation is not available",
            f"X-Simulate works with the sandbox only, and this server uses real services. {_NO_SAGA}",
            "Remove the header, or use a server that runs on the sandbox.",
        ),
        "invalid_last_event_id": ProblemType(
            400,
            "The Last-Event-ID is not from this stream",
            "A stream resumes after the id of one of its own events: a seq of the saga's trail.",
            "Send the last id that you received, or none for the whole trail.",
        ),
        "unauthenticated": ProblemType(
            401,
            "An API key is required",
            "The request has no key, or its key is not valid here: mistyped, expired or revoked.",
            "Send Authorization: Bearer with a key made by `python -m app keys create` or POST /keys.",
        ),
        "forbidden": ProblemType(
            403,
            "The key does not allow this",
            "The key is valid, but lacks the scope that this request needs, or can't see everyone's sagas. Nothing was changed.",
            "Use a key that has what `detail` names; GET /keys lists the keys for an administrator.",
        ),
        "keys_required": ProblemType(
            403,
            "This server answers on loopback only",
            "The server has no keys yet, so it answers only direct requests from its own machine: a request that "
            "comes through a proxy may be anybody's. Nothing was changed.",
            "Make a key with `python -m app keys create`, or set CHECKOUT_ALLOW_UNAUTHENTICATED=true behind something that protects it.",
        ),
        "not_found": ProblemType(
            404,
            "Nothing is here",
            "There is no such resource, or it is not yours.",
            "Check the URL; /docs lists what exists.",
        ),
        "method_not_allowed": ProblemType(
            405,
            "The method is not allowed",
            "This resource doesn't support the request's method.",
            "Use a method that the Allow header names.",
        ),
        "request_timeout": ProblemType(
            408,
            "The request did not arrive in time",
            f"The request did not arrive completely within the time that the server waits for it. {_NOTHING}",
            "Send the request again, a checkout under the same Idempotency-Key.",
        ),
        "header_fields_too_large": ProblemType(
            431,
            "The header fields are too large",
            f"The request's URL and header fields together are larger than this server accepts. {_NOTHING}",
            "Send fewer or shorter header fields, cookies above all; `detail` names the limit.",
        ),
        "body_too_large": ProblemType(
            413,
            "The body is too large",
            f"The body is larger than this server accepts. {_NOTHING}",
            "Send a smaller body; `detail` names the limit.",
        ),
        "unsupported_media_type": ProblemType(
            415,
            "The body is not declared as JSON",
            f"The body's Content-Type is not application/json in UTF-8, or it is compressed. {_NOTHING}",
            "Send Content-Type: application/json, and no Content-Encoding.",
        ),
        "invalid_request": ProblemType(
            422,
            "The request does not match the schema",
            f"The request can be read, but some of its values are not valid. {_NOTHING}",
            "Fix what `errors` points at. An Idempotency-Key sent with it is still free.",
        ),
        "card_number_refused": ProblemType(
            422,
            "A card number was sent",
            "The request contains what looks like a payment card number. It was neither stored nor logged, and nothing was changed.",
            "Remove it where `errors` points: send the payment service's token, and no card number in any other member, header "
            "or parameter. An order number that looks like one needs another format. The Idempotency-Key is still free.",
        ),
        "idempotency_key_reused": ProblemType(
            422,
            "The Idempotency-Key belongs to another request",
            "An earlier request with this Idempotency-Key had another body. This one changed nothing.",
            "Use a new key for a new checkout, or send the first body again to learn its outcome.",
        ),
        # What exists already
        "checkout_in_progress": ProblemType(
            409,
            "This checkout is under way",
            "The first request with this Idempotency-Key started a saga that was not finished when the wait ended.",
            "Send the request again after Retry-After, or follow the saga at `saga_url`.",
            retry_after=1,
        ),
        "order_in_checkout": ProblemType(
            409,
            "The order is in another checkout",
            f"A checkout of this order under another key is not finished. Its payment was not touched. {_NO_SAGA}",
            "Follow the saga at `saga_url`; only if it ends compensated can the order be checked out again. "
            "Where its status is `needs_attention`, an operator has to act first.",
        ),
        "order_already_checked_out": ProblemType(
            409,
            "The order has been checked out",
            f"A checkout of this order has completed. Its payment was not touched. {_NO_SAGA}",
            "Nothing is left to do; the saga at `saga_url` shows what was done.",
        ),
        # What an operator can't do about a saga
        "saga_finished": ProblemType(
            409,
            "The saga has ended",
            "The saga is completed or compensated, which is final. Nothing was changed.",
            "Nothing is left to do; the saga at `saga_url` shows how it ended.",
        ),
        "past_pivot": ProblemType(
            409,
            "The saga is past its pivot",
            "The saga has passed the step after which it can only go forward. It was not cancelled.",
            "Follow the saga at `saga_url`; reverse its effects by other means, such as a return.",
        ),
        "not_cancellable": ProblemType(
            409,
            "The saga is compensating already",
            "The saga was being compensated and got stuck, so there is nothing to cancel. Nothing was changed.",
            "Retry it, or resolve the step that can't be compensated.",
        ),
        "no_attention_needed": ProblemType(
            409,
            "The saga doesn't need attention",
            "The saga is still running. Nothing was changed.",
            "Follow it at `saga_url`: somebody else may have acted on it already.",
        ),
        "step_not_stuck": ProblemType(
            409,
            "This step can't be resolved",
            "The saga needs attention for another step. Nothing was changed.",
            "Look at the saga at `saga_url`: a step whose compensation failed is one to resolve.",
        ),
        "saga_moved": ProblemType(
            409,
            "The saga has changed",
            "Somebody else acted on the saga at the same moment. Nothing was changed.",
            "Look at the saga at `saga_url` before you act on it again.",
        ),
        "precondition_failed": ProblemType(
            412,
            "The saga has changed since its ETag",
            "The saga has changed since the ETag in If-Match was made. Nothing was changed.",
            "Look at the saga at `saga_url`, and send its new ETag.",
        ),
        # How a checkout failed
        "payment_declined": ProblemType(
            402,
            "The payment was declined",
            f"The payment service refused the charge. {_COMPENSATED}",
            f"Ask the customer for another way to pay. {_NEW_KEY}",
        ),
        "inventory_refused": ProblemType(
            409,
            "The items can't be reserved",
            f"The inventory service refused the items: one is out of stock, most likely. {_COMPENSATED}",
            f"Change the items. {_NEW_KEY}",
        ),
        "shipping_refused": ProblemType(
            422,
            "The order can't be shipped",
            f"The shipping service refused the shipment: it does not serve the address, most likely. {_COMPENSATED}",
            f"Ask the customer for another address. {_NEW_KEY}",
        ),
        "step_refused": ProblemType(
            422,
            "A step was refused",
            f"A service refused its part of the checkout. {_COMPENSATED}",
            f"{_NEW_KEY}",
        ),
        "unusable_answer": ProblemType(
            502,
            "A service's answer can't be used",
            f"A service's answers could not be understood. {_COMPENSATED}",
            _NEW_KEY,
        ),
        "service_unavailable": ProblemType(
            503,
            "A service is down",
            f"A service could not be reached after all retries. {_COMPENSATED}",
            f"Wait for Retry-After. {_NEW_KEY}",
            retry_after=30,
        ),
        "service_timeout": ProblemType(
            504,
            "A service did not answer in time",
            f"A service gave no answer in time. {_COMPENSATED}",
            _NEW_KEY,
        ),
        "deadline_exceeded": ProblemType(
            504,
            "The checkout took too long",
            f"The checkout's deadline passed before it was finished. {_COMPENSATED}",
            _NEW_KEY,
        ),
        "checkout_cancelled": ProblemType(
            409, "The checkout was cancelled", f"An operator cancelled the checkout. {_COMPENSATED}", _NEW_KEY
        ),
        "checkout_poisoned": ProblemType(
            500,
            "The checkout crashed its server",
            f"The checkout crashed its process repeatedly and was abandoned. {_COMPENSATED}",
            "Report it with the `request_id`.",
        ),
        # What is wrong here
        "internal_error": ProblemType(
            500,
            "The server has a fault",
            "An unexpected error occurred. It is not known whether anything was changed.",
            "Send the request again, a checkout under the same Idempotency-Key; if that fails too, report the `request_id`.",
        ),
        "rate_limited": ProblemType(
            429,
            "Too many checkouts a second",
            f"This caller starts checkouts faster than this server accepts from one caller. {_NO_SAGA}",
            "Send the request again under the same Idempotency-Key, after Retry-After.",
            retry_after=1,
        ),
        "too_many_unknown_keys": ProblemType(
            429,
            "Too many unknown keys",
            f"This address sends more unknown keys or sessions than this server looks up. {_NOTHING}",
            "Send the request again after Retry-After, with a key that exists.",
            retry_after=1,
        ),
        "over_capacity": ProblemType(
            503,
            "Too many checkouts are under way",
            "This server has reached its limit of checkouts at once. This request was not read and started no saga.",
            "Send the request again under the same Idempotency-Key, after Retry-After.",
            retry_after=1,
        ),
        "too_many_watchers": ProblemType(
            503,
            "Too many event streams are open",
            "This server has reached its limit of event streams.",
            "Open the stream again after Retry-After, or read the saga with Prefer: wait=N.",
            retry_after=5,
        ),
        "shutting_down": ProblemType(
            503,
            "The server is stopping",
            f"This server finishes the work in progress and accepts nothing new. {_NOTHING}",
            "Send the request again, a checkout under the same Idempotency-Key; another server, or this one after its restart, accepts it.",
            retry_after=1,
        ),
        "not_ready": ProblemType(
            503,
            "The server is not ready",
            f"This server has not started yet. {_NOTHING}",
            "Send the request again.",
            retry_after=1,
        ),
        "storage_unavailable": ProblemType(
            503,
            "The saga log can't be reached",
            "The storage behind this server did not answer. `detail` says whether anything was stored.",
            "Send the request again, a checkout under the same Idempotency-Key, after Retry-After.",
            retry_after=5,
        ),
        "definition_unknown": ProblemType(
            503,
            "Another version runs this saga",
            "The saga was started by a version of this service that this server doesn't know; it continues elsewhere.",
            "Send the request again: another server knows it.",
            retry_after=5,
        ),
        "saga_unreadable": ProblemType(
            503,
            "This version can't read the saga",
            "The saga's trail has entries that this version of the service doesn't know, so this server can't say how it "
            "ended or what can be done about it. Nothing was changed by this request.",
            "Read its raw trail at its URL, and send the request again once the newer version runs.",
            retry_after=30,
        ),
    }
)

NOTICES: Mapping[str, ProblemType] = MappingProxyType(
    {
        "needs_attention": ProblemType(
            202,
            "The checkout needs attention",
            "A step can be neither completed nor compensated automatically, so the checkout is not finished: an operator has to act. "
            "The customer may have been charged. The saga's `status` and the header Saga-Status are `needs_attention`, "
            "and its `attention` says what blocks it.",
            "Don't ship, and don't send the order again under another Idempotency-Key: it is 409 until this ends. "
            "Tell the customer that the order is being looked at. Learn how it ends by webhook "
            "(checkout.completed or checkout.compensated), or read the saga at Location every Retry-After seconds.",
            retry_after=60,
        )
    }
)
"""Not a problem of the request, but has a page like one: `Link` with `rel="help"` leads there."""

_REFUSED_BY = {
    "payment": "payment_declined",
    "inventory": "inventory_refused",
    "shipping": "shipping_refused",
}
_FAILED_BY = {
    FailureKind.UNUSABLE: "unusable_answer",
    FailureKind.UNAVAILABLE: "service_unavailable",
    FailureKind.TIMEOUT: "service_timeout",
    FailureKind.DEADLINE: "deadline_exceeded",
    FailureKind.CANCELLED: "checkout_cancelled",
    FailureKind.POISONED: "checkout_poisoned",
}


def name_of(failure: Failure) -> str:
    """Return the problem that a failed checkout is, by the service that refused it or else by the kind of failure."""
    if failure.kind is FailureKind.REFUSED:
        return _REFUSED_BY.get(failure.step or "", "step_refused")
    return _FAILED_BY[failure.kind]
