"""A run's evidence, put in order once: what was seen of each saga, in the answers and in the ledgers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.proof.evidence import ApiAnswer, Document, Evidence, LedgerLine

SERVICES = ("payment", "inventory", "shipping")
INACTIVE = frozenset({"completed", "compensated", "needs_attention"})
Effect = Mapping[str, int]


@dataclass
class SagaSeen:
    """All that was seen of one saga; of one that no answer named, what the ledgers know.

    `documents` are the saga as the answers showed it, the shortest trail first. `effects` are what
    stands under its reference, by service; a reference under which nothing stands has none.
    """

    id: str
    acknowledged: bool = False
    documents: list[Document] = field(default_factory=list)
    order: Document | None = None
    lines: list[LedgerLine] = field(default_factory=list)
    effects: defaultdict[str, list[Effect]] = field(default_factory=lambda: defaultdict(list))

    @property
    def document(self) -> Document:
        """The document with the longest trail; empty where none was shown."""
        return self.documents[-1] if self.documents else {}

    @property
    def status(self) -> str | None:
        """The status that goes with the longest trail."""
        return self.document.get("status")

    @property
    def inactive(self) -> bool:
        """Whether it was seen to have ended, or to need attention."""
        return self.status in INACTIVE

    @property
    def trail(self) -> Sequence[Document]:
        """The longest trail that was shown."""
        return trail_of(self.document)

    @cached_property
    def completion_order(self) -> list[str]:
        """The steps that had, or may have had, an effect, in the order in which the trail tells it."""
        return self.steps_with("step_succeeded", "step_unknown")

    def steps_with(self, *events: str) -> list[str]:
        """Return the steps that the trail names in one of these events, each where it comes first."""
        return list(dict.fromkeys(str(e.get("step")) for e in self.trail if e.get("event") in events))

    @cached_property
    def given_up(self) -> frozenset[str]:
        """The steps whose compensation failed for good, also where it was tried again later."""
        return frozenset(self.steps_with("compensation_failed"))

    @cached_property
    def resolved(self) -> frozenset[str]:
        """The steps that a person settled outside: what stands at the service is that person's business."""
        return frozenset(self.steps_with("step_resolved"))

    @cached_property
    def left(self) -> frozenset[str]:
        """The steps whose compensation failed for good and didn't succeed later, and those that a person settled."""
        last = {
            str(e.get("step")): e.get("event")
            for e in self.trail
            if e.get("event") in {"step_compensated", "compensation_failed"}
        }
        return self.resolved | {step for step, event in last.items() if event == "compensation_failed"}

    def may_be_given_up(self, step: str) -> bool:
        """Whether a step's compensation failed for good, or may have: the trail wasn't seen to its end."""
        return step in self.given_up or not self.inactive

    def lines_of(self, action: str) -> Iterator[LedgerLine]:
        """Return the lines of one action, in their order of time."""
        return (line for line in self.lines if line.action == action)


@dataclass
class Run:
    """The evidence by saga. `sagas` has every reference that an answer or a ledger names."""

    evidence: Evidence
    sagas: dict[str, SagaSeen] = field(default_factory=dict)

    @classmethod
    def of(cls, evidence: Evidence) -> Run:
        """Return the evidence in order."""
        run = cls(evidence)
        bodies: dict[str, list[Document]] = defaultdict(list)
        for answer in evidence.answers:
            run._note_answer(answer)
            if answer.order is not None and answer.order not in (known := bodies[_order_id(answer.order)]):
                known.append(answer.order)
        for saga in run.sagas.values():
            saga.documents.sort(key=lambda document: len(trail_of(document)))
            of_that_order = bodies.get(_order_id(saga.document), [])
            if saga.order is None and len(of_that_order) == 1:
                saga.order = of_that_order[0]
        for line in evidence.lines:
            run._saga(line.reference).lines.append(line)
        for row in evidence.standing:
            effect = {what: count for what, count in row.effect.items() if count}
            saga = run._saga(row.reference)
            if effect:
                saga.effects[row.service].append(effect)
        return run

    @property
    def shown(self) -> Iterator[SagaSeen]:
        """The sagas that some answer showed."""
        return (saga for saga in self.sagas.values() if saga.documents)

    def _saga(self, saga_id: str) -> SagaSeen:
        return self.sagas.setdefault(saga_id, SagaSeen(saga_id))

    def _note_answer(self, answer: ApiAnswer) -> None:
        for document in documents_in(answer):
            saga = self._saga(str(document.get("id")))
            saga.documents.append(document)
            if answer.saga is document and answer.order is not None:
                saga.order = answer.order
        for saga_id in named_in(answer):
            self._saga(saga_id).acknowledged = True


def documents_in(answer: ApiAnswer) -> list[Document]:
    """Return the sagas that an answer shows: one, or a list's page."""
    if answer.saga is not None:
        return [answer.saga]
    page = answer.document.get("data")
    return [one for one in page if "trail" in one] if isinstance(page, list) else []


def named_in(answer: ApiAnswer) -> list[str]:
    """Return the ids of the sagas that an answer shows, or gives the URL of."""
    ids = [str(document.get("id")) for document in documents_in(answer)]
    url = saga_in_path(str(answer.document.get("saga_url", "")))
    return ids if url is None else [*ids, url]


def saga_in_path(path: str) -> str | None:
    """Return the saga that a path is the URL of."""
    segments = path.partition("?")[0].split("/")
    return segments[-1] if segments[-2:-1] == ["sagas"] and segments[-1] else None


def trail_of(document: Document) -> Sequence[Any]:
    """Return a saga's trail; empty where it shows none."""
    trail = document.get("trail")
    return trail if isinstance(trail, Sequence) else ()


def acknowledges(line: LedgerLine) -> bool:
    """Tell whether a line is a reply that says yes."""
    return line.phase == "replied" and line.status is not None and 200 <= line.status < 300


def _order_id(document: Document) -> str:
    return str(document.get("order_id"))
