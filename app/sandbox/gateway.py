"""The port to the sandbox in this process."""

from __future__ import annotations

from app.gateway.answer import Answer, compensated, done, found
from app.gateway.port import Call, JsonObject, Participant
from app.saga.model.errors import FailureKind, StepOutcomeUnknown, StepRejected, StepUnavailable
from app.saga.model.step import Closed
from app.sandbox.faults import SimulationError
from app.sandbox.ledger import Ledger
from app.sandbox.request import Request, Verb
from app.sandbox.sandbox import Sandbox


class SandboxGateway:
    """One service of a sandbox. A silence is reported at once, not after a time-out.

    The three gateways of a checkout may share a sandbox; its owner closes it.
    """

    def __init__(self, sandbox: Sandbox, service: Participant) -> None:
        self._sandbox = sandbox
        self._service = service

    @classmethod
    def in_memory(cls, service: Participant) -> SandboxGateway:
        """Return a gateway to a service of its own, which is gone with it."""
        return cls(Sandbox(Ledger(services=[service])), service)

    async def put(self, call: Call, body: JsonObject) -> JsonObject:
        return done(await self._ask(Verb.PUT, call, body))

    async def delete(self, call: Call) -> JsonObject:
        return compensated(await self._ask(Verb.DELETE, call))

    async def get(self, call: Call) -> JsonObject | Closed | None:
        return found(await self._ask(Verb.GET, call))

    async def capture(self, call: Call) -> JsonObject:
        return done(await self._ask(Verb.CAPTURE, call))

    async def aclose(self) -> None:
        """Do nothing: the sandbox may have other gateways."""

    async def _ask(self, verb: Verb, call: Call, body: JsonObject | None = None) -> Answer:
        """Ask the sandbox. The one seam where foreign exceptions are translated."""
        try:
            request = Request(
                service=self._service,
                verb=verb,
                reference=call.reference,
                idempotency_key=call.idempotency_key,
                body=body,
            )
            answer = await self._sandbox.handle(request, simulate=call.simulate)
        except SimulationError as error:
            raise StepRejected(str(error), code="bad_simulation", kind=FailureKind.UNUSABLE) from error
        except Exception as error:
            raise StepOutcomeUnknown(
                f"The sandbox broke down ({type(error).__name__}).", code="server_error"
            ) from error
        if answer is None:
            raise StepOutcomeUnknown(
                "The service did not answer in time.", code="timeout", kind=FailureKind.TIMEOUT
            )
        if answer.status == 503:
            # Over a wire a 503 proves nothing; here it is known that nothing was done.
            raise StepUnavailable("The service is down.")
        return answer
