"""`checkout sagas …`: over the service's API, so with the same rights and the same trail as everybody.

CHECKOUT_URL says where it is (http://127.0.0.1:8000), CHECKOUT_API_KEY who asks.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Annotated, Any

import httpx2 as httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli.failing import NOT_REACHED, failure
from app.saga.state import SagaStatus

TIMEOUT_SECONDS = 75.0
CONNECT_SECONDS = 5.0
"""For each of a name's addresses, one after another: one that keeps silent must not hide the next."""
RECONNECT_SECONDS = 1.0
WIDE = 200
"""Columns where nobody looks: what a script reads is never folded."""

app = typer.Typer(no_args_is_help=True)
Reason = Annotated[str, typer.Option(help="Why; it stands in the trail, with who you are.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]
SagaId = Annotated[str, typer.Argument(help="The saga's id.")]

_STYLES = {
    SagaStatus.RUNNING: "blue",
    SagaStatus.COMPENSATING: "yellow",
    SagaStatus.COMPLETED: "green",
    SagaStatus.COMPENSATED: "cyan",
    SagaStatus.NEEDS_ATTENTION: "bold red",
}


@app.command("list")
def list_sagas(
    *,
    status: Annotated[SagaStatus | None, typer.Option(help="Only those that stand so.")] = None,
    order: Annotated[str | None, typer.Option(help="Only this order's.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only this customer's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    as_json: AsJson = False,
) -> None:
    """List sagas, newest first."""
    wanted = {"status": status, "order_id": order, "customer_id": customer, "limit": limit}
    page = _ask("GET", "/sagas", params={name: value for name, value in wanted.items() if value is not None})
    if as_json:
        typer.echo(json.dumps(page.json()))
        return
    table = Table()
    for name in ("saga", "status"):
        table.add_column(name, no_wrap=True, min_width=36 if name == "saga" else 0)  # to be copied whole
    for name in ("order", "customer", "amount", "begun", "why"):
        table.add_column(name, overflow="fold")
    for saga in page.json()["data"]:
        table.add_row(
            saga["id"],
            _status(saga),
            _plain(saga["order_id"]),
            _plain(saga["customer_id"]),
            f"{saga['amount']} {saga['currency']}",
            saga["created_at"][:19],
            _plain("unreadable" if saga.get("unreadable") else (saga["failure"] or {}).get("code", "")),
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    console.print(table)
    if page.json()["next_cursor"]:
        typer.echo("There are more: narrow the list, or raise --limit.", err=True)


@app.command()
def stuck(*, as_json: AsJson = False) -> None:
    """List what needs a person."""
    list_sagas(status=SagaStatus.NEEDS_ATTENTION, limit=100, as_json=as_json)


@app.command()
def show(saga_id: SagaId, *, as_json: AsJson = False) -> None:
    """Show one saga: how it stands, each step, and the trail."""
    saga = _ask("GET", f"/sagas/{saga_id}").json()
    if as_json:
        typer.echo(json.dumps(saga))
        return
    console = Console()
    console.print(Text.assemble("saga ", saga["id"], "  ", _status(saga)))
    console.print(
        Text(f"order {saga['order_id']}, customer {saga['customer_id']}, {saga['amount']} {saga['currency']}")
    )
    if saga["failure"]:
        console.print(Text(f"{saga['failure']['step'] or 'saga'}: {saga['failure']['message']}"))
    if saga.get("unreadable"):
        console.print(Text(f"unreadable: {saga['unreadable']['reason']}", style="bold red"))
    if saga["next_action_at"]:
        console.print(f"goes on at the latest at {saga['next_action_at']}")
    steps = Table("step", "status", "sent", "last error", "undone by")
    for step in saga["steps"]:
        undo = step["compensation"] or {}
        error = undo.get("error") or step["error"] or {}
        undone = f"{undo['attempts']} sent" if undo else ""
        steps.add_row(
            step["name"], step["status"], str(step["attempts"]), _plain(error.get("message", "")), undone
        )
    console.print(steps)
    for event in saga["trail"]:
        console.print(_line(event), soft_wrap=True)


@app.command()
def watch(saga_id: SagaId) -> None:
    """Follow one saga until it is finished, also over the restart of a replica."""
    console, last = Console(), 0
    while True:
        try:
            for event in _events(saga_id, last):
                if event is None:
                    return
                last = event["seq"]
                console.print(_line(event), soft_wrap=True)
        except httpx.HTTPError:
            typer.echo("… the connection broke; trying again", err=True)
        time.sleep(RECONNECT_SECONDS)


@app.command()
def cancel(saga_id: SagaId, *, reason: Reason, yes: Yes = False) -> None:
    """Stop a saga and undo what it did; refused past the pivot."""
    _act(saga_id, "cancel", {"reason": reason}, yes=yes)


@app.command()
def retry(saga_id: SagaId, *, reason: Reason, yes: Yes = False) -> None:
    """Try again what failed, with a fresh budget of attempts."""
    _act(saga_id, "retry", {"reason": reason}, yes=yes)


@app.command()
def resolve(
    saga_id: SagaId,
    *,
    step: Annotated[str, typer.Option(help="Which step you settled outside.")],
    reason: Reason,
    reference: Annotated[
        str | None, typer.Option(help="Where it can be found, such as a refund's id.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Say that you settled a step outside; the saga goes on with the rest."""
    body = {"step": step, "reason": reason} | ({"reference": reference} if reference else {})
    _act(saga_id, "resolve", body, yes=yes)


def _act(saga_id: str, action: str, body: dict[str, str], *, yes: bool) -> None:
    """Send an action upon the very saga that was shown: whoever was faster is noticed."""
    shown = _ask("GET", f"/sagas/{saga_id}")
    saga = shown.json()
    if not yes:
        typer.echo(
            f"{saga['id']}: order {saga['order_id']}, {saga['amount']} {saga['currency']}, {saga['status']}"
        )
        typer.confirm(f"{action} it?", abort=True)
    headers = {"If-Match": shown.headers["etag"]}
    answer = _ask("POST", f"/sagas/{saga_id}/{action}", json=body, headers=headers).json()
    Console().print(Text.assemble(f"{action} is in the trail; the saga is ", _status(answer)))


def _client() -> httpx.Client:
    key = os.environ.get("CHECKOUT_API_KEY", "")
    return httpx.Client(
        base_url=os.environ.get("CHECKOUT_URL", "http://127.0.0.1:8000"),
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS),
        trust_env=False,
    )


def _ask(method: str, path: str, **given: Any) -> httpx.Response:
    """Return a good answer, or end with the problem's own words."""
    try:
        with _client() as client:
            answer = client.request(method, path, **given)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise failure(
            f"The service was not reached ({type(error).__name__}): is CHECKOUT_URL right?", NOT_REACHED
        ) from None
    if answer.is_success:
        return answer
    raise failure(_words(answer))


def _words(answer: httpx.Response) -> str:
    """Return a problem's own words."""
    try:
        problem = answer.json()
        lines = [f"{problem['title']}: {problem['detail']}"]
        lines += [f"  {one.get('pointer', '')} {one['detail']}" for one in problem.get("errors", [])]
    except (ValueError, KeyError, TypeError):
        return f"The service answered {answer.status_code}."
    return "\n".join(lines)


def _events(saga_id: str, after: int) -> Iterator[dict[str, Any] | None]:
    """Yield a stream's events behind a seq; None is the end of the saga."""
    with _client() as client:
        headers = {"Last-Event-ID": str(after)} if after else {}
        with client.stream("GET", f"/sagas/{saga_id}/events", headers=headers) as answer:
            if answer.status_code == 503:
                return
            if not answer.is_success:
                answer.read()
                raise failure(_words(answer))
            for text in answer.iter_lines():
                if text == "event: end":
                    yield None
                elif text.startswith("data: ") and text != "data: {}":
                    yield json.loads(text.removeprefix("data: "))


def _status(saga: dict[str, Any]) -> Text:
    return Text(saga["status"], style=_STYLES.get(saga["status"], ""))


def _plain(text: str) -> Text:
    """Somebody else's words are never markup."""
    return Text(text)


def _line(event: dict[str, Any]) -> Text:
    known = {"seq", "at", "event", "step", "attempt", "error"}
    text = Text(f"{event['seq']:>4}  {event['at'][11:23]}  {event['event']}")
    if event.get("step"):
        text.append(f" {event['step']}", style="bold")
    if event.get("attempt"):
        text.append(f" #{event['attempt']}", style="dim")
    if event.get("error"):
        text.append(f"  {event['error']['code']}: {event['error']['message']}", style="red")
    for name in ("who", "reason", "reference", "next_action_at"):
        if name in event and name not in known:
            text.append(f"  {name} {event[name]}", style="dim")
    return text
