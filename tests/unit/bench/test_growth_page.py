"""What the benchmark of grown tables says of its figures."""

from __future__ import annotations

from tests.bench.filling import TableSize, chunks
from tests.bench.growth_page import Growth, Recovered, Timed, page, per_saga, verdicts
from tests.bench.page import FeedItem


def a_side(rate: float, **more: float) -> FeedItem:
    return {"rate": rate, "p50": 1.0, "p99": 2.0, "postgres": 300.0, "memory": 100.0, **more}


def a_growth() -> Growth:
    growth = Growth(machine="2 cores", command="make bench-growth")
    growth.sizes = {10: [TableSize(table="saga", rows=10, data=1000, indexes=500, total=1500)]}
    growth.rates = {0: [a_side(100), a_side(300), a_side(200)], 10: [a_side(180)]}
    return growth


def kept(growth: Growth) -> dict[str, bool]:
    return {goal.words: goal.reached for goal in verdicts(growth)}


def test_the_largest_is_held_against_the_empty_one_by_their_medians() -> None:
    growth = a_growth()
    assert kept(growth) == {"throughput at 10 finished sagas at least 0.9 of that at 0": True}
    growth.rates[10] = [a_side(179)]
    assert list(kept(growth).values()) == [False]


def test_what_is_neither_completed_nor_compensated_is_lost() -> None:
    one = Recovered(
        unfinished=10, told=a_side(1), alone=a_side(2), ends={"completed": 7, "compensated": 2, "running": 1}
    )
    assert one.lost == 1
    growth = Growth(machine="", command="", recovered=[one])
    assert list(kept(growth).values()) == [False]


def test_memory_is_held_against_the_next_smaller_takeover() -> None:
    growth = Growth(machine="", command="")
    for unfinished, memory in ((100, 131.0), (1, 10.0), (10, 100.0)):
        growth.recovered.append(
            Recovered(
                unfinished=unfinished,
                told=a_side(1, memory=memory, taken_over=unfinished, lasted=1.0),
                alone=a_side(2),
                ends={"completed": unfinished},
            )
        )
    assert kept(growth)["memory at 100 at most 1.3× that at 10"] is False


def test_waiting_costs_the_difference() -> None:
    growth = Growth(machine="", command="", waiting=10)
    growth.idle = {
        count: [{"cpu_ms_per_second": cpu, "postgres_ms_per_second": 1.0}]
        for count, cpu in ((0, 9.0), (10, 13.0))
    }
    growth.busy = {0: [a_side(100)], 10: [a_side(80)]}
    assert list(kept(growth).values()) == [True, False]


def test_a_time_is_told_by_its_median_and_its_slowest_hundredth_with_and_without_the_collector() -> None:
    one = Timed(name="first page", sagas=21, took=[*[1.0] * 98, 5.0, 9.0], paused=[*[0.0] * 99, 7.0])
    assert (one.p50, one.p99, one.p99_unpaused) == (1.0, 9.0, 5.0)


def test_the_page_has_what_was_measured_and_nothing_else() -> None:
    shown = page(a_growth())
    assert "| 10 | together |  | 0.0 MiB | 0.0 MiB | 100 | 50 |" in shown
    assert "| 10 | 180 | 180–180 | 0.90 |" in shown
    assert "Takeover" not in shown


def test_a_filling_is_cut_into_parts_without_a_gap() -> None:
    assert list(chunks(0)) == []
    assert list(chunks(7, 3)) == [(1, 3), (4, 6), (7, 7)]


def test_bytes_are_shared_out_over_the_sagas() -> None:
    assert per_saga(a_growth().sizes[10], 10) == (100, 50)
