"""The command line against a real service, as an operator uses it at three in the morning.

Commands run in this process, or in a forked one where the terminal counts; one is a fresh process, as an operator's.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2 as httpx
import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from app.storage.schema.schema_version import head
from tests.fork_server import start
from tests.processes import ADDRESS, Running, a_checkout, an_order, ended

QUICK = {
    "CHECKOUT_RETRY_BASE_SECONDS": "0.01",
    "CHECKOUT_RETRY_CAP_SECONDS": "0.02",
    "CHECKOUT_KEY_CACHE_SECONDS": "0",
    "CHECKOUT_RECOVERY_POLL_SECONDS": "0.1",
}


BLOCKED = "The payment step took effect and can't be compensated: It can't be compensated any more."


@dataclass(kw_only=True)
class CommandLine:
    """A terminal, and the service that it is about."""

    server: Running
    env: dict[str, str]

    def run(self, *words: str, **env: str) -> Result:
        return CliRunner().invoke(app, words, env={**self.env, **env})

    def placed(self, order_id: str, *, customer_id: str = "cus-7", **headers: str) -> str:
        """Check out to an address that nobody serves; return the saga's id."""
        nowhere = {**ADDRESS, "country": "XX"}
        order = an_order(order_id, shipping_address=nowhere, customer_id=customer_id)
        with httpx.Client(base_url=self.server.url, trust_env=False, verify=False, timeout=60) as client:
            answer = client.post("/checkout", json=order, headers=headers).json()
        saga_id: str = answer.get("id") or answer["saga"]["id"]
        return saga_id

    def stuck(self, order_id: str) -> str:
        """Return a saga whose refund can never succeed."""
        return self.placed(order_id, **{"X-Simulate": "payment.compensate=not_reversible"})

    def saga(self, saga_id: str) -> dict[str, object]:
        """Return what `show --json` prints."""
        result = self.run("sagas", "show", saga_id, "--json")
        assert result.exit_code == 0, result.output
        found: dict[str, object] = json.loads(result.stdout)
        return found


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    directory = tmp_path_factory.mktemp("cli")
    database = {"DATABASE_URL": f"sqlite:///{directory}/checkout.db"}
    env = {**database, **QUICK, "SANDBOX_DATABASE": str(directory / "sandbox.db")}
    with a_checkout(env, directory / "service.log") as server:
        yield CommandLine(server=server, env={**database, "CHECKOUT_URL": server.url, "CHECKOUT_API_KEY": ""})


def test_a_refund_that_never_succeeds_is_found_understood_and_settled(cli: CommandLine) -> None:
    """By the command line alone; the other compensation ran, and the trail says who and why."""
    saga_id = cli.stuck("ord-1")
    found = cli.run("sagas", "stuck")
    assert saga_id in found.stdout
    assert "39.98 EUR" in found.stdout
    assert f"not_reversible: {BLOCKED}" in found.stdout
    shown = cli.run("sagas", "show", saga_id).stdout
    assert "39.98 EUR" in shown
    assert BLOCKED in shown
    turned_back = "the shipping step failed (address_unserviceable): Nothing is delivered to that address."
    assert f"Rolled back because {turned_back}" in shown
    assert f"(not_reversible): {BLOCKED}" in shown
    assert "compensation_failed" in shown
    assert "It can't be compensated any more." in shown
    assert "step_compensated inventory" in shown

    again = cli.run("sagas", "retry", saga_id, "--reason", "provider is back", "--yes")
    assert again.exit_code == 4, "a retry that changed nothing is no success"
    assert again.stderr == f"{BLOCKED}\n"
    result = cli.run(
        *("sagas", "resolve", saga_id, "--step", "payment", "--reason", "paid back\u2028by hand"),
        *("--reference", "TR-7", "--yes"),
    )
    assert result.exit_code == 0, result.output
    assert "by an operator" in cli.run("sagas", "show", saga_id).stdout
    watched = cli.run("sagas", "watch", saga_id)
    assert watched.exit_code == 0
    saga = cli.saga(saga_id)
    assert saga["status"] == "compensated"
    trail = saga["trail"]
    assert isinstance(trail, list)
    told = [(e["event"], e["who"], e["reason"], e.get("reference")) for e in trail if "who" in e]
    assert told == [
        ("retry_requested", "local", "provider is back", None),
        ("step_resolved", "local", "paid back\u2028by hand", "TR-7"),
    ]
    assert [line.split()[2] for line in watched.stdout.splitlines()] == [e["event"] for e in trail]
    assert saga_id not in cli.run("sagas", "stuck").stdout


