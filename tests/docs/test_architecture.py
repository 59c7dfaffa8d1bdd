"""The diagrams in docs/architecture.md agree with the code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from app.checkout.definition import checkout_saga
from app.saga.engine.orchestrator import SagaOrchestrator
from app.saga.model.errors import StepRejected
from app.saga.model.events import SagaEvent
from app.saga.model.status import EDGES, FINAL, SagaStatus
from app.saga.model.step import JSON, Context
from app.saga.ports.log import RowChange
from app.saga.ports.memory_log import MemoryLog

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def _drawing(kind: str) -> list[str]:
    found = re.search(rf"```mermaid\n{kind}\n(.*?)```", PAGE, re.DOTALL)
    assert found, f"no {kind} in docs/architecture.md"
    return [line.strip() for line in found[1].splitlines()]


def test_the_state_diagram_shows_the_edges_that_the_code_allows() -> None:
    """Every legal way from one status to another is drawn, and no other."""
    legal = {f"{source} --> {target}" for source, targets in EDGES.items() for target in targets}
    ends = {f"[*] --> {SagaStatus.RUNNING}"} | {f"{status} --> [*]" for status in FINAL}
    assert set(_drawing("stateDiagram-v2")) == legal | ends


class _Step:
    def __init__(self, name: str, seen: list[str], *, fails: bool = False) -> None:
        self.name = name
        self._seen = seen
        self._fails = fails

    async def execute(self, _context: Context) -> dict[str, JSON]:
        self._seen.append(f"orchestrator->>{self.name}: execute")
        if self._fails:
            raise StepRejected("no", code="address_unserviceable")
        return {}

    async def compensate(self, _context: Context) -> None:
        self._seen.append(f"orchestrator->>{self.name}: compensate")


class _Log(MemoryLog):
    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self._seen = seen

    async def append(
        self,
        saga_id: str,
        *,
        epoch: int,
        events: Sequence[SagaEvent],
        change: RowChange | None = None,
    ) -> None:
        await super().append(saga_id, epoch=epoch, events=events, change=change)
        self._seen.append("orchestrator->>log: " + ", ".join(event.type for event in events))


async def test_the_sequence_is_what_a_compensated_checkout_does() -> None:
    """Each commit and each request, in this order and no other."""
    seen = ["orchestrator->>log: saga_started"]
    definition = checkout_saga(
        payment=_Step("payment", seen),
        inventory=_Step("inventory", seen),
        shipping=_Step("shipping", seen, fails=True),
    )
    await SagaOrchestrator(definition, _Log(seen)).execute({}, saga_id="1")

    assert seen == _drawing("sequenceDiagram")


def _section(title: str) -> str:
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_rooms_are_those_that_the_import_check_enforces() -> None:
    """In that order, and each is described."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = next(one for one in project["tool"]["importlinter"]["contracts"] if one["id"] == "rooms")[
        "layers"
    ]
    assert " → ".join(layers) in " ".join(PAGE.split())
    named = {room.strip() for layer in layers for room in layer.split("|")}
    described = set(re.findall(r"^\| .*?`app/(\w+)`", _section("The rooms"), re.MULTILINE))
    assert described == named - {"main", "__main__"}


def test_every_path_on_the_page_exists() -> None:
    paths = set(re.findall(r"`((?:app|alembic|tests)/[\w/.]*)`", PAGE))
    assert len(paths) > 40
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_a_request_enters_each_room_once() -> None:
    """Its files are in the rooms that the walk names, and it never comes back to one."""
    walk = re.findall(
        r"^\| (\d?) \| (?:`(\w+)`)? ?\| .* \| `app/(\w+)/", _section("A request's way"), re.MULTILINE
    )
    entered = [room for _, room, _ in walk if room]
    assert len(entered) == len(set(entered)) == 7
    now = ""
    for _, room, of_file in walk:
        now = room or now
        assert of_file == now
