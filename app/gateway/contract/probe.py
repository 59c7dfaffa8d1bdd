"""One service, asked as the checkout asks it, one request at a time."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import httpx2 as httpx

from app.gateway.answer import Answer
from app.gateway.http_answer import read
from app.gateway.port import Call, GatewayVerb, JsonObject, Participant

SETTLING_SECONDS = 5.0
"""How long a request whose caller hung up may still be at work before the case continues."""


class NotConforming(Exception):
    """The service broke the contract; the message says how, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the cases order. Use values that the service takes, and none that a customer pays for.

    `amount` is in minor units of `currency`. `declined`, `out_of_stock` and `unserviceable` are a payment
    method, a sku and a country that the service refuses; a case that needs one which is None is left out.
    """

    payment_method: str = "tok_visa"
    amount: int = 3998
    currency: str = "EUR"
    sku: str = "TSHIRT-M"
    country: str = "FR"
    declined: str | None = None
    out_of_stock: str | None = None
    unserviceable: str | None = None

    def body(self, service: Participant) -> JsonObject:
        """Return a body for PUT as the checkout sends it."""
        line: JsonObject = {"sku": self.sku, "quantity": 2}
        match service:
            case Participant.PAYMENT:
                return {
                    "order_id": "conformance",
                    "customer_id": "conformance",
                    "amount": self.amount,
                    "currency": self.currency,
                    "payment_method": self.payment_method,
                    "capture": "immediate",
                }
            case Participant.INVENTORY:
                return {"order_id": "conformance", "items": [line]}
            case Participant.SHIPPING:
                address: JsonObject = {
                    "name": "Ada L.",
                    "line1": "1 Main St",
                    "city": "Paris",
                    "postal_code": "75001",
                    "country": self.country,
                }
                return {"order_id": "conformance", "items": [line], "address": address}


class Probe:
    """Sends requests to one service and remembers each reference it used, so that all can be compensated.

    A request is sent once: nothing is repeated, no redirect is followed. Methods raise `NotConforming`
    where no HTTP answer came within `timeout` seconds.
    """

    def __init__(
        self,
        client: httpx.Client,
        base_url: str,
        service: Participant,
        sample: Sample,
        *,
        timeout: float,
        new_reference: Callable[[], str],
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self.sample = sample
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._new_reference = new_reference
        self._sleep = sleep
        self._now = now
        self.used: list[str] = []

    def reference(self, text: str | None = None) -> str:
        """Return a reference that was never used, or remember the one that is given."""
        self.used.append(text or self._new_reference())
        return self.used[-1]

    def body(self, **changes: object) -> JsonObject:
        """Return the body of a PUT, with changes."""
        return {**self.sample.body(self.service), **changes}

    def put(self, reference: str, body: JsonObject | None = None) -> Answer:
        """Ask for the work."""
        return self._send("PUT", reference, GatewayVerb.EXECUTE, self.body() if body is None else body)

    def put_raw(self, reference: str, content: bytes) -> Answer:
        """Ask for the work with a body that may be no JSON."""
        return self._send("PUT", reference, GatewayVerb.EXECUTE, content)

    def delete(self, reference: str) -> Answer:
        """Send a DELETE: compensate the work."""
        return self._send("DELETE", reference, GatewayVerb.COMPENSATE)

    def get(self, reference: str) -> Answer:
        """Send a GET: read the resource."""
        return self._send("GET", reference, GatewayVerb.EXECUTE)

    def capture(self, reference: str) -> Answer:
        """Ask for a deferred payment's money."""
        return self._send("PUT", reference, GatewayVerb.CONFIRM, below="/capture")

    def together(self, *asked: Callable[[], Answer]) -> list[Answer]:
        """Send several requests at the same time; return their answers in the order given."""
        with ThreadPoolExecutor(len(asked)) as pool:
            return [sent.result() for sent in [pool.submit(one) for one in asked]]

    def put_and_hang_up(self, reference: str) -> None:
        """Send a PUT and close the connection before its answer, as a caller that dies does."""
        url = urlsplit(self._url(reference))
        if url.scheme == "https":
            context = ssl.create_default_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                url.netloc, timeout=self._timeout, context=context
            )
        else:
            connection = http.client.HTTPConnection(url.netloc, timeout=self._timeout)
        headers = {**self._headers(reference, GatewayVerb.EXECUTE), "content-type": "application/json"}
        if authorization := self._client.headers.get("authorization"):
            headers["authorization"] = authorization
        try:
            connection.request("PUT", url.path, json.dumps(self.body()).encode(), headers)
        except (OSError, http.client.HTTPException) as error:
            raise NotConforming(f"PUT could not be sent: {error!r}.") from None
        finally:
            connection.close()

    def tries(self) -> Iterator[None]:
        """Go round, with a pause between, for as long as a request may still be at work."""
        until = self._now() + SETTLING_SECONDS
        yield
        while self._now() < until:
            self._sleep(0.1)
            yield

    def _url(self, reference: str, below: str = "") -> str:
        return f"{self._base_url}/{self.service.resource}/{quote(reference, safe='')}{below}"

    def _headers(self, reference: str, action: GatewayVerb) -> dict[str, str]:
        key = Call.to(self.service, action, reference=reference).idempotency_key
        return {"idempotency-key": key, "accept": "application/json", "accept-encoding": "identity"}

    def _send(
        self,
        method: str,
        reference: str,
        action: GatewayVerb,
        body: JsonObject | bytes | None = None,
        *,
        below: str = "",
    ) -> Answer:
        headers: dict[str, str] = self._headers(reference, action)
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if content is not None:
            headers["content-type"] = "application/json"
        try:
            response = self._client.request(
                method, self._url(reference, below), content=content, headers=headers
            )
        except httpx.HTTPError as error:
            raise NotConforming(
                f"{method} was not answered ({type(error).__name__}): the checkout would count it as unknown."
            ) from None
        fields: Mapping[str, str] = response.headers
        return read(response.status_code, fields, response.content, now=datetime.now(UTC))
