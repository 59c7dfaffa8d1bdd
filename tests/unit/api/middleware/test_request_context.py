"""What every answer has, and what the framework's own errors become."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from fastapi import HTTPException, Query
from starlette.responses import StreamingResponse

from tests.unit.api.served import problem, served


@pytest.mark.parametrize("given", ["abc", "x" * 128, "a/b:c=d", "e5b1c1a0-0000-4000-8000-000000000000"])
async def test_a_sane_request_id_comes_back(given: str) -> None:
    async with served() as api:
        assert (await api.get("/livez", X_Request_ID=given)).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "é"])
async def test_another_is_replaced(given: str) -> None:
    async with served() as api:
        headers = [(b"X-Request-ID", given.encode())]
        assert (await api.client.get("/livez", headers=headers)).headers["x-request-id"] != given


async def test_two_request_ids_are_none() -> None:
    async with served() as api:
        headers = [("X-Request-ID", "a"), ("X-Request-ID", "b")]
        assert (await api.client.get("/livez", headers=headers)).headers["x-request-id"] not in {
            "a",
            "b",
            "a, b",
        }


async def test_every_answer_has_safe_headers() -> None:
    async with served() as api:
        for answer in (
            await api.get("/livez"),
            await api.post(),
            await api.get("/nowhere"),
            await api.get("/docs"),
        ):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"]


@pytest.mark.parametrize("path", ["/nowhere", "/checkout/", "/sagas/", "/sagas/a/b", "/CHECKOUT"])
async def test_an_unknown_path_is_a_404_problem(path: str) -> None:
    async with served() as api:
        problem(await api.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/checkout", "OPTIONS, POST"),
        ("PUT", "/checkout", "OPTIONS, POST"),
        ("HEAD", "/checkout", "OPTIONS, POST"),
        ("POST", "/sagas", "GET, HEAD, OPTIONS"),
        ("DELETE", "/sagas/x", "GET, HEAD, OPTIONS"),
        ("BREW", "/livez", "GET, HEAD, OPTIONS"),
    ],
)
async def test_another_method_is_405_and_says_which_are_allowed(method: str, path: str, allow: str) -> None:
    async with served() as api:
        answer = await api.client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allow)
        if method != "HEAD":
            problem(answer, 405, "method_not_allowed")


async def test_options_says_what_is_allowed() -> None:
    async with served() as api:
        answer = await api.client.options("/checkout")
        assert (answer.status_code, answer.headers["allow"], answer.content) == (204, "OPTIONS, POST", b"")
        problem(await api.client.options("/nowhere"), 404, "not_found")


async def test_head_is_get_without_the_body() -> None:
    async with served() as api:
        url = (await api.post()).headers["location"]
        for path in (url, "/sagas", "/livez", "/openapi.json"):
            head, get = await api.client.head(path), await api.get(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == get.headers["content-length"]
            assert head.headers.get("etag") == get.headers.get("etag")


async def test_a_fault_is_a_500_problem_that_tells_nothing_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served() as api:
        api.log.broken = RuntimeError("password is hunter2")
        with caplog.at_level(logging.ERROR):
            answer = await api.get("/sagas/00000000-0000-7000-8000-000000000000", X_Request_ID="req-9")
        body = problem(answer, 500, "internal_error")
        assert "hunter2" not in answer.text
        assert body["request_id"] == "req-9"
        assert [vars(one)["request_id"] for one in caplog.records if one.message == "request_failed"] == [
            "req-9"
        ]


async def test_the_frameworks_own_errors_are_problems_that_repeat_nothing() -> None:
    async with served() as api:

        @api.app.get("/odd")
        async def odd(n: int = Query()) -> int:
            raise HTTPException(418, f"secret {n}")

        answer = await api.get("/odd?n=secret")
        assert problem(answer, 422, "invalid_request")["errors"][0]["parameter"] == "n"
        assert "secret" not in answer.text
        answer = await api.get("/odd?n=1")
        problem(answer, 400, "bad_request")
        assert "secret" not in answer.text


async def test_a_stream_that_breaks_is_cut_not_mended() -> None:
    async with served() as api:

        @api.app.get("/stream")
        async def stream() -> StreamingResponse:
            async def lines() -> Any:
                yield b"one"
                raise RuntimeError("broken")

            return StreamingResponse(lines())

        with pytest.raises(RuntimeError, match="broken"):
            await api.get("/stream")


async def test_a_caller_who_hangs_up_while_sending_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as api:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/checkout",
            "raw_path": b"/checkout",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"content-type", b"application/json")],
        }
        with caplog.at_level(logging.ERROR):
            await api.app(scope, receive, send)
        assert (sent, caplog.text) == ([], "")
        assert api.stored_nothing()


async def test_a_cancelled_request_is_cancelled_at_once() -> None:
    async with served() as api:
        entered = asyncio.Event()

        @api.app.get("/long")
        async def long() -> None:
            entered.set()
            await asyncio.Event().wait()

        request = asyncio.create_task(api.get("/long"))
        await entered.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