def test_a_list_is_narrowed_and_its_ids_can_be_copied(cli: CommandLine) -> None:
    """Whole, also where nobody's terminal says how wide it is."""
    mine, other = cli.placed("ord-list-1"), cli.placed("ord-list-2")
    text = cli.run("sagas", "list", "--order", "ord-list-1").stdout
    assert mine in text
    assert other not in text
    page = json.loads(cli.run("sagas", "list", "--status", "compensated", "--json").stdout)
    assert {mine, other} <= {saga["id"] for saga in page["data"]}


def test_an_action_that_is_refused_says_why_and_fails(cli: CommandLine) -> None:
    """In the service's own words, on standard error."""
    saga_id = cli.placed("ord-2")
    result = cli.run("sagas", "cancel", saga_id, "--reason", "too late", "--yes")
    assert result.exit_code == 1
    assert "has ended" in result.stderr
    unknown = cli.run("sagas", "show", "0193b3c8-5c5f-7a1e-8c31-8b0d9e7b0c55")
    assert unknown.exit_code == 1
    assert unknown.stdout == ""
    assert unknown.stderr


def test_an_action_is_asked_about_first(cli: CommandLine) -> None:
    """A no changes nothing."""
    saga_id = cli.stuck("ord-3")
    before = cli.saga(saga_id)
    result = CliRunner().invoke(app, ["sagas", "retry", saga_id, "--reason", "x"], env=cli.env, input="n\n")
    assert result.exit_code == 1
    assert "ord-3" in result.stdout
    assert "39.98 EUR" in result.stdout
    assert BLOCKED in result.stdout
    assert cli.saga(saga_id) == before


def test_a_service_that_is_not_there_is_told_apart(cli: CommandLine) -> None:
    """Exit code 3, and what to look at."""
    result = cli.run("sagas", "list", CHECKOUT_URL="http://127.0.0.1:9")
    assert result.exit_code == 3
    assert "CHECKOUT_URL" in result.stderr


def test_keys_are_made_used_and_ended(tmp_path: Path) -> None:
    """The first one closes the service; the key's text stands alone on standard output."""
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/checkout.db", **QUICK}
    with a_checkout({**env, "SANDBOX_DATABASE": ":memory:"}, tmp_path / "service.log") as server:
        cli = CommandLine(server=server, env={**env, "CHECKOUT_URL": server.url, "CHECKOUT_API_KEY": ""})
        assert cli.run("sagas", "list").exit_code == 0
        made = cli.run("keys", "create", "--caller", "ops", "--who", "ada", "--scope", "read", "--everyone")
        assert made.exit_code == 0, made.output
        text = made.stdout.strip()
        refused = cli.run("sagas", "list")
        assert refused.exit_code == 1
        assert "An API key is required" in refused.stderr
        assert cli.run("sagas", "list", CHECKOUT_API_KEY=text).exit_code == 0
        prefix = text.split("_")[1]
        assert prefix in cli.run("keys", "list", COLUMNS="200").stdout
        assert cli.run("keys", "revoke", prefix).exit_code == 0
        assert cli.run("sagas", "list", CHECKOUT_API_KEY=text).exit_code == 1
        wrong = cli.run("keys", "create", "--caller", "a b", "--who", "ada", "--scope", "read")
        assert wrong.exit_code == 1
        assert wrong.stderr.startswith("caller: ")


def test_the_doctor_finds_what_is_wrong_and_says_what_to_do(tmp_path: Path) -> None:
    """A schema that is behind, a database that isn't there, a service that doesn't answer."""
    url = f"sqlite:///{tmp_path}/checkout.db"
    runner = CliRunner()
    with closing(sqlite3.connect(tmp_path / "checkout.db")) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    behind = runner.invoke(app, ["doctor"], env={"DATABASE_URL": url, "COLUMNS": "200"})
    assert behind.exit_code == 1
    assert "run `migrate`" in behind.stdout
    migrated = runner.invoke(app, ["migrate"], env={"DATABASE_URL": url})
    assert (migrated.exit_code, migrated.stdout) == (0, f"The schema is at {head()}.\n")
    well = runner.invoke(app, ["doctor"], env={"DATABASE_URL": url, "COLUMNS": "200"})
    assert well.exit_code == 0, well.stdout
    assert "nothing is charged or shipped for real" in well.stdout
    env = {"DATABASE_URL": url, "PAYMENT_URL": "http://127.0.0.1:9", "COLUMNS": "200"}
    away = runner.invoke(app, ["doctor"], env=env)
    assert away.exit_code == 1
    assert "is PAYMENT_URL right?" in away.stdout
    gone = runner.invoke(
        app, ["doctor"], env={"DATABASE_URL": "postgresql://a@127.0.0.1:9/x", "COLUMNS": "200"}
    )
    assert gone.exit_code == 1
    assert "is DATABASE_URL right, and the server up?" in gone.stdout


