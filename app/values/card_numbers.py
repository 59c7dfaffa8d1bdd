"""Card numbers: recognised wherever a client writes one, so that none is ever stored, logged or sent on.

A card number is 15 to 19 digits (13 to 19 in a `payment_method`) that an issuer may have given out: the
first digits are an issuer's, the length is one that it uses, and the check digit is right. Blanks and
dashes between the digits don't matter, nor does the script that the digits are of.

These pass: an article number (EAN, GTIN), an IMEI, a UUID, a token of letters and digits. One
in ten numbers of the right length and beginning has the right check digit by chance: those are refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

SHORTEST = 15
"""Digits of the shortest card number that is looked for everywhere; shorter ones may be article numbers."""

SHORTEST_PAYMENT_METHOD = 13
"""The same, where a card's number is what a client is most likely to send by mistake."""

LONGEST = 19

PAYMENT_METHOD = "payment_method"

_LENGTHS_16_TO_19 = frozenset({16, 17, 18, 19})
_LENGTHS_MAESTRO = frozenset(range(13, 20))
_LENGTHS_DINERS = frozenset({14, 16, 19})
_ISSUERS: tuple[tuple[str, str, frozenset[int]], ...] = (
    ("4", "4", frozenset({13, 16, 19})),  # Visa
    ("51", "55", frozenset({16})),  # Mastercard
    ("2221", "2720", frozenset({16})),
    ("34", "34", frozenset({15})),  # American Express
    ("37", "37", frozenset({15})),
    ("6011", "6011", _LENGTHS_16_TO_19),  # Discover
    ("622126", "622925", _LENGTHS_16_TO_19),
    ("644", "659", _LENGTHS_16_TO_19),
    ("300", "305", _LENGTHS_DINERS),  # Diners Club
    ("3095", "3095", _LENGTHS_DINERS),
    ("36", "36", _LENGTHS_DINERS),
    ("38", "39", _LENGTHS_DINERS),
    ("3528", "3589", _LENGTHS_16_TO_19),  # JCB
    ("62", "62", _LENGTHS_16_TO_19),  # UnionPay
    ("81", "82", frozenset({16})),  # UnionPay, RuPay
    ("5018", "5018", _LENGTHS_MAESTRO),  # Maestro
    ("5020", "5020", _LENGTHS_MAESTRO),
    ("5038", "5038", _LENGTHS_MAESTRO),
    ("5612", "5612", _LENGTHS_MAESTRO),
    ("5893", "5893", _LENGTHS_MAESTRO),
    ("6304", "6304", _LENGTHS_MAESTRO),
    ("6390", "6390", _LENGTHS_MAESTRO),
    ("6759", "6763", _LENGTHS_MAESTRO),
    ("676770", "676774", _LENGTHS_MAESTRO),
    ("5019", "5019", frozenset({16})),  # Dankort
    ("2200", "2205", _LENGTHS_16_TO_19),  # Mir, Borica
    ("508", "508", frozenset({16})),  # RuPay
    ("606", "608", frozenset({16})),  # RuPay, Hipercard
    ("5041", "5041", frozenset({16})),  # Elo
    ("5066", "5067", frozenset({16})),
    ("509", "509", frozenset({16})),
    ("6277", "6277", frozenset({16})),
    ("6362", "6363", frozenset({16})),
    ("506099", "506198", frozenset({16, 18, 19})),  # Verve
    ("507865", "507964", frozenset({16, 18, 19})),
    ("9792", "9792", frozenset({16})),  # Troy
    ("8600", "8600", frozenset({16})),  # Uzcard
    ("9860", "9860", frozenset({16})),  # Humo
)
"""First digits from and to, and the lengths that the issuer uses."""


def _lengths() -> dict[str, frozenset[int]]:
    lengths: dict[str, frozenset[int]] = {}
    for first, last, used in _ISSUERS:
        for number in range(int(first), int(last) + 1):
            lengths[str(number)] = lengths.get(str(number), frozenset()) | used
    return lengths


_LENGTHS = _lengths()
"""The lengths that are used behind each beginning."""

_BEGINNINGS = sorted({len(beginning) for beginning in _LENGTHS})
"""How many digits a beginning has."""

_BETWEEN = (
    r"\s\-\u00ad\u058a\u05be\u1806\u180e\u200b-\u200f\u2010-\u2015\u202a-\u202e\u2060-\u2064\u2066-\u2069"
    r"\u2212\u2e3a\u2e3b\u301c\u3030\u30a0\ufeff"
)
"""Blanks, dashes and invisible characters, as copying from a page or a PDF adds them."""

