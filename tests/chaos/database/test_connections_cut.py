"""PostgreSQL's connections are cut under load, in whatever they are doing, COMMIT included."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import asyncpg
from pydantic import SecretStr

from app.bootstrap.service import open_service
from app.cli.demo import an_order
from app.operations.reading import SagaReader
from app.operations.saga_view import SagaView
from app.operations.starting import SagaStarter
from app.saga.model.errors import LogUnavailable
from app.saga.model.status import SagaStatus
from app.sandbox import Ledger
from app.settings.settings import Settings

ORDERS = 150
CUTS = 12
CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def _started(starter: SagaStarter, number: int) -> str:
    """Check out as a client does that repeats its request, under its key, until it is answered."""
    key = f"key-{number}"
    while True:
        try:
            started = await starter.start(an_order(number, "cut"), idempotency_key=key, fingerprint=key)
        except LogUnavailable:
            await asyncio.sleep(0)
        else:
            return started.saga_id


async def _finished(reader: SagaReader, saga_id: str) -> SagaView:
    while True:
        try:
            view = await reader.wait(saga_id, seconds=60)
        except LogUnavailable:
            continue
        assert view is not None, "an acknowledged saga is gone"
        assert view.inactive, "a saga is stuck"
        return view


async def test_cut_connections_lose_nothing_and_double_nothing(postgres_url: str, tmp_path: Path) -> None:
    """Every order ends, once, and the services' books say the same as the sagas."""
    books = str(tmp_path / "sandbox.db")
    settings = Settings(
        database_url=SecretStr(postgres_url),
        sandbox_database=books,
        sandbox_failure_rate=0.2,
        sandbox_seed=1,
        retry_base_seconds=0.001,
        retry_cap_seconds=0.01,
        lease_seconds=2,
        recovery_poll_seconds=0.1,
        log_level="error",
    )
    cut = 0

    async with open_service(settings) as service:

        async def cutter() -> None:
            nonlocal cut
            connection = await asyncpg.connect(postgres_url)
            for _ in range(CUTS):
                before = len(done)
                cut += await connection.fetchval(CUT)
                while len(done) < min(before + ORDERS // CUTS // 2, ORDERS):  # noqa: ASYNC110 (progress is what counts, not the clock)
                    await asyncio.sleep(0.001)
            await connection.close()

        done: list[SagaView] = []

        async def order(number: int) -> None:
            done.append(await _finished(service.reader, await _started(service.starter, number)))

        places = asyncio.Semaphore(16)

        async def in_turn(number: int) -> None:
            async with places:
                await order(number)

        await asyncio.gather(cutter(), *(in_turn(number) for number in range(ORDERS)))

    assert cut >= CUTS, "no connection was cut: the run proves nothing"
    assert len({view.saga.id for view in done}) == ORDERS
    statuses = Counter(view.state.status for view in done)
    assert set(statuses) == {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}, statuses
    ledger = Ledger(books)
    try:
        states = Counter(one.reference for one in await ledger.states() if any(one.effect.values()))
    finally:
        await ledger.aclose()
    completed = {view.saga.id: 3 for view in done if view.state.status is SagaStatus.COMPLETED}
    assert states == completed
