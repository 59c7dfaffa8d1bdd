"""What the chaos tests rest on: readers that ask again before they judge, and logs that are kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from tests.chaos.conftest import kept
from tests.chaos.recording_client import RecordingClient
from tests.chaos.storm.clients import Clients
from tests.chaos.storm.processes import replica_process
from tests.processes import Running

SAGA = {"id": "s", "status": "completed", "trail": []}
AWAY = {"code": "storage_unavailable", "status": 503}


@pytest.fixture
def away_twice(httpserver: HTTPServer) -> HTTPServer:
    """Give a replica that shows a saga at the third time."""
    for _ in range(2):
        httpserver.expect_ordered_request("/sagas/s").respond_with_json(AWAY, status=503)
    httpserver.expect_ordered_request("/sagas/s").respond_with_json(SAGA)
    return httpserver


def _running(server: HTTPServer, directory: Path) -> Running:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return Running(process=ended, url=server.url_for("").rstrip("/"), log=directory / "log")


def _clients(server: HTTPServer, directory: Path, *, give_up_seconds: float) -> Clients:
    replica = replica_process("replica", {}, directory, server.port, lambda: None)
    return Clients([replica], seed=1, give_up_seconds=give_up_seconds)


def test_a_client_asks_again_after_a_503(away_twice: HTTPServer, tmp_path: Path) -> None:
    client = RecordingClient()
    assert client.found(_running(away_twice, tmp_path), "/sagas/s") == SAGA
    assert [answer.status for answer in client.answers] == [503, 503, 200]


def test_a_client_takes_any_other_answer_for_the_verdict(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/sagas/s").respond_with_json({"code": "saga_not_found"}, status=404)
    with pytest.raises(AssertionError, match="404"):
        RecordingClient().found(_running(httpserver, tmp_path), "/sagas/s")


async def test_a_storm_asks_again_before_it_counts_a_saga_as_lost(
    away_twice: HTTPServer, tmp_path: Path
) -> None:
    clients = _clients(away_twice, tmp_path, give_up_seconds=60)
    async with clients.connected():
        assert await clients.found("s", 0) == SAGA
    assert not clients.unexpected


async def test_a_storm_counts_a_saga_as_lost_that_no_replica_shows_in_time(
    httpserver: HTTPServer, tmp_path: Path
) -> None:
    httpserver.expect_request("/sagas/s").respond_with_json(AWAY, status=503)
    clients = _clients(httpserver, tmp_path, give_up_seconds=0)
    async with clients.connected():
        assert await clients.found("s", 0) is None
    assert list(clients.unexpected) == ["GET /sagas/s: 503"]


def test_what_a_failed_test_left_is_kept(tmp_path: Path) -> None:
    """In a directory of its own, also where a test fails twice."""
    left = tmp_path / "left"
    left.mkdir()
    (left / "replica-0.log").write_text("why")
    copies = [kept(left, f"test_storm[{name}]", tmp_path / "kept") for name in ("sqlite", "postgresql")]
    assert [(copy / "replica-0.log").read_text() for copy in copies] == ["why", "why"]
    assert len(set(copies)) == 2
