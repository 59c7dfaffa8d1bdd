"""The command line against a real service, as an operator uses it at three in the morning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from app.storage.migrations import head
from tests.processes import ADDRESS, Running, a_checkout, an_order

QUICK = {
    "CHECKOUT_RETRY_BASE_SECONDS": "0.01",
    "CHECKOUT_RETRY_CAP_SECONDS": "0.02",
    "CHECKOUT_KEY_CACHE_SECONDS": "0",
    "CHECKOUT_RECOVERY_POLL_SECONDS": "0.1",
}


@dataclass(kw_only=True)
class Desk:
    """A terminal, and the service that it is about."""

    server: Running
    env: dict[str, str]

    def run(self, *words: str, **env: str) -> Result:
        return CliRunner().invoke(app, words, env={**self.env, **env})

    def placed(self, order_id: str, **headers: str) -> str:
        """Check out to an address that nobody serves; return the saga's id."""
        order = an_order(order_id, shipping_address={**ADDRESS, "country": "XX"})
        with httpx.Client(base_url=self.server.url, trust_env=False, timeout=30) as client:
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
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    directory = tmp_path_factory.mktemp("desk")
    database = {"DATABASE_URL": f"sqlite:///{directory}/checkout.db"}
    env = {**database, **QUICK, "SANDBOX_DATABASE": str(directory / "sandbox.db")}
    with a_checkout(env, directory / "service.log") as server:
        yield Desk(server=server, env={**database, "CHECKOUT_URL": server.url, "CHECKOUT_API_KEY": ""})


def test_a_refund_that_never_succeeds_is_found_understood_and_settled(desk: Desk) -> None:
    """By the command line alone; the other compensation ran, and the trail says who and why."""
    saga_id = desk.stuck("ord-1")
    found = desk.run("sagas", "stuck")
    assert saga_id in found.stdout
    shown = desk.run("sagas", "show", saga_id).stdout
    assert "compensation_failed" in shown
    assert "It can't be undone any more." in shown
    assert "step_compensated inventory" in shown

    assert desk.run("sagas", "retry", saga_id, "--reason", "provider is back", "--yes").exit_code == 0
    result = desk.run(
        *("sagas", "resolve", saga_id, "--step", "payment", "--reason", "paid back by hand"),
        *("--reference", "TR-7", "--yes"),
    )
    assert result.exit_code == 0, result.output
    watched = desk.run("sagas", "watch", saga_id)
    assert watched.exit_code == 0
    saga = desk.saga(saga_id)
    assert saga["status"] == "compensated"
    trail = saga["trail"]
    assert isinstance(trail, list)
    told = [(e["event"], e["who"], e["reason"], e.get("reference")) for e in trail if "who" in e]
    assert told == [
        ("retry_requested", "local", "provider is back", None),
        ("step_resolved", "local", "paid back by hand", "TR-7"),
    ]
    assert [line.split()[2] for line in watched.stdout.splitlines()] == [e["event"] for e in trail]
    assert saga_id not in desk.run("sagas", "stuck").stdout


def test_a_list_is_narrowed_and_its_ids_can_be_copied(desk: Desk) -> None:
    """Whole, also where nobody's terminal says how wide it is."""
    mine, other = desk.placed("ord-list-1"), desk.placed("ord-list-2")
    text = desk.run("sagas", "list", "--order", "ord-list-1").stdout
    assert mine in text
    assert other not in text
    page = json.loads(desk.run("sagas", "list", "--status", "compensated", "--json").stdout)
    assert {mine, other} <= {saga["id"] for saga in page["data"]}


def test_an_action_that_is_refused_says_why_and_fails(desk: Desk) -> None:
    """In the service's own words, on standard error."""
    saga_id = desk.placed("ord-2")
    result = desk.run("sagas", "cancel", saga_id, "--reason", "too late", "--yes")
    assert result.exit_code == 1
    assert "has ended" in result.stderr
    unknown = desk.run("sagas", "show", "0193b3c8-5c5f-7a1e-8c31-8b0d9e7b0c55")
    assert unknown.exit_code == 1
    assert unknown.stdout == ""
    assert unknown.stderr


def test_an_action_is_asked_about_first(desk: Desk) -> None:
    """A no changes nothing."""
    saga_id = desk.stuck("ord-3")
    before = desk.saga(saga_id)
    result = CliRunner().invoke(app, ["sagas", "retry", saga_id, "--reason", "x"], env=desk.env, input="n\n")
    assert result.exit_code == 1
    assert "ord-3" in result.stdout
    assert desk.saga(saga_id) == before


def test_a_service_that_is_not_there_is_told_apart(desk: Desk) -> None:
    """Exit code 3, and what to look at."""
    result = desk.run("sagas", "list", CHECKOUT_URL="http://127.0.0.1:9")
    assert result.exit_code == 3
    assert "CHECKOUT_URL" in result.stderr


def test_keys_are_made_used_and_ended(tmp_path: Path) -> None:
    """The first one closes the service; the key's text stands alone on standard output."""
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/checkout.db", **QUICK}
    with a_checkout({**env, "SANDBOX_DATABASE": ":memory:"}, tmp_path / "service.log") as server:
        desk = Desk(server=server, env={**env, "CHECKOUT_URL": server.url, "CHECKOUT_API_KEY": ""})
        assert desk.run("sagas", "list").exit_code == 0
        made = desk.run("keys", "create", "--caller", "ops", "--who", "ada", "--scope", "read", "--everyone")
        assert made.exit_code == 0, made.output
        text = made.stdout.strip()
        refused = desk.run("sagas", "list")
        assert refused.exit_code == 1
        assert "key is needed" in refused.stderr
        assert desk.run("sagas", "list", CHECKOUT_API_KEY=text).exit_code == 0
        prefix = text.split("_")[1]
        assert prefix in desk.run("keys", "list", COLUMNS="200").stdout
        assert desk.run("keys", "revoke", prefix).exit_code == 0
        assert desk.run("sagas", "list", CHECKOUT_API_KEY=text).exit_code == 1
        wrong = desk.run("keys", "create", "--caller", "a b", "--who", "ada", "--scope", "read")
        assert wrong.exit_code == 1
        assert wrong.stderr.startswith("caller: ")


def test_the_doctor_finds_what_is_wrong_and_says_what_to_do(tmp_path: Path) -> None:
    """A schema that is behind, a database that isn't there, a service that doesn't answer."""
    url = f"sqlite:///{tmp_path}/checkout.db"
    runner = CliRunner()
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
    assert "is DATABASE_URL right?" in gone.stdout


def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """One sentence, no traceback, and never the value: it may be a password."""
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/c.db", "CHECKOUT_MAX_ITEMS": "secret"}
    result = CliRunner().invoke(app, ["doctor"], env=env)
    assert result.exit_code == 1
    assert "CHECKOUT_MAX_ITEMS" in result.stderr.upper()
    assert "secret" not in result.output
