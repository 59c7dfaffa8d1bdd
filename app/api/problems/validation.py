"""What is wrong with a request, as `errors`: where, what to do, and a code. Never what was sent: it may be a card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.api.problems.problem import Problem
from app.values.card_numbers import holds_card_number

MOST = 50
"""At most so many errors are listed."""

NOTHING_DONE = "Nothing was changed."
NO_SAGA = "No saga was started; the Idempotency-Key is still free."
"""What happened to a checkout that was refused before it started."""

_SHOWN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")

_WORDS: Mapping[str, tuple[str, str]] = {
    "missing": ("missing", "Add this member."),
    "extra_forbidden": (
        "unknown_member",
        "Remove this member, or fix its name: there is none of that name.",
    ),
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
    "model_attributes_type": ("not_an_object", "Give an object."),
    "too_short": ("too_few", "Give at least {min_length}."),
    "too_long": ("too_many", "Give at most {max_length}."),
}


def may_be_shown(name: str) -> bool:
    """Whether a name that a client sent may be shown in an answer: it could be one of ours, and is no card number."""
    return _SHOWN.fullmatch(name) is not None and not holds_card_number(name)


class InvalidValue(ValueError):
    """A value that the schema alone can't refuse. `words` say what to do, `pointer` where, if not right here."""

    def __init__(self, code: str, words: str, *, pointer: str | None = None) -> None:
        super().__init__(words)
        self.code = code
        self.words = words
        self.pointer = pointer


def field_error(pointer: str, code: str, detail: str) -> dict[str, str]:
    """Return one member of `errors` about the body; `pointer` is a JSON pointer (RFC 6901)."""
    return {"pointer": pointer, "detail": detail, "code": code}


def invalid(errors: list[dict[str, str]], *, outcome: str = NOTHING_DONE) -> Problem:
    """Return the problem that these errors are; `outcome` says what became of the request."""
    places = "place" if len(errors) == 1 else "places"
    detail = f"Fix {len(errors)} {places} that `errors` points at. {outcome}"
    return Problem("invalid_request", detail, members={"errors": errors})


def parameter_problem(name: str, code: str, detail: str, *, outcome: str = NOTHING_DONE) -> Problem:
    """Return the problem with one query parameter."""
    shown = name if may_be_shown(name) else ""
    return invalid([{"parameter": shown, "detail": detail, "code": code}], outcome=outcome)


def field_errors(error: ValidationError) -> list[dict[str, str]]:
    """Return what pydantic found in a body, in the API's own words, at most 50 errors."""
    found = error.errors(include_url=False, include_input=False)[:MOST]
    return [_in_body(entry["type"], entry["loc"], entry.get("ctx", {})) for entry in found]


def request_errors(error: RequestValidationError) -> list[dict[str, str]]:
    """Return what the framework found in a request, at most 50 errors: `loc` begins with where that is."""
    found = []
    for entry in error.errors()[:MOST]:
        (place, *loc), context = entry["loc"], entry.get("ctx", {})
        if place == "body":
            found.append(_in_body(entry["type"], tuple(loc), context))
        else:
            kind = "header" if place == "header" else "parameter"
            code, words, _ = _said(entry["type"], context)
            found.append({kind: str(loc[0]), "detail": words, "code": code})
    return found


def _in_body(kind: str, loc: tuple[int | str, ...], context: Mapping[str, Any]) -> dict[str, str]:
    code, words, pointer = _said(kind, context)
    return field_error(pointer_of(loc) if pointer is None else pointer, code, words)


def _said(kind: str, context: Mapping[str, Any]) -> tuple[str, str, str | None]:
    """Return the code of an error, what to do, and where, if the validator knows better."""
    refused = context.get("error")
    if isinstance(refused, InvalidValue):
        return refused.code, refused.words, refused.pointer
    code, words = _WORDS.get(kind, ("invalid", "Give another value: this one can't be used."))
    return code, words.format_map(context), None


def pointer_of(loc: tuple[int | str, ...]) -> str:
    """Return the JSON pointer, as far as it is made of names that could be ours: a name may be data too."""
    pointer = ""
    for part in loc:
        if isinstance(part, str) and (part == "[key]" or not may_be_shown(part)):
            break
        pointer += f"/{part}"
    return pointer
