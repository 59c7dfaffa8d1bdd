"""What a grown table costs, as tables and verdicts: for the terminal, and as docs/growth.md."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table

from tests.bench.filling import TableSize
from tests.bench.page import FeedItem, Goal

LEAST_SHARE = 0.9
CLAIM_MS = 5.0
PAGE_MS = 50.0
MOST_MEMORY = 1.3
IDLE_MS = 5.0
"""What 10,000 waiting sagas may cost an idle process, in milliseconds of CPU a second."""


@dataclass(frozen=True, kw_only=True)
class Timed:
    """What was asked again and again: how many sagas came back, and how long each time took in milliseconds.

    `paused` says for how long of each the garbage collector had stopped the process.
    """

    name: str
    sagas: int
    took: Sequence[float]
    paused: Sequence[float]

    @property
    def p50(self) -> float:
        return statistics.median(self.took)

    @property
    def p99(self) -> float:
        return _p99(self.took)

    @property
    def p99_unpaused(self) -> float:
        return _p99([took - paused for took, paused in zip(self.took, self.paused, strict=True)])


def _p99(took: Sequence[float]) -> float:
    return sorted(took)[min(len(took) - 1, int(len(took) * 0.99))]


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """A takeover of so many unfinished sagas beside new checkouts; `alone` is the same replica without any."""

    unfinished: int
    told: FeedItem
    alone: FeedItem
    ends: dict[str, int]

    @property
    def lost(self) -> int:
        return self.unfinished - self.ends.get("completed", 0) - self.ends.get("compensated", 0)


@dataclass(kw_only=True)
class Growth:
    """All that was measured, and on what."""

    machine: str
    command: str
    sizes: dict[int, list[TableSize]] = field(default_factory=dict)
    filled: dict[int, float] = field(default_factory=dict)
    rates: dict[int, list[FeedItem]] = field(default_factory=dict)
    pages: list[Timed] = field(default_factory=list)
    claims: list[Timed] = field(default_factory=list)
    recovered: list[Recovered] = field(default_factory=list)
    waiting: int = 0
    idle: dict[int, list[FeedItem]] = field(default_factory=dict)
    busy: dict[int, list[FeedItem]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table with its heading and what is to be known of it."""

    heading: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    words: str = ""


def median(rounds: Sequence[FeedItem], name: str) -> float:
    """Return the median of a figure over the rounds."""
    return statistics.median(one[name] for one in rounds)


def sections(growth: Growth) -> list[Section]:
    """Return what was measured; a part that was left out has no rows."""
    return [
        Section(
            heading="On the disk",
            columns=("finished sagas", "table", "rows", "data", "indexes", "data/saga", "indexes/saga"),
            rows=[row for count, tables in growth.sizes.items() for row in _size_rows(count, tables)],
            words="In bytes per saga: `data` with TOAST and maps. "
            + "; ".join(
                f"{count:,} filled in {took:,.0f} s" for count, took in growth.filled.items() if count
            ),
        ),
        Section(
            heading="Throughput",
            columns=(
                "finished sagas",
                "checkouts/s",
                "spread",
                "of empty",
                "p50 ms",
                "p99 ms",
                "PostgreSQL µs",
            ),
            rows=_rate_rows(growth.rates),
            words="The saga engine with steps that do nothing, the databases in turn. Each saga has an order, answers "
            "and an idempotency key as the tables' own have: smaller rows would fill the holes at the ends of "
            "old pages, one page each, and PostgreSQL writes a whole page at its first change after a checkpoint.",
        ),
        Section(
            heading="Pages at the largest size",
            columns=("asked for", "sagas", "p50 ms", "p99 ms", "without GC", "calls"),
            rows=[_timed_row(one) for one in growth.pages],
            words="The service's own reading functions, with all events of each saga on the page. Of fewer than 100 "
            "calls the p99 is the slowest. `without GC`: the p99 "
            "without the pauses of Python's garbage collector in each call, which don't depend on the size.",
        ),
        Section(
            heading="Claims",
            columns=("claim", "sagas", "p50 ms", "p99 ms", "without GC", "calls"),
            rows=[_timed_row(one) for one in growth.claims],
            words="Each claim takes other sagas of the dead owner: it finds them, reads their logs, marks them and commits.",
        ),
        Section(
            heading="Takeover of a dead owner's sagas",
            columns=(
                "unfinished",
                "takeovers/s",
                "seconds",
                "checkouts/s meanwhile",
                "without",
                "p99 ms meanwhile",
                "peak MiB",
                "without, MiB",
                "completed",
                "compensated",
                "lost",
            ),
            rows=[_recovered_row(one) for one in growth.recovered],
            words="One replica with the default settings, its recovery loop beside the clients' new checkouts.",
        ),
        Section(
            heading="Sagas that wait in back-off",
            columns=("waiting", "idle: CPU ms/s", "idle: PostgreSQL ms/s", "checkouts/s", "spread", "p99 ms"),
            rows=[_waiting_row(count, growth) for count in growth.idle],
            words="Parked in the database for an hour. The process polls for due sagas all the time.",
        ),
    ]


