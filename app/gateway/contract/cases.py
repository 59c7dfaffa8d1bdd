"""The contract's promises, a case each: what a service must answer so that a checkout never loses or doubles anything.

Each case uses references of its own. It returns nothing where the promise holds and raises `NotConforming`
with a sentence where it doesn't.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

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
_IDS = {
    Participant.PAYMENT: "payment_id",
    Participant.INVENTORY: "reservation_id",
    Participant.SHIPPING: "shipment_id",
}
_EVERY = frozenset(Participant)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One promise. `needs` names the sample's value without which it can't be tried."""

    promise: str
    run: Callable[[Probe], None]
    services: frozenset[Participant] = _EVERY
    needs: str | None = None
    used_today: bool = True


@dataclass(frozen=True)
class _Cases:
    cases: list[Case] = field(default_factory=list)

    def __call__(
        self,
        promise: str,
        *,
        only: Participant | None = None,
        needs: str | None = None,
        used_today: bool = True,
    ) -> Callable[[Callable[[Probe], None]], Callable[[Probe], None]]:
        def add(run: Callable[[Probe], None]) -> Callable[[Probe], None]:
            services = frozenset({only}) if only else _EVERY
            self.cases.append(
                Case(promise=promise, run=run, services=services, needs=needs, used_today=used_today)
            )
            return run

        return add


_case = _Cases()


@_case("nothing exists under a new reference: GET is 404 with a problem's code")
def _nothing_stands(probe: Probe) -> None:
    _expect_nothing(probe, probe.reference())


@_case("PUT does the work: 2xx with the members that the contract requires")
def _does_the_work(probe: Probe) -> None:
    _stand(probe, probe.put(probe.reference()))


@_case("PUT sent again answers with the same resource")
def _again_is_the_same(probe: Probe) -> None:
    reference = probe.reference()
    first = _stand(probe, probe.put(reference))
    _same(probe, first, _stand(probe, probe.put(reference), "the second PUT"), "the second PUT")


@_case("the order of a body's members makes no difference")
def _order_of_members(probe: Probe) -> None:
    reference = probe.reference()
    first = _stand(probe, probe.put(reference))
    turned = dict(reversed(probe.body().items()))
    _same(probe, first, _stand(probe, probe.put(reference, turned), "the second PUT"), "the second PUT")


@_case("two PUTs at the same time do the work once")
def _twice_at_once(probe: Probe) -> None:
    reference = probe.reference()
    answers = probe.together(lambda: probe.put(reference), lambda: probe.put(reference))
    for answer in answers:
        if 400 <= answer.status < 500 and answer.status not in (408, 425, 429):
            raise NotConforming(
                f"one of two equal PUTs at the same time was answered {_told(answer)}: the checkout would take "
                "that as a refusal without effect. Answer 425, 429 or 503 while the other one is at work."
            )
    standing = _stand(probe, probe.put(reference), "a PUT after them")
    for answer in answers:
        if 200 <= answer.status < 300:
            _same(probe, standing, _stand(probe, answer), "one of the two")


@_case("a PUT with another body is refused with 409 and changes nothing")
def _another_body(probe: Probe) -> None:
    reference = probe.reference()
    first = _stand(probe, probe.put(reference))
    answer = probe.put(reference, probe.body(order_id="another"))
    if answer.status != 409:
        raise NotConforming(
            f"PUT with another order_id was answered {_told(answer)}, not 409 reference_reused."
        )
    _problem(answer, "that refusal")
    _same(probe, first, _stand(probe, probe.get(reference), "GET"), "GET")


@_case("GET returns the resource")
def _get_tells(probe: Probe) -> None:
    reference = probe.reference()
    first = _stand(probe, probe.put(reference))
    _same(probe, first, _stand(probe, probe.get(reference), "GET"), "GET")


@_case("DELETE undoes the work, however often it is sent")
def _delete_undoes(probe: Probe) -> None:
    reference = probe.reference()
    _stand(probe, probe.put(reference))
    _undone(probe.delete(reference))
    _undone(probe.delete(reference), "the second DELETE")


