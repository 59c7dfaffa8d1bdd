"""What the benchmark says of its figures: the goals, the rows, the page."""

from __future__ import annotations

import pytest

from tests.bench.page import (
    BARE,
    BEST,
    CALLING,
    DBOS_HTTP,
    DBOS_INSIDE,
    ONE_WORKER,
    SAGA,
    STARTED,
    STARTED_SQLITE,
    Cell,
    FeedItem,
    Measured,
    goals_of,
    left_out,
    page,
    table,
)


def a_round(rate: float = 100.0, **more: float) -> FeedItem:
    return {"rate": rate, "p50": 1.0, "p99": 2.0, "cpu": 100.0, "postgres": 200.0, "memory": 50.0, **more}


def completed(side: str, clients: int, *rounds: FeedItem) -> Measured:
    return {(side, "completed", clients): list(rounds)}


def a_page(measured: Measured, absent: dict[Cell, str] | None = None) -> str:
    return page(measured, absent or {}, "2 cores", "make bench")


def cells_of(measured: Measured) -> list[list[str]]:
    """Return the page's rows of figures, cell by cell."""
    lines = a_page(measured).split("## Goals")[0].splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    return [row for row in rows if row[0] not in {"side", "---"}]


GOAL = "completed: at least 16 × DBOS, 16 clients"


@pytest.mark.parametrize(
    ("ours", "line"),
    [
        (1600, f"| {GOAL} | 16.00 (16.00–16.00) | yes |"),
        (1599, f"| {GOAL} | 15.99 (15.99–15.99) | no |"),
    ],
)
def test_a_goal_is_reached_exactly_at_its_figure(ours: float, line: str) -> None:
    measured = completed(STARTED, 16, a_round(ours)) | completed(DBOS_HTTP, 16, a_round(100))
    assert line in a_page(measured)


@pytest.mark.parametrize(
    ("cpu", "reached"),
    [(250, True), (251, False)],
)
def test_a_cost_must_not_be_above_its_figure(cpu: float, reached: bool) -> None:
    measured = completed(ONE_WORKER, 64, a_round(cpu=cpu)) | completed(BARE, 64, a_round(cpu=100))
    (goal,) = goals_of(measured)
    assert goal.reached is reached


def test_one_sides_p99_is_compared_with_its_own_p50() -> None:
    (goal,) = goals_of(completed(STARTED_SQLITE, 64, a_round(p50=5, p99=10)))
    assert (goal.words, goal.shown) == ("p99 at most 2 × p50, SQLite, 64 clients", "2.00 (2.00–2.00)")


def test_a_ratio_is_of_the_same_round_and_shows_its_spread() -> None:
    """The machine was twice as fast in the second round, for both."""
    ours = [a_round(100), a_round(200), a_round(90)]
    theirs = [a_round(100), a_round(200), a_round(100)]
    goal = goals_of(completed(STARTED, 64, *ours) | completed(BEST, 64, *theirs))[0]
    assert (goal.shown, goal.reached) == ("1.00 (0.90–1.00)", True)


def test_a_side_that_is_missing_leaves_its_goals_out() -> None:
    assert goals_of(completed(STARTED, 16, a_round()) | completed(ONE_WORKER, 16, a_round())) == []
    assert goals_of(completed(CALLING, 64, a_round())) == []
    assert goals_of({}) == []


def test_a_compensated_checkout_is_compared_with_its_own_kind() -> None:
    measured: Measured = {
        (STARTED, "compensated", 16): [a_round(1600)],
        (DBOS_HTTP, "compensated", 16): [a_round(101)],
        (DBOS_HTTP, "completed", 16): [a_round(1)],
    }
    assert [(goal.words, goal.reached) for goal in goals_of(measured)] == [
        ("compensated: at least 16 × DBOS, 16 clients", False)
    ]


def test_a_row_has_the_median_of_each_figure_and_the_spread_of_the_rates() -> None:
    rounds = [
        a_round(3000, p50=9.0, p99=30.0, cpu=7.0, postgres=1.0, memory=60.0),
        a_round(1000, p50=8.0, p99=10.0, cpu=9.0, postgres=3.0, memory=61.0),
        a_round(1500, p50=7.0, p99=20.0, cpu=8.0, postgres=2.0, memory=62.0),
    ]
    assert cells_of(completed(STARTED, 16, *rounds)) == [
        [STARTED, "completed", "16", "1,500", "1,000–3,000", "8.0", "20.0", "8", "2", "61", "", ""]
    ]


def test_commits_stand_where_a_side_counts_them() -> None:
    counted = completed(SAGA, 1, a_round(commits=4.0), a_round(commits=3.0), a_round(commits=3.5))
    (row,) = cells_of(counted)
    assert row[-1] == "3.50"


def test_rows_are_ordered_by_outcome_and_clients_and_sides_as_they_ran() -> None:
    cells = [
        (ONE_WORKER, "completed", 16),
        (STARTED, "completed", 16),
        (ONE_WORKER, "compensated", 64),
        (ONE_WORKER, "completed", 1),
    ]
    rows = cells_of({cell: [a_round()] for cell in cells})
    assert [(row[0], row[1], int(row[2])) for row in rows] == [
        (ONE_WORKER, "completed", 1),
        (ONE_WORKER, "completed", 16),
        (STARTED, "completed", 16),
        (ONE_WORKER, "compensated", 64),
    ]


def test_what_ran_in_process_has_a_table_of_its_own() -> None:
    shown = a_page(completed(SAGA, 64, a_round(77)) | completed(STARTED, 64, a_round(78)))
    over_http, in_process = shown.split("## In process")
    assert f"| {STARTED} | completed | 64 | 78 |" in over_http
    assert f"| {SAGA} | completed | 64 | 77 |" in in_process
    assert f"| {SAGA} |" not in over_http


def test_the_terminal_shows_as_many_rows_as_the_page() -> None:
    measured = completed(SAGA, 1, a_round()) | completed(SAGA, 16, a_round())
    assert table(measured).row_count == len(cells_of(measured)) == 2


def test_what_is_left_out_names_its_cells_once_for_each_reason() -> None:
    absent: dict[Cell, str] = {
        ("b", "completed", 256): "too slow",
        ("a", "completed", 64): "no wrk",
        ("a", "completed", 1): "no wrk",
        ("a", "compensated", 1): "another",
    }
    assert left_out(absent) == [
        "a (compensated at 1): another",
        "a (completed at 1, completed at 64): no wrk",
        "b (completed at 256): too slow",
    ]


def test_the_page_says_what_was_left_out_and_keeps_the_sides_other_cells() -> None:
    shown = a_page(
        completed(DBOS_INSIDE, 64, a_round(77)), {(DBOS_INSIDE, "completed", 256): "not done after 80 s"}
    )
    assert f"**Left out here:** {DBOS_INSIDE} (completed at 256): not done after 80 s\n" in shown
    assert f"| {DBOS_INSIDE} | completed | 64 | 77 |" in shown
    assert "Left out" not in a_page(completed(DBOS_INSIDE, 64, a_round()))
