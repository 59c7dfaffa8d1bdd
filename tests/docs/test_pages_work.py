"""Every command of every how-to and runbook page works as it is written, against a real service."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import pytest
from typer.testing import CliRunner

from app.cli import app as command_line
from tests.docs.walk import commands, walking
from tests.processes import ADDRESS, ROOT, Running, a_checkout, an_order, free_port, the_services, urls_of

RUNBOOK = sorted((ROOT / "docs" / "runbook").glob("*.md"))
HOW_TO = sorted((ROOT / "docs" / "how-to").glob("*.md"))
NOT_TYPED = {
    "make test ARGS=": "runs the tests that it names, which are part of this run",
    "--root-path": "runs until it is stopped; tests/spec/test_behind_a_proxy.py serves so",
    "tests/test_insurance.py": "runs in tests/docs/test_add_your_own_step.py, in a copy of the project",
    "--step receipt": "belongs to a saga of your own: the checkout has no step after its pivot",
    "checkout serve": "runs until it is stopped; every test here talks to one that was started",
    "serve --workers": "runs until it is stopped; tests/chaos/processes/test_workers.py serves so",
    "checkout demo": "runs in tests/spec/test_starting.py",
    "CHECKOUT_API_KEY=": "the reader's own key, which the world has made",
    "PAYMENT_URL=": "the reader's own service, which the world has started",
    "CHECKOUT_PAYMENT_TOKEN=": "the reader's own token",
    "CHECKOUT_URL=": "the reader's own service, which the world has started",
    "export SAGA=": "the reader's own saga, which the world has made",
    "DELIVERY=17": "the reader's own delivery, which the world has made",
    "DATABASE_URL=": "the reader's own database",
    "make pooled": "needs a PgBouncer; where there is one, the tests that it names are part of this run",
}
STARTED_SECONDS = 60.0
ACTIONS = (" retry ", " resolve ", "/resolve")
QUICK = {
    "CHECKOUT_RETRY_BASE_SECONDS": "0.01",
    "CHECKOUT_RETRY_CAP_SECONDS": "0.05",
    "CHECKOUT_DRAIN_SECONDS": "0.5",
    "CHECKOUT_KEY_CACHE_SECONDS": "0",
    "CHECKOUT_RECOVERY_POLL_SECONDS": "0.1",
    "CHECKOUT_WEBHOOK_POLL_SECONDS": "0.1",
    "CHECKOUT_WEBHOOKS_ALLOW_PRIVATE": "true",
    "CHECKOUT_WEBHOOKS": json.dumps(
        [{"name": "shop", "url": "http://127.0.0.1:9/", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}]
    ),
}


@dataclass(kw_only=True)
class World:
    """A service with three separate services, and the environment of the page's reader."""

    server: Running
    env: dict[str, str]
    numbers: Iterator[int] = field(default_factory=itertools.count)
    spare: str | None = None

    def client(self) -> httpx.Client:
        key = self.env.get("CHECKOUT_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(
            base_url=self.server.url, headers=headers, trust_env=False, verify=False, timeout=30
        )

    def placed(self, simulate: str | None, *, wait: bool = True, **members: object) -> str:
        """Place a checkout; return its saga's id."""
        headers = ({"X-Simulate": simulate} if simulate else {}) | (
            {} if wait else {"Prefer": "respond-async"}
        )
        with self.client() as client:
            answer = client.post(
                "/checkout", json=an_order(f"ord-{next(self.numbers)}", **members), headers=headers
            ).json()
        saga_id: str = answer.get("id") or answer["saga"]["id"]
        return saga_id

    def stuck(self) -> str:
        """Return a saga whose refund was refused, and would succeed at the next attempt."""
        if self.spare is None:
            address = {**ADDRESS, "country": "XX"}
            self.spare = self.placed(
                "payment.compensate=not_reversible:1", customer_id="cus-8", shipping_address=address
            )
        return self.spare

    def under_way(self) -> str:
        """Return a saga whose payment service is silent, so that it keeps running for a while."""
        return self.placed("payment.execute=timeout_before_effect:9", wait=False, customer_id="cus-8")

    def delivery(self) -> str:
        """Return a delivery that the endpoint has not accepted."""
        with self.client() as client:
            give_up = time.monotonic() + STARTED_SECONDS
            while time.monotonic() < give_up:
                if found := client.get("/webhooks/deliveries?status=pending").json()["data"]:
                    return str(found[0]["id"])
                time.sleep(0.05)  # the sender comes by ten times a second, in another process
        raise AssertionError("no delivery was started")


