"""API keys on either database: who is let in, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import pytest

from app.access.key_policy import FIRST_KEY_SCOPES
from app.access.keys import ApiKey, KeyRefused, Keys
from app.access.principal import ANONYMOUS, Scope
from app.access.unknown_credentials import TooManyUnknownCredentials, UnknownCredentials
from app.saga.model.errors import LogUnavailable
from app.storage import open_storage
from app.storage.access.keys import SqlKeys
from tests.builders import VirtualClock, an_id


class House:
    """Keys over a database, with a clock of the test's."""

    def __init__(self, store: SqlKeys) -> None:
        self.clock = VirtualClock()
        self.store = store
        self.keys = self.another_replica()

    def another_replica(self) -> Keys:
        return Keys(self.store, now=self.clock.now, new_id=an_id, cache_seconds=5.0)

    async def make(
        self, *, caller: str = "shop", who: str = "ada", hours: float | None = None
    ) -> tuple[ApiKey, str]:
        ends = self.clock.now() + timedelta(hours=hours) if hours else None
        return await self.keys.create(caller=caller, who=who, scopes=[Scope.READ], expires_at=ends)


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    async with open_storage(database_url) as storage:
        yield House(SqlKeys(storage.log))


async def test_a_key_opens_and_tells_who_it_is(house: House) -> None:
    """Its caller, its person and its scopes, at any replica."""
    _, text = await house.make()
    for keys in (house.keys, house.another_replica()):
        caller = await keys.authenticate(text)
        assert caller is not None
        assert (caller.name, caller.who, caller.scopes, caller.everyone) == (
            "shop",
            "ada",
            frozenset({Scope.READ}),
            False,
        )


async def test_the_secret_is_nowhere_in_the_database(house: House) -> None:
    """Whoever reads the table can't ask as anybody."""
    key, text = await house.make()
    secret = text.removeprefix(f"ck_{key.prefix}_")
    assert len(secret) == 43
    [kept] = await house.store.all()
    assert secret not in repr(kept)
    assert kept.digest != secret


async def test_what_is_not_the_key_opens_nothing(house: House) -> None:
    """A letter off, another prefix, nothing at all."""
    key, text = await house.make()
    other = "A" if text[-1] != "A" else "B"
    for wrong in (text[:-1] + other, text.replace(key.prefix, "zzzzzzzz"), "", "ck_", text + "A", text[:-1]):
        assert await house.keys.authenticate(wrong) is None


async def test_an_expired_key_opens_nothing(house: House) -> None:
    """From its end on, though it was looked up a moment before."""
    _, text = await house.make(hours=1)
    assert await house.keys.authenticate(text) is not None
    house.clock.advance(3599)
    assert await house.keys.authenticate(text) is not None
    house.clock.advance(1)
    assert await house.keys.authenticate(text) is None


async def test_a_revoked_key_opens_nothing_here_at_once_and_elsewhere_soon(house: House) -> None:
    """Another replica believes what it looked up for a few seconds, not longer."""
    elsewhere = house.another_replica()
    key, text = await house.make()
    assert await elsewhere.authenticate(text) is not None
    await house.keys.revoke(key.id)
    assert await house.keys.authenticate(text) is None
    assert await elsewhere.authenticate(text) is not None
    house.clock.advance(5)
    assert await elsewhere.authenticate(text) is None


async def test_two_keys_are_active_for_a_rotation_and_a_third_is_refused(house: House) -> None:
    """Until one of them is revoked; another person is another matter."""
    first, _ = await house.make()
    await house.make()
    with pytest.raises(KeyRefused, match=f"revoke {first.prefix} first"):
        await house.make()
    await house.make(who="grace")
    await house.keys.revoke(first.id)
    await house.make()
    assert len(await house.keys.list_keys()) == 4


async def test_from_the_first_key_on_one_is_needed_for_ever(house: House) -> None:
    """Also when every key was revoked: the last one's end doesn't open the house."""
    assert not await house.keys.required()
    elsewhere = house.another_replica()
    assert not await elsewhere.required()
    key, _ = await house.make()
    assert await house.keys.required()
    house.clock.advance(5)
    assert await elsewhere.required()
    await house.keys.revoke(key.id)
    assert await house.another_replica().required()


