"""The page through HTTP, over a whole service on SQLite: what it shows, and what it lets nobody do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.access.keys import Keys
from app.access.scopes import Scope
from app.saga.model.errors import LogUnavailable
from app.settings.settings import Settings
from tests.in_process import an_app
from tests.processes import an_order

STUCK = "shipping.execute=rejected, payment.compensate=not_reversible"
HERE = {"Sec-Fetch-Site": "same-origin"}


class Client(httpx.AsyncClient):
    """A client that also has the app in hand."""

    app: FastAPI


@asynccontextmanager
async def a_client(url: str, **members: Any) -> AsyncIterator[Client]:
    settings = Settings(
        database_url=SecretStr(url),
        sandbox_database=":memory:",
        retry_base_seconds=0.01,
        retry_cap_seconds=0.02,
        **members,
    )
    async with (
        an_app(settings) as app,
        Client(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        client.app = app
        yield client


async def check_out(client: httpx.AsyncClient, order_id: str, simulate: str = "", **order: Any) -> str:
    """Send an order and return its saga's id."""
    headers = {"X-Simulate": simulate} if simulate else {}
    answer = await client.post("/checkout", json={**an_order(order_id), **order}, headers=headers)
    body = answer.json()
    saga_id: str = body.get("saga", body)["id"]
    return saga_id


async def a_key(client: Client, *scopes: str, caller: str = "shop", everyone: bool = False) -> str:
    """Make a key, as the command line does, and return its text; the first one closes the service."""
    keys: Keys = client.app.state.service.keys
    _, text = await keys.create(
        caller=caller, who=f"{caller}-person", scopes=map(Scope, scopes), everyone=everyone
    )
    return text


async def signed_in(client: httpx.AsyncClient, key: str) -> httpx.Response:
    """Sign in; the client keeps the cookie."""
    return await client.post("/dashboard/sign-in", data={"key": key, "token": ""}, headers=HERE)


