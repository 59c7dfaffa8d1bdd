"""The sandbox's books in the memory of each of a server's workers, the same in all of them.

Any worker may continue any saga, so what one has done must be known to all. What a request writes is appended to a
file of the server's; before its next request a worker reads what the others have appended.

    lock the file ─▶ read the others' writes ─▶ carry the request out in memory ─▶ append its writes ─▶ unlock

Nothing waits for the disk: the file need only outlive a worker, not the server. What a worker that was killed has
half appended was never answered, and is cut off. A file that has grown long is replaced by the state that it led to.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import pickle
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from app.gateway.port import GatewayVerb, JsonObject, Participant
from app.sandbox.request import Request, Verb
from app.sandbox.stores.memory_store import MemoryStore
from app.sandbox.stores.store import Entry, Store

T = TypeVar("T")

MOST_BYTES = 67_108_864
"""Of the file, before it is replaced: 60,000 checkouts or so."""

_HEAD = struct.Struct("<IB")
_WRITES, _STATE = 0, 1


class SharedStore(MemoryStore):
    """A `MemoryStore` that all workers have alike, except for what happened (`records`): each knows its own."""

    def __init__(
        self, path: str, services: Iterable[Participant], *, limit: int, most_bytes: int = MOST_BYTES
    ) -> None:
        super().__init__(services, limit=limit)
        self._path = Path(path)
        self._most_bytes = most_bytes
        self._writes: list[tuple[Any, ...]] = []
        self._open()

    def run(self, work: Callable[[Store], T]) -> T:
        """Return what `work` does, which the other workers know from then on."""
        with self._locked():
            self._read_on()
            try:
                return work(self)
            finally:
                if self._writes:
                    self._append(_WRITES, marshal.dumps(self._writes))
                    self._writes = []
                    if self._read > self._most_bytes:
                        self._replace()

    def close_file(self) -> None:
        """Close the file; the books are gone from this process."""
        os.close(self._file)

    def make(self, request: Request, document: JsonObject) -> None:
        super().make(request, document)
        self._writes.append(("make", request.service.value, request.reference, request.packed, document))

    def change(self, request: Request, document: JsonObject) -> None:
        super().change(request, document)
        self._writes.append(("change", request.service.value, request.reference, document))

    def close(self, request: Request, compensated: str) -> None:
        super().close(request, compensated)
        self._writes.append(("close", request.service.value, request.reference, compensated))

    def enter(self, service: Participant, reference: str, *entries: Entry) -> None:
        super().enter(service, reference, *entries)
        self._writes.append(("enter", service.value, reference, entries))

    def set_available(self, sku: str, quantity: int) -> None:
        super().set_available(sku, quantity)
        self._writes.append(("set_available", sku, quantity))

    def count_fault(self, request: Request, action: GatewayVerb) -> int:
        self._writes.append(("count_fault", request.service.value, request.reference, action.value))
        return super().count_fault(request, action)

    def _repeat(self, kind: str, *said: Any) -> None:
        """Write what another worker has written."""
        match kind, said:
            case "make", (service, reference, packed, document):
                super().make(_elsewhere(service, reference, packed), document)
            case "change", (service, reference, document):
                super().change(_elsewhere(service, reference), document)
            case "close", (service, reference, compensated):
                super().close(_elsewhere(service, reference), compensated)
            case "enter", (service, reference, entries):
                super().enter(Participant(service), reference, *entries)
            case "set_available", (sku, quantity):
                super().set_available(sku, quantity)
            case "count_fault", (service, reference, action):
                super().count_fault(_elsewhere(service, reference), GatewayVerb(action))

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._read = 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the file that all workers write at present; a worker that dies holds it no longer."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        while os.fstat(self._file).st_nlink == 0:  # another has replaced it
            os.close(self._file)
            self._open()
            fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _read_on(self) -> None:
        size = os.fstat(self._file).st_size
        if size == self._read:
            return
        found = memoryview(os.pread(self._file, size - self._read, self._read))
        while len(found) >= _HEAD.size:
            length, kind = _HEAD.unpack_from(found)
            end = _HEAD.size + length
            if len(found) < end:
                break
            self._take(kind, found[_HEAD.size : end])
            found = found[end:]
            self._read += end
        if found:
            os.ftruncate(self._file, self._read)

    def _take(self, kind: int, said: memoryview) -> None:
        if kind == _STATE:
            state = pickle.loads(said)  # noqa: S301 (our own bytes, from a folder of our own)
            self._unsettled, self._settled, self._available, self._faults = state
            return
        for one in marshal.loads(said):  # noqa: S302 (as above)
            self._repeat(*one)

    def _append(self, kind: int, said: bytes) -> None:
        self._read += os.write(self._file, _HEAD.pack(len(said), kind) + said)

    def _replace(self) -> None:
        """Begin a new file with the state; whoever waits for the old one finds that it is gone."""
        state = pickle.dumps((self._unsettled, self._settled, self._available, self._faults), protocol=5)
        new = self._path.with_suffix(".new")
        new.write_bytes(_HEAD.pack(len(state), _STATE) + state)
        new.replace(self._path)
        os.close(self._file)
        self._open()
        self._read = _HEAD.size + len(state)
        fcntl.flock(self._file, fcntl.LOCK_EX)


def _elsewhere(service: str, reference: str, packed: bytes = b"") -> Request:
    """Return what is known here of a request that another worker has carried out."""
    request = Request(service=Participant(service), verb=Verb.PUT, reference=reference)
    request.__dict__["packed"] = packed
    return request
