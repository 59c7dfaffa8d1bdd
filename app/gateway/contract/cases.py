"""The contract's promises, a case each: what a service must answer so that a checkout never loses or doubles anything.

Each case uses references of its own. It returns nothing where the promise holds and raises `NotConforming`
with a sentence where it doesn't.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from app.gateway.contract.expectations import (
    ID_MEMBERS,
    code_of,
    expect_closed,
    expect_code,
    expect_compensated,
    expect_nothing,
    expect_refused,
    expect_resource,
    expect_same,
    shown,
)
from app.gateway.contract.probe import NotConforming, Probe
from app.gateway.port import Participant

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
    expect_nothing(probe, probe.reference())


@_case("PUT does the work: 2xx with the members that the contract requires")
def _does_the_work(probe: Probe) -> None:
    expect_resource(probe, probe.put(probe.reference()))


@_case("PUT sent again answers with the same resource")
def _again_is_the_same(probe: Probe) -> None:
    reference = probe.reference()
    first = expect_resource(probe, probe.put(reference))
    expect_same(
        probe, first, expect_resource(probe, probe.put(reference), "the second PUT"), "the second PUT"
    )


@_case("the order of a body's members makes no difference")
def _order_of_members(probe: Probe) -> None:
    reference = probe.reference()
    first = expect_resource(probe, probe.put(reference))
    turned = dict(reversed(probe.body().items()))
    expect_same(
        probe, first, expect_resource(probe, probe.put(reference, turned), "the second PUT"), "the second PUT"
    )


@_case("two PUTs at the same time do the work once")
def _twice_at_once(probe: Probe) -> None:
    reference = probe.reference()
    answers = probe.together(lambda: probe.put(reference), lambda: probe.put(reference))
    for answer in answers:
        if 400 <= answer.status < 500 and answer.status not in (408, 425, 429):
            raise NotConforming(
                f"one of two equal PUTs at the same time was answered {shown(answer)}: the checkout would take "
                "that as a refusal without effect. Answer 425, 429 or 503 while the other one is at work."
            )
    standing = expect_resource(probe, probe.put(reference), "a PUT after them")
    for answer in answers:
        if 200 <= answer.status < 300:
            expect_same(probe, standing, expect_resource(probe, answer), "one of the two")


@_case("a PUT with another body is refused with 409 and changes nothing")
def _another_body(probe: Probe) -> None:
    reference = probe.reference()
    first = expect_resource(probe, probe.put(reference))
    answer = probe.put(reference, probe.body(order_id="another"))
    if answer.status != 409:
        raise NotConforming(
            f"PUT with another order_id was answered {shown(answer)}, not 409 reference_reused."
        )
    expect_code(answer, "that refusal")
    expect_same(probe, first, expect_resource(probe, probe.get(reference), "GET"), "GET")


@_case("GET returns the resource")
def _get_tells(probe: Probe) -> None:
    reference = probe.reference()
    first = expect_resource(probe, probe.put(reference))
    expect_same(probe, first, expect_resource(probe, probe.get(reference), "GET"), "GET")


@_case("DELETE undoes the work, however often it is sent")
def _delete_undoes(probe: Probe) -> None:
    reference = probe.reference()
    expect_resource(probe, probe.put(reference))
    expect_compensated(probe.delete(reference))
    expect_compensated(probe.delete(reference), "the second DELETE")


@_case("after DELETE the reference is closed: PUT and GET are 410")
def _closed(probe: Probe) -> None:
    reference = probe.reference()
    expect_resource(probe, probe.put(reference))
    expect_compensated(probe.delete(reference))
    expect_closed(probe, reference)


@_case("DELETE succeeds where nothing exists, and closes the reference against a PUT that comes late")
def _empty_compensation(probe: Probe) -> None:
    reference = probe.reference()
    expect_compensated(probe.delete(reference), "DELETE of a reference that was never used")
    expect_closed(probe, reference)


@_case("a PUT and a DELETE at the same time end with nothing standing")
def _race(probe: Probe) -> None:
    reference = probe.reference()
    probe.together(lambda: probe.put(reference), lambda: probe.delete(reference))
    expect_compensated(probe.delete(reference), "the DELETE after them")
    expect_closed(probe, reference)


@_case("a PUT whose caller hung up is done once: the same PUT sent again returns the resource")
def _hung_up(probe: Probe) -> None:
    reference = probe.reference()
    probe.put_and_hang_up(reference)
    answer = probe.put(reference)
    for _ in probe.tries():
        if answer.status < 500 and answer.status not in (408, 425, 429):
            break
        answer = probe.put(reference)
    standing = expect_resource(probe, answer, "the PUT after it")
    expect_same(probe, standing, expect_resource(probe, probe.put(reference)), "a third PUT")
    expect_compensated(probe.delete(reference))
    expect_closed(probe, reference)


@_case("two references are two pieces of work")
def _two_references(probe: Probe) -> None:
    one = expect_resource(probe, probe.put(probe.reference()))
    other = expect_resource(probe, probe.put(probe.reference()))
    if one[ID_MEMBERS[probe.service]] == other[ID_MEMBERS[probe.service]]:
        raise NotConforming(f"PUTs of two references were answered with one {ID_MEMBERS[probe.service]}.")


@_case("a reference of 64 characters is kept whole")
def _long_reference(probe: Probe) -> None:
    long = (probe.reference() + "-" + "x" * 64)[:64]
    sibling = long[:-1] + "y"
    for reference in (probe.reference(long), probe.reference(sibling)):
        expect_resource(probe, probe.put(reference))
    expect_compensated(probe.delete(sibling))
    expect_resource(probe, probe.get(long), "GET of the other one")


@_case("members that the service doesn't know are ignored")
def _unknown_members(probe: Probe) -> None:
    expect_resource(
        probe, probe.put(probe.reference(), probe.body(metadata={"campaign": "spring"}, x_unknown=[1]))
    )


@_case("a body that is not JSON is refused with a 4xx and a problem's code, and nothing is made")
def _no_json(probe: Probe) -> None:
    reference = probe.reference()
    answer = probe.put_raw(reference, b'{"order_id": ')
    if not 400 <= answer.status < 500:
        raise NotConforming(f"a body that is no JSON was answered {shown(answer)}.")
    expect_code(answer, "that refusal")
    expect_nothing(probe, reference)


@_case(
    "a declined payment is 402 with its code, and nothing is charged",
    only=Participant.PAYMENT,
    needs="declined",
)
def _declined(probe: Probe) -> None:
    expect_refused(probe, probe.body(payment_method=probe.sample.declined), 402)


@_case(
    "an item out of stock is 409 out_of_stock, and nothing is reserved, not even the items in stock",
    only=Participant.INVENTORY,
    needs="out_of_stock",
)
def _out_of_stock(probe: Probe) -> None:
    lines = [{"sku": probe.sample.sku, "quantity": 1}, {"sku": probe.sample.out_of_stock, "quantity": 1}]
    answer = expect_refused(probe, probe.body(items=lines), 409)
    if code_of(answer) != "out_of_stock":
        raise NotConforming(f"the refusal's code is {code_of(answer)}, not out_of_stock.")


@_case(
    "an address that isn't served is 422 with its code, and nothing is booked",
    only=Participant.SHIPPING,
    needs="unserviceable",
)
def _unserviceable(probe: Probe) -> None:
    address = probe.body()["address"]
    assert isinstance(address, dict)  # noqa: S101 (the sample's own)
    expect_refused(probe, probe.body(address={**address, "country": probe.sample.unserviceable}), 422)


@_case(
    "a deferred payment is authorized, captured however often, and closed against a late capture",
    only=Participant.PAYMENT,
    used_today=False,
)
def _deferred(probe: Probe) -> None:
    reference = probe.reference()
    held = expect_resource(probe, probe.put(reference, probe.body(capture="deferred")), status="authorized")
    for words in ("capture", "the second capture"):
        expect_same(probe, held, expect_resource(probe, probe.capture(reference), words), words)
    expect_compensated(probe.delete(reference))
    answer = probe.capture(reference)
    if answer.status != 410:
        raise NotConforming(f"capture after DELETE was answered {shown(answer)}, not 410.")


CASES: tuple[Case, ...] = tuple(_case.cases)
"""Every case, in the order in which a reader meets the promises."""