def field_of(page: httpx.Response, name: str) -> str:
    """Return the value of a hidden field of the page's first form that has it."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found, page.text
    return found[1]


async def test_the_list_shows_every_saga_and_its_url_says_what_it_shows(sqlite_url: str) -> None:
    """By status, order, customer, saga, failing step and age; what doesn't fit isn't there."""
    async with a_client(sqlite_url) as client:
        await check_out(client, "ord-good")
        bad = await check_out(client, "ord-bad", "inventory.execute=rejected", customer_id="cus-bad")
        for query, shown in {
            "": {"ord-good", "ord-bad"},
            "?status=completed": {"ord-good"},
            "?status=compensated": {"ord-bad"},
            "?q=ord-good": {"ord-good"},
            "?q=cus-bad": {"ord-bad"},
            "?q=nobody": set(),
            "?step=inventory": {"ord-bad"},
            "?step=payment": set(),
            "?age=5m": {"ord-good", "ord-bad"},
            "?age=over-1h": set(),
            "?status=compensated&step=inventory&age=1d": {"ord-bad"},
        }.items():
            page = await client.get(f"/{query}")
            assert page.status_code == 200
            rows = page.text.partition('id="rows"')[2]
            assert set(re.findall(r">(ord-\w+)</bdi></a>", rows)) == shown, query
        found = await client.get(f"/?q={bad}")
        assert (found.status_code, found.headers["location"]) == (303, f"/dashboard/sagas/{bad}")


async def test_the_list_goes_on_page_by_page(sqlite_url: str) -> None:
    """The filters stay, nothing is shown twice, and nothing is left out."""
    async with a_client(sqlite_url) as client:
        await asyncio.gather(*(check_out(client, f"ord-{n}") for n in range(30)))
        first = await client.get("/?status=completed")
        older = re.search(r'href="([^"]*)">Older', first.text)
        assert older is not None
        url = older[1].replace("&amp;", "&")
        assert "status=completed" in url
        second = await client.get(url)
        one, two = (
            re.findall(r">(ord-\d+)</bdi></a>", page.text.partition('id="rows"')[2])
            for page in (first, second)
        )
        assert len(one) == 25
        assert sorted(one + two) == sorted(f"ord-{n}" for n in range(30))


@pytest.mark.parametrize(
    "query", ["status=lost", "age=3w", "span=year", "cursor=x", "unknown=1", "q=" + "x" * 300]
)
async def test_a_list_that_cannot_be_shown_says_why(sqlite_url: str, query: str) -> None:
    """As a page, with a way back."""
    async with a_client(sqlite_url) as client:
        page = await client.get(f"/?{query}")
        assert page.status_code == 422
        assert page.headers["content-type"].startswith("text/html")
        assert 'href="/"' in page.text


async def test_a_saga_in_need_is_found_understood_and_settled_through_the_page_alone(sqlite_url: str) -> None:
    """Its trail says who and why, and where it was settled."""
    async with a_client(sqlite_url) as client:
        saga_id = await check_out(client, "ord-stuck", STUCK)
        front = await client.get("/")
        alarm = front.text.partition('class="alarm"')[2].partition("</section>")[0]
        assert f'href="/dashboard/sagas/{saga_id}"' in alarm
        assert "can&#39;t be compensated" in alarm
        page = await client.get(f"/dashboard/sagas/{saga_id}")
        assert "The payment step took effect and can&#39;t be compensated" in page.text
        assert 'inventory</b> <span class="how">compensated' in page.text  # the other compensations ran
        form = {"token": field_of(page, "token"), "seen": field_of(page, "seen")}
        again = await client.post(
            f"/dashboard/sagas/{saga_id}/retry", data={**form, "reason": "The provider is back"}, headers=HERE
        )
        assert (again.status_code, again.headers["location"]) == (
            303,
            f"/dashboard/sagas/{saga_id}?done=retry",
        )
        page = await client.get(again.headers["location"])
        form = {"token": field_of(page, "token"), "seen": field_of(page, "seen")}
        settled = await client.post(
            f"/dashboard/sagas/{saga_id}/resolve",
            data={**form, "step": "payment", "reference": "re_81", "reason": "Refunded by hand"},
            headers=HERE,
        )
        assert settled.status_code == 303
        page = await client.get(settled.headers["location"])
        assert "Settled outside by local, <code><bdi>re_81</bdi></code>: <bdi>Refunded by hand" in page.text
        body = (await client.get(f"/sagas/{saga_id}")).json()
        assert body["status"] == "compensated"
        acts = [(e["event"], e["who"], e["reason"]) for e in body["trail"] if "who" in e]
        assert acts == [
            ("retry_requested", "local", "The provider is back"),
            ("step_resolved", "local", "Refunded by hand"),
        ]


async def test_two_people_at_once_do_one_thing(sqlite_url: str) -> None:
    """The second one is told that the saga has moved, and nothing more is done."""
    async with a_client(sqlite_url) as client:
        saga_id = await check_out(client, "ord-stuck", STUCK)
        page = await client.get(f"/dashboard/sagas/{saga_id}")
        form = {"token": "", "seen": field_of(page, "seen"), "step": "payment", "reason": "Refunded"}
        first, second = [
            await client.post(f"/dashboard/sagas/{saga_id}/resolve", data=form, headers=HERE)
            for _ in range(2)
        ]
        assert (first.status_code, second.status_code) == (303, 409)
        trail = (await client.get(f"/sagas/{saga_id}")).json()["trail"]
        assert [event["event"] for event in trail].count("step_resolved") == 1


async def test_the_page_takes_a_reference_as_long_as_the_api_does(sqlite_url: str) -> None:
    """And a reason that was typed in two lines, with a space behind it."""
    async with a_client(sqlite_url) as client:
        saga_id = await check_out(client, "ord-stuck", STUCK)
        page = await client.get(f"/dashboard/sagas/{saga_id}")
        assert 'name="reference" maxlength="128"' in page.text
        assert 'name="reason" required maxlength="1000"' in page.text
        form = {"token": "", "seen": field_of(page, "seen"), "step": "payment", "reference": "r" * 128}
        reason = {"reason": "Refunded\r\nby hand "}
        sent = await client.post(f"/dashboard/sagas/{saga_id}/resolve", data=form | reason, headers=HERE)
        assert sent.status_code == 303, sent.text
        saga = (await client.get(f"/sagas/{saga_id}", headers={"Prefer": "wait=5"})).json()
        by = next(step["resolved_by"] for step in saga["steps"] if step["name"] == "payment")
        assert (by["reference"], by["reason"]) == ("r" * 128, "Refunded by hand")


@pytest.mark.parametrize(
    ("headers", "form", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, {}, 403),
        ({"Sec-Fetch-Site": "same-site"}, {}, 403),
        ({"Sec-Fetch-Site": "none"}, {}, 403),
        ({}, {}, 403),
        ({"Origin": "http://evil.example"}, {}, 403),
        ({"Origin": "null"}, {}, 403),
        (HERE, {"token": "forged"}, 403),
        (HERE, {"seen": "many"}, 422),
        (HERE, {"seen": ""}, 422),
        (HERE, {"reason": ""}, 422),
        (HERE, {"reason": "x" * 1001}, 422),
        (HERE, {"surplus": "1"}, 422),
        ({"Origin": "http://127.0.0.1"}, {}, 303),
        (HERE, {}, 303),
    ],
)
async def test_only_a_whole_form_of_the_page_itself_acts(
    sqlite_url: str, headers: dict[str, str], form: dict[str, str], status: int
) -> None:
    """Another site's form, one without its proof, and one that isn't whole do nothing."""
    async with a_client(sqlite_url) as client:
        saga_id = await check_out(client, "ord-stuck", STUCK)
        seen = field_of(await client.get(f"/dashboard/sagas/{saga_id}"), "seen")
        sent = {"token": "", "seen": seen, "reason": "because", **form}
        answer = await client.post(f"/dashboard/sagas/{saga_id}/retry", data=sent, headers=headers)
        assert answer.status_code == status
        trail = (await client.get(f"/sagas/{saga_id}")).json()["trail"]
        assert ("retry_requested" in [event["event"] for event in trail]) == (status == 303)


@pytest.mark.parametrize(
    ("origin", "host", "more", "status"),
    [
        ("http://ops.internal", "ops.internal:80", {}, 303),
        ("http://ops.internal:80", "ops.internal", {}, 303),
        ("https://ops.internal", "ops.internal:443", {}, 303),  # a proxy that ended TLS and doesn't say so
        ("https://ops.internal", "ops.internal", {}, 303),
        ("http://OPS.internal", "ops.INTERNAL:80", {}, 303),
        ("http://[::1]:8000", "[::1]:8000", {}, 303),
        ("http://ops.internal:8443", "upstream", {"X-Forwarded-Host": "ops.internal:8443"}, 303),
        ("http://ops.internal:8080", "ops.internal:80", {}, 403),
        ("https://ops.internal", "ops.internal:80", {}, 403),
        ("http://ops.internal", "ops.internal:443", {}, 403),
        ("http://evil.example", "ops.internal:80", {}, 403),
        ("http://ops.internal.evil.example", "ops.internal", {}, 403),
        ("http://me@ops.internal", "ops.internal", {}, 403),
        ("ftp://ops.internal", "ops.internal", {}, 403),
        ("null", "ops.internal", {}, 403),
        ("http://[", "ops.internal", {}, 403),
        ("http://ops.internal:99999", "ops.internal", {}, 403),
        ("http://ops.internal", "ops.internal:x", {}, 403),
    ],
)
async def test_a_form_comes_from_the_origin_that_it_is_sent_to(
    sqlite_url: str, origin: str, host: str, more: dict[str, str], status: int
) -> None:
    """Where the browser doesn't say it outright (plain http): a scheme's own port may be named or not."""
    async with a_client(sqlite_url, allow_unauthenticated=True) as client:
        key = await a_key(client, "operate", everyone=True)
        headers = {"Origin": origin, "Host": host, **more}
        answer = await client.post("/dashboard/sign-in", data={"key": key, "token": ""}, headers=headers)
        assert answer.status_code == status


@pytest.mark.parametrize("wrong", ["é", "\U0001f6d2", "\ufffd", "x" * 64, "\x00"])
async def test_a_token_that_is_no_forms_is_refused_whatever_it_holds(sqlite_url: str, wrong: str) -> None:
    """403 on each form, never a fault: also where it isn't ASCII."""
    async with a_client(sqlite_url) as client:
        saga_id = await check_out(client, "ord-stuck", STUCK)
        for path in ("sign-in", "sign-out", f"sagas/{saga_id}/retry"):
            form = {"token": wrong, "seen": "1", "reason": "because", "key": wrong, "next": f"/{wrong}"}
            answer = await client.post(f"/dashboard/{path}", data=form, headers=HERE)
            assert (answer.status_code, answer.headers["content-type"][:9]) == (403, "text/html"), path


