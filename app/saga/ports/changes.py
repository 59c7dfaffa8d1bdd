"""Being notified of changes at once, also of other processes' changes if the saga log can report them.

    another replica ── stores something ──▶ the log ── Change ──▶ subscribers here: look now, not at the next poll

A change is a hint that carries no data: a subscriber reads the log as it does at each poll. A hint may be lost, and may
come twice, so polling continues; while the source is `live` it can be slower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class ChangeKind(StrEnum):
    """What changed."""

    EVENTS = "events"  # events were appended to sagas, their first and last among them
    CLAIMABLE = "claimable"  # a saga is due at once, or its owner has left
    CANCELLATIONS = "cancellations"  # an operator has requested that a saga be cancelled


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A change of some sagas; `saga_ids` None means any. `elsewhere` says that it may be another process's change."""

    kind: ChangeKind
    saga_ids: frozenset[str] | None = None
    elsewhere: bool = False

    def concerns(self, saga_id: str) -> bool:
        """Whether it may be a change of this saga."""
        return self.saga_ids is None or saga_id in self.saga_ids


Subscriber = Callable[[Change], None]


class ChangeSource(Protocol):
    """Reports changes to subscribers."""

    @property
    def live(self) -> bool:
        """Whether other processes' changes are reported now. While it is False, only polling finds them."""

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` in the event loop for each change from now on. Return a function that ends the subscription.

        `subscriber` must return quickly and not block. What it raises is logged and ignored. Whenever the source becomes
        live, it reports a change of each kind and of any saga, as changes may have been missed.
        """


SAFETY_NET_FACTOR = 10
"""How many times longer a subscriber pauses between polls while changes are reported: a report may be lost."""


def poll_pause(source: ChangeSource, seconds: float) -> float:
    """Return the seconds between two polls of what `source` reports too; `seconds` is the interval without it."""
    return seconds * SAFETY_NET_FACTOR if source.live else seconds


class NoChanges:
    """A `ChangeSource` that reports nothing: only polling finds changes."""

    @property
    def live(self) -> bool:
        return False

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:  # noqa: ARG002 (it is never called)
        return lambda: None
