"""Watchers over the death of a replica, the short way; `python -m tests.chaos.processes.subscribers` is the long one."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.processes.subscribers import Load, run, two_replicas


async def test_no_watcher_misses_an_event_over_a_kill(postgres_url: str, tmp_path: Path) -> None:
    """Each saw every seq of its saga once and in order, at one replica or two."""
    load = Load(watchers=50, per_second=10, seconds=6.0, step_seconds=0.5)
    with two_replicas(postgres_url, tmp_path, load.step_seconds) as replicas:
        seen = await run(replicas, load)
    assert seen.wrong == []
    assert seen.sagas == 60
    assert seen.followed >= seen.sagas
    assert seen.reconnects > 0
