"""Query parameters, as strict as the body: a misspelt `dry_run` must not charge, a misspelt filter not list all."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Collection
from datetime import datetime

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from app.api.http.card_number_check import refuse_card_numbers_in_fields
from app.api.problems.problem import Problem
from app.api.problems.validation import NOTHING_DONE, complaints, invalid, may_be_shown
from app.api.schemas.order import Reference
from app.values.timestamps import instant_of

_REFERENCE: TypeAdapter[str] = TypeAdapter(Reference)


def wrong(name: str, code: str, detail: str, *, outcome: str = NOTHING_DONE) -> Problem:
    """Return the problem with one query parameter."""
    shown = name if may_be_shown(name) else ""
    return invalid([{"parameter": shown, "detail": detail, "code": code}], outcome=outcome)


def parameters(
    request: Request, known: Collection[str] = (), *, outcome: str = NOTHING_DONE
) -> dict[str, str]:
    """Return the query's parameters; raise a problem for one that isn't known, stands twice or holds a card number.

    `outcome` says what then became of the request.
    """
    found: dict[str, str] = {}
    given = request.query_params.multi_items()
    refuse_card_numbers_in_fields(given)
    for name, value in given:
        if name not in known:
            names = ", ".join(known) or "none"
            raise wrong(
                name,
                "unknown_parameter",
                f"Remove this parameter, or mend its name. Known here: {names}.",
                outcome=outcome,
            )
        if name in found:
            raise wrong(name, "repeated_parameter", "Give this parameter once.", outcome=outcome)
        found[name] = value
    return found


def flag(found: dict[str, str], name: str, *, outcome: str = NOTHING_DONE) -> bool:
    """Return a parameter that is `true` or `false`; false where it isn't given."""
    value = found.get(name, "false")
    if value not in {"true", "false"}:
        raise wrong(name, "wrong_form", "Give true or false.", outcome=outcome)
    return value == "true"


def count(found: dict[str, str], name: str, *, otherwise: int, at_most: int) -> int:
    """Return a parameter that counts from 1."""
    value = found.get(name) or str(otherwise)
    if not re.fullmatch(r"[0-9]{1,9}", value) or not 1 <= int(value) <= at_most:
        raise wrong(name, "wrong_form", f"Give a whole number from 1 to {at_most}.")
    return int(value)


def text(found: dict[str, str], name: str) -> str | None:
    """Return a parameter that names something, by the rule that names in bodies have; an empty one is none.

    So whatever was taken, such as an order's id, can be looked for.
    """
    value = found.get(name) or None
    if value is None:
        return None
    try:
        return _REFERENCE.validate_python(value)
    except ValidationError as error:
        (found_wrong,) = complaints(error)
        raise wrong(name, found_wrong["code"], found_wrong["detail"]) from None


def instant(found: dict[str, str], name: str) -> datetime | None:
    """Return a parameter that is a time, as `instant_of` reads it; an empty one is none."""
    value = found.get(name)
    if not value:
        return None
    try:
        return instant_of(value)
    except ValueError:
        raise wrong(
            name,
            "wrong_form",
            "Give an RFC 3339 time such as 2026-11-23T09:00:00Z; a + is written %2B in a URL.",
        ) from None


def cursor(saga_id: str) -> str:
    """Return where the next page begins, as the caller sees it: opaque."""
    return base64.urlsafe_b64encode(uuid.UUID(saga_id).bytes).decode().rstrip("=")


def before(found: dict[str, str]) -> str | None:
    """Return the id that a cursor stands for."""
    value = found.get("cursor")
    if not value:
        return None
    try:
        if re.fullmatch(r"[A-Za-z0-9_-]{22}", value):
            saga_id = str(uuid.UUID(bytes=base64.urlsafe_b64decode(value + "==")))
            if cursor(saga_id) == value:
                return saga_id
    except (ValueError, binascii.Error):
        pass
    raise wrong("cursor", "wrong_form", "Give the next_cursor of an earlier page as it was, or none.")
