"""What the benchmark says of its figures: the goals, the rows, the page."""

from __future__ import annotations

import pytest

from tests.bench.page import (
    CALL,
    CALLING,
    DBOS,
    EIGHT,
    NO_STORE,
    RESTATE,
    SAGA,
    SERVICE,
    SQLITE,
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
    lines = a_page(measured).split("## What was asked for")[0].splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@pytest.mark.parametrize(
    ("measured", "words", "shown"),
    [
        (
            completed(SAGA, 16, a_round(1200)) | completed(DBOS, 16, a_round(100)),
            "completed, 16 clients: at least 12× DBOS",
            "12.00×",
        ),
        (
            completed(SAGA, 64, a_round(500)) | completed(RESTATE, 64, a_round(100)),
            "completed, 64 clients: at least 5× Restate",
            "5.00×",
        ),
        (
            completed(SAGA, 64, a_round(p50=5, p99=20)),
            "p99 at 64 clients at most 4× p50",
            "20.00 ms",
        ),
        (
            completed(SAGA, 1, a_round(p50=1)) | completed(DBOS, 1, a_round(p50=8)),
            "p50 at 1 clients at most an eighth of DBOS's",
            "1.00 ms",
        ),
        (
            completed(SAGA, 64, a_round(120)) | completed(EIGHT, 64, a_round(100)),
            "at least 1.2 of 8 bare commits at 64 clients",
            "1.20×",
        ),
        (
            completed(SERVICE, 64, a_round(50)) | completed(NO_STORE, 64, a_round(100)),
            "at least half of the same app without a store at 64 clients",
            "0.50×",
        ),
        (
            completed(CALLING, 64, a_round(40)) | completed(SERVICE, 64, a_round(100)),
            "services over HTTP: at least 0.4 of in process at 64 clients",
            "0.40×",
        ),
        (
            completed(CALL, 64, a_round(cpu=250)),
            "client CPU at most 250 µs a call at 64 in flight",
            "250.00 µs",
        ),
        (
            completed(SERVICE, 64, a_round(postgres=300)),
            "at most 300 µs of PostgreSQL's CPU a checkout",
            "300.00 µs",
        ),
        (
            completed(SQLITE, 64, a_round(60)) | completed(SAGA, 64, a_round(100)),
            "SQLite at FULL: at least 60 % of PostgreSQL",
            "0.60×",
        ),
    ],
)
def test_a_goal_is_reached_exactly_at_what_was_asked_for(measured: Measured, words: str, shown: str) -> None:
    assert f"| {words} | {shown} | yes |" in a_page(measured)


@pytest.mark.parametrize(
    ("measured", "missed"),
    [
        (
            completed(SAGA, 16, a_round(1199)) | completed(DBOS, 16, a_round(100)),
            "| completed, 16 clients: at least 12× DBOS | 11.99× | no |",
        ),
        (
            completed(SAGA, 64, a_round(p50=5, p99=20.5)),
            "| p99 at 64 clients at most 4× p50 | 20.50 ms | no |",
        ),
        (
            completed(CALLING, 64, a_round(39)) | completed(SERVICE, 64, a_round(100)),
            "| services over HTTP: at least 0.4 of in process at 64 clients | 0.39× | no |",
        ),
        (
            completed(CALL, 64, a_round(cpu=251)),
            "| client CPU at most 250 µs a call at 64 in flight | 251.00 µs | no |",
        ),
    ],
)
def test_a_goal_that_is_missed_says_no(measured: Measured, missed: str) -> None:
    assert missed in a_page(measured)


def test_a_side_that_is_missing_leaves_its_goals_out() -> None:
    ours = completed(SAGA, 16, a_round(1200)) | completed(SAGA, 64, a_round(1200))
    assert not [goal for goal in goals_of(ours) if "DBOS" in goal.words or "bare" in goal.words]
    assert [goal.words for goal in goals_of(completed(CALLING, 64, a_round()))] == []
    assert goals_of({}) == []


def test_another_number_of_clients_says_nothing_of_a_goal() -> None:
    asked = "client CPU at most 250 µs a call at 64 in flight"
    assert asked not in [goal.words for goal in goals_of(completed(CALL, 256, a_round(cpu=1)))]


def test_a_compensated_checkout_is_held_against_its_own_kind() -> None:
    measured: Measured = {
        (SAGA, "compensated", 16): [a_round(1200)],
        (DBOS, "compensated", 16): [a_round(101)],
        (DBOS, "completed", 16): [a_round(1)],
    }
    assert [(goal.words, goal.reached) for goal in goals_of(measured)] == [
        ("compensated, 16 clients: at least 12× DBOS", False)
    ]


def test_what_a_compensated_checkout_costs_is_told_in_completed_ones() -> None:
    measured = completed(SAGA, 64, a_round(180)) | {(SAGA, "compensated", 64): [a_round(100)]}
    (cost,) = [goal for goal in goals_of(measured) if goal.words.startswith("a compensated checkout costs")]
    assert (cost.shown, cost.reached) == ("1.80×", False)


def test_goals_are_held_against_the_medians_and_one_wild_round_decides_nothing() -> None:
    rounds = [a_round(cpu=9000), a_round(cpu=240), a_round(cpu=200)]
    (goal,) = goals_of(completed(CALL, 64, *rounds))
    assert (goal.shown, goal.reached) == ("240.00 µs", True)


def test_a_row_has_the_median_of_each_figure_and_the_spread_of_the_rates() -> None:
    rounds = [
        a_round(3000, p50=9.0, p99=30.0, cpu=7.0, postgres=1.0, memory=60.0),
        a_round(1000, p50=8.0, p99=10.0, cpu=9.0, postgres=3.0, memory=61.0),
        a_round(1500, p50=7.0, p99=20.0, cpu=8.0, postgres=2.0, memory=62.0),
    ]
    assert cells_of(completed(SERVICE, 16, *rounds)) == [
        [SERVICE, "completed", "16", "1,500", "1,000–3,000", "8.0", "20.0", "8", "2", "61", ""]
    ]


def test_commits_stand_where_a_side_counts_them() -> None:
    counted = completed(SAGA, 1, a_round(commits=4.0), a_round(commits=3.0), a_round(commits=3.5))
    (row,) = cells_of(counted)
    assert row[-1] == "3.50"
    (goal,) = [goal for goal in goals_of(counted) if "commits" in goal.words]
    assert (goal.shown, goal.reached) == ("3.50", True)


def test_rows_stand_by_outcome_and_clients_and_sides_in_the_order_they_ran() -> None:
    cells = [
        ("b", "completed", 16),
        ("a", "completed", 16),
        ("b", "compensated", 64),
        ("b", "completed", 1),
    ]
    rows = cells_of({cell: [a_round()] for cell in cells})
    assert [(row[0], row[1], int(row[2])) for row in rows] == [
        ("b", "compensated", 64),
        ("b", "completed", 1),
        ("b", "completed", 16),
        ("a", "completed", 16),
    ]


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
    shown = a_page(completed(DBOS, 64, a_round(77)), {(DBOS, "completed", 256): "not done after 80 s"})
    assert f"**Left out here:** {DBOS} (completed at 256): not done after 80 s\n" in shown
    assert f"| {DBOS} | completed | 64 | 77 |" in shown
    assert "Left out" not in a_page(completed(DBOS, 64, a_round()))