@pytest.mark.parametrize("name", ["Cookie", "Authorization", "Origin", "Host", "If-Match", "If-None-Match"])
async def test_a_header_that_is_not_ascii_is_no_fault(sqlite_url: str, name: str) -> None:
    """Whatever reads it takes it for wrong, or for nothing."""
    async with a_client(sqlite_url) as client:
        await a_key(client, "operate", everyone=True)
        for value in (b"\xe9", b"checkout_session=\xe9", b"Bearer \xe9\xff", b'"\xe9"', b"[\xe9"):
            for path in ("/", "/sagas", "/dashboard/sign-in"):
                answer = await client.get(path, headers=[(name.encode(), value)])
                assert answer.status_code < 500, (path, value)
            answer = await client.post(
                "/dashboard/sign-in",
                content=b"key=x&token=",
                headers=[(name.encode(), value), (b"Content-Type", b"application/x-www-form-urlencoded")],
            )
            assert answer.status_code < 500, value


async def test_what_callers_send_is_shown_as_text(sqlite_url: str) -> None:
    """No name, id or reason becomes markup, and the policy would run none."""
    evil = "<img src=x onerror=alert(1)>"
    async with a_client(sqlite_url) as client:
        saga_id = await check_out(client, "ord-stuck", STUCK, customer_id="cus-<b>x</b>")
        page = await client.get(f"/dashboard/sagas/{saga_id}")
        form = {"token": "", "seen": field_of(page, "seen"), "reason": evil}
        await client.post(f"/dashboard/sagas/{saga_id}/retry", data=form, headers=HERE)
        for path in ("/", f"/dashboard/sagas/{saga_id}", "/?q=%3Cimg%20src=x%3E"):
            page = await client.get(path)
            assert "<img" not in page.text
            assert "<b>x" not in page.text
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert not re.search(r"<(script|style)>|<[^>]*\s(on\w+|style)=", page.text), path


