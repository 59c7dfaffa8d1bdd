"""The plots of the list: checkouts started by outcome, and durations. Geometry only, in a box of 600 × 120."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.dashboard.words import STATUSES, lasting
from app.operations.statistics import TimeBucket
from app.saga.model.status import SagaStatus
from app.saga.ports.queries import DURATION_EDGES

WIDTH, HEIGHT = 600.0, 120.0
SPANS = {
    "hour": (timedelta(hours=1), timedelta(minutes=1)),
    "day": (timedelta(days=1), timedelta(minutes=15)),
}
"""How far back, and how much one column holds."""

STACKED = (
    SagaStatus.COMPLETED,
    SagaStatus.COMPENSATED,
    SagaStatus.RUNNING,
    SagaStatus.COMPENSATING,
    SagaStatus.NEEDS_ATTENTION,
)
"""From the bottom up."""

SHARES = {"p50": 0.5, "p99": 0.99}


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A piece of a column."""

    status: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One time bucket, with its text."""

    pieces: tuple[Piece, ...]
    words: str
    x: float
    width: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcomes:
    """Checkouts started, by status."""

    columns: tuple[Column, ...]
    most: int
    total: int
    rate: str
    by_status: dict[str, int]
    first: datetime
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Durations:
    """Durations: one line per quantile, as SVG points; a line breaks where nothing was finished."""

    lines: dict[str, tuple[str, ...]]
    overall: dict[str, str]
    most: str
    words: str


def outcomes(slices: list[TimeBucket]) -> Outcomes:
    """Return the columns of the checkouts started."""
    most = max((one.sagas for one in slices), default=0)
    each = WIDTH / max(1, len(slices))
    whole = TimeBucket(slices[0].start)
    columns = []
    for at, one in enumerate(slices):
        whole.add(one)
        pieces, y = [], HEIGHT
        for status in STACKED:
            if one.by_status[status]:
                height = one.by_status[status] / most * HEIGHT
                y -= height
                pieces.append(
                    Piece(
                        status=status.value,
                        x=round(at * each + each * 0.1, 2),
                        y=round(y, 2),
                        width=round(each * 0.8, 2),
                        height=round(height, 2),
                    )
                )
        counts = ", ".join(f"{one.by_status[s]} {STATUSES[s].lower()}" for s in STACKED if one.by_status[s])
        words = f"{one.start:%H:%M} UTC: {counts or 'nothing'}"
        columns.append(Column(pieces=tuple(pieces), words=words, x=round(at * each, 2), width=round(each, 2)))
    seconds = (slices[-1].start - slices[0].start).total_seconds() or 60.0
    rate = whole.sagas / seconds
    counts = ", ".join(f"{whole.by_status[s]:,} {STATUSES[s].lower()}" for s in STACKED if whole.by_status[s])
    return Outcomes(
        columns=tuple(columns),
        most=most,
        total=whole.sagas,
        rate=f"{rate:,.1f} a second" if rate >= 1 else f"{rate * 60:,.1f} a minute",
        by_status={status.value: whole.by_status[status] for status in STACKED},
        first=slices[0].start,
        words=f"{whole.sagas:,} checkouts started: {counts}" if whole.sagas else "No checkout started.",
    )


def durations(slices: list[TimeBucket]) -> Durations:
    """Return the lines of the durations, on a logarithmic scale."""
    whole = TimeBucket(slices[0].start)
    for one in slices:
        whole.add(one)
    longest = max((one.quantile(max(SHARES.values())) or 0.0 for one in slices), default=0.0)
    top = min(max(longest, DURATION_EDGES[3]), DURATION_EDGES[-1])
    bottom = DURATION_EDGES[0] / 2
    each = WIDTH / max(1, len(slices))
    lines = {}
    for name, share in SHARES.items():
        parts: list[list[str]] = [[]]
        for at, one in enumerate(slices):
            seconds = one.quantile(share)
            if seconds is None:
                parts.append([])
                continue
            up = math.log(min(seconds, top) / bottom) / math.log(top / bottom)
            y = HEIGHT - up * (HEIGHT - 6)
            parts[-1] += [f"{at * each:.2f},{y:.2f}", f"{(at + 1) * each:.2f},{y:.2f}"]
        lines[name] = tuple(" ".join(part) for part in parts if part)
    overall = {name: _within(whole.quantile(share)) for name, share in SHARES.items()}
    return Durations(
        lines=lines,
        overall=overall,
        most=lasting(top),
        words=f"Half took at most {overall['p50']}, 99 of 100 at most {overall['p99']}."
        if whole.by_duration
        else "Nothing was finished.",
    )


def _within(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"more than {lasting(DURATION_EDGES[-1])}" if math.isinf(seconds) else lasting(seconds)
