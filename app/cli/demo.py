"""The pattern at work in ten seconds: `make demo` runs twenty checkouts of which three in ten steps fail."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections import Counter
from contextlib import AsyncExitStack

import typer
from rich.console import Console
from rich.text import Text
from uuid_utils import uuid7

from app.api import AppContext
from app.api.middleware.startup import StartFailed
from app.api.openapi.example_sagas import ORDER
from app.bootstrap.service import open_service
from app.bootstrap.start_failures import start_failures
from app.operations.saga_view import SagaView
from app.saga.model.errors import LogError
from app.saga.model.events import EventType
from app.saga.model.status import SagaStatus
from app.saga.model.step import JSON
from app.settings.environment import EXIT_NOT_STARTED, settings_or_exit

CHECKOUTS = 20
FAILURE_RATE = 0.3
WAIT_SECONDS = 60.0

_MARKS: dict[str, tuple[str, str]] = {
    EventType.STEP_SUCCEEDED: ("✔ {step}", "green"),
    EventType.STEP_RETRIED: ("↻ {step} {code}", "yellow"),
    EventType.STEP_FAILED: ("✘ {step} {code}", "red"),
    EventType.STEP_UNKNOWN: ("? {step} {code}", "red"),
    EventType.STEP_COMPENSATED: ("↩ {step}", "cyan"),
    EventType.COMPENSATION_RETRIED: ("↻ compensate {step} {code}", "yellow"),
    EventType.COMPENSATION_FAILED: ("✘ compensate {step} {code}", "bold red"),
    EventType.SAGA_RECOVERED: ("⚑ taken over", "magenta"),
}
_STYLES = {
    SagaStatus.COMPLETED: "bold green",
    SagaStatus.COMPENSATED: "bold cyan",
    SagaStatus.NEEDS_ATTENTION: "bold red",
}


def line(view: SagaView) -> Text:
    """Return a saga as one line: its order, every step and compensation in order, and how it ended."""
    text = Text(f"{view.saga.order_id}  ", style="dim")
    for event in view.events:
        if event.type in _MARKS:
            mark, style = _MARKS[event.type]
            code = (event.data.get("error") or {}).get("code", "")
            text.append(mark.format(step=event.step, code=code) + "  ", style=style)
    status = view.state.status
    return text.append(status.value, style=_STYLES.get(status, "bold yellow"))


def an_order(number: int, run: str) -> dict[str, JSON]:
    """Return the input of a checkout that would succeed if nothing failed."""
    quantity = 1 + number % 3
    return {
        **ORDER,
        "order_id": f"demo-{run}-{number:02}",
        "customer_id": f"cus-{number % 7}",
        "amount": quantity * 1999,
        "items": [{"sku": "TSHIRT-M", "quantity": quantity, "unit_price": 1999}],
        "metadata": {"from": "make demo"},
    }


async def checkout(service: AppContext, order: dict[str, JSON]) -> SagaView:
    """Check out and wait for the end; raise `LogError` where the saga is lost."""
    started = await service.starter.start(order)
    view = await service.reader.wait(started.saga_id, seconds=WAIT_SECONDS)
    if view is None:
        raise LogError(f"Saga {started.saga_id} is not in the log.")
    return view


async def main() -> int:
    """Run the checkouts side by side, print each as it ends, then the summary."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the marks are not in every encoding
    console = Console()
    os.environ.setdefault("SANDBOX_FAILURE_RATE", str(FAILURE_RATE))
    settings = settings_or_exit().model_copy(update={"log_level": "error"})
    rate = settings.sandbox_failure_rate
    console.print(
        f"{CHECKOUTS} checkouts; each call to payment, inventory and shipping fails at {rate:.0%}.\n"
    )
    ended: Counter[str] = Counter()
    run = uuid7().hex[-6:]
    to_see = ""
    async with AsyncExitStack() as stack:
        with start_failures(settings):
            service = await stack.enter_async_context(open_service(settings))
        checkouts = [checkout(service, an_order(n, run)) for n in range(1, CHECKOUTS + 1)]
        for one in asyncio.as_completed(checkouts):
            view = await one
            console.print(line(view), soft_wrap=True)
            ended[view.state.status.value] += 1
            if view.state.status is SagaStatus.COMPENSATED or not to_see:
                to_see = view.saga.id
    counts = ", ".join(f"{count} {status}" for status, count in sorted(ended.items()))
    console.print(
        f"\n[bold]{counts}[/bold]\n✔ done  ↻ retried  ✘ refused  ? unknown, so compensated  ↩ compensated",
        soft_wrap=True,
    )
    console.print(
        f"`make run`, then look at one: http://127.0.0.1:8000/dashboard/sagas/{to_see}", soft_wrap=True
    )
    return 0


def demo() -> None:
    """Run twenty checkouts of which three in ten steps fail."""
    raise typer.Exit(run())


def run() -> int:
    """Run it; return the exit code, with a sentence on standard error where it can't start."""
    try:
        return asyncio.run(main())
    except StartFailed as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NOT_STARTED


if __name__ == "__main__":
    sys.exit(run())
