"""One call of a step. Every outcome is returned as an answer; only a cancellation is raised."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from app.saga.model.errors import FailureKind, StepError, StepOutcomeUnknown
from app.saga.model.step import JSON, Closed, Context, LooksUp, storable
from app.saga.rules.decisions import Compensate, Execute, LookUp

Answer = Mapping[str, JSON] | Closed | None
"""What a step returns."""


async def call(
    action: Execute | Compensate | LookUp, context: Context
) -> dict[str, JSON] | Closed | StepError | None:
    """Call the step and return its answer. An unexpected error is an unknown outcome."""
    step = action.step.step
    method: Callable[[Context], Awaitable[Answer]] = _cannot_look_up
    compensating = isinstance(action, Compensate) or (isinstance(action, LookUp) and action.compensating)
    policy = action.step.compensation if compensating else action.step.policy
    match action:
        case Execute():
            method = step.execute
        case Compensate():
            method = step.compensate
        case LookUp() if isinstance(step, LooksUp):
            method = step.look_up
    try:
        async with asyncio.timeout(policy.timeout):
            answer = await method(context)
        if answer is None or isinstance(answer, Closed):
            return answer
        result = dict(answer)
        if not storable(result):
            return StepOutcomeUnknown("The step's answer isn't JSON.", code="unforeseen")
    except StepError as error:
        return error
    except TimeoutError:
        return StepOutcomeUnknown(
            f"No answer within {policy.timeout:g} s.",
            code="timeout",
            kind=FailureKind.TIMEOUT,
        )
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # this process stops; the log has all that another needs
        return StepOutcomeUnknown("The step was cancelled from inside.", code="unforeseen")
    except Exception as error:  # noqa: BLE001 (a step is somebody else's code: whatever it raises is an answer)
        return StepOutcomeUnknown(f"The step raised {type(error).__name__}.", code="unforeseen")
    return result


async def _cannot_look_up(_context: Context) -> Answer:
    return None
