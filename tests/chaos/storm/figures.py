"""What a storm proves: its figures, whether it is void, and what was wrong, counted without the checker's help."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.chaos.storm.cluster import POLL_SECONDS
from tests.chaos.storm.plan import Kind
from tests.chaos.storm.run import StormResult
from tests.processes import SERVICES
from tests.proof.evidence import Violation
from tests.proof.invariants import check

SETTLE_SECONDS = 30.0


@dataclass(frozen=True)
class Figures:
    """A storm in numbers. `patience` stretches both limits of time, for a machine that is busy with other things."""

    after: StormResult
    patience: float = 1.0

    @cached_property
    def sagas(self) -> dict[str, dict[str, Any]]:
        """Every saga that can be read, by id."""
        return {saga_id: shown[0] for saga_id, shown in self.after.sagas.items() if shown[0] is not None}

    @cached_property
    def statuses(self) -> Counter[str]:
        return Counter(saga["status"] for saga in self.sagas.values())

    @cached_property
    def events(self) -> Counter[str]:
        return Counter(line["event"] for saga in self.sagas.values() for line in saga["trail"])

    @cached_property
    def unknown(self) -> int:
        """How many answers left open whether there was an effect."""
        lines = (line for saga in self.sagas.values() for line in saga["trail"])
        return sum(line.get("outcome") == "unknown" or line["event"] == "step_unknown" for line in lines)

    @cached_property
    def late(self) -> int:
        """How many requests were to have their effect only later."""
        return sum(record["fault"] == "late_effect" for record in self._arrived)

    @cached_property
    def faulted(self) -> float:
        """The share of the services' calls that went wrong on purpose."""
        return sum(record["fault"] is not None for record in self._arrived) / max(1, len(self._arrived))

    @cached_property
    def _arrived(self) -> list[dict[str, Any]]:
        return [record for record in self.after.records if record["phase"] == "arrived"]

    @property
    def takeover_limit(self) -> float:
        """Two leases, and the pause between two looks at what is due."""
        return 2 * self.after.plan.lease_seconds + POLL_SECONDS

    @cached_property
    def takeovers(self) -> list[float]:
        """How long each saga of a replica that died or froze waited for another, while there was one and a database."""
        return [
            self._able_between(death.at, taken)
            for death in self.after.injector.deaths
            for saga_id in death.saga_ids
            if (taken := self._taken_over(saga_id, death.at)) is not None
        ]

    def _taken_over(self, saga_id: str, since: float) -> float | None:
        trail = self.sagas[saga_id]["trail"] if saga_id in self.sagas else []
        times = (_unix(line["at"]) for line in trail if line["event"] == "saga_recovered")
        return min((at for at in times if at > since), default=None)

    def _able_between(self, begin: float, end: float) -> float:
        changes = [(at, available) for at, available in self.after.available if at < end]
        spans = zip(changes, [*(at for at, _ in changes[1:]), end], strict=True)
        return sum(max(0.0, until - max(at, begin)) for (at, available), until in spans if available)

    @cached_property
    def settles(self) -> float:
        """How long after the last fault the last saga ended, or after its own start where that was later."""
        calm = self.after.injector.over_at
        return max(
            (
                _unix(saga["finished_at"]) - max(calm, _unix(saga["created_at"]))
                for saga in self.sagas.values()
                if saga["finished_at"] is not None
            ),
            default=0.0,
        )

    @cached_property
    def lost(self) -> list[str]:
        """Orders nobody answered for, sagas that were acknowledged and are gone or unfinished, effects that are missing."""
        known = set(self.after.clients.saga_of.values())
        gone = [saga_id for saga_id in known if saga_id not in self.sagas]
        stuck = [saga_id for saga_id, saga in self.sagas.items() if saga["status"] not in _FINAL]
        missing = [
            f"{saga_id} at {service}"
            for saga_id, saga in self.sagas.items()
            for service in SERVICES
            if saga["status"] == "completed" and not self._standing[service, saga_id]
        ]
        return [*self.after.clients.unanswered, *gone, *stuck, *missing]

    @cached_property
    def doubled(self) -> list[str]:
        """Orders completed twice, effects that stand without a completed saga, money that isn't the order's amount."""
        orders = Counter(saga["order_id"] for saga in self.sagas.values() if saga["status"] == "completed")
        twice = [order_id for order_id, times in orders.items() if times > 1]
        left = [
            f"{saga_id} at {service}"
            for (service, saga_id), effect in self._standing.items()
            if effect and self.sagas.get(saga_id, {}).get("status") != "completed"
        ]
        wrong = [
            saga_id
            for saga_id, saga in self.sagas.items()
            if (paid := self._standing["payment", saga_id]) and paid != {saga["currency"]: saga["amount"]}
        ]
        return [*twice, *left, *wrong]

    @cached_property
    def _standing(self) -> dict[tuple[str, str], dict[str, int]]:
        keys = itertools.product(SERVICES, self.sagas)
        effects = {(row["service"], row["reference"]): row["effect"] for row in self.after.standing}
        return {key: {} for key in keys} | effects

    def void(self) -> list[str]:
        """Return why the run proves nothing; empty where it does prove something."""
        plan, hit = self.after.plan, self.after.injector.hit
        missed = [
            f"{hit[kind]} of {plan.count(kind)} planned: {kind}"
            for kind in Kind
            if hit[kind] < plan.count(kind)
        ]
        needed = {
            "nothing was taken over": self.events["saga_recovered"],
            "no outcome was unknown": self.unknown,
            "nothing was compensated": self.statuses["compensated"],
            "nothing was completed": self.statuses["completed"],
            "no effect was late": self.late,
            "fewer than one call in eight went wrong": self.faulted > 1 / 8,
        }
        if plan.count(Kind.STOP):
            needed["no zombie woke"] = self.after.injector.zombies
        return [*missed, *(sentence for sentence, seen in needed.items() if not seen)]

    def violations(self) -> Iterator[Violation]:
        """Give what the run broke: what the checker of invariants says, and what it doesn't look at."""
        clients = self.after.clients
        yield from check(self.after.evidence())
        for what in self.lost:
            yield Violation("nothing is lost", what, "missing")
        for what in self.doubled:
            yield Violation("nothing is doubled", what, "too much")
        for what, times in clients.unexpected.items():
            yield Violation("no strange answer", what, f"{times} times")
        for saga_id, shown in self.after.sagas.items():
            if any(one != shown[0] for one in shown):
                yield Violation("replicas agree", saga_id, f"{[one and one['status'] for one in shown]}")
        yield from self._changed_answers()
        if self.settles > SETTLE_SECONDS * self.patience or not self.after.rested:
            yield Violation("settles in time", "the last saga", f"{self.settles:.1f} s")
        slowest = max(self.takeovers, default=0.0)
        if slowest > self.takeover_limit * self.patience:
            yield Violation("taken over in time", "the slowest saga", f"{slowest:.1f} s")

    def _changed_answers(self) -> Iterator[Violation]:
        """A repeat of a request that was answered for good gets that answer again."""
        given: dict[str, Any] = {}
        for answer in self.after.clients.answers:
            if answer.idempotency_key is None or answer.saga is None or answer.saga["status"] not in _FINAL:
                continue
            now = (answer.status, answer.document)
            if given.setdefault(answer.idempotency_key, now) != now:
                yield Violation("a repeat gets the same answer", answer.idempotency_key, f"{now[0]}")

    def write(self, path: Path) -> None:
        """Write what the verdict is based on to a JSON file."""
        after = self.after
        evidence = {
            "seed": after.plan.seed,
            "violations": [str(violation) for violation in self.violations()],
            "faults": [asdict(fault) for fault in after.plan.faults],
            "sagas": after.sagas,
            "answers": [asdict(answer) for answer in after.clients.answers],
            "records": after.records,
            "standing": after.standing,
        }
        path.write_text(json.dumps(evidence), encoding="utf-8")

    def rows(self) -> Sequence[tuple[str, str]]:
        """Return the figures as they are printed."""
        injector, plan = self.after.injector, self.after.plan
        logs, answers = self.after.logs, self.after.clients.answers
        return [
            ("seed", str(plan.seed)),
            ("sagas", str(len(self.sagas))),
            *((f"  {status}", str(count)) for status, count in sorted(self.statuses.items())),
            ("kill -9", _of(injector.victims, Kind.KILL)),
            ("SIGSTOP", _of(injector.victims, Kind.STOP)),
            ("  zombies woken", str(injector.zombies)),
            ("database restarts", str(injector.hit[Kind.RESTART_DATABASE])),
            ("calls of services", str(len(self._arrived))),
            ("  faulted", f"{self.faulted:.1%}, {self.late} of them late effects"),
            ("unknown outcomes", str(self.unknown)),
            ("takeovers", str(self.events["saga_recovered"])),
            ("  slowest", f"{max(self.takeovers, default=0.0):.1f} s of {self.takeover_limit:g} s"),
            ("leases lapsed", str(logs.count("lease_lost"))),
            (
                "sagas let go",
                f"{logs.count('saga_ownership_lost')} without a lease, {logs.count('saga_fenced')} fenced",
            ),
            (
                "answers of the API",
                f"{len(answers)}, {sum(one.status == 503 for one in answers)} of them 503",
            ),
            ("longest settle", f"{self.settles:.1f} s of {SETTLE_SECONDS:g} s"),
            ("lost", str(len(self.lost))),
            ("doubled", str(len(self.doubled))),
            ("seconds", f"{self.after.seconds:.0f}, {self.after.load_seconds:.0f} of them load"),
        ]


_FINAL = ("completed", "compensated")


def _of(victims: Counter[str], kind: Kind) -> str:
    replicas, services = victims[f"{kind} replica"], victims[f"{kind} service"]
    return f"{replicas + services} ({replicas} of replicas, {services} of services)"


def _unix(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
