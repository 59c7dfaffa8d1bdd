"""What a service's answer must be before a step calls it a success."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.saga.model.errors import FailureKind, StepOutcomeUnknown
from app.services import (
    Call,
    Closed,
    Gateway,
    InventoryService,
    InventoryStep,
    Payment,
    PaymentService,
    ShippingService,
)

PAYMENT = {"payment_id": "pay_1", "status": "captured", "amount": 3998, "currency": "EUR"}
CHARGE: dict[str, Any] = {
    "reference": "r",
    "order_id": "o",
    "customer_id": "c",
    "amount": 3998,
    "currency": "EUR",
    "payment_method": "tok_visa",
}


class Saying:
    """A gateway whose service always says the same."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self.bodies: list[dict[str, Any]] = []

    async def put(self, call: Call, body: dict[str, Any]) -> Any:
        self.calls.append(call)
        self.bodies.append(body)
        return self.answer

    async def _said(self, call: Call) -> Any:
        self.calls.append(call)
        return self.answer

    delete = get = capture = _said

    async def aclose(self) -> None: ...


def saying(answer: Any) -> Gateway:
    return Saying(answer)


WRONG_TEXTS = ["", "x" * 4097, "a\x00b", "\ud800", None, 7, ["p"], {"id": "p"}]


@pytest.mark.parametrize(
    "changes",
    [
        *({"payment_id": text} for text in WRONG_TEXTS),
        *(
            {"amount": amount}
            for amount in (3997, 3999, -3998, "3998", 3998.5, 3997.0, 1e300, True, None, 10**30)
        ),
        *({"currency": currency} for currency in ("USD", "eur", "", None)),
        *({"status": status} for status in ("authorized", "pending", "", None, True)),
    ],
)
async def test_a_payment_other_than_the_one_asked_for_is_never_a_success(changes: dict[str, Any]) -> None:
    with pytest.raises(StepOutcomeUnknown) as caught:
        await PaymentService(saying({**PAYMENT, **changes})).do(**CHARGE)
    assert (caught.value.code, caught.value.kind) == ("unusable_answer", FailureKind.UNUSABLE)
    assert next(iter(changes)) in str(caught.value)


@pytest.mark.parametrize("member", PAYMENT)
async def test_a_payment_that_lacks_a_member_is_never_a_success(member: str) -> None:
    answer = {name: value for name, value in PAYMENT.items() if name != member}
    with pytest.raises(StepOutcomeUnknown):
        await PaymentService(saying(answer)).do(**CHARGE)


async def test_money_taken_where_it_was_to_be_held_is_never_a_success() -> None:
    with pytest.raises(StepOutcomeUnknown):
        await PaymentService(saying(PAYMENT)).do(**CHARGE, capture="deferred")


async def test_a_capture_of_another_amount_is_never_a_success() -> None:
    service = PaymentService(saying(PAYMENT))
    assert (await service.capture(reference="r", amount=3998, currency="EUR")).status == "captured"
    with pytest.raises(StepOutcomeUnknown):
        await service.capture(reference="r", amount=1, currency="EUR")


@pytest.mark.parametrize("amount", [3998, 3998.0])
async def test_a_number_may_be_spelt_as_json_allows(amount: float) -> None:
    payment = await PaymentService(saying({**PAYMENT, "amount": amount})).do(**CHARGE)
    assert payment.result() == PAYMENT
    assert type(payment.result()["amount"]) is int


async def test_members_beyond_the_contract_are_kept() -> None:
    more = {"acquirer": {"code": "00", "at": [1, 2.5, None, True]}, "payment_url": "https://pay.example/1"}
    payment = await PaymentService(saying({**more, **PAYMENT})).do(**CHARGE)
    assert payment.result() == {**PAYMENT, **more}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"big": "x" * 9000, "small": 1}, {"small": 1}),
        ({f"m{n}": "x" * 1000 for n in range(99)}, {f"m{n}": "x" * 1000 for n in range(8)}),
        ({"deep": json.loads("[" * 400 + "]" * 400)}, {}),
        ({"a\x00b": "c\ud800d", "e": ["\x00"]}, {"a\ufffdb": "c\ufffdd", "e": ["\ufffd"]}),
        ({"none": float("inf"), "neither": float("nan")}, {"none": None, "neither": None}),
        ({"card": "4242424242424242", "cards": [{"pan": 4242424242424242}]}, {}),
        ({"refund_id": "4242424242424242"}, {"refund_id": "4242424242424242"}),
        ({"card_id": {"number": "4242 4242 4242 4242"}, "used_id": ["4242424242424242"]}, {}),
        ({"model_config": 1, "_private": 2, "result": 3}, {"model_config": 1, "_private": 2, "result": 3}),
    ],
)
async def test_what_is_kept_has_bounds_and_undoes_no_order(
    said: dict[str, Any], shown: dict[str, Any]
) -> None:
    payment = await PaymentService(saying({**said, **PAYMENT})).do(**CHARGE)
    assert payment.result() == {**PAYMENT, **shown}
    undone = await PaymentService(saying(said)).compensate(reference="r")
    assert undone.result() == shown


