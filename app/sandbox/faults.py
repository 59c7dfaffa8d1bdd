"""Faults, on demand or at random.

On demand it comes as the header X-Simulate:

    shipping.execute=timeout_after_effect, payment.compensate=unavailable:2

A fault without `:times` fires every time; with it, so often for each reference.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from app.gateway.port import GatewayVerb, Participant

MAX_LENGTH = 1024
MAX_TIMES = 1000


class SimulationError(ValueError):
    """X-Simulate can't be read: write service.action=fault[:times], with commas between."""


class Fault(StrEnum):
    """What goes wrong with a request."""

    REJECTED = "rejected"  # refused; nothing is done
    UNAVAILABLE = "unavailable"  # the service is down; nothing is done
    TIMEOUT_BEFORE_EFFECT = "timeout_before_effect"  # no answer, and nothing is done
    TIMEOUT_AFTER_EFFECT = "timeout_after_effect"  # done, but no answer comes
    LATE_EFFECT = "late_effect"  # no answer, and done only later
    NOT_REVERSIBLE = "not_reversible"  # can never be compensated


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A fault that was ordered; `times` None is every time."""

    fault: Fault
    times: int | None = None


Simulation = Mapping[tuple[Participant, GatewayVerb], Rule]
"""What was ordered, for each action of each service at most one fault."""


@lru_cache(maxsize=256)
def parse(text: str) -> Simulation:
    """Return what the header X-Simulate orders; raise `SimulationError`, which names the part that is wrong."""
    if len(text) > MAX_LENGTH:
        raise SimulationError(f"X-Simulate is longer than {MAX_LENGTH} characters.")
    rules: dict[tuple[Participant, GatewayVerb], Rule] = {}
    for part in text.split(","):
        target, rule = _rule(part.strip(" \t"))
        if target in rules:
            raise SimulationError(
                f"X-Simulate names {target[0]}.{target[1]} twice: one fault for each action."
            )
        rules[target] = rule
    return rules


_PART = re.compile(r"(?P<service>[^.=:]+)\.(?P<action>[^.=:]+)=(?P<fault>[^.=:]+)(:(?P<times>[0-9]{1,9}))?")


def _rule(part: str) -> tuple[tuple[Participant, GatewayVerb], Rule]:
    match = _PART.fullmatch(part)
    if match is None:
        raise SimulationError(
            f"X-Simulate: {_shown(part)} is not service.action=fault or service.action=fault:times."
        )
    service = Participant(_word(match["service"], Participant, "service"))
    action = GatewayVerb(_word(match["action"], GatewayVerb, "action"))
    fault = Fault(_word(match["fault"], Fault, "fault"))
    if fault is Fault.NOT_REVERSIBLE and action is not GatewayVerb.COMPENSATE:
        raise SimulationError(f"X-Simulate: {_shown(part)}: only compensate can be not_reversible.")
    times = int(match["times"]) if match["times"] else None
    if times is not None and not 1 <= times <= MAX_TIMES:
        raise SimulationError(f"X-Simulate: {_shown(part)}: times must be between 1 and {MAX_TIMES}.")
    return (service, action), Rule(fault=fault, times=times)


def _word(word: str, known: type[StrEnum], what: str) -> str:
    if word not in [str(member) for member in known]:
        raise SimulationError(f"X-Simulate: {_shown(word)} is no {what}; write one of {', '.join(known)}.")
    return word


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 60 else text[:60] + "…")


class RandomFaults:
    """Draws whether a call fails, and how; the same for the same seed and order of calls.

    Undoing and confirming are never refused at random, so that every saga can come to an end.
    """

    def __init__(self, rate: float, seed: int | None = None) -> None:
        """Raise `ValueError` for a rate that is no share."""
        if not 0 <= rate <= 1:
            raise ValueError("The failure rate must be between 0 and 1.")
        self._rate = rate
        self._random = random.Random(seed)  # noqa: S311 (for trouble, not for secrets)

    def draw(self, action: GatewayVerb) -> Fault | None:
        """Return what goes wrong with the next call, None for nothing."""
        # Always two numbers, so that one call's answer never shifts the next one's luck.
        luck, kind = self._random.random(), self._random.random()
        if luck >= self._rate:
            return None
        choices = _EXECUTE if action is GatewayVerb.EXECUTE else _OTHER
        return choices[int(kind * len(choices))]


_OTHER = (Fault.UNAVAILABLE, Fault.TIMEOUT_BEFORE_EFFECT, Fault.TIMEOUT_AFTER_EFFECT)
_MAYBE = (*_OTHER, Fault.LATE_EFFECT)
_EXECUTE = (*(Fault.REJECTED,) * len(_MAYBE), *_MAYBE)