def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """One sentence, no traceback, and never the value: it may be a password."""
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/c.db", "CHECKOUT_MAX_ITEMS": "secret"}
    result = CliRunner().invoke(app, ["doctor"], env=env)
    assert result.exit_code == 2
    wanted = "write a whole number of at least 1 and at most 1000000, such as 100."
    assert result.stderr == f"CHECKOUT_MAX_ITEMS isn't a whole number: {wanted}\n"
    assert "secret" not in result.output


@pytest.mark.parametrize("words", [(), ("sagas",), ("keys",), ("retention",), ("services",)])
def test_no_command_is_described_in_a_sentence_that_is_cut_off(words: tuple[str, ...]) -> None:
    """In the list of commands, at 80 columns."""
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert shown.exit_code == 0
    assert "..." not in shown.stdout.partition("Commands:")[2], shown.stdout


def test_a_list_goes_through_all_pages(cli: CommandLine) -> None:
    """`stuck` by itself, `list` where it is asked to; JSON is one text all the same."""
    for number in range(102):
        cli.stuck(f"ord-many-{number}")
    found = json.loads(cli.run("sagas", "stuck", "--json").stdout)
    assert sum(one["order_id"].startswith("ord-many-") for one in found["data"]) == 102
    assert found["next_cursor"] is None
    some = cli.run("sagas", "list", "--limit", "101", "--json")
    assert len(json.loads(some.stdout)["data"]) == 101
    assert json.loads(some.stdout)["next_cursor"]
    assert "There are more" in cli.run("sagas", "list", "--limit", "3").stderr
    every = cli.run("sagas", "list", "--all")
    assert every.stdout.count("ord-many-") == 102
    assert every.stderr == ""


def in_a_terminal(*words: str, columns: int, env: dict[str, str]) -> list[str]:
    """Return the lines that a command prints to a terminal of that width, without colour."""
    ours, theirs = pty.openpty()
    given = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1", **env}
    with os.fdopen(theirs, "wb", buffering=0) as terminal:
        process = start([sys.executable, "-m", "app", *words], env=given, stdout=terminal, stderr=terminal)
    content = b""
    with contextlib.suppress(OSError):  # Linux says so at the end
        while part := os.read(ours, 65536):
            content += part
    os.close(ours)
    assert process.wait(60) == 0, content
    return re.sub(r"\x1b\[[0-9;]*m", "", content.decode()).splitlines()


def test_eighty_columns_are_enough(cli: CommandLine) -> None:
    """Each amount, id and key's prefix is whole, so that it can be copied."""
    saga_id = cli.placed("ord-80", **{"X-Simulate": "payment.compensate=not_reversible"})
    lines = in_a_terminal("sagas", "list", "--order", "ord-80", columns=80, env=cli.env)
    assert lines[0] == f"{saga_id}  needs_attention  39.98 EUR"
    assert all(len(line) <= 80 for line in lines)
    env = {**cli.env, "DATABASE_URL": cli.env["DATABASE_URL"].replace("checkout.db", "keys.db")}
    assert cli.run("migrate", **env).exit_code == 0
    who = "somebody@operations.example.com"
    made = cli.run("keys", "create", "--caller", "ops", "--who", who, "--scope", "operate", **env)
    prefix = made.stdout.split("_")[1]
    assert in_a_terminal("keys", "list", columns=80, env=env)[0] == f"{prefix}  active"
    assert in_a_terminal("keys", "list", columns=300, env=env)[0].startswith("┏")
    (key,) = json.loads(cli.run("keys", "list", "--json", **env).stdout)["data"]
    assert (key["prefix"], key["who"]) == (prefix, who)
    assert made.stdout.strip() not in str(key)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_one_order_never_hides_the_others(cli: CommandLine, encoding: str) -> None:
    """Whatever its id holds, and whatever the terminal can show of it."""
    cli.placed("Zo\u00eb-\U0001f381", customer_id="cus-odd")
    cli.placed("evil-\u202egnp.exe", customer_id="cus-odd")
    env = {**cli.env, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "app", "sagas", "list", "--customer", "cus-odd"]
    done = ended(command, env=env, encoding=encoding, fresh=encoding == "ascii")
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    assert "Zo\u00eb-\U0001f381".encode(encoding, "backslashreplace").decode(encoding) in shown
    assert "evil-\\u202egnp.exe" in shown
    for page in ((), ("sagas", "list")):
        assert ended([*command[:3], *page, "--help"], env=env, encoding=encoding).returncode == 0


