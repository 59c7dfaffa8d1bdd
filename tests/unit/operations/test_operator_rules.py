"""The table of an operator's actions."""

from __future__ import annotations

import pytest

from app.api.problems.catalogue import PROBLEMS
from app.operations.operator_rules import RULES, OperatorError, OperatorVerb, UnknownStep


def test_every_verb_has_a_rule() -> None:
    assert set(RULES) == set(OperatorVerb)


@pytest.mark.parametrize(
    "error", [error for error in OperatorError.__subclasses__() if error is not UnknownStep]
)
def test_every_refusal_is_a_problem_of_the_api(error: type[OperatorError]) -> None:
    """An unknown step is one of `invalid_request`, which names the member."""
    assert error.code in PROBLEMS
