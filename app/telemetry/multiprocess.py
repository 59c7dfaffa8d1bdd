"""One /metrics for all workers of a server: a scrape reaches any of them, and a counter must never go down.

With `uvicorn --workers N` each process counts for itself, and a scrape would show only the one that it reached. The
library's multi-process mode keeps the counts of all in files of one folder, from which each scrape sums them. It
chooses that mode by `PROMETHEUS_MULTIPROC_DIR`, for which nobody should have to prepare a folder and empty it
before each start: if uvicorn has started this process as one of its workers, the folder is named by the server.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import struct
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, multiprocess, values

from app.server.workers_folder import lives, workers_folder

_logger = logging.getLogger(__name__)
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
READS = 20
"""How often a scrape reads files that are being written, before it fails."""

_GAUGE_FILE = re.compile(r"gauge_live[a-z]+_([0-9]+)\.db")


def share_metrics() -> Path | None:
    """Count in one folder with this server's other workers, if there are any; call it before anything is counted.

    Return the folder, or None where each process counts for itself. The counts of workers that have ended are kept
    for as long as the server lives.
    """
    if given := os.environ.get(VARIABLE):
        return Path(given)
    try:
        folder = workers_folder("metrics")
    except OSError as error:
        _logger.warning(
            "metrics_not_shared",
            extra={"error": str(error), "hint": "Each worker exposes metrics of its own."},
        )
        return None
    if folder is None:
        return None
    os.environ[VARIABLE] = str(folder)
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]  # as at import, had it been set then
    return folder


def sum_of_workers(registry: CollectorRegistry, folder: Path) -> None:
    """Have a registry collect what all workers counted in their folder."""
    _WorkersCollector(registry, str(folder))


class _WorkersCollector(multiprocess.MultiProcessCollector):
    """Reads the workers' files while they write.

    A worker makes an empty file and fills it afterwards: one that is empty has counted nothing, also where its
    worker was killed in between. One that is read in the middle of a write is read again.
    """

    def __init__(self, registry: CollectorRegistry, folder: str) -> None:
        super().__init__(registry, folder)  # type: ignore[no-untyped-call]
        self._folder = Path(folder)

    def collect(self) -> Iterable[Metric]:
        for _ in range(READS - 1):
            with contextlib.suppress(RuntimeError, ValueError, struct.error, FileNotFoundError):
                return self._read()
        return self._read()

    def _read(self) -> Iterable[Metric]:
        files = [str(path) for path in self._folder.glob("*.db") if path.stat().st_size]
        found: Iterable[Metric] = self.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
        return found


def forget_ended_workers(folder: Path) -> None:
    """Remove the gauges of workers that have ended, such as their sagas in flight."""
    workers = {int(match[1]) for path in folder.iterdir() if (match := _GAUGE_FILE.fullmatch(path.name))}
    for pid in workers:
        if not lives(pid):
            multiprocess.mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
