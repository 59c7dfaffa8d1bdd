"""A saga on a terminal: its status, its steps, why it is stuck, and its trail."""

from __future__ import annotations

from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from app.cli.client import as_json
from app.cli.output.terminal import safe, words
from app.saga.model.attention import sentence
from app.saga.model.status import SagaStatus
from app.values.money import money

_STYLES = {
    SagaStatus.RUNNING: "blue",
    SagaStatus.COMPENSATING: "yellow",
    SagaStatus.COMPLETED: "green",
    SagaStatus.COMPENSATED: "cyan",
    SagaStatus.NEEDS_ATTENTION: "bold red",
}
COLUMNS = ("saga", "status", "amount", "order", "customer", "started", "why")


def print_json(value: object) -> None:
    """Print the API's own JSON."""
    typer.echo(as_json(value))


def about(saga: dict[str, Any]) -> str:
    """Return a saga's order, customer and amount."""
    amount = money(saga["amount"], saga["currency"])
    return f"order {saga['order_id']}, customer {saga['customer_id']}, {amount}"


def steps_table(steps: list[dict[str, Any]]) -> Table:
    """Return a table with a row for each step."""
    table = Table("step", "status", "attempts", "last error", "compensation")
    for column in (0, 1, 2, 4):
        table.columns[column].no_wrap = True
    for step in steps:
        undo = step["compensation"] or {}
        error = undo.get("error") or step["error"] or {}
        undone = f"{undo['attempts']} attempt{'s' if undo['attempts'] != 1 else ''}" if undo else ""
        if step["resolved_by"]:
            undone = "by an operator" if step["status"] == "compensated" else undone
        cells = (step["name"], step["status"], step["attempts"], error.get("message", ""), undone)
        table.add_row(*map(words, cells))
    return table


def why_with_code(saga: dict[str, Any]) -> str:
    """Return `why` behind its code, by which the runbook is searched."""
    reason = None if saga.get("unreadable") else saga.get("attention") or saga["failure"]
    return f"{reason['code']}: {why(saga)}" if reason else why(saga)


def why(saga: dict[str, Any]) -> str:
    """Return what blocks a saga, or why it was compensated, or nothing."""
    if unreadable := saga.get("unreadable"):
        return f"Unreadable: {sentence(str(unreadable['reason']))}"
    if attention := saga.get("attention"):
        return str(attention["message"])
    return sentence(str(saga["failure"]["message"])) if saga["failure"] else ""


def status_text(saga: dict[str, Any]) -> Text:
    """Return the status in its colour."""
    return words(saga["status"], _STYLES.get(saga["status"], ""))


def trail_line(event: dict[str, Any]) -> Text:
    """Return one event of the trail as a line."""
    text = words(f"{event['seq']:>4}  {event['at'][11:23]}  {event['event']}")
    if event.get("step"):
        text.append(safe(f" {event['step']}"), style="bold")
    if event.get("attempt"):
        text.append(f" #{event['attempt']}", style="dim")
    if error := event.get("error"):
        text.append(safe(f"  {error['code']}: {error['message']}"), style="red")
    for name in ("who", "reason", "reference", "next_action_at"):
        if name in event:
            text.append(safe(f"  {name} {event[name]}"), style="dim")
    return text
