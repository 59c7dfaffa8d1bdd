"""Where the sandbox keeps its books."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.bootstrap.gateways import open_gateways
from app.gateway.port import Call, GatewayVerb, Participant
from app.settings.settings import Settings

CHARGE = {
    "order_id": "o",
    "customer_id": "c",
    "amount": 3998,
    "currency": "EUR",
    "payment_method": "tok_visa",
    "capture": "immediate",
}
EXECUTE = Call.to(Participant.PAYMENT, GatewayVerb.EXECUTE, reference="r")
COMPENSATE = Call.to(Participant.PAYMENT, GatewayVerb.COMPENSATE, reference="r")


async def refunded_by_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Charge through one process's gateways, compensate through another's; return what that one says."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder))
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(open_gateways(Settings())) for _ in range(2)]
        await one[Participant.PAYMENT].put(EXECUTE, CHARGE)
        status = (await other[Participant.PAYMENT].delete(COMPENSATE))["status"]
        assert isinstance(status, str)
        return status


async def test_books_are_in_memory_unless_a_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SANDBOX_DATABASE", raising=False)
    assert await refunded_by_another(tmp_path, monkeypatch) == "closed"
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 (nobody waits)


async def test_processes_with_one_file_have_the_same_books(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDBOX_DATABASE", "books.db")
    assert await refunded_by_another(tmp_path, monkeypatch) == "refunded"


async def test_the_workers_of_a_server_have_the_same_books_which_are_gone_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator's retry may continue a saga on another worker than the one that charged."""
    monkeypatch.delenv("SANDBOX_DATABASE", raising=False)
    server = SimpleNamespace(pid=os.getpid())
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: server)
    ended = tmp_path / f"checkout-sandbox-{os.getuid()}-0-1"
    ended.mkdir()
    assert await refunded_by_another(tmp_path, monkeypatch) == "refunded"
    assert not ended.exists()
