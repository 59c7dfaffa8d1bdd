"""Refuses a request with a card number anywhere in it, before anything of it is stored."""

from __future__ import annotations

from collections.abc import Iterable

from app.api.problems.problem import Problem
from app.api.problems.validation import MOST, field_error, pointer_of
from app.values.card_numbers import holds_card_number, places_of_card_numbers

_CODE = "card_number"
_DETAIL = "Take the card number out. A payment_method is a token of the payment service."


def refuse_card_numbers(body: object) -> None:
    """Raise a `card_number_refused` problem that points at each card number in a JSON body."""
    if places := places_of_card_numbers(body):
        pointers = sorted(map(pointer_of, places))[:MOST]
        raise card_number_refused([field_error(pointer, _CODE, _DETAIL) for pointer in pointers])


def refuse_card_number_in_header(name: str, values: Iterable[str]) -> None:
    """Raise the problem if a header's value has one."""
    if any(map(holds_card_number, values)):
        raise card_number_refused([{"header": name, "detail": _DETAIL, "code": _CODE}])


def refuse_card_numbers_in_fields(fields: Iterable[tuple[str, str]], *, place: str = "parameter") -> None:
    """Raise the problem if a name or value of a query or form has one; `place` says in the answer what they are."""
    names = [
        "" if holds_card_number(name) else name
        for name, value in fields
        if holds_card_number(name) or holds_card_number(value)
    ]
    if names:
        raise card_number_refused([{place: name, "detail": _DETAIL, "code": _CODE} for name in names])


def card_number_refused(errors: list[dict[str, str]]) -> Problem:
    """Return the problem with these errors."""
    return Problem("card_number_refused", members={"errors": errors})
