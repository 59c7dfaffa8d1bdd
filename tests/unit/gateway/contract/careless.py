"""A payment service that keeps the contract but for one fault of its choice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response


class CarelessPayments:
    """Keeps payments in memory. `fault` names the one rule that it breaks; empty breaks none."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.bodies: dict[str, bytes] = {}
        self.payments: dict[str, dict[str, Any]] = {}
        self.closed: set[str] = set()
        self.made = 0
        self.under_way: dict[str, int] = {}
        self.both = asyncio.Event()

    def app(self) -> FastAPI:
        """Return it as an ASGI application."""
        app = FastAPI(openapi_url=None)
        app.add_api_route("/payments/{reference}", self.serve, methods=["GET", "PUT", "DELETE"])
        app.add_api_route("/payments/{reference}/capture", self.capture, methods=["PUT"])
        return app

    async def serve(self, request: Request, reference: str) -> Response:
        """Answer one request."""
        if self.fault == "cuts the reference":
            reference = reference[:63]
        act: Callable[[str, bytes], Any] = {"GET": self.get, "PUT": self.put, "DELETE": self.delete}[
            request.method
        ]
        response: Response = await act(reference, await request.body())
        return response

    async def get(self, reference: str, _: bytes) -> Response:
        if reference in self.closed:
            return problem(404 if self.fault == "forgets that it closed" else 410, "reference_closed")
        if reference not in self.payments or self.fault == "forgets":
            return Response(status_code=404) if self.fault == "no code" else problem(404, "not_found")
        return JSONResponse(self.payments[reference])

    async def put(self, reference: str, content: bytes) -> Response:
        if reference in self.closed and self.fault != "reopens":
            return problem(410, "reference_closed")
        try:
            body: dict[str, Any] = json.loads(content)
        except ValueError:
            return problem(500 if self.fault == "breaks at bad JSON" else 400, "malformed_json")
        if self.fault == "knows no more members" and "metadata" in body:
            return problem(400, "unknown_member")
        if self.fault in ("refuses its twin", "doubles its twin") and reference not in self.payments:
            await self.meet(reference)
            if (
                self.fault == "refuses its twin"
                and self.under_way[reference] > 1
                and not self.first(reference)
            ):
                return problem(409, "in_progress")
            if self.fault == "doubles its twin":
                return self.charge(reference, body, content)
        if body["payment_method"] == "tok_declined":
            if self.fault == "charges what it declines":
                self.charge(reference, body, content)
            return problem(400 if self.fault == "declines with 400" else 402, "card_declined")
        if reference in self.payments and self.fault != "charges again":
            if self.differs(reference, content):
                return problem(409, "reference_reused")
            return JSONResponse(self.payments[reference])
        return self.charge(reference, body, content)

    async def delete(self, reference: str, _: bytes) -> Response:
        if self.fault == "undoes once" and reference in self.closed:
            return problem(404, "not_found")
        if self.fault == "compensates only what exists" and reference not in self.payments | dict.fromkeys(
            self.closed
        ):
            return problem(404, "not_found")
        self.closed.add(reference)
        return JSONResponse({"status": "refunded" if self.payments.pop(reference, None) else "closed"})

    async def capture(self, reference: str) -> Response:
        """Take the money that is held."""
        if self.fault == "captures nothing":
            return problem(404, "not_supported")
        if reference in self.closed:
            return problem(410, "reference_closed")
        self.payments[reference]["status"] = "captured"
        return JSONResponse(self.payments[reference])

    def charge(self, reference: str, body: dict[str, Any], content: bytes) -> Response:
        self.made += 1
        self.closed.discard(reference)
        self.bodies[reference] = content
        self.payments[reference] = {
            "payment_id": "pay" if self.fault == "gives one id" else f"pay-{self.made}",
            "amount": body["amount"] + (self.fault == "charges a cent more"),
            "currency": body["currency"],
            "status": "authorized" if body["capture"] == "deferred" else "captured",
        }
        if self.fault == "leaves out its id":
            return JSONResponse({**self.payments[reference], "payment_id": None}, status_code=201)
        return JSONResponse(self.payments[reference], status_code=201)

    def differs(self, reference: str, content: bytes) -> bool:
        if self.fault == "takes another body":
            return False
        if self.fault == "minds the members' order":
            return content != self.bodies[reference]
        same: bool = json.loads(content) == json.loads(self.bodies[reference])
        return not same

    async def meet(self, reference: str) -> None:
        """Wait for a second request of the reference, where one comes."""
        self.under_way[reference] = self.under_way.get(reference, 0) + 1
        if self.under_way[reference] > 1:
            self.both.set()
        try:
            async with asyncio.timeout(0.3):
                await self.both.wait()
        except TimeoutError:
            return

    def first(self, reference: str) -> bool:
        """Whether this request is the one that continues."""
        going, self.under_way[reference] = self.under_way[reference] == 2, 99
        return going


def problem(status: int, code: str) -> Response:
    """Return problem details."""
    return JSONResponse({"status": status, "code": code}, status_code=status)
