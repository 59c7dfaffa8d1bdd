"""A saga's timeline: each attempt of each action as a bar, and the waits between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.dashboard.words import lasting, took, turn
from app.operations.saga_view import SagaView
from app.saga.model.attention import sentence
from app.saga.model.events import EventType, TrailEntry
from app.saga.model.status import INACTIVE, SagaStatus

LEAST_PERCENT = 0.7
"""A bar is never thinner, or it could not be seen."""

_ANSWERS: Mapping[str, tuple[bool, str, str]] = {
    EventType.STEP_SUCCEEDED: (False, "succeeded", "succeeded"),
    EventType.STEP_RETRIED: (False, "retried", "no answer, may have taken effect"),
    EventType.STEP_FAILED: (False, "failed", "failed, without effect"),
    EventType.STEP_UNKNOWN: (False, "unknown", "failed, may have taken effect"),
    EventType.STEP_COMPENSATED: (True, "undone", "compensated"),
    EventType.COMPENSATION_RETRIED: (True, "retried", "not acknowledged"),
    EventType.COMPENSATION_FAILED: (True, "failed", "can't be compensated"),
}
"""Whether it is a compensation's, the kind of bar, and its text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One attempt, or a wait. `left` and `width` are in percent of the timeline."""

    kind: str
    left: float
    width: float
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """One action of a step: its execution or its compensation."""

    step: str
    undoing: bool
    bars: tuple[Bar, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """A mark on the axis, in percent, and its time since the start."""

    left: float
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """The lanes in the order of the steps, each followed by its compensation."""

    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]


def timeline(view: SagaView, now: datetime) -> Timeline:
    """Return the timeline of a saga as it is now."""
    begin, last = view.created_at, view.events[-1].at if view.events else view.created_at
    end = max(last, now if view.state.status not in INACTIVE else begin)
    end = max(end, begin + timedelta(milliseconds=1))
    drawn: dict[tuple[str, bool], list[Bar]] = {}
    if not view.state.steps:  # its log can't be understood
        return Timeline(lanes=(), ticks=())
    for at, event in enumerate(view.events):
        if event.type not in _ANSWERS or event.step is None:
            continue
        undoing, kind, words = _ANSWERS[event.type]
        bars = drawn.setdefault((event.step, undoing), [])
        duration = event.data.get("duration_ms")
        since = event.at - timedelta(milliseconds=duration) if duration is not None else event.at
        bars.append(_bar(kind, since, event.at, begin, end, _bar_text(event, words)))
        if (until := event.data.get("next_action_at")) is not None:
            following = _end_of_wait(view.events[at + 1 :], event, undoing=undoing) or end
            pause = min(datetime.fromisoformat(until), following)
            if pause > event.at:
                text = f"waited {took(event.at, pause)} before the next attempt"
                bars.append(_bar("waiting", event.at, pause, begin, end, text))
    if (turn := _under_way(view, now)) is not None:
        step, undoing, since = turn
        text = f"running for {took(since, end)}"
        drawn.setdefault((step, undoing), []).append(_bar("running", since, end, begin, end, text))
    lanes = [
        Lane(step=step.name, undoing=undoing, bars=tuple(_waits_below(drawn.get((step.name, undoing), []))))
        for step in view.state.steps
        for undoing in (False, True)
        if not undoing or (step.name, undoing) in drawn
    ]
    whole = (end - begin) / timedelta(seconds=1)
    ticks = tuple(Tick(left=share * 100, words=lasting(whole * share)) for share in (0, 0.25, 0.5, 0.75, 1))
    return Timeline(lanes=tuple(lanes), ticks=ticks)


def _waits_below(bars: list[Bar]) -> list[Bar]:
    return sorted(bars, key=lambda bar: bar.kind != "waiting")


def _bar(kind: str, since: datetime, until: datetime, begin: datetime, end: datetime, words: str) -> Bar:
    left = max(0.0, (since - begin) / (end - begin) * 100)
    width = max(LEAST_PERCENT, (until - begin) / (end - begin) * 100 - left)
    left = min(left, 100 - width)
    return Bar(kind=kind, left=round(left, 3), width=round(width, 3), words=words)


def _bar_text(event: TrailEntry, words: str) -> str:
    duration, error = event.data.get("duration_ms"), event.data.get("error")
    if event.data.get("outcome") == "unavailable":
        words = "unavailable, without effect"
    text = f"attempt {event.attempt}: {words}" if event.attempt else words
    if duration is not None:
        text += f" after {lasting(duration / 1000)}"
    return f"{text}. {sentence(str(error.get('message', '')))}" if error else text


def _end_of_wait(later: tuple[TrailEntry, ...], event: TrailEntry, *, undoing: bool) -> datetime | None:
    """Return when the next attempt of the same action began, or what else ended the wait."""
    for one in later:
        if one.type in _ANSWERS and one.step == event.step and _ANSWERS[one.type][0] is undoing:
            duration = one.data.get("duration_ms") or 0
            return max(event.at, one.at - timedelta(milliseconds=duration))
        if one.type in {EventType.CANCEL_REQUESTED, EventType.RETRY_REQUESTED, EventType.STEP_RESOLVED}:
            return one.at
    return None


def _under_way(view: SagaView, now: datetime) -> tuple[str, bool, datetime] | None:
    """Return the step that is executing or compensating now, and since when."""
    state = view.state
    if (
        view.unreadable
        or state.status in INACTIVE
        or (state.next_action_at is not None and state.next_action_at > now)
    ):
        return None
    since = max(view.events[-1].at, state.next_action_at or view.events[-1].at)
    step = turn(state)
    return None if step is None else (step.name, state.status is SagaStatus.COMPENSATING, since)
