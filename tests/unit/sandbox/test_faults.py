"""X-Simulate, and chance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.gateway.port import GatewayVerb, Participant
from app.sandbox.faults import Fault, RandomFaults, Rule, SimulationError, parse


def test_the_contracts_example_is_read() -> None:
    assert parse("shipping.execute=timeout_after_effect, payment.compensate=unavailable:2") == {
        (Participant.SHIPPING, GatewayVerb.EXECUTE): Rule(fault=Fault.TIMEOUT_AFTER_EFFECT),
        (Participant.PAYMENT, GatewayVerb.COMPENSATE): Rule(fault=Fault.UNAVAILABLE, times=2),
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "''"),
        ("payment.execute=rejected,", "''"),
        ("payment", "'payment'"),
        ("payment.execute", "'payment.execute'"),
        ("billing.execute=rejected", "'billing'"),
        ("payment.run=rejected", "'run'"),
        ("payment.execute=broken", "'broken'"),
        ("payment.execute=Rejected", "'Rejected'"),
        ("payment.execute=rejected:0", "times"),
        ("payment.execute=rejected:1001", "times"),
        ("payment.execute=rejected:-1", "rejected:-1"),
        ("payment.execute=rejected:", "rejected:"),
        ("payment.execute=rejected:1:2", "rejected:1:2"),
        ("payment.execute=rejected:\u0661", "\\u0661"),
        ("payment.execute=not_reversible", "not_reversible"),
        ("payment.execute=rejected, payment.execute=unavailable", "twice"),
        ("payment.execute=rejected;shipping.execute=rejected", "not service.action"),
        ("x" * 1025, "1024"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, named: str) -> None:
    with pytest.raises(SimulationError) as caught:
        parse(text)
    assert named in str(caught.value)
    assert isinstance(caught.value, ValueError)


RULES = st.dictionaries(
    st.tuples(st.sampled_from(Participant), st.sampled_from(GatewayVerb)),
    st.builds(
        lambda fault, times: Rule(fault=fault, times=times),
        st.sampled_from([fault for fault in Fault if fault is not Fault.NOT_REVERSIBLE]),
        st.none() | st.integers(1, 1000),
    ),
    min_size=1,
)


@given(RULES, st.sampled_from([",", ", ", " ,\t"]))
def test_what_is_written_is_read(rules: dict[tuple[Participant, GatewayVerb], Rule], comma: str) -> None:
    parts = [
        f"{service}.{action}={rule.fault}" + (f":{rule.times}" if rule.times else "")
        for (service, action), rule in rules.items()
    ]
    assert parse(comma.join(parts)) == rules


@given(st.text() | st.text("payment.execute=rejected:1, "))
def test_any_text_is_read_or_refused_in_a_printable_sentence(text: str) -> None:
    sentence = ""
    try:
        parse(text)
    except SimulationError as error:
        sentence = str(error)
    assert sentence.isprintable()


@given(st.integers(), st.floats(0, 1), st.lists(st.sampled_from(GatewayVerb), max_size=50))
def test_the_same_seed_and_calls_draw_the_same(seed: int, rate: float, actions: list[GatewayVerb]) -> None:
    first, second = RandomFaults(rate, seed), RandomFaults(rate, seed)
    assert [first.draw(action) for action in actions] == [second.draw(action) for action in actions]


def test_the_rate_is_the_share_that_fails_and_half_of_those_are_refused() -> None:
    faults = RandomFaults(0.3, seed=1)
    drawn = [faults.draw(GatewayVerb.EXECUTE) for _ in range(10_000)]
    failed = [fault for fault in drawn if fault]
    assert 2800 < len(failed) < 3200
    assert 0.45 < failed.count(Fault.REJECTED) / len(failed) < 0.55
    assert set(failed) == set(Fault) - {Fault.NOT_REVERSIBLE}


@pytest.mark.parametrize("action", [GatewayVerb.COMPENSATE, GatewayVerb.CONFIRM])
def test_undoing_and_confirming_are_never_refused_by_chance(action: GatewayVerb) -> None:
    faults = RandomFaults(1.0, seed=1)
    drawn = {faults.draw(action) for _ in range(1000)}
    assert drawn == {Fault.UNAVAILABLE, Fault.TIMEOUT_BEFORE_EFFECT, Fault.TIMEOUT_AFTER_EFFECT}


def test_a_rate_of_nothing_never_fails() -> None:
    faults = RandomFaults(0.0)
    assert not any(faults.draw(GatewayVerb.EXECUTE) for _ in range(1000))


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        RandomFaults(rate)
