"""What the service did under load, as a table, as verdicts, and as docs/load.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from tests.bench.open_loop import FeedItem

GOODPUT_SHARE = 0.9
AS_QUICK = 1.5
REFUSED_P99_MS = 5000.0
MEMORY_GROWTH = 1.2
BOOKS_MIB = 3.7 / 1024
BOOKS_SAGAS = 10_000
"""What the sandbox, in the service's process, keeps of a saga, and of how many: not the service's own."""

OTHERS_P50, OTHERS_P99 = 1.5, 2.0


@dataclass(frozen=True, kw_only=True)
class Phase:
    """So many seconds at one rate. `times` is of the knee, 0 for the knee itself."""

    name: str
    times: float
    told: FeedItem
    memory: float  # MiB at its end
    cpu: float  # of one core, the service's own
    held: bool  # whether the lease was, at its end

    @property
    def offered(self) -> float:
        """Orders a second."""
        return self.told["sent"] / self.told["seconds"]

    @property
    def goodput(self) -> float:
        """Orders answered 201 a second, once the phase was under way and until its end."""
        return self.told["goodput"]

    @property
    def refused(self) -> int:
        """Orders answered 503."""
        return sum(count for answer, count in self.told["answers"].items() if answer.startswith("503"))


@dataclass(frozen=True, kw_only=True)
class Left:
    """What is in the database after all of it, beside what the clients were told."""

    sagas: int
    accepted: int
    accepted_not_completed: int
    unfinished: int
    refused: int
    refused_with_saga: int
    unread: int  # accepted sagas of a sample that GET /sagas/{id} doesn't show as completed
    takeovers: int
    moved_on: int  # sagas of a later epoch than their first


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that was measured of one service."""

    phases: Sequence[Phase]
    left: Left

    @property
    def knee(self) -> float:
        """Checkouts a second in a closed loop."""
        return self.phases[0].goodput


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One promise. `must`: it is about what is right, not about how quick."""

    words: str
    shown: str
    kept: bool
    must: bool = False


COLUMNS = (
    "phase",
    "offered/s",
    "201/s",
    "201",
    "503",
    "other",
    "201 p50 ms",
    "p99 ms",
    "503 p50 ms",
    "p99 ms",
    "MiB",
    "CPU",
    "sent late p99 ms",
)


def verdicts(load: Run, repeating: Run, slow: Run) -> list[Verdict]:
    """Return how each promise was kept: under load, with clients that repeat, and beside a slow service."""
    return [
        *_speed(load),
        *_right("under load", load),
        *_repeating(repeating),
        *_right("with clients that repeat", repeating),
        *_beside(slow),
        *_right("beside a slow service", slow),
    ]


def _speed(run: Run) -> list[Verdict]:
    phases = run.phases[1:]
    first, last = phases[0], phases[-1]
    beyond = [phase for phase in phases if phase.times > 1]
    found = [
        Verdict(
            words=f"goodput stays: at {phase.times:g}× the knee at least {GOODPUT_SHARE:g} of it",
            shown=f"{phase.goodput / run.knee:.2f}",
            kept=phase.goodput >= GOODPUT_SHARE * run.knee,
        )
        for phase in beyond
    ]
    refusals = [phase.told["took"]["refused"]["p99"] for phase in beyond if phase.refused]
    before, after = (phase.told["took"]["accepted"]["p50"] for phase in (first, last))
    growth = _own_memory(run, last) / _own_memory(run, first)
    return [
        *found,
        Verdict(
            words=f"a refusal is held back, and not for long: p99 under {REFUSED_P99_MS:g} ms",
            shown=f"{max(refusals, default=0):,.0f} ms",
            kept=max(refusals, default=0) < REFUSED_P99_MS,
        ),
        Verdict(
            words=f"afterwards as quick as before: p50 at most {AS_QUICK:g}×",
            shown=f"{before:,.1f} → {after:,.1f} ms",
            kept=after <= AS_QUICK * before,
        ),
        Verdict(
            words=f"memory is flat, but for the sandbox's books: at the end at most {MEMORY_GROWTH:g}×",
            shown=f"{growth:.2f}×",
            kept=growth <= MEMORY_GROWTH,
        ),
    ]


def _own_memory(run: Run, phase: Phase) -> float:
    upto = run.phases[: run.phases.index(phase) + 1]
    sagas = sum(one.told["answers"].get("201", 0) for one in upto)
    return phase.memory - BOOKS_MIB * min(sagas, BOOKS_SAGAS)


def _repeating(run: Run) -> list[Verdict]:
    best = max(phase.goodput for phase in run.phases)
    return [
        Verdict(
            words=f"{phase.name}: goodput at least {GOODPUT_SHARE:g} of the best",
            shown=f"{phase.goodput / best:.2f}",
            kept=phase.goodput >= GOODPUT_SHARE * best,
        )
        for phase in run.phases[1:]
    ]


def _right(where: str, run: Run) -> list[Verdict]:
    left = run.left
    bare = sum(phase.told["without_retry_after"] for phase in run.phases)
    refused = sum(phase.refused for phase in run.phases)
    lost = left.accepted_not_completed + left.unread
    lapses = left.takeovers + left.moved_on + sum(not phase.held for phase in run.phases)
    return [
        Verdict(
            words=f"{where}: every 503 has Retry-After",
            shown=f"{refused - bare:,} of {refused:,}",
            kept=not bare,
            must=True,
        ),
        Verdict(
            words=f"{where}: every order answered 201 is completed in the database",
            shown=f"{left.accepted - lost:,} of {left.accepted:,}",
            kept=not lost,
            must=True,
        ),
        Verdict(
            words=f"{where}: every saga is finished",
            shown=f"{left.sagas - left.unfinished:,} of {left.sagas:,}",
            kept=not left.unfinished,
            must=True,
        ),
        Verdict(
            words=f"{where}: no order that was refused as over capacity has a saga",
            shown=f"{left.refused_with_saga:,} of {left.refused:,} have one",
            kept=not left.refused_with_saga,
            must=True,
        ),
        Verdict(
            words=f"{where}: no lease was lost",
            shown=f"{left.takeovers:,} takeovers",
            kept=not lapses,
            must=True,
        ),
    ]


def _beside(run: Run) -> list[Verdict]:
    without, beside = (phase.told["took"]["accepted"] for phase in run.phases[1:3])
    return [
        Verdict(
            words=f"beside a slow service: the other orders' p50 is at most {OTHERS_P50:g}× what it was",
            shown=f"{without['p50']:,.1f} → {beside['p50']:,.1f} ms",
            kept=beside["p50"] <= OTHERS_P50 * without["p50"],
        ),
        Verdict(
            words=f"beside a slow service: their p99 at most {OTHERS_P99:g}×",
            shown=f"{without['p99']:,.1f} → {beside['p99']:,.1f} ms",
            kept=beside["p99"] <= OTHERS_P99 * without["p99"],
        ),
    ]


def table(title: str, run: Run) -> Table:
    """Return the phases as a table."""
    shown = Table(*COLUMNS, title=title)
    for row in _rows(run):
        shown.add_row(*row)
    return shown


def verdict_table(found: Sequence[Verdict]) -> Table:
    """Return the verdicts as a table."""
    shown = Table("promise", "measured", "kept")
    for one in found:
        style = "green" if one.kept else "bold red" if one.must else "yellow"
        shown.add_row(one.words, one.shown, f"[{style}]{_yes(one)}[/]")
    return shown


_PAGE = """# Under load