@_case("after DELETE the reference is closed: PUT and GET are 410")
def _closed(probe: Probe) -> None:
    reference = probe.reference()
    _stand(probe, probe.put(reference))
    _undone(probe.delete(reference))
    _expect_closed(probe, reference)


@_case("DELETE succeeds where nothing exists, and closes the reference against a PUT that comes late")
def _empty_compensation(probe: Probe) -> None:
    reference = probe.reference()
    _undone(probe.delete(reference), "DELETE of a reference that was never used")
    _expect_closed(probe, reference)


@_case("a PUT and a DELETE at the same time end with nothing standing")
def _race(probe: Probe) -> None:
    reference = probe.reference()
    probe.together(lambda: probe.put(reference), lambda: probe.delete(reference))
    _undone(probe.delete(reference), "the DELETE after them")
    _expect_closed(probe, reference)


@_case("a PUT whose caller hung up is done once: the same PUT sent again returns the resource")
def _hung_up(probe: Probe) -> None:
    reference = probe.reference()
    probe.put_and_hang_up(reference)
    answer = probe.put(reference)
    for _ in probe.tries():
        if answer.status < 500 and answer.status not in (408, 425, 429):
            break
        answer = probe.put(reference)
    standing = _stand(probe, answer, "the PUT after it")
    _same(probe, standing, _stand(probe, probe.put(reference)), "a third PUT")
    _undone(probe.delete(reference))
    _expect_closed(probe, reference)


@_case("two references are two pieces of work")
def _two_references(probe: Probe) -> None:
    one = _stand(probe, probe.put(probe.reference()))
    other = _stand(probe, probe.put(probe.reference()))
    if one[_IDS[probe.service]] == other[_IDS[probe.service]]:
        raise NotConforming(f"PUTs of two references were answered with one {_IDS[probe.service]}.")


@_case("a reference of 64 characters is kept whole")
def _long_reference(probe: Probe) -> None:
    long = (probe.reference() + "-" + "x" * 64)[:64]
    sibling = long[:-1] + "y"
    for reference in (probe.reference(long), probe.reference(sibling)):
        _stand(probe, probe.put(reference))
    _undone(probe.delete(sibling))
    _stand(probe, probe.get(long), "GET of the other one")


@_case("members that the service doesn't know are ignored")
def _unknown_members(probe: Probe) -> None:
    _stand(probe, probe.put(probe.reference(), probe.body(metadata={"campaign": "spring"}, x_unknown=[1])))


@_case("a body that is not JSON is refused with a 4xx and a problem's code, and nothing is made")
def _no_json(probe: Probe) -> None:
    reference = probe.reference()
    answer = probe.put_raw(reference, b'{"order_id": ')
    if not 400 <= answer.status < 500:
        raise NotConforming(f"a body that is no JSON was answered {_told(answer)}.")
    _problem(answer, "that refusal")
    _expect_nothing(probe, reference)


@_case(
    "a declined payment is 402 with its code, and nothing is charged",
    only=Participant.PAYMENT,
    needs="declined",
)
def _declined(probe: Probe) -> None:
    _refused(probe, probe.body(payment_method=probe.sample.declined), 402)


@_case(
    "an item out of stock is 409 out_of_stock, and nothing is reserved, not even the items in stock",
    only=Participant.INVENTORY,
    needs="out_of_stock",
)
def _out_of_stock(probe: Probe) -> None:
    lines = [{"sku": probe.sample.sku, "quantity": 1}, {"sku": probe.sample.out_of_stock, "quantity": 1}]
    answer = _refused(probe, probe.body(items=lines), 409)
    if _code_of(answer) != "out_of_stock":
        raise NotConforming(f"the refusal's code is {_code_of(answer)}, not out_of_stock.")


@_case(
    "an address that isn't served is 422 with its code, and nothing is booked",
    only=Participant.SHIPPING,
    needs="unserviceable",
)
def _unserviceable(probe: Probe) -> None:
    address = probe.body()["address"]
    assert isinstance(address, dict)  # noqa: S101 (the sample's own)
    _refused(probe, probe.body(address={**address, "country": probe.sample.unserviceable}), 422)


