"""One call of a step. Every outcome is returned as an answer; only a cancellation is raised."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from app.saga.engine.call_timeouts import CallTimeouts
from app.saga.model.errors import FailureKind, StepError, StepOutcomeUnknown
from app.saga.model.retry import RetryPolicy
from app.saga.model.step import JSON, Closed, Context, LooksUp, storable
from app.saga.rules.decisions import Compensate, Execute, LookUp

Answer = Mapping[str, JSON] | Closed | None
"""What a step returns."""


async def call(
    action: Execute | Compensate | LookUp, context: Context, timeouts: CallTimeouts
) -> dict[str, JSON] | Closed | StepError | None:
    """Call the step and return its answer. An unexpected error is an unknown outcome."""
    method, policy = _method_of(action)
    limit = timeouts.start(policy.timeout)
    timed_out = False
    try:
        try:
            answer = await method(context)
        finally:
            timed_out = timeouts.end(limit)
        if answer is None or isinstance(answer, Closed):
            return answer
        result = dict(answer)
        if not storable(result):
            return StepOutcomeUnknown("The step's answer isn't JSON.", code="unforeseen")
    except StepError as error:
        return error
    except TimeoutError:
        return _no_answer(policy)
    except asyncio.CancelledError:
        if timed_out:
            return _no_answer(policy)
        if limit.task.cancelling():
            raise  # this process stops; the log has all that another needs
        return StepOutcomeUnknown("The step was cancelled from inside.", code="unforeseen")
    except Exception as error:  # noqa: BLE001 (a step is somebody else's code: whatever it raises is an answer)
        return StepOutcomeUnknown(f"The step raised {type(error).__name__}.", code="unforeseen")
    return result


def _method_of(
    action: Execute | Compensate | LookUp,
) -> tuple[Callable[[Context], Awaitable[Answer]], RetryPolicy]:
    step = action.step.step
    match action:
        case Execute():
            return step.execute, action.step.policy
        case Compensate():
            return step.compensate, action.step.compensation
        case LookUp(compensating=compensating):
            method = step.look_up if isinstance(step, LooksUp) else _cannot_look_up
            return method, action.step.compensation if compensating else action.step.policy


async def _cannot_look_up(_context: Context) -> Answer:
    return None


def _no_answer(policy: RetryPolicy) -> StepOutcomeUnknown:
    return StepOutcomeUnknown(
        f"No answer within {policy.timeout:g} s.", code="timeout", kind=FailureKind.TIMEOUT
    )