async def test_who_signs_in_sees_and_does_what_the_key_may(sqlite_url: str) -> None:
    """Its own checkouts alone; acting needs the scope; the trail names the person."""
    async with a_client(sqlite_url) as client:
        shop = await a_key(client, "checkout", "operate")
        reader = await a_key(client, "read", caller="reader", everyone=True)
        rival = await a_key(client, "checkout", "operate", caller="rival")
        client.headers["Authorization"] = f"Bearer {shop}"
        saga_id = await check_out(client, "ord-stuck", STUCK)
        del client.headers["Authorization"]

        asked = await client.get("/?status=needs_attention")
        assert asked.headers["location"] == "/dashboard/sign-in?next=%2F%3Fstatus%3Dneeds_attention"
        for key, sees in ((shop, True), (reader, True), (rival, False)):
            client.cookies.clear()
            assert (await signed_in(client, key)).status_code == 303
            assert ("ord-stuck" in (await client.get("/")).text) is sees
            assert (await client.get(f"/dashboard/sagas/{saga_id}")).status_code == (200 if sees else 404)
            assert (await client.get(f"/sagas/{saga_id}")).status_code == (200 if sees else 404)
        client.cookies.clear()
        await signed_in(client, reader)
        page = await client.get(f"/dashboard/sagas/{saga_id}")
        assert "What you can do" not in page.text
        form = {"token": field_of(page, "token"), "seen": "1", "reason": "because"}
        refused = await client.post(f"/dashboard/sagas/{saga_id}/retry", data=form, headers=HERE)
        assert refused.status_code == 403
        client.cookies.clear()
        await signed_in(client, shop)
        page = await client.get(f"/dashboard/sagas/{saga_id}")
        form = {"token": field_of(page, "token"), "seen": field_of(page, "seen"), "reason": "because"}
        assert (
            await client.post(f"/dashboard/sagas/{saga_id}/retry", data={**form, "token": ""}, headers=HERE)
        ).status_code == 403
        assert (
            await client.post(f"/dashboard/sagas/{saga_id}/retry", data=form, headers=HERE)
        ).status_code == 303
        trail = (await client.get(f"/sagas/{saga_id}")).json()["trail"]
        assert [event["who"] for event in trail if "who" in event] == ["shop-person"]


async def test_a_session_reads_and_sends_the_pages_forms_and_nothing_else(sqlite_url: str) -> None:
    """A cookie comes along whoever made the browser ask, so that the API's own actions don't take it."""
    async with a_client(sqlite_url) as client:
        key = await a_key(client, "checkout", "operate", everyone=True)
        answer = await signed_in(client, key)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert (await client.get("/sagas")).status_code == 200
        assert (await client.post("/checkout", json=an_order("ord-1"))).status_code == 401
        assert (await client.post("/keys", json={})).status_code == 401
        assert (await client.get("/sagas")).json()["data"] == []


