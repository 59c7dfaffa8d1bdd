"""The table at a run's end: how many tests of each kind ran on each database, and how long they took."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

DATABASES = ("none", "memory", "sqlite", "postgresql", "pooled", "several")


@dataclass
class RunTable:
    """Collects the reports of a run; a test's kind is its folder in tests/."""

    _seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _databases: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def note(self, report: pytest.TestReport) -> None:
        """Add a test's setup, call or teardown, also of a test that another process ran."""
        self._seconds[report.nodeid] += report.duration
        self._databases[report.nodeid].update(
            str(value) for name, value in report.user_properties if name == "database"
        )

    def lines(self) -> list[str]:
        """Return the table: in each cell the number of tests and their seconds, with setup and teardown."""
        tests: Counter[tuple[str, str]] = Counter()
        seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        for nodeid, took in self._seconds.items():
            for cell in _cells(nodeid, self._databases[nodeid]):
                tests[cell] += 1
                seconds[cell] += took
        kinds = sorted({kind for kind, _ in tests} - {"all"})
        columns = [name for name in (*DATABASES, "all") if any(tests[kind, name] for kind in (*kinds, "all"))]
        rows = [["tests, seconds", *columns]]
        rows += [
            [
                kind,
                *(
                    f"{tests[kind, name]:,} {seconds[kind, name]:6,.1f}" if tests[kind, name] else ""
                    for name in columns
                ),
            ]
            for kind in (*kinds, "all")
        ]
        return list(_aligned(rows))


def _cells(nodeid: str, databases: set[str]) -> list[tuple[str, str]]:
    """Return where a test is counted: in its cell, its row's and its column's sum, and the sum of all."""
    parts = nodeid.split("/")
    kind = parts[1] if len(parts) > 2 else "other"
    database = "none" if not databases else next(iter(databases)) if len(databases) == 1 else "several"
    return [(kind, database), (kind, "all"), ("all", database), ("all", "all")]


def _aligned(rows: list[list[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        yield "  ".join(
            [
                first.ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)),
            ]
        )
