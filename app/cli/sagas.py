"""`checkout sagas …`: over the service's API, with the same rights and the same trail as any client."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx2 as httpx
import typer
from rich.text import Text

from app.cli.client import Listing, as_json, ask, client, problem_words
from app.cli.output.failing import STILL_STUCK, failure
from app.cli.output.saga_printing import (
    COLUMNS,
    about,
    print_json,
    status_text,
    steps_table,
    trail_line,
    why,
    why_with_code,
)
from app.cli.output.terminal import console, print_records, safe, words
from app.gateway.http_answer import retry_after
from app.saga.model.attention import sentence
from app.saga.model.status import SagaStatus
from app.values.money import money

RECONNECT_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""The longest Retry-After that is followed before reconnecting."""


def _saga_id(text: str) -> str:
    try:
        return str(uuid.UUID(text.strip()))
    except ValueError:
        raise typer.BadParameter("give a saga's full id, as `sagas list` shows it.") from None


app = typer.Typer(no_args_is_help=True)
Reason = Annotated[str, typer.Option(help="Why; it is recorded in the trail, with your name.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]
SagaId = Annotated[str, typer.Argument(help="The saga's id.", callback=_saga_id)]


@app.command("list")
def list_sagas(
    *,
    status: Annotated[SagaStatus | None, typer.Option(help="Only those with this status.")] = None,
    order: Annotated[str | None, typer.Option(help="Only this order's.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only this customer's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    every: Annotated[bool, typer.Option("--all", help="All of them, without --limit.")] = False,
    as_json: AsJson = False,
) -> None:
    """List sagas, newest first."""
    wanted = {"status": status, "order_id": order, "customer_id": customer}
    given = {name: value for name, value in wanted.items() if value is not None}
    _print_list(Listing(given, None if every else limit), in_json=as_json)


@app.command()
def stuck(
    *,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many. Default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """List every saga that needs attention, and what blocks each."""
    _print_list(Listing({"status": SagaStatus.NEEDS_ATTENTION.value}, limit), in_json=as_json)


@app.command()
def show(saga_id: SagaId, *, as_json: AsJson = False) -> None:
    """Show one saga: its status, what blocks it, its steps and its trail."""
    saga, _ = ask("GET", f"/sagas/{saga_id}")
    if as_json:
        print_json(saga)
        return
    out = console()
    out.print(Text.assemble("saga ", words(saga["id"]), "  ", status_text(saga)), soft_wrap=True)
    out.print(words(about(saga)), soft_wrap=True)
    if unreadable := saga.get("unreadable"):
        out.print(words(f"Unreadable: {sentence(unreadable['reason'])}", "bold red"))
    elif attention := saga.get("attention"):
        since, code = f"{attention['since'][:19]}Z", attention["code"]
        out.print(words(f"Blocked since {since} ({code}): {attention['message']}", "bold red"))
    if back := saga["failure"]:
        turned = f"Rolled back because the {back['step']} step failed" if back["step"] else "Rolled back"
        out.print(words(f"{turned} ({back['code']}): {sentence(back['message'])}"))
    if saga["next_action_at"]:
        out.print(words(f"It continues by {saga['next_action_at'][:19]}Z at the latest."))
    if saga["steps"]:
        out.print(steps_table(saga["steps"]))
    for event in saga["trail"]:
        out.print(trail_line(event), soft_wrap=True)


@app.command()
def watch(saga_id: SagaId, *, as_json: AsJson = False) -> None:
    """Follow one saga until it is finished. It reconnects by itself. --json prints a line for each event."""
    saga, _ = ask("GET", f"/sagas/{saga_id}")
    known = saga["trail"][-1]["seq"]
    out, last = console(), 0
    while True:
        try:
            for event in _events(saga_id, last):
                if event is None:
                    return
                last = event["seq"]
                if as_json:
                    print_json(event)
                else:
                    out.print(trail_line(event), soft_wrap=True)
                if event["event"] == "saga_needs_attention" and last >= known:
                    typer.echo(
                        "The saga waits for an operator: use `sagas retry` or `sagas resolve`. This command continues afterwards.",
                        err=True,
                    )
        except httpx.SSEError as error:
            raise failure(f"The answer is not an event stream: {error}") from None
        except httpx.HTTPError:
            typer.echo("The connection broke. Reconnecting.", err=True)
        time.sleep(RECONNECT_SECONDS)


@app.command()
def cancel(saga_id: SagaId, *, reason: Reason, yes: Yes = False, as_json: AsJson = False) -> None:
    """Cancel a saga and compensate it. Refused after the pivot."""
    _act(saga_id, "cancel", {"reason": reason}, yes=yes, in_json=as_json)


@app.command()
def retry(saga_id: SagaId, *, reason: Reason, yes: Yes = False, as_json: AsJson = False) -> None:
    """Retry the failed step, with new attempts. Exit code 4 if the saga is still stuck afterwards."""
    _act(saga_id, "retry", {"reason": reason}, yes=yes, in_json=as_json)


@app.command()
def resolve(
    saga_id: SagaId,
    *,
    step: Annotated[str, typer.Option(help="The step that you settled outside.")],
    reason: Reason,
    reference: Annotated[str | None, typer.Option(help="Where to find it, such as a refund's id.")] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Record that you settled a step by hand. The saga then continues; exit code 4 if it is still stuck afterwards."""
    body = {"step": step, "reason": reason} | ({"reference": reference} if reference else {})
    _act(saga_id, "resolve", body, yes=yes, in_json=as_json)


def _act(saga_id: str, action: str, body: dict[str, str], *, yes: bool, in_json: bool) -> None:
    """Send an action on the saga exactly as it was shown: a change in between is refused."""
    saga, headers = ask("GET", f"/sagas/{saga_id}")
    if not yes:
        typer.echo(safe(f"{saga['id']}: {about(saga)}, {saga['status']}"), err=in_json)
        if blocks := why(saga):
            typer.echo(safe(blocks), err=in_json)
        typer.confirm(f"{action} it?", abort=True, err=in_json)
    seen = {"If-Match": headers["etag"]} if "etag" in headers else {}
    answer, _ = ask("POST", f"/sagas/{saga_id}/{action}", json=body, headers=seen)
    if in_json:
        print_json(answer)
    else:
        console().print(
            Text.assemble(f"Recorded: {action}. The saga is ", status_text(answer)), soft_wrap=True
        )
    if answer["status"] == SagaStatus.NEEDS_ATTENTION:
        raise failure(why(answer) or "It still needs attention.", STILL_STUCK)


def _print_list(found: Listing, *, in_json: bool) -> None:
    if in_json:
        typer.echo('{"data": [', nl=False)
        for count, saga in enumerate(found):
            typer.echo((", " if count else "") + as_json(saga), nl=False)
        typer.echo(f'], "next_cursor": {as_json(found.next_cursor)}}}')
        return
    rows = [
        (
            words(saga["id"]),
            status_text(saga),
            words(money(saga["amount"], saga["currency"])),
            words(saga["order_id"]),
            words(saga["customer_id"]),
            words(saga["created_at"][:19]),
            words(why_with_code(saga)),
        )
        for saga in found
    ]
    print_records(COLUMNS, rows, headline=3, prose=True)
    if found.next_cursor:
        typer.echo("There are more. Filter the list, raise --limit, or use --all.", err=True)


def _events(saga_id: str, after: int) -> Iterator[dict[str, Any] | None]:
    """Yield a stream's events behind a seq; None is the end of the saga."""
    headers = {"Last-Event-ID": str(after)} if after else {}
    with client() as asking, asking.stream("GET", f"/sagas/{saga_id}/events", headers=headers) as answer:
        if answer.status_code == 503:
            asked = retry_after(answer.headers.get("retry-after"), now=datetime.now(UTC)) or 0.0
            time.sleep(min(asked, LONGEST_PAUSE_SECONDS))
            return
        if not answer.is_success:
            answer.read()
            raise failure(problem_words(answer))
        for event in httpx.EventSource(answer):
            if event.event == "end":
                yield None
            elif isinstance(found := event.json() if event.data else None, dict) and "seq" in found:
                yield found
