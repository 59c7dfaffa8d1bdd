"""Keys by API: make one, see which there are, end one. For keys with the scope `keys` that see everything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
)
from starlette.requests import Request
from starlette.responses import Response

from app.access.keys import NAME, ApiKey, KeyRefused, Keys
from app.access.scopes import Scope
from app.api.context import caller_of, service_of
from app.api.http.json_encoding import Body, encode
from app.api.http.parameters import ID, true_or_false
from app.api.http.strict_route import StrictRoute
from app.api.middleware.route_rights import requires
from app.api.openapi.responses import operation_id, problems
from app.api.problems.problem import Problem
from app.api.problems.validation import InvalidValue, invalid
from app.values.timestamps import instant_of

router = APIRouter(generate_unique_id_function=operation_id, tags=["keys"], route_class=StrictRoute)

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


@dataclass(frozen=True, kw_only=True)
class KeyListBody(Body):
    """Every key, oldest first."""

    data: list[KeyBody]


@router.post(
    "/keys",
    status_code=201,
    response_model=MadeKeyBody,
    response_description="The key; its text is shown here alone.",
    openapi_extra=problems("invalid_key", "invalid_query", "not_found"),
)
@requires(Scope.KEYS, all_tenants=True)
async def create_key(request: Request, new: NewKey) -> Response:
    """Create a key. Its text is in this answer and nowhere else.

    It has no scope that the key which asks has not, and ends no later. A service's first key closes the service
    to everybody without a key, so that key has to be able to operate and to create the others.
    """
    try:
        key, text = await _keys(request).create(**dict(new), maker=caller_of(request))
    except KeyRefused as refused:
        name, _, detail = str(refused).partition(": ")
        pointer = {"pointer": f"/{name}"} if name in NewKey.model_fields else {}
        raise invalid(
            [{**pointer, "detail": detail if pointer else str(refused), "code": "refused"}]
        ) from None
    return _answer(MadeKeyBody(**vars(key_body(key)), key=text), 201)


@router.get(
    "/keys",
    response_model=KeyListBody,
    response_description="Every key there ever was.",
    openapi_extra=problems("invalid_query", "not_found"),
)
@requires(Scope.KEYS, all_tenants=True)
async def list_keys(request: Request) -> Response:
    """List every key there ever was, oldest first, without their secrets."""
    return _answer(KeyListBody(data=[key_body(key) for key in await _keys(request).list_keys()]), 200)


@router.post(
    "/keys/{key_id}/revoke",
    response_model=KeyBody,
    response_description="The key, which opens nothing any more.",
    openapi_extra=problems("not_found", "invalid_query"),
)
@requires(Scope.KEYS, all_tenants=True)
async def revoke_key(
    *,
    request: Request,
    key_id: Annotated[str, *ID, Path(description="The key's id.")],
    cascade: Annotated[
        bool,
        BeforeValidator(true_or_false),
        Query(description="Revoke also the keys that were created with it, and those created with these."),
    ] = False,
) -> Response:
    """Revoke a key. Other replicas refuse it within CHECKOUT_KEY_CACHE_SECONDS.

    With `cascade=true` the keys that were created with it are revoked too, and those created with these: for a
    key that was stolen.
    """
    key = await _keys(request).revoke(key_id, cascade=cascade)
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