async def test_a_session_ends_when_it_is_signed_out_and_with_its_key(sqlite_url: str) -> None:
    """In the database, so that a copied cookie opens nothing either."""
    async with a_client(sqlite_url, key_cache_seconds=0) as client:
        key = await a_key(client, "keys", everyone=True)
        bearer = {"Authorization": f"Bearer {key}"}
        await signed_in(client, key)
        copied = {"Cookie": f"checkout_session={client.cookies['checkout_session']}"}
        page = await client.get("/")
        left = await client.post("/dashboard/sign-out", data={"token": field_of(page, "token")}, headers=HERE)
        assert left.status_code == 303
        client.cookies.clear()
        assert (await client.get("/sagas", headers=copied)).status_code == 401
        client.cookies.clear()

        await signed_in(client, key)
        assert (await client.get("/sagas")).status_code == 200
        key_id = (await client.get("/keys", headers=bearer)).json()["data"][0]["id"]
        assert (await client.post(f"/keys/{key_id}/revoke", headers=bearer)).status_code == 200
        assert (await client.get("/sagas")).status_code == 401


@pytest.mark.parametrize("key", ["", "nonsense", "ck_zzzzzzzz_" + "A" * 43])
async def test_a_wrong_key_signs_nobody_in(sqlite_url: str, key: str) -> None:
    """In the same words, whatever is wrong with it."""
    async with a_client(sqlite_url) as client:
        await a_key(client, "operate", everyone=True)
        answer = await signed_in(client, key)
        assert answer.status_code == 403
        assert "This key is not valid." in answer.text
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/\n"]
)
async def test_signing_in_leads_nowhere_else(sqlite_url: str, elsewhere: str) -> None:
    """Only to a path of this site's."""
    async with a_client(sqlite_url) as client:
        key = await a_key(client, "operate", everyone=True)
        page = await client.get("/dashboard/sign-in", params={"next": elsewhere})
        assert field_of(page, "next") == "/"
        answer = await client.post(
            "/dashboard/sign-in", data={"key": key, "token": "", "next": elsewhere}, headers=HERE
        )
        assert answer.headers["location"] == "/"


async def test_another_sites_name_for_this_machine_opens_nothing(sqlite_url: str) -> None:
    """DNS rebinding: without keys, a request comes under a name of this machine's own."""
    async with a_client(sqlite_url) as client:
        for host, status in {
            "evil.example": 403,
            "localhost:8000": 200,
            "127.0.0.1": 200,
            "[::1]:80": 200,
        }.items():
            assert (await client.get("/sagas", headers={"Host": host})).status_code == status, host


async def test_static_files_are_kept_for_long_under_their_bytes_name(sqlite_url: str) -> None:
    """And nothing but them can be had there."""
    async with a_client(sqlite_url) as client:
        page = await client.get("/")
        for url in set(re.findall(r'"(/dashboard/static/[^"]+)"', page.text)):
            answer = await client.get(url)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
        for name in ("nothing.css", "..%2froutes.py", "%2e%2e", "dashboard"):
            assert (await client.get(f"/dashboard/static/{name}")).status_code == 404, name


async def test_the_page_stands_while_the_database_is_away(sqlite_url: str) -> None:
    """A problem, as a page, with when to come back."""
    async with a_client(sqlite_url) as client:
        service = client._transport.app.state.service  # type: ignore[attr-defined]

        async def away(*_: Any, **__: Any) -> None:
            raise LogUnavailable("gone")

        service.reader.list_sagas = away
        page = await client.get("/")
        assert page.status_code == 503
        assert page.headers["retry-after"]
        assert page.headers["content-type"].startswith("text/html")


async def test_what_turns_the_direction_of_writing_turns_its_own_text_alone(tmp_path: Path) -> None:
    """Not what stands behind it on the line: each such text is isolated, and escaped in the JSON."""
    odd = "evil-\u202egnp"
    async with a_client(f"sqlite:///{tmp_path}/checkout.db") as client:
        saga_id = await check_out(client, odd, STUCK, customer_id=f"cus-{odd}")
        asked = {"step": "payment", "reason": f"why {odd}", "reference": f"ref-{odd}"}
        await client.post(f"/sagas/{saga_id}/resolve", json=asked)
        shown = (await client.get("/")).text + (await client.get(f"/dashboard/sagas/{saga_id}")).text
    for text in (odd, f"cus-{odd}", f"why {odd}", f"ref-{odd}"):
        assert f"<bdi>{text}</bdi>" in shown
    alone = re.sub("<bdi>[^<]*</bdi>|<title>[^<]*</title>|<form.*?</form>", "", shown, flags=re.DOTALL)
    assert "\u202e" not in alone
    assert "evil-\\u202egnp" in shown