async def test_while_the_store_is_away_a_key_that_was_looked_up_still_counts_where_that_is_asked_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within its own life alone, with its own secret alone, and nowhere else."""

    async def away(*_: object) -> None:
        raise LogUnavailable("away")

    _, text = await house.make(hours=1)
    elsewhere, opened = house.another_replica(), house.another_replica()
    known = await house.keys.authenticate(text)
    house.clock.advance(6)
    monkeypatch.setattr(house.store, "find", away)
    monkeypatch.setattr(house.store, "any", away)
    assert known is not None
    assert await house.keys.authenticate(text, stale_if_error=True) == known
    assert await house.keys.authenticate(text[:-1] + "~", stale_if_error=True) is None
    other = text[:-1] + ("A" if text[-1] != "A" else "B")
    assert await house.keys.authenticate(other, stale_if_error=True) is None
    with pytest.raises(LogUnavailable):
        await house.keys.authenticate(text)
    with pytest.raises(LogUnavailable):
        await elsewhere.authenticate(text, stale_if_error=True)
    with pytest.raises(LogUnavailable):
        await opened.required(stale_if_error=True)
    house.clock.advance(3600)
    assert await house.keys.authenticate(text, stale_if_error=True) is None


async def test_while_the_store_is_away_a_service_without_keys_stays_one_where_that_is_asked_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was looked up last."""

    async def away() -> None:
        raise LogUnavailable("away")

    assert not await house.keys.required()
    house.clock.advance(6)
    monkeypatch.setattr(house.store, "any", away)
    assert not await house.keys.required(stale_if_error=True)
    with pytest.raises(LogUnavailable):
        await house.keys.required()


async def test_many_who_ask_at_once_have_it_looked_up_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the cache ends under load, the database hears one question, not one for each request."""
    asked: list[str] = []

    async def noted(name: str, *given: str) -> object:
        asked.append(name)
        return await getattr(SqlKeys, name)(house.store, *given)

    monkeypatch.setattr(house.store, "any", partial(noted, "any"))
    monkeypatch.setattr(house.store, "find", partial(noted, "find"))
    assert await asyncio.gather(*(house.keys.required() for _ in range(50))) == [False] * 50
    house.clock.advance(6)
    assert await asyncio.gather(*(house.keys.required() for _ in range(50))) == [False] * 50
    _, text = await house.make()
    assert None not in await asyncio.gather(*(house.keys.authenticate(text) for _ in range(50)))
    assert asked == ["any", "any", "find"]


async def test_a_key_revoked_while_it_is_looked_up_opens_nothing_afterwards(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old answer is neither kept nor given to who asks later."""
    key, text = await house.make()
    found, go_on = asyncio.Event(), asyncio.Event()

    async def slow(prefix: str) -> ApiKey | None:
        old = await SqlKeys.find(house.store, prefix)
        found.set()
        await go_on.wait()
        return old

    monkeypatch.setattr(house.store, "find", slow)
    early = asyncio.create_task(house.keys.authenticate(text))
    await found.wait()
    monkeypatch.undo()
    await house.keys.revoke(key.id)
    assert await house.keys.authenticate(text) is None
    go_on.set()
    await early
    assert await house.keys.authenticate(text) is None


async def test_the_last_use_is_kept_to_the_minute(house: House) -> None:
    """Without a write for each request."""
    _, text = await house.make()
    await house.keys.authenticate(text)
    first = (await house.store.all())[0].last_used_at
    assert first == house.clock.now()
    for _ in range(5):
        house.clock.advance(9)
        await house.keys.authenticate(text)
    assert (await house.store.all())[0].last_used_at == first
    house.clock.advance(60)
    await house.keys.authenticate(text)
    assert (await house.store.all())[0].last_used_at == house.clock.now()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"caller": ""}, "caller"),
        ({"caller": "a b"}, "caller"),
        ({"who": "x" * 65}, "who"),
        ({"scopes": []}, "scopes"),
        ({"expires_at": "past"}, "expires_at"),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused_by_its_member(
    house: House, wrong: dict[str, object], named: str
) -> None:
    """And none is made."""
    if wrong.get("expires_at"):
        wrong = {"expires_at": house.clock.now()}
    given = {"caller": "shop", "who": "ada", "scopes": [Scope.READ], **wrong}
    with pytest.raises(KeyRefused, match=f"^{named}: "):
        await house.keys.create(**given)  # type: ignore[arg-type]
    assert await house.store.all() == []


