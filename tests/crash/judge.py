"""The verdict on one run: the invariants, and what is expected of its scenario."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.crash.scenarios import Scenario
from tests.proof.evidence import Evidence
from tests.proof.invariants import check

_SERVICES = {"payment", "inventory", "shipping"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What is wrong with a run: nothing, if it ended well. `run` says which one it was."""

    run: str
    wrong: tuple[str, ...]
    lost: bool
    doubled: bool

    def __str__(self) -> str:
        return f"{self.run}: " + "; ".join(self.wrong)


def judged(run: str, scenario: Scenario, evidence: Evidence, *, undisturbed: bool = False) -> Verdict:
    """Judge a run by what it left. Undisturbed, it ends as its scenario says; else, it may also end otherwise."""
    wrong = [str(violation) for violation in check(evidence)]
    last = evidence.answers[-1].saga if evidence.answers else None
    status = last["status"] if last else "nothing"
    may_end = {scenario.ends} if undisturbed else {scenario.ends, *scenario.may_end}
    if status not in may_end:
        wrong.append(f"it ended as {status}")
    doubled = _doubled(evidence)
    if doubled:
        wrong.append(f"done twice for one order: {', '.join(doubled)}")
    lost = status not in may_end or not _stands_as_told(evidence, status)
    if lost:
        wrong.append(f"{status}, but there stands {[(row.service, row.effect) for row in evidence.standing]}")
    return Verdict(run=run, wrong=tuple(wrong), lost=lost, doubled=bool(doubled))


def stranded(run: str, how: str) -> Verdict:
    """Judge a run whose saga never came to rest."""
    return Verdict(run=run, wrong=(how,), lost=True, doubled=False)


def _doubled(evidence: Evidence) -> list[str]:
    """Return the services that did the work of the one order more than once."""
    done = Counter(
        line.service for line in evidence.lines if (line.phase, line.action) == ("applied", "execute")
    )
    return [service for service, times in done.items() if times > 1]


def _stands_as_told(evidence: Evidence, status: str) -> bool:
    """Return whether all of a completed checkout stands, and nothing of a compensated one."""
    standing = {row.service for row in evidence.standing if row.effect}
    return standing == {"completed": _SERVICES, "compensated": set()}.get(status, standing)
