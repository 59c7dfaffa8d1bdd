"""Reading a request's body as strict JSON.

Python's own reader accepts NaN, a member that is given twice, a number that becomes infinity, and a body of any size.
Here each of these is refused with a problem, before anything is stored.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NoReturn

from starlette.requests import Request

from app.api.http.card_number_check import refuse_card_numbers
from app.api.http.headers.fields import fields_of
from app.api.http.uploads import read_body, too_large
from app.api.problems.problem import Problem

_MOST_DIGITS = 40


class _NotJson(ValueError):
    """The message says why the text isn't JSON."""


def check_headers(request: Request, *, max_bytes: int) -> None:
    """Raise a problem for a body that can't be accepted, as its headers show, before any of it is read."""
    fields = fields_of(request.scope)
    types = fields.get(b"content-type", ())
    if refused := _refused(types[0] if len(types) == 1 else b""):
        raise Problem("unsupported_media_type", refused)
    if any(
        coding.strip().lower() not in {b"", b"identity"} for coding in fields.get(b"content-encoding", ())
    ):
        raise Problem("unsupported_media_type", "Send the body uncompressed, without Content-Encoding.")
    length = fields.get(b"content-length", (b"",))[0]
    if length.isascii() and length.isdigit() and (len(length) > _MOST_DIGITS or int(length) > max_bytes):
        raise too_large(request, max_bytes)


@lru_cache(maxsize=64)
def _refused(content_type: bytes) -> str | None:
    """Return what to send instead of a Content-Type; None if it is JSON's."""
    media_type, _, parameters = content_type.decode("latin-1").partition(";")
    if media_type.strip().lower() != "application/json":
        return "Send the body as JSON, with one Content-Type: application/json."
    for parameter in filter(None, (text.strip().lower() for text in parameters.split(";"))):
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in {"utf-8", "utf8"}:
            return "Send the JSON in UTF-8."
    return None


async def read_json(request: Request, *, max_bytes: int) -> Any:
    """Return the body's JSON. Raise a problem if it is too large, too slow, not JSON, or has a card number."""
    body = parse(await read_body(request, max_bytes=max_bytes))
    refuse_card_numbers(body)
    return body


def parse(content: bytes) -> Any:
    """Return the JSON value of UTF-8 text, with or without a byte order mark."""
    if not content.strip():
        raise Problem("malformed_json", "The body is empty: send a JSON object.")
    try:
        return _DECODER.decode(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _malformed(f"byte {error.start + 1} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except _NotJson as error:
        raise _malformed(str(error)) from None
    except RecursionError:
        raise _malformed("it is nested too deep") from None


def _malformed(reason: str) -> Problem:
    return Problem("malformed_json", f"The body can't be read as JSON: {reason}.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _NotJson("an object has two members of the same name")
    return members


def _int(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise _NotJson("a number has more digits than any amount")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if number in {float("inf"), float("-inf")}:
        raise _NotJson("a number is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise _NotJson(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant
)
