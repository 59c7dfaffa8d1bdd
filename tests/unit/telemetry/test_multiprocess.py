"""One scrape over the files of several workers."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from app.telemetry.multiprocess import sum_of_workers


def a_worker_counts(folder: Path, pid: int, count: float) -> Path:
    """Write what a worker with a counter `things` has written."""
    path = folder / f"counter_{pid}.db"
    file = MmapedDict(str(path))  # type: ignore[no-untyped-call]
    file.write_value(mmap_key("things", "things_total", [], [], "Things."), count, 0.0)  # type: ignore[no-untyped-call]
    file.close()  # type: ignore[no-untyped-call]
    return path


def scraped(folder: Path) -> str:
    registry = CollectorRegistry()
    sum_of_workers(registry, folder)
    return generate_latest(registry).decode()


def test_a_worker_whose_file_is_empty_still_has_counted_nothing(tmp_path: Path) -> None:
    """It has just made it; or was killed before it could write."""
    a_worker_counts(tmp_path, 1, 2.0)
    (tmp_path / "counter_2.db").touch()
    assert "things_total 2.0" in scraped(tmp_path)


def test_a_file_that_is_read_in_the_middle_of_a_write_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_worker_counts(tmp_path, 1, 2.0)
    path = a_worker_counts(tmp_path, 2, 3.0)
    whole, reads = path.read_bytes(), []
    path.write_bytes(whole[:8] + struct.pack("i", 1 << 20) + whole[12:])

    def read(folder: Path, pattern: str, real: object = Path.glob) -> object:
        reads.append(pattern)
        if len(reads) == 2:
            path.write_bytes(whole)
        return real(folder, pattern)  # type: ignore[operator]

    monkeypatch.setattr(Path, "glob", read)
    assert "things_total 5.0" in scraped(tmp_path)
    assert len(reads) == 2
