"""`checkout keys …`: straight on the database, as the first key can't be made with a key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import typer
from uuid_utils import uuid7

from app.access.key_policy import FIRST_KEY_SCOPES, MAX_DAYS
from app.access.keys import ApiKey, KeyRefused, Keys
from app.access.scopes import Scope
from app.api.http.json_encoding import encode
from app.api.routes.keys import key_body
from app.cli.output.failing import database_failure, failure, settings_or_failure
from app.cli.output.terminal import print_records, words
from app.saga.model.errors import LogUnavailable
from app.storage import open_storage
from app.storage.access.keys import SqlKeys
from app.storage.engine.database import UnsafeDatabase

T = TypeVar("T")
_COLUMNS = ("prefix", "state", "caller", "who", "scopes", "sees", "made", "by", "ends", "last used")
app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    caller: Annotated[str, typer.Option(help="Whose sagas it starts and sees.")],
    who: Annotated[str, typer.Option(help="The person or program, as the trail names it.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do. Repeat for several scopes.")],
    *,
    everyone: Annotated[bool, typer.Option("--everyone", help="See every caller's sagas.")] = False,
    days: Annotated[int | None, typer.Option(min=1, max=MAX_DAYS, help="Expire after so many days.")] = None,
) -> None:
    """Create a key, and print only the key on standard output."""
    ends = datetime.now(UTC) + timedelta(days=days) if days else None

    async def make(keys: Keys) -> tuple[str, bool]:
        _, text = await keys.create(caller=caller, who=who, scopes=scope, everyone=everyone, expires_at=ends)
        return text, len(await keys.list_keys()) == 1

    text, first = _with_keys(make)
    typer.echo(text)
    typer.echo("Store it now: it can't be shown again.", err=True)
    if first and (not everyone or FIRST_KEY_SCOPES - set(scope)):
        typer.echo(
            "This is the first key. From now on each request needs one, also the dashboard, and this one can't do everything. "
            "For a key that can, add --scope checkout --scope operate --scope keys --everyone.",
            err=True,
        )


@app.command("list")
def list_keys(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print the JSON of GET /keys.")] = False
) -> None:
    """List all keys ever made, without their secrets."""
    found = _with_keys(lambda keys: keys.list_keys())
    if as_json:
        typer.echo(json.dumps(json.loads(encode({"data": [key_body(key) for key in found]}))))
        return
    rows = [
        (
            key.prefix,
            _state(key),
            key.caller,
            key.who,
            " ".join(sorted(key.scopes)),
            "everyone's" if key.everyone else "its own",
            _day(key.created_at),
            key.created_by or "-",
            _day(key.expires_at),
            _day(key.last_used_at),
        )
        for key in found
    ]
    print_records(_COLUMNS, [tuple(map(words, row)) for row in rows], headline=2)


@app.command()
def revoke(
    prefix: Annotated[str, typer.Argument(help="The key's prefix: the part after ck_.")],
    *,
    cascade: Annotated[bool, typer.Option("--cascade", help="Also revoke the keys made with it.")] = False,
) -> None:
    """Revoke a key. It takes effect within CHECKOUT_KEY_CACHE_SECONDS.

    Use --cascade for a stolen key: it also revokes the keys made with it, and those made with them.
    """

    async def end(keys: Keys) -> ApiKey | None:
        for key in await keys.list_keys():
            if key.prefix == prefix.removeprefix("ck_").partition("_")[0]:
                return await keys.revoke(key.id, cascade=cascade)
        return None

    key = _with_keys(end)
    if key is None:
        raise failure(f"There is no key with the prefix {prefix}; `keys list` shows them.")
    typer.echo(f"{key.prefix} of {key.who} is revoked.")


def _with_keys(work: Callable[[Keys], Awaitable[T]]) -> T:
    settings = settings_or_failure()

    async def worked() -> T:
        async with open_storage(settings.database_url.get_secret_value(), pool_size=1) as storage:
            keys = Keys(SqlKeys(storage.log), now=lambda: datetime.now(UTC), new_id=lambda: str(uuid7()))
            return await work(keys)

    try:
        return asyncio.run(worked())
    except KeyRefused as error:
        raise failure(str(error)) from None
    except (LogUnavailable, UnsafeDatabase) as error:
        raise database_failure(error, settings) from None


def _day(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M") if at else "-"


def _state(key: ApiKey) -> str:
    if key.revoked_at:
        return "revoked"
    return "active" if key.active(datetime.now(UTC)) else "expired"
