"""Keys by API: make one, see which there are, end one. For keys with the scope `keys` that see everything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationError,
)
from starlette.requests import Request
from starlette.responses import Response

from app.access.keys import NAME, ApiKey, KeyRefused, Keys
from app.access.scopes import Scope
from app.api.context import caller_of, service_of, settings_of
from app.api.http import query
from app.api.http.json_body import check_headers, read_json
from app.api.http.json_encoding import Body, encode
from app.api.http.saga_id import known_form
from app.api.middleware.route_rights import requires
from app.api.problems.problem import Problem
from app.api.problems.validation import InvalidValue, complaints, invalid
from app.values.timestamps import instant_of

router = APIRouter(tags=["keys"])


_NAME = Field(json_schema_extra={"pattern": f"^{NAME.pattern}$"})


def _instant(value: object) -> datetime | None:
    """Take an RFC 3339 time or nothing: a number might be of seconds or of milliseconds."""
    if value is None:
        return None
    try:
        return instant_of(value if isinstance(value, str) else "")
    except ValueError:
        raise InvalidValue("not_a_time", "Give an RFC 3339 time such as 2026-11-23T09:00:00Z.") from None


class NewKey(BaseModel):
    """What a new key is for."""

    model_config = ConfigDict(extra="forbid")

    caller: Annotated[StrictStr, _NAME, Field(description="Whose sagas it begins and sees.")]
    who: Annotated[StrictStr, _NAME, Field(description="The person or program that the trail names.")]
    scopes: Annotated[
        list[Scope],
        Field(
            min_length=1,
            description="None that the key which makes it hasn't. A service's first key needs checkout, operate and "
            "keys, and everyone, as it closes the service to all who have none.",
        ),
    ]
    everyone: Annotated[
        StrictBool, Field(description="Whether it sees every caller's sagas; not so where it is left out.")
    ] = False
    expires_at: Annotated[
        AwareDatetime | None,
        BeforeValidator(_instant),
        Field(
            description="When it ends, no later than the key that makes it; without it, together with that."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class KeyBody(Body):
    """A key, without its secret."""

    id: str
    prefix: str
    caller: str
    who: str
    scopes: list[str]
    everyone: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    created_by: Annotated[str | None, Field(description="Who made it: a person, a program, `command line`.")]
    created_by_key: Annotated[str | None, Field(description="The id of the key that it was made with.")]


@dataclass(frozen=True, kw_only=True)
class MadeKeyBody(KeyBody):
    """A key, with its text."""

    key: Annotated[str, Field(description="What to send as Bearer; it can't be shown again.")]


@router.post("/keys")
@requires(Scope.KEYS, all_tenants=True)
async def create_key(request: Request) -> Response:
    """Make a key. Its text is in this answer and nowhere else.

    It has no scope that the key which asks has not, and ends no later. A service's first key closes it to all
    who have none, so that one has to be able to operate and to make the others.
    """
    keys, settings = _keys(request), settings_of(request)
    query.parameters(request)
    check_headers(request, max_bytes=settings.max_body_bytes)
    body = await read_json(request, max_bytes=settings.max_body_bytes)
    try:
        new = NewKey.model_validate(body)
    except ValidationError as error:
        raise invalid(complaints(error)) from None
    try:
        key, text = await keys.create(**dict(new), maker=caller_of(request))
    except KeyRefused as refused:
        name, _, detail = str(refused).partition(": ")
        pointer = {"pointer": f"/{name}"} if name in NewKey.model_fields else {}
        raise invalid(
            [{**pointer, "detail": detail if pointer else str(refused), "code": "refused"}]
        ) from None
    return _answer(MadeKeyBody(**key_body(key).members(), key=text), 201)


@router.get("/keys")
@requires(Scope.KEYS, all_tenants=True)
async def list_keys(request: Request) -> Response:
    """List every key there ever was, oldest first, without their secrets."""
    query.parameters(request)
    return _answer({"data": [key_body(key) for key in await _keys(request).list_keys()]}, 200)


@router.post("/keys/{key_id}/revoke")
@requires(Scope.KEYS, all_tenants=True)
async def revoke_key(request: Request, key_id: str) -> Response:
    """End a key. Other replicas honour it within CHECKOUT_KEY_CACHE_SECONDS.

    With `cascade=true` the keys that were made with it end too, and those made with these: for one that was stolen.
    """
    cascade = query.flag(query.parameters(request, ("cascade",)), "cascade")
    key = await _keys(request).revoke(known_form(key_id), cascade=cascade)
    if key is None:
        raise Problem("not_found")
    return _answer(key_body(key), 200)


def _keys(request: Request) -> Keys:
    keys = service_of(request).keys
    if keys is None:
        raise Problem("not_found")
    return keys


def _answer(body: Any, status: int) -> Response:
    return Response(encode(body), status, {"Cache-Control": "no-store"}, "application/json")


def key_body(key: ApiKey) -> KeyBody:
    """Return what is shown of a key."""
    return KeyBody(
        id=key.id,
        prefix=key.prefix,
        caller=key.caller,
        who=key.who,
        scopes=sorted(key.scopes),
        everyone=key.everyone,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
        created_by=key.created_by,
        created_by_key=key.created_by_key,
    )
