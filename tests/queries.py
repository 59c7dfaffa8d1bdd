"""`SagaQueries` over a log that loads one saga at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

from app.saga.model.status import INACTIVE
from app.saga.ports.log import ReadSaga, SagaLog, load
from app.saga.ports.queries import Kept, SagaFilter, nothing_kept

T = TypeVar("T")


class QueriesOfLog:
    """Reads sagas as the log loads them. Nobody lists any here."""

    def __init__(self, log: SagaLog) -> None:
        self._log = log

    async def find(self, saga_id: str, *, kept: Kept[T] = nothing_kept) -> ReadSaga | T | None:  # noqa: ARG002 (a log keeps nothing)
        return await load(self._log, saga_id)

    async def list_sagas(
        self, wanted: SagaFilter, *, before: str | None, limit: int, kept: Kept[T] = nothing_kept
    ) -> Sequence[ReadSaga | T]:
        raise NotImplementedError((wanted, before, limit, kept))

    async def inactive(self, saga_ids: Collection[str]) -> set[str]:
        found = [await load(self._log, saga_id) for saga_id in saga_ids]
        return {one.saga.id for one in found if one is not None and one.status in INACTIVE}