def _told(key: ApiKey) -> tuple[object, ...]:
    return key.created_by, key.created_by_key, key.scopes, key.everyone, key.expires_at


async def test_no_more_keys_are_active_than_may_be_however_many_are_made_at_once(house: House) -> None:
    """Ten at the same time, at two replicas: two are made, eight are refused, and two are stored."""
    elsewhere = house.another_replica()
    made = await asyncio.gather(
        *(keys.create(caller="shop", who="ada", scopes=[Scope.READ]) for keys in [house.keys, elsewhere] * 5),
        return_exceptions=True,
    )
    refused = [one for one in made if isinstance(one, BaseException)]
    assert [type(one) for one in refused] == [KeyRefused] * 8
    assert len(await house.keys.list_keys()) == 2


async def test_one_first_key_is_made_through_an_open_service_however_many_ask_at_once(house: House) -> None:
    """The others find that the service isn't open any more."""
    first = partial(house.keys.create, scopes=FIRST_KEY_SCOPES, everyone=True, maker=ANONYMOUS)
    made = await asyncio.gather(
        *(first(caller=f"ops-{n}", who="ada") for n in range(5)), return_exceptions=True
    )
    assert len([one for one in made if isinstance(one, KeyRefused)]) == 4
    [kept] = await house.keys.list_keys()
    assert _told(kept)[:2] == ("local", None)


@pytest.mark.parametrize(
    ("scopes", "everyone", "member"),
    [
        ({Scope.CHECKOUT}, False, "scopes"),
        ({Scope.CHECKOUT, Scope.OPERATE}, True, "scopes"),
        (FIRST_KEY_SCOPES - {Scope.OPERATE}, True, "scopes"),
        (FIRST_KEY_SCOPES, False, "everyone"),
    ],
)
async def test_the_first_key_of_an_open_service_locks_nobody_out(
    house: House, scopes: set[Scope], everyone: bool, member: str
) -> None:
    """It closes the service, so that it has to be able to operate and to make the others."""
    with pytest.raises(KeyRefused, match=f"^{member}: The first key closes this service"):
        await house.keys.create(caller="a", who="a", scopes=scopes, everyone=everyone, maker=ANONYMOUS)
    assert not await house.another_replica().required()


async def test_a_key_is_no_more_than_its_makers_and_knows_whose_it_is(house: House) -> None:
    """Not in scopes, not in whose sagas it sees, not in how long it lasts; the command line may make any."""
    ends = house.clock.now() + timedelta(days=1)
    admin, text = await house.keys.create(
        caller="ops", who="ada", scopes=[Scope.KEYS, Scope.OPERATE], everyone=True, expires_at=ends
    )
    assert _told(admin)[:2] == ("command line", None)
    maker = await house.keys.authenticate(text)
    make = partial(house.keys.create, caller="shop", who="till", maker=maker)

    with pytest.raises(KeyRefused, match=r"^scopes: Your own key hasn't checkout"):
        await make(scopes=[Scope.CHECKOUT])
    with pytest.raises(KeyRefused, match=r"^expires_at: Your own key ends at"):
        await make(scopes=[Scope.READ], expires_at=ends + timedelta(seconds=1))
    made, its_text = await make(scopes=[Scope.READ, Scope.KEYS])
    assert _told(made) == ("ada", admin.id, frozenset({Scope.READ, Scope.KEYS}), False, ends)
    assert _told((await house.keys.list_keys())[-1]) == _told(made)

    narrow = await house.keys.authenticate(its_text)
    with pytest.raises(KeyRefused, match=r"^everyone: Your own key doesn't see everyone's"):
        await house.keys.create(caller="x", who="x", scopes=[Scope.READ], everyone=True, maker=narrow)
    sooner, _ = await make(scopes=[Scope.READ], expires_at=ends - timedelta(hours=1))
    assert sooner.expires_at == ends - timedelta(hours=1)


