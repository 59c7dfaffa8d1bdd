"""Services that do their work and reset the connection, at each call, over connections that are kept alive.

A client library that repeats a request by itself hides what such a service has done: within one attempt it is
asked a second time, and where that is refused the work stays done. So every request that the services got must be
an attempt in a trail, and nothing may stay charged.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.chaos.recording_client import RecordingClient, saga_id_in
from tests.processes import a_checkout, an_order

ORDERS = 80
REQUESTS = 620  # 20 orders of each manner: 6, 4, 12 and 9 requests
AT_ONCE = 8
SETTLED_SECONDS = 60.0
UNDO_ATTEMPTS = 5
ENV = {
    "CHECKOUT_RETRY_BASE_SECONDS": "0.01",
    "CHECKOUT_RETRY_CAP_SECONDS": "0.05",
    "CHECKOUT_COMPENSATION_MAX_ATTEMPTS": str(UNDO_ATTEMPTS),
    "CHECKOUT_LOG_LEVEL": "warning",
}
RESOURCES = {"payment": "payments", "inventory": "reservations", "shipping": "shipments"}
FORWARD = {"step_succeeded", "step_retried", "step_failed", "step_unknown"}
BACKWARD = {"step_compensated", "compensation_retried", "compensation_failed"}


class Manner(StrEnum):
    """What a service does with an order's requests, besides the work; a reset comes after the work is done."""

    ANSWERS_THEN = "the first request is reset, the second answered"
    REFUSES_THEN = "payment: the first is reset, and the second refused, though the charge is in effect"
    NO_ADDRESS = "shipping: the first is reset, and the second refused, though the parcel is booked"
    NEVER_ANSWERS = "payment: every request is reset"


MANNERS = list(Manner)
ENDS = {
    Manner.ANSWERS_THEN: "completed",
    Manner.REFUSES_THEN: "compensated",
    Manner.NO_ADDRESS: "compensated",
    Manner.NEVER_ANSWERS: "needs_attention",
}
DONE: dict[str, dict[str, Any]] = {
    "payments": {"payment_id": "p", "status": "captured", "amount": 3998, "currency": "EUR"},
    "reservations": {"reservation_id": "r", "status": "reserved"},
    "shipments": {"shipment_id": "s", "status": "booked"},
}


class Services:
    """The three services behind one port: what is in effect, and every request that came."""

    def __init__(self) -> None:
        self.standing: set[tuple[str, str]] = set()
        self.came: Counter[tuple[str, str, str]] = Counter()
        self.reset_when_kept_alive = 0
        self._orders: dict[str, str] = {}
        self._lock = threading.Lock()

    def ask(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Do the work and return the answer; None where the connection is to be reset instead."""
        resource, reference = path.strip("/").split("/")
        with self._lock:
            order_id = self._orders.setdefault(reference, str(body.get("order_id")))
            manner = MANNERS[int(order_id.rpartition("-")[2]) % len(MANNERS)]
            self.came[reference, resource, method] += 1
            again = self.came[reference, resource, method] > 1
            if method == "PUT":
                self.standing.add((resource, reference))
            else:
                self.standing.discard((resource, reference))
        if not again or (manner is Manner.NEVER_ANSWERS and resource == "payments"):
            return None
        if method == "DELETE":
            return 200, {"status": "closed"}
        if manner is Manner.REFUSES_THEN and resource == "payments":
            return 402, {"code": "card_declined"}
        if manner is Manner.NO_ADDRESS and resource == "shipments":
            return 422, {"code": "address_unserviceable"}
        return 200, DONE[resource]


@contextmanager
def serving(services: Services) -> Iterator[str]:
    """Serve them on loopback; give the base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # so a connection is kept alive
        disable_nagle_algorithm = True
        requests = 0

        def answer(self) -> None:
            self.requests += 1
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            answer = services.ask(self.command, self.path, body)
            if answer is None:
                services.reset_when_kept_alive += self.requests > 1
                self.close_connection = True
                # Lingering for no time at all is what sends a reset in place of a farewell.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            status, document = answer
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_PUT = do_DELETE = do_GET = answer  # noqa: N815 (the library calls them so)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def shutdown_request(self, request: Any) -> None:
            """Close at once: the usual farewell first would make the reset an orderly end."""
            self.close_request(request)

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _sent(saga: dict[str, Any], step: str, words: set[str]) -> int:
    """Return how many attempts the trail has; they are numbered without a gap."""
    attempts = [
        event["attempt"] for event in saga["trail"] if event.get("step") == step and event["event"] in words
    ]
    assert attempts == list(range(1, len(attempts) + 1))
    return len(attempts)


def test_a_reset_after_the_effect_leaves_nothing_charged_and_no_request_out_of_the_trail(
    database_url: str, tmp_path: Path
) -> None:
    """Whatever is answered to the second request: it is the second attempt, and the first one's outcome is unknown."""
    client, services = RecordingClient(), Services()
    with serving(services) as url:
        env = {"DATABASE_URL": database_url, **ENV}
        env |= {f"{name.upper()}_URL": url for name in RESOURCES}
        with a_checkout(env, tmp_path / "checkout.log") as server:

            def placed(number: int) -> str:
                answer = client.placed(
                    server, an_order(f"ord-{number}"), f"key-{number}", {"Prefer": "respond-async"}
                )
                return saga_id_in(answer)

            with ThreadPoolExecutor(AT_ONCE) as pool:
                ids = list(pool.map(placed, range(ORDERS)))
            sagas = client.settled(server, ids, seconds=SETTLED_SECONDS)

    assert services.reset_when_kept_alive >= ORDERS, "hardly a reset hit a connection that was kept alive"
    ended = {
        saga["id"]: ENDS[MANNERS[int(saga["order_id"].rpartition("-")[2]) % len(MANNERS)]] for saga in sagas
    }
    assert {saga["id"]: saga["status"] for saga in sagas} == ended
    trail = Counter(
        {
            (saga["id"], resource, method): sent
            for saga in sagas
            for step, resource in RESOURCES.items()
            for method, words in (("PUT", FORWARD), ("DELETE", BACKWARD))
            if (sent := _sent(saga, step, words))
        }
    )
    assert trail == services.came
    assert services.came.total() == REQUESTS
    completed = {saga["id"] for saga in sagas if saga["status"] == "completed"}
    assert services.standing == {(resource, one) for one in completed for resource in RESOURCES.values()}