@contextlib.contextmanager
def _world(directory: Path, *, keyed: bool) -> Iterator[World]:
    database = {"DATABASE_URL": f"sqlite:///{directory}/checkout.db"}
    with the_services(directory) as services:
        env = {**database, **QUICK, **urls_of(services), "SANDBOX_REMOTE": "true"}
        reader = {**database, **urls_of(services), "CHECKOUT_PAYMENT_TOKEN": "token"}
        with contextlib.ExitStack() as stack:
            if keyed:
                assert CliRunner().invoke(command_line, ["migrate"], env=database).exit_code == 0
                scopes = [word for scope in ("checkout", "read", "operate") for word in ("--scope", scope)]
                made = ["keys", "create", "--caller", "ops", "--who", "ada", *scopes, "--everyone"]
                reader["CHECKOUT_API_KEY"] = (
                    CliRunner().invoke(command_line, made, env=database).stdout.strip()
                )
            server = stack.enter_context(a_checkout(env, directory / "log"))
            yield World(server=server, env={**reader, "CHECKOUT_URL": server.url})


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run a service with API keys, as the runbook assumes."""
    with _world(tmp_path_factory.mktemp("keyed"), keyed=True) as world:
        yield world


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run a service without keys, as `make run` does."""
    with _world(tmp_path_factory.mktemp("opened"), keyed=False) as world:
        yield world


def _typed(page: Path) -> list[str]:
    return [one for one in commands(page) if not any(text in one for text in NOT_TYPED)]


@pytest.mark.parametrize("page", RUNBOOK, ids=lambda page: page.stem)
def test_a_runbook_page_works_as_it_is_written(page: Path, keyed: World) -> None:
    """Each action finds a saga in the state that the page is about."""
    with walking(keyed.env) as walk:
        saga = keyed.stuck()
        for command in _typed(page):
            if " cancel " in command:
                saga = keyed.under_way()
            elif any(action in command for action in (*ACTIONS, "ETAG=")):
                saga = keyed.stuck()
            if "DELIVERY=" in command:
                keyed.delivery()
            walk.env["SAGA"] = saga
            walk.type(command)
            if any(action in command for action in ACTIONS):
                keyed.spare = None


@pytest.mark.parametrize(
    "page",
    [page for page in HOW_TO if _typed(page) and page.stem != "command-line"],
    ids=lambda page: page.stem,
)
def test_a_how_to_works_as_it_is_written(page: Path, opened: World) -> None:
    """On a service like that of `make run`."""
    replace = {"http://127.0.0.1:8000": opened.server.url, "9001": str(free_port())}
    env = {**opened.env, "ID": opened.placed(None), "CHECKOUT_API_KEY": "none-is-needed"}
    with walking(env, replace, page.read_text()) as walk:
        if any("$DELIVERY" in command for command in _typed(page)):
            walk.env["DELIVERY"] = opened.delivery()
        for command in _typed(page):
            walk.type(command)


def test_the_page_on_the_command_line_works_as_it_is_written(keyed: World) -> None:
    """Each command on the page, with a saga and a key that exist."""
    page = ROOT / "docs" / "how-to" / "command-line.md"
    made = CliRunner().invoke(command_line, ["keys", "create", *_MADE], env=keyed.env)
    replace = {"k3v9x2ab": made.stdout.split("_")[1], "http://127.0.0.1:9001": keyed.env["PAYMENT_URL"]}
    with walking(keyed.env, replace) as walk:
        for command in _typed(page):
            saga = keyed.under_way() if " cancel " in command else keyed.stuck()
            if " watch " in command:
                saga = keyed.placed(None)
            walk.replace = {**replace, "0193b3c8-5c5f-7a1e-8c31-8b0d9e7b0c55": saga}
            walk.type(command)
            if any(action in command for action in ACTIONS):
                keyed.spare = None


_MADE = ["--caller", "ops", "--who", "bob", "--scope", "read"]


def test_every_exception_is_still_on_a_page() -> None:
    """An exception must not outlive its command."""
    every = "\n".join(one for page in (*RUNBOOK, *HOW_TO) for one in commands(page))
    assert [text for text in NOT_TYPED if text not in every] == []