@_case(
    "a deferred payment is authorized, captured however often, and closed against a late capture",
    only=Participant.PAYMENT,
    used_today=False,
)
def _deferred(probe: Probe) -> None:
    reference = probe.reference()
    held = _stand(probe, probe.put(reference, probe.body(capture="deferred")), status="authorized")
    for words in ("capture", "the second capture"):
        _same(probe, held, _stand(probe, probe.capture(reference), words), words)
    _undone(probe.delete(reference))
    answer = probe.capture(reference)
    if answer.status != 410:
        raise NotConforming(f"capture after DELETE was answered {_told(answer)}, not 410.")


CASES: tuple[Case, ...] = tuple(_case.cases)
"""Every case, in the order in which a reader meets the promises."""


def _stand(probe: Probe, answer: Answer, words: str = "PUT", *, status: str = "captured") -> JsonObject:
    """Return the resource, read as the checkout reads it; a payment in that status."""
    try:
        resource = checked(_RESOURCES[probe.service], done(answer))
    except StepError as error:
        raise NotConforming(f"{words} was answered {_told(answer)}: {error}") from None
    if isinstance(resource, Payment):
        asked = {"amount": probe.sample.amount, "currency": probe.sample.currency, "status": status}
        for member, value in asked.items():
            if getattr(resource, member) != value:
                raise NotConforming(f"{words} shows a payment of another {member} than was asked.")
    return resource.result()


def _same(probe: Probe, first: JsonObject, second: JsonObject, words: str) -> None:
    member = _IDS[probe.service]
    if first[member] != second[member]:
        raise NotConforming(f"{words} was answered with another {member}: the work was done twice.")


def _undone(answer: Answer, words: str = "DELETE") -> None:
    if not 200 <= answer.status < 300:
        raise NotConforming(f"{words} was answered {_told(answer)}, not 2xx.")
    try:
        compensated(answer)
    except StepError as error:
        raise NotConforming(f"{words} was answered {_told(answer)}: {error}") from None


def _expect_nothing(probe: Probe, reference: str) -> None:
    if (standing := _found(probe, reference)) is not None:
        raise NotConforming(f"GET says {_named(standing)}, where nothing exists: it must be 404 with a code.")


def _expect_closed(probe: Probe, reference: str) -> None:
    answer = probe.put(reference)
    if answer.status != 410:
        raise NotConforming(
            f"PUT after DELETE was answered {_told(answer)}, not 410: a late PUT would have its effect."
        )
    if not isinstance(standing := _found(probe, reference), Closed):
        raise NotConforming(f"GET after DELETE says {_named(standing)}: it must be 410 with a code.")


def _found(probe: Probe, reference: str) -> JsonObject | Closed | None:
    answer = probe.get(reference)
    try:
        return found(answer)
    except StepError as error:
        raise NotConforming(f"GET was answered {_told(answer)}: {error}") from None


def _named(standing: JsonObject | Closed | None) -> str:
    return (
        "that nothing exists"
        if standing is None
        else "410"
        if isinstance(standing, Closed)
        else "that something exists"
    )


def _refused(probe: Probe, body: JsonObject, status: int) -> Answer:
    reference = probe.reference()
    answer = probe.put(reference, body)
    if answer.status != status:
        raise NotConforming(f"it was answered {_told(answer)}, not {status}.")
    _problem(answer, "the refusal")
    _expect_nothing(probe, reference)
    return answer


def _problem(answer: Answer, words: str) -> None:
    if not _code_of(answer):
        raise NotConforming(
            f"{words} ({answer.status}) has no `code`: send problem details (RFC 9457) with one."
        )


def _code_of(answer: Answer) -> str | None:
    code = (answer.document or {}).get("code")
    return code if isinstance(code, str) else None


def _told(answer: Answer) -> str:
    code = _code_of(answer)
    return f"{answer.status} {code}" if code else str(answer.status)
