"""API keys on either database: which requests are let in, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import pytest

from app.access.key_policy import FIRST_KEY_SCOPES
from app.access.keys import ApiKey, KeyRefused, Keys
from app.access.principal import ANONYMOUS
from app.access.scopes import Scope
from app.access.unknown_credentials import TooManyUnknownCredentials, UnknownCredentials
from app.saga.model.errors import LogUnavailable
from app.storage import open_storage
from app.storage.access.keys import SqlKeys
from tests.builders import VirtualClock, an_id


class Replicas:
    """Keys over a database, with a virtual clock."""

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
async def replicas(database_url: str) -> AsyncIterator[Replicas]:
    async with open_storage(database_url) as storage:
        yield Replicas(SqlKeys(storage.log))


async def test_a_key_authenticates_its_principal_at_every_replica(replicas: Replicas) -> None:
    """With its tenant, subject and scopes."""
    _, text = await replicas.make()
    for keys in (replicas.keys, replicas.another_replica()):
        caller = await keys.authenticate(text)
        assert caller is not None
        assert (caller.tenant, caller.subject, caller.scopes, caller.all_tenants) == (
            "shop",
            "ada",
            frozenset({Scope.READ}),
            False,
        )


async def test_the_secret_is_nowhere_in_the_database(replicas: Replicas) -> None:
    """Reading the table doesn't let anybody send requests."""
    key, text = await replicas.make()
    secret = text.removeprefix(f"ck_{key.prefix}_")
    assert len(secret) == 43
    [kept] = await replicas.store.all()
    assert secret not in repr(kept)
    assert kept.digest != secret


async def test_a_wrong_key_is_not_authenticated(replicas: Replicas) -> None:
    """A letter off, another prefix, nothing at all."""
    key, text = await replicas.make()
    other = "A" if text[-1] != "A" else "B"
    for wrong in (text[:-1] + other, text.replace(key.prefix, "zzzzzzzz"), "", "ck_", text + "A", text[:-1]):
        assert await replicas.keys.authenticate(wrong) is None


async def test_an_expired_key_is_not_authenticated(replicas: Replicas) -> None:
    """From its expiry on, though it is still cached."""
    _, text = await replicas.make(hours=1)
    assert await replicas.keys.authenticate(text) is not None
    replicas.clock.advance(3599)
    assert await replicas.keys.authenticate(text) is not None
    replicas.clock.advance(1)
    assert await replicas.keys.authenticate(text) is None


async def test_a_revoked_key_is_refused_here_at_once_and_elsewhere_when_the_cache_expires(
    replicas: Replicas,
) -> None:
    """Another replica trusts its cache for a few seconds, not longer."""
    elsewhere = replicas.another_replica()
    key, text = await replicas.make()
    assert await elsewhere.authenticate(text) is not None
    await replicas.keys.revoke(key.id)
    assert await replicas.keys.authenticate(text) is None
    assert await elsewhere.authenticate(text) is not None
    replicas.clock.advance(5)
    assert await elsewhere.authenticate(text) is None


async def test_two_keys_are_active_for_a_rotation_and_a_third_is_refused(replicas: Replicas) -> None:
    """Until one of them is revoked; another subject has its own two."""
    first, _ = await replicas.make()
    await replicas.make()
    with pytest.raises(KeyRefused, match=f"revoke {first.prefix} first"):
        await replicas.make()
    await replicas.make(who="grace")
    await replicas.keys.revoke(first.id)
    await replicas.make()
    assert len(await replicas.keys.list_keys()) == 4


async def test_once_a_key_exists_every_request_needs_one_for_ever(replicas: Replicas) -> None:
    """Also when every key is revoked: revoking the last one doesn't open the service."""
    assert not await replicas.keys.required()
    elsewhere = replicas.another_replica()
    assert not await elsewhere.required()
    key, _ = await replicas.make()
    assert await replicas.keys.required()
    replicas.clock.advance(5)
    assert await elsewhere.required()
    await replicas.keys.revoke(key.id)
    assert await replicas.another_replica().required()


