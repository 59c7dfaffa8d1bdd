"""The types of the routes' parameters: how each is read, refused and described.

An empty query parameter counts as absent: forms send one for a field that was left empty.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Header, Path, Query
from pydantic import BeforeValidator, WithJsonSchema

from app.api.limits import ApiSettings
from app.api.problems.problem import Problem
from app.api.problems.validation import InvalidValue, parameter_problem
from app.api.schemas.order import LONGEST_REFERENCE, NAME_PATTERN, Reference
from app.values.timestamps import instant_of

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CURSOR = re.compile(r"[A-Za-z0-9_-]{22}")
_DIGITS = re.compile(r"[0-9]{1,9}")
CURSOR_REFUSED = "Give the next_cursor of an earlier page as it was, or none."


def is_saga_id(text: str) -> bool:
    """Whether a text has the form of a saga's id."""
    return _UUID.fullmatch(text) is not None


def known_form(saga_id: str) -> str:
    """Return an id. Raise the same `not_found` for a malformed one as for an unknown one."""
    if not is_saga_id(saga_id):
        raise Problem("not_found")
    return saga_id


def optional(read: Callable[[str], Any]) -> BeforeValidator:
    """Read a query parameter with this function; an empty one is None."""
    return BeforeValidator(lambda value: read(value) if value else None)


def one_of(words: type[StrEnum]) -> BeforeValidator:
    """Accept one of these words, or nothing."""

    def read(value: str) -> StrEnum:
        if value not in list(words):
            raise InvalidValue("wrong_form", f"Give one of {', '.join(words)}.")
        return words(value)

    return optional(read)


def true_or_false(value: object) -> bool:
    """Read `true` or `false`."""
    if value not in {"true", "false"}:
        raise InvalidValue("wrong_form", "Give true or false.")
    return value == "true"


def instant(value: str) -> datetime:
    """Read an RFC 3339 time."""
    try:
        return instant_of(value)
    except ValueError:
        raise InvalidValue(
            "wrong_form", "Give an RFC 3339 time such as 2026-11-23T09:00:00Z; a + is written %2B in a URL."
        ) from None


def saga_cursor(saga_id: str) -> str:
    """Return the cursor of the next page, which is opaque to clients."""
    return base64.urlsafe_b64encode(uuid.UUID(saga_id).bytes).decode().rstrip("=")


def saga_before(value: str) -> str:
    """Return the id of the saga in a cursor."""
    try:
        if _CURSOR.fullmatch(value):
            saga_id = str(uuid.UUID(bytes=base64.urlsafe_b64decode(value + "==")))
            if saga_cursor(saga_id) == value:
                return saga_id
    except (ValueError, binascii.Error):
        pass
    raise InvalidValue("wrong_form", CURSOR_REFUSED)


def page_limit(given: str, settings: ApiSettings) -> int:
    """Return the size of a page. Raise a problem if the given one can't be used."""
    value = given or str(settings.page_size)
    if not _DIGITS.fullmatch(value) or not 1 <= int(value) <= settings.max_page_size:
        detail = f"Give a whole number from 1 to {settings.max_page_size}."
        raise parameter_problem("limit", "wrong_form", detail)
    return int(value)


def _text(**schema: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **schema})


ID = (BeforeValidator(known_form), _text(format="uuid"))
SagaId = Annotated[str, *ID, Path(description="The saga's id.")]

Name = Annotated[Reference | None, optional(str), _text(maxLength=LONGEST_REFERENCE, pattern=NAME_PATTERN)]
"""The rule is that of names in bodies, so that whatever was accepted can be searched for."""
Instant = Annotated[datetime | None, optional(instant), _text(format="date-time")]
CURSOR = _text(pattern=f"^{_CURSOR.pattern}$")
SagaCursor = Annotated[
    str | None, optional(saga_before), CURSOR, Query(description="The next_cursor of the page before.")
]
Limit = Annotated[str, WithJsonSchema({"type": "integer", "minimum": 1}), Query()]
"""`page_limit` reads it; the description has the server's own maximum."""

Lines = tuple[str, ...]
"""A header's lines; a proxy may have split a list into several."""

Prefer = Annotated[
    Lines,
    _text(),
    Header(alias="Prefer", description="`respond-async`, `wait=N` (seconds), or both (RFC 7240)."),
]
IfMatch = Annotated[
    Lines,
    _text(),
    Header(
        alias="If-Match",
        description="The ETag of the saga as you read it; 412 if the saga has changed since.",
    ),
]
IfNoneMatch = Annotated[
    Lines, _text(), Header(alias="If-None-Match", description="The ETag that the client has.")
]
LastEventId = Annotated[
    str | None,
    _text(),
    Header(
        alias="Last-Event-ID",
        description="The id of the last event that was received; the stream continues after it.",
    ),
]