_RUN = re.compile(rf"\d(?:[{_BETWEEN}]{{0,3}}\d){{{SHORTEST_PAYMENT_METHOD - 1},}}")
_GROUP = re.compile(r"\d+")
_SMALLEST_GROUP_OF_A_PART = 3
_MOST_GROUPS = LONGEST // _SMALLEST_GROUP_OF_A_PART
_UUID = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Fa-f])")
_WORD_BEFORE = re.compile(r"[^\W_]*\Z")
_WORD_AFTER = re.compile(r"[^\W_]*")
_LONGEST_WORD = 64
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def holds_card_number(text: str, *, shortest: int = SHORTEST) -> bool:
    """Whether a text contains a card number, alone or among other words. The time is linear in the text."""
    if len(text) < shortest:
        return False
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    if _RUN.search(plain) is None:
        return False
    plain = _UUID.sub("u", plain)
    return any(
        shortest <= len(digits) <= LONGEST and _is_issued(digits)
        for run in _RUN.finditer(plain)
        for digits in _candidates(plain, run)
    )


def places_of_card_numbers(body: object) -> list[tuple[str | int, ...]]:
    """Return where card numbers are in a JSON value, as paths of names and indexes; a name may be one itself."""
    found: list[_Place] = []
    pending: list[_Place] = [(None, "", body)]
    while pending:
        place = pending.pop()
        _, name, value = place
        kind = type(value)
        if kind is str:
            shortest = SHORTEST_PAYMENT_METHOD if name == PAYMENT_METHOD else SHORTEST
            if len(value) >= shortest and holds_card_number(value, shortest=shortest):
                found.append(place)
        elif kind is dict:
            for member, inner in value.items():
                if len(member) >= SHORTEST and holds_card_number(member):
                    found.append((place, member, None))
                pending.append((place, member, inner))
        elif kind is list:
            pending.extend((place, index, inner) for index, inner in enumerate(value))
        elif (kind is int or kind is float) and _is_number_of_a_card(name, value):
            found.append(place)
    return [_path(place) for place in found]


_Place = tuple["_Place | None", str | int, Any]
"""The container of a value, its name or index there, and the value."""


def _path(place: _Place) -> tuple[str | int, ...]:
    names: list[str | int] = []
    at: _Place | None = place
    while at is not None and at[0] is not None:
        names.append(at[1])
        at = at[0]
    return tuple(reversed(names))


def _is_number_of_a_card(name: str | int, value: float) -> bool:
    """Whether a JSON number is a card's, as a client sends it that forgot the quotes."""
    shortest = SHORTEST_PAYMENT_METHOD if name == PAYMENT_METHOD else SHORTEST
    if not 10 ** (shortest - 1) <= abs(value) < 10**LONGEST or value != int(value):
        return False
    return _is_issued(str(abs(int(value))))


def _candidates(text: str, run: re.Match[str]) -> Iterator[str]:
    """Yield the digits, in ASCII, that may be one number: all of a run, or whole groups that follow each other.

    A group that is part of a word with digits elsewhere, too, is of a token or a hash, not a number.
    """
    groups = _GROUP.findall(run[0])
    before = _WORD_BEFORE.search(text[max(0, run.start() - _LONGEST_WORD) : run.start()])
    after = _WORD_AFTER.match(text[run.end() : run.end() + _LONGEST_WORD])
    if before is not None and any(map(str.isdecimal, before[0])):
        groups = groups[1:]
    if after is not None and any(map(str.isdecimal, after[0])):
        groups = groups[:-1]
    groups = [_ascii(group) for group in groups]
    yield "".join(groups)
    for first in range(len(groups)):
        digits = ""
        for group in groups[first : first + _MOST_GROUPS]:
            if len(group) < _SMALLEST_GROUP_OF_A_PART or len(digits) + len(group) > LONGEST:
                break
            digits += group
            yield digits


def _ascii(digits: str) -> str:
    return digits if digits.isascii() else "".join(str(unicodedata.decimal(digit)) for digit in digits)


def _is_issued(digits: str) -> bool:
    """Whether an issuer may have given this number out."""
    known = any(len(digits) in _LENGTHS.get(digits[:count], ()) for count in _BEGINNINGS)
    return known and _check_digit_is_right(digits)


def _check_digit_is_right(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B (Luhn)."""
    numbers = list(map(int, reversed(digits)))
    return (sum(numbers[::2]) + sum(_DOUBLED[number] for number in numbers[1::2])) % 10 == 0