async def test_a_key_that_has_ended_makes_none_though_it_is_still_believed(house: House) -> None:
    """Another replica's cache is no way round a revocation."""
    admin, text = await house.keys.create(caller="ops", who="ada", scopes=[Scope.KEYS], everyone=True)
    elsewhere = house.another_replica()
    maker = await elsewhere.authenticate(text)
    await house.keys.revoke(admin.id)
    assert await elsewhere.authenticate(text) is not None
    with pytest.raises(KeyRefused, match="has ended"):
        await elsewhere.create(caller="shop", who="till", scopes=[Scope.READ], maker=maker)


async def test_what_a_stolen_key_made_ends_with_it_where_that_is_asked(house: House) -> None:
    """And what those made; nobody else's, and none of them without being asked."""
    made = []
    maker = None
    for who in ("ada", "bob", "cleo"):
        key, text = await house.keys.create(
            caller="ops", who=who, scopes=[Scope.KEYS], everyone=True, maker=maker
        )
        made.append(key.id)
        maker = await house.keys.authenticate(text)
    other, _ = await house.make(who="dan")
    await house.keys.revoke(made[0])
    assert len([key for key in await house.keys.list_keys() if key.revoked_at]) == 1
    await house.keys.revoke(made[0], cascade=True)
    assert {key.id for key in await house.keys.list_keys() if key.revoked_at} == set(made)
    assert other.id not in made


async def test_who_asks_with_keys_that_nobody_has_costs_next_to_nothing(house: House) -> None:
    """Each is looked up once, an address has its share of them, and a key known here is let in beside them."""
    _, text = await house.make()
    unknown = UnknownCredentials(seconds=5, per_second=2, clock=lambda: 0.0)
    keys = Keys(house.store, now=house.clock.now, new_id=an_id, cache_seconds=0, unknown=unknown)
    assert await keys.authenticate(text, address="192.0.2.1") is not None
    looked: list[str] = []
    find = house.store.find

    async def counted(prefix: str) -> ApiKey | None:
        looked.append(prefix)
        return await find(prefix)

    house.store.find = counted  # type: ignore[method-assign]
    for _ in range(3):
        assert await keys.authenticate(f"ck_aaaaaaaa_{'x' * 43}", address="192.0.2.1") is None
    for n in range(1, 4):
        assert await keys.authenticate(f"ck_aaaaaaa{n}_{'x' * 43}", address="192.0.2.1") is None
    assert len(looked) == 4
    with pytest.raises(TooManyUnknownCredentials):
        await keys.authenticate(f"ck_aaaaaaa9_{'x' * 43}", address="192.0.2.1")
    assert len(looked) == 4
    assert await keys.authenticate(text, address="192.0.2.1") is not None
    assert await keys.authenticate(f"ck_aaaaaaa9_{'x' * 43}", address="192.0.2.2") is None


async def test_nobody_is_kept_out_by_others_at_his_address(house: House) -> None:
    """Which may be a proxy's: a key that a restarted process hasn't seen yet is let in, however many others try."""
    _, text = await house.make()
    unknown = UnknownCredentials(seconds=5, per_second=1, clock=lambda: 0.0)
    keys = Keys(house.store, now=house.clock.now, new_id=an_id, cache_seconds=0, unknown=unknown)
    for n in range(2):
        assert await keys.authenticate(f"ck_aaaaaaa{n}_{'x' * 43}", address="192.0.2.1") is None
    for n in range(2, 5):
        with pytest.raises(TooManyUnknownCredentials):
            await keys.authenticate(f"ck_aaaaaaa{n}_{'x' * 43}", address="192.0.2.1")
    assert await keys.authenticate(text, address="192.0.2.1") is not None
