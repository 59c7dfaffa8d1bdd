"""What earlier versions of the checkout did otherwise: a saga finishes on the version that it began with.

Version 1 sent no metadata to the services. Its sagas must not begin to: a service refuses a repeat whose body differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.saga.model.step import JSON, Closed, Context
from app.services.resource import ResourceStep


class WithoutMetadata:
    """A step as it was in version 1."""

    def __init__(self, step: ResourceStep[Any]) -> None:
        self._step = step
        self.name, self.does, self.undone_by = step.name, step.does, step.undone_by

    async def execute(self, context: Context) -> Mapping[str, JSON]:
        """Do the work as version 1 asked for it."""
        return await self._step.execute(_as_sent(context))

    async def compensate(self, context: Context) -> Mapping[str, JSON]:
        """Undo it."""
        return await self._step.compensate(_as_sent(context))

    async def look_up(self, context: Context) -> Mapping[str, JSON] | Closed | None:
        """Return what exists."""
        return await self._step.look_up(_as_sent(context))


def _as_sent(context: Context) -> Context:
    return {name: value for name, value in context.items() if name != "metadata"}
