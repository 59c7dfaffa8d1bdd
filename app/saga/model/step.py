"""A step: one action in somebody else's system, with the compensation that undoes it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from app.saga.model.errors import LogRefused

JSON = Any
"""A JSON value: None, bool, int, float, str, a list of them, or a dictionary of them by string."""

Context = dict[str, JSON]
"""What a saga's steps share: the input's members, `saga_id`, and each step's result under its name."""


def copied(value: JSON) -> JSON:
    """Return a JSON value that shares nothing that could change, at less than half the cost of `copy.deepcopy`."""
    if isinstance(value, dict):
        return {name: copied(one) for name, one in value.items()}
    if isinstance(value, list):
        return [copied(one) for one in value]
    return value


def storable(value: JSON) -> bool:
    """Whether a log can keep it."""
    if value is None or isinstance(value, str | bool):
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int) and value.bit_length() < 64:
        return True
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return all(map(storable, value.values()))
    if isinstance(value, list):
        return all(map(storable, value))
    try:  # a tuple, say, is kept as a list; a number may have more digits than Python writes
        encode(value)
    except LogRefused:
        return False
    return True


_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def encode(value: JSON) -> str:
    """Return it as JSON text in ASCII; raise `LogRefused` for what isn't JSON (NaN, a set, a cycle)."""
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise LogRefused(f"Only JSON can be stored: {type(error).__name__}.") from None


class StepKind(StrEnum):
    """What can be done about a step once it has succeeded (Garcia-Molina & Salem 1987; Richardson)."""

    COMPENSATABLE = "compensatable"  # can be undone
    PIVOT = "pivot"  # once it has succeeded there is no way back
    RETRIABLE = "retriable"  # after the pivot: tried until it succeeds


@dataclass(frozen=True, slots=True)
class Closed:
    """What a look-up found: nothing stands, and nothing ever will, as it was undone."""


@runtime_checkable
class SagaStep(Protocol):
    """What the orchestrator asks of a step. Both methods may be called again with the same context.

    `execute` and `compensate` raise `StepRejected`, `StepUnavailable` or `StepOutcomeUnknown`;
    anything else that they raise counts as an unknown outcome. They identify their work to the
    outside by the saga and the step alone, never by an attempt, so that a repeat is recognised.
    A step that can also tell what became of its work has `look_up`, see `LooksUp`.
    """

    name: str

    async def execute(self, context: Context) -> Mapping[str, JSON] | None:
        """Do the work once, however often it is called; return what later steps and people need."""

    async def compensate(self, context: Context) -> Mapping[str, JSON] | None:
        """Undo it. Also succeed where nothing was done, and make a late `execute` come to nothing."""


@runtime_checkable
class LooksUp(SagaStep, Protocol):
    """A step whose service can be asked what stands.

    Asked instead of sending again, once the key of the first send may be forgotten. Without it, an
    outcome that is unknown for that long is a person's to find out.
    """

    async def look_up(self, context: Context) -> Mapping[str, JSON] | Closed | None:
        """Return what stands as `execute` would, None where nothing does yet, `Closed` where nothing will."""
