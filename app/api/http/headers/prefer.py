"""Prefer (RFC 7240): how long the caller wants to wait for the outcome.

    Prefer: respond-async              answer as soon as the saga is durable
    Prefer: wait=10                    answer after 10 seconds at the latest
    Prefer: respond-async, wait=10     wait 10 seconds; if that isn't enough, continue without me

A preference that can't be read, or isn't known, is ignored: it is never an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_WORD = rf'{_NAME}|"(?:[^"\\]|\\.)*"'
_PREFERENCE = re.compile(rf"(?P<name>{_NAME})(?:[ \t]*=[ \t]*(?P<value>{_WORD})?)?[ \t]*(?:;.*)?")
_MEMBER = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"|")+')
_LONGEST = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """What the caller prefers: not to wait for the outcome, or how many seconds to wait."""

    respond_async: bool = False
    wait: int | None = None

    def seconds(self, otherwise: float, *, at_most: float) -> float:
        """Return how long to wait."""
        if self.wait is not None:
            return min(self.wait, at_most)
        return 0.0 if self.respond_async else otherwise

    def applied(self, *, at_most: float, can_go_on: bool = True) -> dict[str, str]:
        """Return the Preference-Applied header, if there was a preference. `can_go_on` is False for a mere read."""
        names = ["respond-async"] if self.respond_async and can_go_on else []
        if self.wait is not None:
            names.append(f"wait={min(self.wait, int(at_most))}")
        return {"Preference-Applied": ", ".join(names)} if names else {}


_NONE = Preference()


def preference(headers: Sequence[str]) -> Preference:
    """Read the Prefer headers. The first instance of a preference counts."""
    line = ",".join(headers)
    if not line or len(line) > _LONGEST:
        return _NONE
    named: dict[str, str] = {}
    for member in _MEMBER.findall(line):
        if match := _PREFERENCE.fullmatch(member.strip(" \t")):
            named.setdefault(match["name"].lower(), _unquoted(match["value"] or ""))
    wait = named.get("wait", "")
    return Preference(
        respond_async=named.get("respond-async") == "",
        wait=int(wait) if re.fullmatch(r"[0-9]+", wait) else None,
    )


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word
