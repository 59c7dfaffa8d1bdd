"""The arithmetic of docs/cost.md."""

from __future__ import annotations

import pytest

from tests.bench.cost import Figures, Sagas, needed, page

FIGURES = Figures(
    data=1500,
    indexes=500,
    sagas=[
        Sagas(clients=1, rate=200, commits=4, wal=9000, postgres=1000),
        Sagas(clients=64, rate=2000, commits=0.1, wal=3000, postgres=150),
    ],
    app=2000,
    service_rate=500,
    postgres=200,
    commits={1: 900, 64: 6000},
)


def test_a_day_is_planned_for_its_busiest_second() -> None:
    day = needed(864_000, FIGURES)  # ten a second, a hundred at the peak
    assert day.peak == pytest.approx(100)
    assert day.replicas == 2  # 0.29 of a core, and one to lose
    assert day.postgres_cores == pytest.approx(0.02 / 0.7)
    assert day.wal_megabytes == pytest.approx(0.3)
    assert day.stored_gigabytes == pytest.approx(1.728)
    assert day.most_commits == pytest.approx(400)


def test_ten_times_as_many_checkouts_need_ten_times_as_much() -> None:
    small, large = needed(8.64e6, FIGURES), needed(8.64e7, FIGURES)
    assert large.postgres_cores == pytest.approx(10 * small.postgres_cores)
    assert (small.replicas, large.replicas) == (4, 30)


def test_the_page_has_a_row_for_each_load_and_no_gap() -> None:
    told = page(FIGURES, "a machine", "a command")
    assert "| 64 | 2,000 | 0.10 | 3,000 | 150 |" in told
    assert "| 1 million | 116 | 2 | 0.0 | 0.3 | 2.0 | 463 |" in told
    assert "{" not in told
