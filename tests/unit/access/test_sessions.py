"""Sessions of the page, on either database: who has signed in, and until when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime

import pytest

from app.access.keys import ApiKey, Keys
from app.access.principal import Scope
from app.access.sessions import Sessions, form_token
from app.access.unknown_credentials import TooManyUnknownCredentials, UnknownCredentials
from app.storage import Storage, open_storage
from app.storage.access.keys import SqlKeys
from app.storage.access.sessions import SqlSessions
from app.storage.engine.tables import session
from tests.builders import VirtualClock, an_id

HOURS = 2.0


class Dispatcher:
    """Sessions over a database, with a clock of the test's."""

    def __init__(self, storage: Storage) -> None:
        self.clock = VirtualClock()
        self.storage = storage
        self.keys = Keys(SqlKeys(storage.log), now=self.clock.now, new_id=an_id, cache_seconds=0)

    def a_replica(self) -> Sessions:
        return Sessions(self.keys, SqlSessions(self.storage.log), now=self.clock.now, hours=HOURS)

    async def a_key(self) -> tuple[ApiKey, str]:
        return await self.keys.create(caller="shop", who="ada", scopes=[Scope.READ])


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Dispatcher]:
    async with open_storage(database_url) as storage:
        yield Dispatcher(storage)


async def signed_in(desk: Dispatcher, key: str) -> str:
    token = await desk.a_replica().sign_in(key)
    assert token is not None
    return token


async def test_who_signed_in_is_known_at_every_replica_until_the_session_ends(desk: Dispatcher) -> None:
    """For as long as it is set to, and not a moment longer."""
    _, key = await desk.a_key()
    token = await signed_in(desk, key)
    caller = await desk.a_replica().caller(token)
    assert caller is not None
    assert (caller.name, caller.who) == ("shop", "ada")
    desk.clock.advance(HOURS * 3600 - 1)
    assert await desk.a_replica().caller(token) is not None
    desk.clock.advance(1)
    assert await desk.a_replica().caller(token) is None


async def test_a_session_ends_with_its_key(desk: Dispatcher) -> None:
    """Whoever revokes a key has thrown out who signed in with it."""
    made, key = await desk.a_key()
    token = await signed_in(desk, key)
    await desk.keys.revoke(made.id)
    assert await desk.a_replica().caller(token) is None
    assert await desk.a_replica().sign_in(key) is None


async def test_signing_out_ends_one_session_and_no_other(desk: Dispatcher) -> None:
    """Somebody's phone stays signed in."""
    _, key = await desk.a_key()
    one, other = await signed_in(desk, key), await signed_in(desk, key)
    await desk.a_replica().sign_out(one)
    assert await desk.a_replica().caller(one) is None
    assert await desk.a_replica().caller(other) is not None


async def test_the_database_holds_nothing_to_sign_in_with(desk: Dispatcher) -> None:
    """Whoever reads the table can't go on as anybody; and what has ended is forgotten."""
    _, key = await desk.a_key()
    first = await signed_in(desk, key)
    desk.clock.advance(HOURS * 3600)
    second = await signed_in(desk, key)
    async with desk.storage.log.reading() as connection:
        rows = (await connection.execute(session.select())).all()
    assert len(rows) == 1
    kept = " ".join(map(str, rows[0]))
    assert first not in kept
    assert second not in kept
    assert form_token(second) not in kept
    assert await desk.a_replica().caller(rows[0].digest) is None


async def test_a_forms_proof_is_its_sessions_own(desk: Dispatcher) -> None:
    """Another session's form is refused."""
    _, key = await desk.a_key()
    one, other = await signed_in(desk, key), await signed_in(desk, key)
    assert form_token(one) == form_token(one)
    assert form_token(one) != form_token(other)


async def test_a_session_that_nobody_has_costs_next_to_nothing(
    desk: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked up once, an address has its share, and signing out of it writes nothing."""
    desk.keys.unknown = UnknownCredentials(seconds=5, per_second=1, clock=lambda: 0.0)
    sessions, asked = desk.a_replica(), []
    find = SqlSessions.find

    async def counted(store: SqlSessions, digest: str, *, at: datetime) -> ApiKey | None:
        asked.append("looked up")
        return await find(store, digest, at=at)

    async def ended(_: SqlSessions, _digest: str) -> None:
        asked.append("written")

    monkeypatch.setattr(SqlSessions, "find", counted)
    monkeypatch.setattr(SqlSessions, "end", ended)
    for unknown in ("a", "a", "b"):
        await sessions.sign_out(unknown, address="192.0.2.1")
        assert await sessions.caller(unknown, address="192.0.2.1") is None
    assert asked == ["looked up", "looked up"]
    with pytest.raises(TooManyUnknownCredentials):
        await sessions.caller("c", address="192.0.2.1")
    _, key = await desk.a_key()
    token = await sessions.sign_in(key)
    assert token is not None
    for _ in range(2):  # who has signed in isn't kept out by others at his address
        assert await desk.a_replica().caller(token, address="192.0.2.1") is not None
    assert await sessions.caller(token, address="192.0.2.1") is not None
    monkeypatch.undo()
    await sessions.sign_out(token, address="192.0.2.1")
    monkeypatch.setattr(SqlSessions, "find", counted)
    asked.clear()
    for _ in range(5):
        with suppress(TooManyUnknownCredentials):
            assert await sessions.caller(token, address="192.0.2.1") is None
    assert len(asked) == 1
