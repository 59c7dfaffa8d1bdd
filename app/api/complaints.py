"""What is wrong with a request, as `errors`: where, what to do, and a code. Never what was sent: it may be a card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from app.api.problems import Problem

_MOST = 50
_SHOWN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")

_WORDS: Mapping[str, tuple[str, str]] = {
    "missing": ("missing", "Add this member."),
    "extra_forbidden": ("unknown_member", "Remove this member, or mend its name: there is none of that name."),
    "int_type": ("not_an_integer", "Give an integer: no quotes, no decimal point, not true or false."),
    "string_type": ("not_a_string", "Give a string."),
    "string_unicode": ("control_character", "Remove the control characters and lone surrogates."),
    "string_too_short": ("too_short", "Give at least {min_length} character."),
    "string_too_long": ("too_long", "Shorten it to at most {max_length} characters."),
    "string_pattern_mismatch": ("wrong_form", "Give a value that matches {pattern}."),
    "greater_than_equal": ("too_small", "Give at least {ge}."),
    "less_than_equal": ("too_large", "Give at most {le}."),
    "list_type": ("not_an_array", "Give an array."),
    "dict_type": ("not_an_object", "Give an object, or leave the member out."),
    "model_type": ("not_an_object", "Give an object."),
    "too_short": ("too_few", "Give at least {min_length}."),
    "too_long": ("too_many", "Give at most {max_length}."),
}
_OWN: Mapping[str, str] = {
    "amount_too_large": "amount_too_large",
    "control_character": "control_character",
    "number_too_large": "too_large",
    "scalar_type": "not_a_scalar",
    "string_too_long": "too_long",
    "surrounding_space": "surrounding_space",
    "too_many": "too_many",
}
"""Codes of the complaints that `order` words itself."""
_PLACES: Mapping[str, str] = {"amount_too_large": "/items"}
"""Where a complaint about the whole is mended."""


def complaint(pointer: str, code: str, detail: str) -> dict[str, str]:
    """Return one member of `errors` about the body; `pointer` is a JSON pointer (RFC 6901)."""
    return {"pointer": pointer, "detail": detail, "code": code}


def invalid(errors: list[dict[str, str]]) -> Problem:
    """Return the problem that these errors are."""
    places = "place" if len(errors) == 1 else "places"
    detail = f"Mend {len(errors)} {places} that `errors` points at. No saga was made; the Idempotency-Key is still free."
    return Problem("invalid_request", detail, members={"errors": errors})


def complaints(error: ValidationError) -> list[dict[str, str]]:
    """Return what pydantic found, in the API's own words, at most 50 of it."""
    found = error.errors(include_url=False, include_input=False)[:_MOST]
    return [_complaint(entry["type"], entry["loc"], entry.get("ctx", {}), entry["msg"]) for entry in found]


def _complaint(kind: str, place: tuple[int | str, ...], limits: Mapping[str, Any], said: str) -> dict[str, str]:
    pointer = _PLACES.get(kind) or _pointer(place)
    if kind in _WORDS and _fits(_WORDS[kind][1], limits):
        code, words = _WORDS[kind]
        return complaint(pointer, code, words.format_map(limits))
    if kind in _OWN:
        return complaint(pointer, _OWN[kind], said)
    return complaint(pointer, "invalid", "Give another value: this one can't be used.")


def _fits(words: str, limits: Mapping[str, Any]) -> bool:
    return all(name in limits for name in re.findall(r"{(\w+)}", words))


def _pointer(place: tuple[int | str, ...]) -> str:
    """Return the JSON pointer, as far as it is made of names that could be ours: a name may be data too."""
    pointer = ""
    for part in place:
        if isinstance(part, str) and (part == "[key]" or not _SHOWN.fullmatch(part)):
            break
        pointer += f"/{part}"
    return pointer