def verdicts(growth: Growth) -> list[Goal]:
    """Return what was promised, of what was measured."""
    found: list[Goal] = []
    if len(growth.rates) > 1:
        (least, empty), *_, (most, full) = sorted(growth.rates.items())
        share = median(full, "rate") / median(empty, "rate")
        found.append(
            Goal(
                words=f"throughput at {most:,} finished sagas at least {LEAST_SHARE} of that at {least:,}",
                shown=f"{share:.2f}",
                reached=share >= LEAST_SHARE,
            )
        )
    found += [
        Goal(
            words=f"{one.name}: p99 without GC at most {PAGE_MS:g} ms",
            shown=f"{one.p99_unpaused:.1f} ms",
            reached=one.p99_unpaused <= PAGE_MS,
        )
        for one in growth.pages
    ]
    found += [
        Goal(
            words=f"{one.name}: p50 at most {CLAIM_MS:g} ms",
            shown=f"{one.p50:.1f} ms",
            reached=one.p50 <= CLAIM_MS,
        )
        for one in growth.claims
    ]
    found += [
        Goal(
            words=f"{one.unfinished:,} unfinished sagas: all completed or compensated, none lost",
            shown=f"{one.lost} lost",
            reached=one.lost == 0,
        )
        for one in growth.recovered
    ]
    if len(growth.recovered) > 1:
        before, last = sorted(growth.recovered, key=lambda one: one.unfinished)[-2:]
        times = last.told["memory"] / before.told["memory"]
        found.append(
            Goal(
                words=f"memory at {last.unfinished:,} at most {MOST_MEMORY}× that at {before.unfinished:,}",
                shown=f"{times:.2f}×",
                reached=times <= MOST_MEMORY,
            )
        )
    return found + _waiting_verdicts(growth)


def _waiting_verdicts(growth: Growth) -> list[Goal]:
    if growth.waiting not in growth.idle:
        return []
    more = median(growth.idle[growth.waiting], "cpu_ms_per_second") - median(
        growth.idle[0], "cpu_ms_per_second"
    )
    share = median(growth.busy[growth.waiting], "rate") / median(growth.busy[0], "rate")
    return [
        Goal(
            words=f"{growth.waiting:,} waiting sagas cost an idle process at most {IDLE_MS:g} ms of CPU a second",
            shown=f"{more:.1f} ms/s",
            reached=more <= IDLE_MS,
        ),
        Goal(
            words=f"throughput beside {growth.waiting:,} waiting sagas at least {LEAST_SHARE} of that without",
            shown=f"{share:.2f}",
            reached=share >= LEAST_SHARE,
        ),
    ]


def tables(growth: Growth) -> list[Table]:
    """Return what was measured for the terminal, and the verdicts last."""
    shown = []
    for section in sections(growth):
        table = Table(*section.columns, title=section.heading)
        for row in section.rows:
            table.add_row(*row)
        shown.append(table)
    last = Table("promise", "measured", "kept")
    for goal in verdicts(growth):
        last.add_row(goal.words, goal.shown, "[green]yes" if goal.reached else "[red]no")
    return [table for table in (*shown, last) if table.row_count]