Measured by `{command}`.
{machine}.

The knee is what {clients} clients in a closed loop get.
Then orders come when they are due, as a Poisson process, at a multiple of the knee (an open loop).
A latency counts from the time when its order was due, so a stall shows in every order that it delays.
`201/s` counts the answers of a phase without its first fifth, in which the service fills up.
The service has its default limit of 512 checkouts in flight; more are refused with 503 `over_capacity` and Retry-After, before the body is read.
`CPU` is the service's own, of one core; the generator and PostgreSQL share the same cores. `sent late` says how far the generator was behind its own plan.
`MiB` includes the sandbox's books, 3.7 KiB for each of its last 10,000 sagas (`python -m tests.bench.memory`), because its services run in the same process.
{connections}

{load}

## Clients that repeat what was refused

So many clients in a closed loop, who send a refused order again: at once, or after Retry-After (`patient`).
A refusal is answered half a second later, and 500 a second at most, so they can't starve the others.

{repeating}

## One service at {slow_seconds:g} s

The carrier is a separate process. At half the knee, a tenth of the orders meet a carrier that takes {slow_seconds:g} s; `201` shows the others' latency.

{slow}

## Promises

| promise | measured | kept |
|---|---|---|
{verdicts}
"""


def page(
    load: Run,
    repeating: Run,
    slow: Run,
    *,
    command: str,
    machine: str,
    clients: int,
    slow_seconds: float,
    connections: int,
) -> str:
    """Return docs/load.md."""
    return _PAGE.format(
        command=command,
        machine=machine,
        clients=clients,
        slow_seconds=slow_seconds,
        connections=(
            f"Orders come over {connections:,} connections that are kept, as a proxy keeps them."
            if connections
            else "Every client connects anew where no connection is free."
        ),
        load=_markdown(load),
        repeating=_markdown(repeating),
        slow=_markdown(slow),
        verdicts="\n".join(
            f"| {one.words} | {one.shown} | {_yes(one)} |" for one in verdicts(load, repeating, slow)
        ),
    )


def _markdown(run: Run) -> str:
    lines = [" | ".join(COLUMNS), "|".join("---" for _ in COLUMNS), *(" | ".join(row) for row in _rows(run))]
    return "\n".join(f"| {line} |" for line in lines)


def _rows(run: Run) -> list[list[str]]:
    return [_row(phase) for phase in run.phases]


def _row(phase: Phase) -> list[str]:
    told = phase.told
    accepted, refused = told["took"]["accepted"], told["took"]["refused"]
    counts = {**told["answers"], **told["failed"]}
    return [
        phase.name,
        f"{phase.offered:,.0f}",
        f"{phase.goodput:,.0f}",
        f"{told['answers'].get('201', 0):,}",
        _counted({name[4:]: count for name, count in counts.items() if name.startswith("503 ")}),
        _counted({name: count for name, count in counts.items() if name[:3] not in {"201", "503"}}),
        *(f"{value:,.0f}" for value in (accepted["p50"], accepted["p99"])),
        *(f"{value:,.0f}" if refused["count"] else "" for value in (refused["p50"], refused["p99"])),
        f"{phase.memory:,.0f}",
        f"{phase.cpu:.0%}",
        f"{told['late_p99']:,.0f}",
    ]


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "0"


def _yes(one: Verdict) -> str:
    return "yes" if one.kept else "no"