async def test_an_error_never_tells_what_the_service_said() -> None:
    with pytest.raises(StepOutcomeUnknown) as caught:
        await PaymentService(saying({**PAYMENT, "payment_id": "secret" * 999})).do(**CHARGE)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", WRONG_TEXTS)
async def test_a_reservation_or_shipment_without_a_usable_id_is_never_a_success(text: Any) -> None:
    with pytest.raises(StepOutcomeUnknown):
        await InventoryService(saying({"reservation_id": text, "status": "reserved"})).do(
            reference="r", order_id="o", items=[]
        )
    with pytest.raises(StepOutcomeUnknown):
        await ShippingService(saying({"shipment_id": text, "status": "booked"})).do(
            reference="r", order_id="o", items=[], address={}
        )


async def test_a_shipment_need_not_name_its_carrier() -> None:
    service = ShippingService(saying({"shipment_id": "s", "status": "booked", "carrier": None}))
    shipment = await service.do(reference="r", order_id="o", items=[], address={})
    assert shipment.result() == {"shipment_id": "s", "status": "booked"}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("", {"tracking_number": ""}),
        ("9" * 300, {"tracking_number": "9" * 300}),
        ("9" * 4097, {}),
        ("a\x00b", {"tracking_number": "a\ufffdb"}),
        ("4242424242424242", {"tracking_number": "4242424242424242"}),
        (None, {}),
        (7, {}),
        ({"nr": 7}, {}),
    ],
)
async def test_an_optional_text_undoes_no_order_whatever_it_is(said: object, shown: dict[str, Any]) -> None:
    answer = {"shipment_id": "s", "status": "booked", "tracking_number": said, "carrier": ""}
    shipment = await ShippingService(saying(answer)).do(reference="r", order_id="o", items=[], address={})
    assert shipment.result() == {"shipment_id": "s", "status": "booked", "carrier": "", **shown}


@pytest.mark.parametrize(
    "answer", [{}, {"status": "closed"}, {"status": "cancelled"}, {"status": "ok", "refund_id": "ref_1"}]
)
async def test_what_was_undone_may_be_said_in_any_words(answer: dict[str, Any]) -> None:
    for service in (PaymentService, InventoryService, ShippingService):
        assert (await service(saying(answer)).compensate(reference="r")).result() == answer


async def test_a_look_up_is_checked_like_any_answer() -> None:
    assert await PaymentService(saying(PAYMENT)).look_up(reference="r") == Payment.model_validate(PAYMENT)
    assert await PaymentService(saying(None)).look_up(reference="r") is None
    assert await InventoryService(saying(Closed())).look_up(reference="r") == Closed()
    with pytest.raises(StepOutcomeUnknown):
        await ShippingService(saying({"shipment_id": ""})).look_up(reference="r")


async def test_the_key_names_the_saga_and_the_action_and_never_an_attempt() -> None:
    gateway = Saying(PAYMENT)
    service = PaymentService(gateway)
    for _ in range(2):
        await service.do(**CHARGE, simulate="s", traceparent="t")
    assert [call.idempotency_key for call in gateway.calls] == ["r:payment:execute"] * 2
    assert gateway.bodies[0] == gateway.bodies[1]
    assert (gateway.calls[0].simulate, gateway.calls[0].traceparent) == ("s", "t")
    await service.capture(reference="r", amount=3998, currency="EUR")
    assert gateway.calls[-1].idempotency_key == "r:payment:confirm"


async def test_prices_stay_with_the_checkout() -> None:
    gateway = Saying({"reservation_id": "res", "status": "reserved"})
    items = [{"sku": "T", "quantity": 2, "unit_price": 1999}]
    await InventoryStep(InventoryService(gateway)).execute({"saga_id": "r", "order_id": "o", "items": items})
    assert gateway.bodies == [{"order_id": "o", "items": [{"sku": "T", "quantity": 2}]}]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*PAYMENT, "other"]), JSON_VALUES))
async def test_whatever_a_service_says_is_exactly_what_was_asked_or_unknown(answer: dict[str, Any]) -> None:
    try:
        payment = await PaymentService(saying(answer)).do(**CHARGE)
    except StepOutcomeUnknown:
        return
    result = payment.result()
    assert (result["amount"], result["currency"], result["status"]) == (3998, "EUR", "captured")
    json.dumps(result).encode("ascii")