def page(growth: Growth) -> str:
    """Return docs/growth.md."""
    kept = [(goal.words, goal.shown, "yes" if goal.reached else "no") for goal in verdicts(growth)]
    parts = [
        f"# What a grown table costs\n\nMeasured by `{growth.command}`.\n{growth.machine}.",
        "## What was promised, and what was kept\n\n" + markdown(("promise", "measured", "kept"), kept),
        *(
            f"## {one.heading}\n\n{markdown(one.columns, one.rows)}\n\n{one.words}".rstrip()
            for one in sections(growth)
            if one.rows
        ),
    ]
    return "\n\n".join(parts) + "\n"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [" | ".join(columns), "|".join("---" for _ in columns), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def amount(size: float) -> str:
    """Return bytes as people read them."""
    return f"{size / 2**30:,.2f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"


def per_saga(tables_of: Sequence[TableSize], count: int) -> tuple[float, float]:
    """Return the bytes of data and of indexes for each saga."""
    return sum(one.data for one in tables_of) / count, sum(one.indexes for one in tables_of) / count


def _size_rows(count: int, tables_of: Sequence[TableSize]) -> list[tuple[str, ...]]:
    if not count:
        return []
    rows = [
        (
            f"{count:,}",
            one.table,
            f"{one.rows:,}",
            amount(one.data),
            amount(one.indexes),
            f"{one.data / count:,.0f}",
            f"{one.indexes / count:,.0f}",
        )
        for one in tables_of
    ]
    data, indexes = per_saga(tables_of, count)
    whole = (amount(data * count), amount(indexes * count), f"{data:,.0f}", f"{indexes:,.0f}")
    return [*rows, (f"{count:,}", "together", "", *whole)]


def _rate_rows(rates: dict[int, list[FeedItem]]) -> list[tuple[str, ...]]:
    empty = median(rates[min(rates)], "rate") if rates else 0.0
    return [
        (
            f"{count:,}",
            f"{median(rounds, 'rate'):,.0f}",
            _spread(rounds),
            f"{median(rounds, 'rate') / empty:.2f}",
            f"{median(rounds, 'p50'):.1f}",
            f"{median(rounds, 'p99'):.1f}",
            f"{median(rounds, 'postgres'):,.0f}",
        )
        for count, rounds in sorted(rates.items())
    ]


def _spread(rounds: Sequence[FeedItem]) -> str:
    rates = [one["rate"] for one in rounds]
    return f"{min(rates):,.0f}–{max(rates):,.0f}"


def _timed_row(one: Timed) -> tuple[str, ...]:
    return (
        one.name,
        str(one.sagas),
        f"{one.p50:.1f}",
        f"{one.p99:.1f}",
        f"{one.p99_unpaused:.1f}",
        str(len(one.took)),
    )


def _recovered_row(one: Recovered) -> tuple[str, ...]:
    return (
        f"{one.unfinished:,}",
        f"{one.told['taken_over'] / one.told['lasted']:,.0f}",
        f"{one.told['lasted']:.1f}",
        f"{one.told['rate']:,.0f}",
        f"{one.alone['rate']:,.0f}",
        f"{one.told['p99']:.1f}",
        f"{one.told['memory']:.0f}",
        f"{one.alone['memory']:.0f}",
        f"{one.ends.get('completed', 0):,}",
        f"{one.ends.get('compensated', 0):,}",
        f"{one.lost:,}",
    )


def _waiting_row(count: int, growth: Growth) -> tuple[str, ...]:
    idle, busy = growth.idle[count], growth.busy[count]
    return (
        f"{count:,}",
        f"{median(idle, 'cpu_ms_per_second'):.1f}",
        f"{median(idle, 'postgres_ms_per_second'):.1f}",
        f"{median(busy, 'rate'):,.0f}",
        _spread(busy),
        f"{median(busy, 'p99'):.1f}",
    )
