"""Sagas as the bytes that are answered, with their tags. A finished one is rendered once.

What is kept of a finished saga is answered only while its row is as it was then: whatever changes such a saga, redaction
or deletion, changes its row in the same transaction, at whichever replica. So each answer reads that one row.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from app.access.principal import Principal
from app.api.http.headers.etag import etag_of
from app.api.http.json_encoding import encode
from app.api.schemas.saga_json import saga_json
from app.operations.reading import SagaReader
from app.operations.saga_view import SagaView
from app.saga.model.status import SagaStatus
from app.saga.ports.queries import SagaFilter

MAX_KEPT_BYTES = 16 * 1024 * 1024
"""How much is kept of what was rendered: some five thousand sagas."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedSaga:
    """A saga's body and its tag, whose version is the length of the trail."""

    id: str
    caller: str
    status: SagaStatus
    content: bytes
    etag: str


class RenderedSagas:
    """Renders sagas, and keeps those that are finished, the ones that were asked for last."""

    def __init__(self, *, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, tuple[object, RenderedSaga]] = OrderedDict()
        self._bytes = 0

    async def find(self, reader: SagaReader, saga_id: str, *, caller: Principal) -> RenderedSaga | None:
        """Return a saga as it is durable now; None where there is none, or it is another tenant's. Raise `LogUnavailable`."""
        found = await reader.find(saga_id, kept=self._look_up)
        if found is None:
            self._drop(saga_id)
            return None
        one = self._rendered(found)
        return one if caller.can_see(one.caller) else None

    async def page(
        self, reader: SagaReader, wanted: SagaFilter, *, before: str | None, limit: int
    ) -> Sequence[RenderedSaga]:
        """Return at most `limit` sagas with an id below `before`, newest first. Raise `LogUnavailable`."""
        found = await reader.list_sagas(wanted, before=before, limit=limit, kept=self._look_up)
        return [self._rendered(one) for one in found]

    def of(self, view: SagaView) -> RenderedSaga:
        """Return a saga that was read, rendered."""
        content = encode(saga_json(view))
        saga, state = view.saga, view.state
        one = RenderedSaga(
            id=saga.id,
            caller=saga.caller,
            status=state.status,
            content=content,
            etag=etag_of(content, state.seq),
        )
        if view.stamp is not None:
            self._keep(view.stamp, one)
        return one

    def _rendered(self, found: SagaView | RenderedSaga) -> RenderedSaga:
        return self.of(found) if isinstance(found, SagaView) else found

    def _look_up(self, saga_id: str, stamp: object) -> RenderedSaga | None:
        known, one = self._kept.get(saga_id, (None, None))
        if one is None or known != stamp:
            return None
        self._kept.move_to_end(saga_id)
        return one

    def _keep(self, stamp: object, one: RenderedSaga) -> None:
        self._drop(one.id)
        self._kept[one.id] = (stamp, one)
        self._bytes += len(one.content)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, saga_id: str) -> None:
        if (dropped := self._kept.pop(saga_id, None)) is not None:
            self._bytes -= len(dropped[1].content)


def rendered_of(request: Request) -> RenderedSagas:
    """Return the application's rendered sagas."""
    rendered: RenderedSagas = request.app.state.rendered
    return rendered