def test_watch_says_if_there_is_nothing_to_watch(cli: CommandLine) -> None:
    """It would wait for ever."""
    nobody = cli.run("sagas", "watch", "0193b3c8-5c5f-7a1e-8c31-8b0d9e7b0c55")
    assert (nobody.exit_code, "Nothing is here" in nobody.stderr) == (1, True)
    away = cli.run(
        "sagas", "watch", "0193b3c8-5c5f-7a1e-8c31-8b0d9e7b0c55", CHECKOUT_URL="http://127.0.0.1:9"
    )
    assert (away.exit_code, "CHECKOUT_URL" in away.stderr) == (3, True)
    wrong = cli.run("sagas", "show", "../keys")
    assert (wrong.exit_code, "give a saga's full id" in wrong.stderr) == (2, True)


def test_an_action_prints_the_saga_as_json_alone(cli: CommandLine) -> None:
    saga_id = cli.stuck("ord-json")
    acted = cli.run("sagas", "retry", saga_id, "--reason", "x", "--yes", "--json")
    assert (acted.exit_code, json.loads(acted.stdout)["attention"]["code"]) == (4, "not_reversible")
    resolved = ("sagas", "resolve", saga_id, "--step", "payment", "--reason", "x", "--yes", "--json")
    assert json.loads(cli.run(*resolved).stdout)["status"] == "compensated"
    lines = cli.run("sagas", "watch", saga_id, "--json").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(1, len(lines) + 1))


def test_a_key_lives_for_a_hundred_years_at_most(tmp_path: Path) -> None:
    """Beyond that is a mistake, or the end of the calendar."""
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/c.db"}
    runner = CliRunner()
    assert runner.invoke(app, ["migrate"], env=env).exit_code == 0
    asked = ["keys", "create", "--caller", "a", "--who", "b", "--scope", "read", "--days"]
    assert runner.invoke(app, [*asked, "36500"], env=env).exit_code == 0
    late = runner.invoke(app, [*asked, "3000000"], env=env)
    assert (late.exit_code, "--days" in late.stderr, "36500" in late.stderr) == (2, True, True)


def test_the_version_says_the_release_the_api_and_the_schema() -> None:
    """An image knows its own; elsewhere git does."""
    named = CliRunner().invoke(app, ["--version"], env={"CHECKOUT_VERSION": "1.2.3"})
    assert named.exit_code == 0
    assert named.stdout.startswith(f"checkout 1.2.3 (API 1, schema {head()}, Python 3.")
    assert CliRunner().invoke(app, ["--version"], env={"CHECKOUT_VERSION": ""}).stdout.startswith("checkout ")


def test_watch_waits_as_long_as_retry_after_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry-After, to a limit; then it asks again."""
    answers = iter([("7", b""), ("soon", b""), ("9999", b""), (None, b"event: end\ndata: {}\n\n")])
    slept: list[float] = []
    monkeypatch.setattr("app.cli.sagas.time.sleep", slept.append)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.endswith("/events"):
                saga = b'{"trail": [{"seq": 1}]}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(saga)
                return
            asked, body = next(answers)
            self.send_response(503 if asked else 200)
            self.send_header("Content-Type", "text/event-stream")
            if asked:
                self.send_header("Retry-After", asked)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        watched = CliRunner().invoke(
            app, ["sagas", "watch", "0193b3c8-5c5f-7a1e-8c31-8b0d9e7b0c55"], env={"CHECKOUT_URL": url}
        )
        server.shutdown()
    assert watched.exit_code == 0
    assert [one for one in slept if one != 1.0] == [7.0, 0.0, 60.0]