async def test_while_the_store_is_unavailable_a_cached_key_is_accepted_with_stale_if_error(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only until it expires, only with its own secret, and only where it is cached."""

    async def away(*_: object) -> None:
        raise LogUnavailable("away")

    _, text = await replicas.make(hours=1)
    elsewhere, opened = replicas.another_replica(), replicas.another_replica()
    known = await replicas.keys.authenticate(text)
    replicas.clock.advance(6)
    monkeypatch.setattr(replicas.store, "find", away)
    monkeypatch.setattr(replicas.store, "any", away)
    assert known is not None
    assert await replicas.keys.authenticate(text, stale_if_error=True) == known
    assert await replicas.keys.authenticate(text[:-1] + "~", stale_if_error=True) is None
    other = text[:-1] + ("A" if text[-1] != "A" else "B")
    assert await replicas.keys.authenticate(other, stale_if_error=True) is None
    with pytest.raises(LogUnavailable):
        await replicas.keys.authenticate(text)
    with pytest.raises(LogUnavailable):
        await elsewhere.authenticate(text, stale_if_error=True)
    with pytest.raises(LogUnavailable):
        await opened.required(stale_if_error=True)
    replicas.clock.advance(3600)
    assert await replicas.keys.authenticate(text, stale_if_error=True) is None


async def test_while_the_store_is_unavailable_a_service_without_keys_stays_open_with_stale_if_error(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the last look-up found it."""

    async def away() -> None:
        raise LogUnavailable("away")

    assert not await replicas.keys.required()
    replicas.clock.advance(6)
    monkeypatch.setattr(replicas.store, "any", away)
    assert not await replicas.keys.required(stale_if_error=True)
    with pytest.raises(LogUnavailable):
        await replicas.keys.required()


async def test_concurrent_requests_share_one_look_up(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the cache expires under load, the database gets one query, not one for each request."""
    asked: list[str] = []

    async def noted(name: str, *given: str) -> object:
        asked.append(name)
        return await getattr(SqlKeys, name)(replicas.store, *given)

    monkeypatch.setattr(replicas.store, "any", partial(noted, "any"))
    monkeypatch.setattr(replicas.store, "find", partial(noted, "find"))
    assert await asyncio.gather(*(replicas.keys.required() for _ in range(50))) == [False] * 50
    replicas.clock.advance(6)
    assert await asyncio.gather(*(replicas.keys.required() for _ in range(50))) == [False] * 50
    _, text = await replicas.make()
    assert None not in await asyncio.gather(*(replicas.keys.authenticate(text) for _ in range(50)))
    assert asked == ["any", "any", "find"]


async def test_a_key_revoked_during_its_look_up_is_refused_afterwards(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stale row is neither cached nor given to later requests."""
    key, text = await replicas.make()
    found, go_on = asyncio.Event(), asyncio.Event()

    async def slow(prefix: str) -> ApiKey | None:
        old = await SqlKeys.find(replicas.store, prefix)
        found.set()
        await go_on.wait()
        return old

    monkeypatch.setattr(replicas.store, "find", slow)
    early = asyncio.create_task(replicas.keys.authenticate(text))
    await found.wait()
    monkeypatch.undo()
    await replicas.keys.revoke(key.id)
    assert await replicas.keys.authenticate(text) is None
    go_on.set()
    await early
    assert await replicas.keys.authenticate(text) is None


async def test_the_last_use_is_stored_to_the_minute(replicas: Replicas) -> None:
    """Without a write for each request."""
    _, text = await replicas.make()
    await replicas.keys.authenticate(text)
    first = (await replicas.store.all())[0].last_used_at
    assert first == replicas.clock.now()
    for _ in range(5):
        replicas.clock.advance(9)
        await replicas.keys.authenticate(text)
    assert (await replicas.store.all())[0].last_used_at == first
    replicas.clock.advance(60)
    await replicas.keys.authenticate(text)
    assert (await replicas.store.all())[0].last_used_at == replicas.clock.now()


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
async def test_an_invalid_key_is_refused_naming_its_member(
    replicas: Replicas, wrong: dict[str, object], named: str
) -> None:
    """And none is created."""
    if wrong.get("expires_at"):
        wrong = {"expires_at": replicas.clock.now()}
    given = {"caller": "shop", "who": "ada", "scopes": [Scope.READ], **wrong}
    with pytest.raises(KeyRefused, match=f"^{named}: "):
        await replicas.keys.create(**given)  # type: ignore[arg-type]
    assert await replicas.store.all() == []


def _provenance(key: ApiKey) -> tuple[object, ...]:
    return key.created_by, key.created_by_key, key.scopes, key.everyone, key.expires_at


async def test_concurrent_requests_never_create_more_active_keys_than_allowed(replicas: Replicas) -> None:
    """Ten at the same time, at two replicas: two are created and stored, eight are refused."""
    elsewhere = replicas.another_replica()
    made = await asyncio.gather(
        *(
            keys.create(caller="shop", who="ada", scopes=[Scope.READ])
            for keys in [replicas.keys, elsewhere] * 5
        ),
        return_exceptions=True,
    )
    refused = [one for one in made if isinstance(one, BaseException)]
    assert [type(one) for one in refused] == [KeyRefused] * 8
    assert len(await replicas.keys.list_keys()) == 2


async def test_concurrent_requests_to_an_open_service_create_one_first_key(replicas: Replicas) -> None:
    """The others are refused, because the service is no longer open."""
    first = partial(replicas.keys.create, scopes=FIRST_KEY_SCOPES, everyone=True, maker=ANONYMOUS)
    made = await asyncio.gather(
        *(first(caller=f"ops-{n}", who="ada") for n in range(5)), return_exceptions=True
    )
    assert len([one for one in made if isinstance(one, KeyRefused)]) == 4
    [kept] = await replicas.keys.list_keys()
    assert _provenance(kept)[:2] == ("local", None)


@pytest.mark.parametrize(
    ("scopes", "everyone", "member"),
    [
        ({Scope.CHECKOUT}, False, "scopes"),
        ({Scope.CHECKOUT, Scope.OPERATE}, True, "scopes"),
        (FIRST_KEY_SCOPES - {Scope.OPERATE}, True, "scopes"),
        (FIRST_KEY_SCOPES, False, "everyone"),
    ],
)
async def test_the_first_key_of_an_open_service_can_operate_and_create_the_others(
    replicas: Replicas, scopes: set[Scope], everyone: bool, member: str
) -> None:
    """It closes the service, so a smaller one would lock everybody out."""
    with pytest.raises(KeyRefused, match=f"^{member}: The first key closes this service"):
        await replicas.keys.create(caller="a", who="a", scopes=scopes, everyone=everyone, maker=ANONYMOUS)
    assert not await replicas.another_replica().required()


async def test_a_key_never_exceeds_its_makers_and_names_it(replicas: Replicas) -> None:
    """Not in scopes, nor in the sagas it sees, nor in its life; the command line may create any."""
    ends = replicas.clock.now() + timedelta(days=1)
    admin, text = await replicas.keys.create(
        caller="ops", who="ada", scopes=[Scope.KEYS, Scope.OPERATE], everyone=True, expires_at=ends
    )
    assert _provenance(admin)[:2] == ("command line", None)
    maker = await replicas.keys.authenticate(text)
    make = partial(replicas.keys.create, caller="shop", who="till", maker=maker)

    with pytest.raises(KeyRefused, match=r"^scopes: Your own key doesn't have checkout"):
        await make(scopes=[Scope.CHECKOUT])
    with pytest.raises(KeyRefused, match=r"^expires_at: Your own key expires at"):
        await make(scopes=[Scope.READ], expires_at=ends + timedelta(seconds=1))
    made, its_text = await make(scopes=[Scope.READ, Scope.KEYS])
    assert _provenance(made) == ("ada", admin.id, frozenset({Scope.READ, Scope.KEYS}), False, ends)
    assert _provenance((await replicas.keys.list_keys())[-1]) == _provenance(made)

    narrow = await replicas.keys.authenticate(its_text)
    with pytest.raises(KeyRefused, match=r"^everyone: Your own key doesn't see everyone's"):
        await replicas.keys.create(caller="x", who="x", scopes=[Scope.READ], everyone=True, maker=narrow)
    sooner, _ = await make(scopes=[Scope.READ], expires_at=ends - timedelta(hours=1))
    assert sooner.expires_at == ends - timedelta(hours=1)


async def test_a_revoked_key_creates_none_though_a_replica_still_caches_it(replicas: Replicas) -> None:
    """A cache is no way round a revocation."""
    admin, text = await replicas.keys.create(caller="ops", who="ada", scopes=[Scope.KEYS], everyone=True)
    elsewhere = replicas.another_replica()
    maker = await elsewhere.authenticate(text)
    await replicas.keys.revoke(admin.id)
    assert await elsewhere.authenticate(text) is not None
    with pytest.raises(KeyRefused, match="has expired or was revoked"):
        await elsewhere.create(caller="shop", who="till", scopes=[Scope.READ], maker=maker)


async def test_a_cascading_revocation_includes_all_keys_created_with_the_key(replicas: Replicas) -> None:
    """Directly or through others; no other key, and none without `cascade`."""
    made = []
    maker = None
    for who in ("ada", "bob", "cleo"):
        key, text = await replicas.keys.create(
            caller="ops", who=who, scopes=[Scope.KEYS], everyone=True, maker=maker
        )
        made.append(key.id)
        maker = await replicas.keys.authenticate(text)
    other, _ = await replicas.make(who="dan")
    await replicas.keys.revoke(made[0])
    assert len([key for key in await replicas.keys.list_keys() if key.revoked_at]) == 1
    await replicas.keys.revoke(made[0], cascade=True)
    assert {key.id for key in await replicas.keys.list_keys() if key.revoked_at} == set(made)
    assert other.id not in made


async def test_requests_with_unknown_keys_cost_next_to_nothing(replicas: Replicas) -> None:
    """Each is looked up once, an address has a rate of them, and a known key from there is still let in."""
    _, text = await replicas.make()
    unknown = UnknownCredentials(seconds=5, per_second=2, clock=lambda: 0.0)
    keys = Keys(replicas.store, now=replicas.clock.now, new_id=an_id, cache_seconds=0, unknown=unknown)
    assert await keys.authenticate(text, address="192.0.2.1") is not None
    looked: list[str] = []
    find = replicas.store.find

    async def counted(prefix: str) -> ApiKey | None:
        looked.append(prefix)
        return await find(prefix)

    replicas.store.find = counted  # type: ignore[method-assign]
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


async def test_a_client_is_never_locked_out_by_others_at_its_address(replicas: Replicas) -> None:
    """It may be a proxy's: a key that a restarted process hasn't seen yet is let in, however many others try."""
    _, text = await replicas.make()
    unknown = UnknownCredentials(seconds=5, per_second=1, clock=lambda: 0.0)
    keys = Keys(replicas.store, now=replicas.clock.now, new_id=an_id, cache_seconds=0, unknown=unknown)
    for n in range(2):
        assert await keys.authenticate(f"ck_aaaaaaa{n}_{'x' * 43}", address="192.0.2.1") is None
    for n in range(2, 5):
        with pytest.raises(TooManyUnknownCredentials):
            await keys.authenticate(f"ck_aaaaaaa{n}_{'x' * 43}", address="192.0.2.1")
    assert await keys.authenticate(text, address="192.0.2.1") is not None
