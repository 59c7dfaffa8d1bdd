"""Runs the contract's cases against a service over HTTP and undoes what they did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import httpx2 as httpx
from uuid_utils import uuid7

from app.gateway.contract.cases import CASES, Case
from app.gateway.contract.probe import NotConforming, Probe, Sample
from app.gateway.port import Participant

__all__ = ["Finding", "Grade", "Report", "Sample", "check", "offered"]


class Grade(StrEnum):
    """How a case ended."""

    OK = "ok"  # the promise holds
    FAULT = "fault"  # it doesn't: a checkout could lose or double something
    NOTE = "note"  # it doesn't, and the checkout doesn't need it today
    LEFT_OUT = "left out"  # the sample lacks what it needs


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One case's end, with a sentence that names the fault or what is missing."""

    service: Participant
    promise: str
    grade: Grade
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run found; `left_behind` are references whose DELETE failed, which somebody must undo by hand."""

    findings: tuple[Finding, ...]
    left_behind: tuple[str, ...]

    @property
    def conforms(self) -> bool:
        """Whether no case found a fault and nothing was left behind."""
        return not self.left_behind and all(one.grade is not Grade.FAULT for one in self.findings)


def offered(base_url: str, *, token: str | None = None, timeout: float = 10.0) -> list[Participant]:
    """Return the services that the URL serves: those whose DELETE of a new reference, which does nothing, is 2xx.

    Raise `ConnectionError` where nobody answers at all.
    """
    with _client(token, timeout) as client:
        found, silent = [], 0
        for service in Participant:
            try:
                answer = _probe(client, base_url, service, Sample(), timeout).delete(_new_reference())
            except NotConforming:
                silent += 1
                continue
            if 200 <= answer.status < 300:
                found.append(service)
    if silent == len(Participant):
        raise ConnectionError(f"Nobody answers at {base_url}.")
    return found


def check(
    base_url: str,
    services: Iterable[Participant],
    *,
    sample: Sample | None = None,
    token: str | None = None,
    timeout: float = 10.0,
    cases: Iterable[Case] = CASES,
    on_finding: Callable[[Finding], None] = lambda _: None,
) -> Report:
    """Run the cases against each service; every request may take `timeout` seconds.

    The cases charge, reserve and ship what `sample` says, and undo all of it: point this at a test
    instance. `on_finding` is given each finding as it is made.
    """
    sample = sample or Sample()
    findings: list[Finding] = []
    left: list[str] = []
    with _client(token, timeout) as client:
        for service in services:
            probe = _probe(client, base_url, service, sample, timeout)
            for finding in _found(probe, sample, cases):
                findings.append(finding)
                on_finding(finding)
            left += _undo(probe)
    return Report(findings=tuple(findings), left_behind=tuple(left))


def _found(probe: Probe, sample: Sample, cases: Iterable[Case]) -> Iterator[Finding]:
    for case in cases:
        if probe.service not in case.services:
            continue
        grade, words = Grade.OK, ""
        if case.needs and getattr(sample, case.needs) is None:
            grade, words = (
                Grade.LEFT_OUT,
                f"name a value that is refused, with --{case.needs.replace('_', '-')}",
            )
        else:
            try:
                case.run(probe)
            except NotConforming as broken:
                grade, words = (Grade.FAULT if case.used_today else Grade.NOTE), str(broken)
        yield Finding(service=probe.service, promise=case.promise, grade=grade, words=words)


def _undo(probe: Probe) -> list[str]:
    left = []
    for reference in probe.used:
        try:
            compensated = 200 <= probe.delete(reference).status < 300
        except NotConforming:
            compensated = False
        if not compensated:
            left.append(f"{probe.service.resource}/{reference}")
    return left


def _client(token: str | None, timeout: float) -> httpx.Client:
    headers = {"user-agent": "checkout"} | ({"authorization": f"Bearer {token}"} if token else {})
    return httpx.Client(timeout=timeout, headers=headers, follow_redirects=False, trust_env=False)


def _probe(
    client: httpx.Client, base_url: str, service: Participant, sample: Sample, timeout: float
) -> Probe:
    return Probe(client, base_url, service, sample, timeout=timeout, new_reference=_new_reference)


def _new_reference() -> str:
    return str(uuid7())
