"""How clients' connections are served, without any option: by `python -m app serve` and by `uvicorn app.main:app`."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from tests.processes import ROOT, a_checkout, an_order, free_port, the_services

OFFER = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"


def talk(url: str, head: str, body: bytes, *, half_close: bool = False) -> bytes:
    """Send a head and its body in packets of their own, and return the answer until it is whole."""
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=60) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(
            f"{head}Host: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        client.sendall(body)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        came = b""
        while chunk := client.recv(65_536):
            came += chunk
        return came


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_java_and_whoever_half_closes_can_check_out(
    tmp_path: Path, sqlite_url: str, options: tuple[str, ...]
) -> None:
    """Java's HttpClient offers h2c with its first request, and sends the body in a second packet."""
    env = {
        "DATABASE_URL": sqlite_url,
        "SANDBOX_DATABASE": str(tmp_path / "sandbox.db"),
        "CHECKOUT_MAX_HEADER_BYTES": "2000",
    }
    with a_checkout(env, tmp_path / "log", options=options) as server:
        for n in range(4):
            head = f"POST /checkout HTTP/1.1\r\nContent-Type: application/json\r\n{OFFER if n % 2 else ''}"
            body = json.dumps(an_order(f"ord-{n}")).encode()
            assert talk(server.url, head, body, half_close=n > 1).startswith(b"HTTP/1.1 201 ")
        came = talk(server.url, f"GET /livez HTTP/1.1\r\nCookie: {'c' * 2_000}\r\n", b"")
        assert came.startswith(b"HTTP/1.1 431 ")
        assert b'"code":"header_fields_too_large"' in came


def test_the_sandboxs_servers_ignore_an_upgrade_too(tmp_path: Path) -> None:
    charge = {
        "order_id": "o",
        "customer_id": "c",
        "amount": 1,
        "currency": "EUR",
        "payment_method": "tok",
        "capture": "deferred",
    }
    with the_services(tmp_path) as services:
        head = f"PUT /payments/r HTTP/1.1\r\nContent-Type: application/json\r\n{OFFER}"
        assert talk(services["payment"].url, head, json.dumps(charge).encode()).startswith(b"HTTP/1.1 201 ")


def test_a_log_that_nobody_reads_holds_nothing_up_and_what_was_dropped_is_told(
    tmp_path: Path, sqlite_url: str
) -> None:
    """The pipe is full: requests are answered, SIGTERM is heard, and once somebody reads, a line tells what is missing."""
    port, (reading, writing) = free_port(), os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    env = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CHECKOUT_", "SANDBOX_"))
        },
        "DATABASE_URL": sqlite_url,
        "SANDBOX_DATABASE": str(tmp_path / "sandbox.db"),
        "CHECKOUT_LOG_BUFFER_BYTES": "2000",
    }
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env=env, cwd=ROOT, stdout=writing, stderr=writing) as process:
        try:
            os.close(writing)
            came = b""
            while b"Uvicorn running on" not in came:
                came += os.read(reading, 65_536)
            for _ in range(100):
                assert (
                    httpx.get(f"{url}/sagas?limit=1", timeout=60, trust_env=False, verify=False).status_code
                    == 200
                )
            metrics = httpx.get(f"{url}/metrics", timeout=60, trust_env=False, verify=False).text
            (dropped,) = re.findall(r"^checkout_log_lines_dropped_total ([0-9.]+)$", metrics, re.MULTILINE)
            assert float(dropped) > 20
            came = b""
            while b"log_lines_dropped" not in came:
                came += os.read(reading, 65_536)
            for _ in range(100):
                httpx.get(f"{url}/sagas?limit=1", timeout=60, trust_env=False, verify=False)
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
            os.close(reading)
