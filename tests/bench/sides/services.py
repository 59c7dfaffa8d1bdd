"""A stand-in for the three services: the least work over HTTP that a fault-free checkout can't tell from them.

`python -m tests.bench.sides.services --port 9001` answers PUT and DELETE of all three services as
app/gateway/contract/services.yaml has it for requests that come once. It remembers nothing: whatever was sent is taken
as new, and what a reference is given follows from the reference. Anything else is answered 501.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import uvloop

from app.services import Participant
from tests.processes import Running, free_port, running

UNDELIVERABLE = b'"country":"XX"'
"""As the gateway writes it: where the sandbox's carrier delivers nothing either."""

_UNDONE = {
    b"payments": b'{"status":"refunded"}',
    b"reservations": b'{"status":"released"}',
    b"shipments": b'{"status":"cancelled"}',
}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_REFUSAL = b'{"title":"Unprocessable Content","status":422,"code":"address_unserviceable"}'
_UNKNOWN = b'{"title":"Not Implemented","status":501,"code":"not_implemented"}'


def answered(method: bytes, path: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Return the status line's end and the document that answer a request."""
    _, _, resource = path.partition(b"/")
    kind, _, reference = resource.partition(b"/")
    if path == b"/livez":
        return b"200 OK", b"{}"
    if method == b"DELETE" and kind in _UNDONE:
        return b"200 OK", _UNDONE[kind]
    if method == b"PUT" and b"/" not in reference:
        if kind == b"payments":
            return b"201 Created", _payment(reference, body)
        if kind == b"reservations":
            return b"201 Created", b'{"reservation_id":"res-%b","status":"reserved"}' % reference
        if kind == b"shipments" and UNDELIVERABLE not in body:
            return b"201 Created", b'{"shipment_id":"shp-%b","status":"booked"}' % reference
        if kind == b"shipments":
            return b"422 Unprocessable Content", _REFUSAL
    return b"501 Not Implemented", _UNKNOWN


def _payment(reference: bytes, body: bytes) -> bytes:
    asked = json.loads(body)
    status = "captured" if asked["capture"] == "immediate" else "authorized"
    payment = {"payment_id": f"pay-{reference.decode()}", "status": status}
    return json.dumps({**payment, "amount": asked["amount"], "currency": asked["currency"]}).encode()


class Connection(asyncio.Protocol):
    """One kept-alive connection. Requests must name their length, as the gateway's do."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (head_ends := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:head_ends]
            length = _LENGTH.search(head)
            body_ends = head_ends + 4 + (int(length[1]) if length else 0)
            if len(self._received) < body_ends:
                return
            body = self._received[head_ends + 4 : body_ends]
            self._received = self._received[body_ends:]
            method, path, _ = head.split(b" ", 2)
            self._answer(*answered(method, path, body))

    def _answer(self, status: bytes, document: bytes) -> None:
        kind = b"application/json" if status.startswith(b"2") else b"application/problem+json"
        head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (
            status,
            kind,
            len(document),
        )
        self._transport.write(head + document)


@contextlib.contextmanager
def stand_in() -> Iterator[Running]:
    """Run it as a process of its own until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.sides.services", "--port", str(port)]
    with (
        tempfile.TemporaryDirectory() as folder,
        running(command, port=port, env={}, log=Path(folder) / "log", ready="/livez") as server,
    ):
        yield server


def urls(server: Running) -> dict[str, str]:
    """Return the environment that has a checkout call it for all three services."""
    return {f"{service.upper()}_URL": server.url for service in Participant}


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Read where to listen, and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
