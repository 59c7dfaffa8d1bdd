"""The sandbox in this process."""

from __future__ import annotations

import sqlite3

import pytest

from app.saga.model.errors import StepOutcomeUnknown
from app.services import Call, GatewayVerb, Participant, Sandbox, SandboxGateway

CALL = Call.to(Participant.PAYMENT, GatewayVerb.EXECUTE, reference="r")


@pytest.mark.parametrize(
    "surprise", [sqlite3.OperationalError("locked"), OSError(28, "full"), RuntimeError()]
)
async def test_no_foreign_exception_slips_through(
    surprise: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = Sandbox()
    gateway = SandboxGateway(sandbox, Participant.PAYMENT)

    async def raise_it(*_: object, **__: object) -> None:
        raise surprise

    monkeypatch.setattr(sandbox.ledger, "handle", raise_it)
    for asked in (gateway.put(CALL, {}), gateway.delete(CALL), gateway.get(CALL), gateway.capture(CALL)):
        with pytest.raises(StepOutcomeUnknown):
            await asked


async def test_a_closed_sandbox_is_no_crash() -> None:
    sandbox = Sandbox()
    await sandbox.aclose()
    with pytest.raises(StepOutcomeUnknown):
        await SandboxGateway(sandbox, Participant.PAYMENT).get(CALL)


async def test_a_body_that_is_no_json_is_no_crash() -> None:
    gateway = SandboxGateway.in_memory(Participant.PAYMENT)
    with pytest.raises(StepOutcomeUnknown):
        await gateway.put(CALL, {"not": {"JSON"}})
