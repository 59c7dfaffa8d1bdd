"""What payment, inventory and shipping have in common: one named resource of one service, as services.yaml has it.

    execute ──▶ PUT /{resource}/{saga id}     compensate ──▶ DELETE     look_up ──▶ GET

A step of a fourth service is a `Resource`, a `ResourceService` with its `do`, and a `ResourceStep` that says what of
the order `do` is given. Whatever is asked can be asked again under the same reference, the saga's id.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypedDict, TypeVar

from app.gateway.port import Call, Gateway, GatewayVerb, JsonObject, Participant, ResourceOwner
from app.gateway.resources import Compensated, Resource, checked
from app.saga.model.step import JSON, Closed, Context
from app.sandbox.gateway import SandboxGateway
from app.services.context import CheckoutContext

R = TypeVar("R", bound=Resource)
S = TypeVar("S", bound="ResourceService[Any]")


class CallOptions(TypedDict):
    """What each request carries besides its body: see `Call`."""

    reference: str
    simulate: str | None
    traceparent: str | None


class ResourceService(Generic[R]):
    """One service; without a gateway, a sandbox of its own, which the three bundled ones have.

    Every method raises `StepRejected`, `StepUnavailable` or `StepOutcomeUnknown`.
    """

    owner: ResourceOwner
    """The service's name, and its resource's in a URL."""
    resource: type[R]
    """What its answers must show."""

    def __init__(self, gateway: Gateway | None = None) -> None:
        """Raise `TypeError` where neither a gateway nor a sandbox is there."""
        if gateway is None:
            if not isinstance(self.owner, Participant):
                raise TypeError(f"{type(self).__name__} needs a gateway: the sandbox has no such service.")
            gateway = SandboxGateway.in_memory(self.owner)
        self._gateway = gateway

    async def compensate(
        self, *, reference: str, simulate: str | None = None, traceparent: str | None = None
    ) -> Compensated:
        """Undo the work, also where none was done; no `do` under `reference` succeeds afterwards."""
        call = self._call(GatewayVerb.COMPENSATE, reference, simulate, traceparent)
        return checked(Compensated, await self._gateway.delete(call))

    async def look_up(self, *, reference: str, traceparent: str | None = None) -> R | Closed | None:
        """Return the resource that exists, None where none does yet, `Closed` where none will."""
        answer = await self._gateway.get(self._call(GatewayVerb.EXECUTE, reference, None, traceparent))
        return answer if answer is None or isinstance(answer, Closed) else checked(self.resource, answer)

    async def _put(
        self, body: JsonObject, *, reference: str, simulate: str | None, traceparent: str | None
    ) -> R:
        call = self._call(GatewayVerb.EXECUTE, reference, simulate, traceparent)
        return checked(self.resource, await self._gateway.put(call, body))

    def _call(self, verb: GatewayVerb, reference: str, simulate: str | None, traceparent: str | None) -> Call:
        return Call.to(self.owner, verb, reference=reference, simulate=simulate, traceparent=traceparent)


class ResourceStep(ABC, Generic[S]):
    """The step that makes the resource and deletes it. Each result is what the service's answer says."""

    name: str
    service_type: type[S]
    does: str
    """What `execute` does, in a plan's words (`dry_run=true`)."""
    undone_by: str
    """What `compensate` does, in a plan's words."""

    def __init__(self, service: S | None = None) -> None:
        self._service = service or self.service_type()

    @abstractmethod
    async def do(self, order: CheckoutContext, options: CallOptions) -> Resource:
        """Call the service's `do` with what it needs of the order."""

    def check(self, found: Any, order: CheckoutContext) -> None:
        """Raise `StepOutcomeUnknown` where a resource that was looked up is not the one that the order asks for."""

    async def execute(self, context: Context) -> dict[str, JSON]:
        """Make the resource; return its members."""
        order = CheckoutContext(context)
        return (await self.do(order, _options(order))).result()

    async def compensate(self, context: Context) -> dict[str, JSON]:
        """Undo it; return what the service says of it."""
        return (await self._service.compensate(**_options(CheckoutContext(context)))).result()

    async def look_up(self, context: Context) -> dict[str, JSON] | Closed | None:
        """Return what exists as `execute` does, None where nothing does yet, `Closed` where nothing will."""
        order = CheckoutContext(context)
        found = await self._service.look_up(reference=order.saga_id, traceparent=order.traceparent)
        if not isinstance(found, Resource):
            return found
        self.check(found, order)
        return found.result()


def given(**members: JSON) -> JsonObject:
    """Return the members that have something in them: what an order hasn't is not in a body at all."""
    return {name: value for name, value in members.items() if value}


def _options(order: CheckoutContext) -> CallOptions:
    return CallOptions(reference=order.saga_id, simulate=order.simulate, traceparent=order.traceparent)
