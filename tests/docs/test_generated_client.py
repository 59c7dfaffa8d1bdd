"""openapi-python-client generates a client with good names, and the client works with the service."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from app.api.openapi.__main__ import document
from tests.docs.test_readme import README
from tests.processes import a_checkout

DESCRIPTION = json.loads(document())
MADE_UP = re.compile(r"(_\d+|_type_\d|_(get|post|body|response_\d+|item|additional_property))$")
"""Names that the generator makes up where the description has none."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Generate the client once; it can be imported by its folder's name."""
    directory = tmp_path_factory.mktemp("clients")
    source, package = directory / "openapi.json", directory / "checkout_client"
    source.write_text(document())
    generator: Any = importlib.import_module("openapi_python_client")
    settings: Any = importlib.import_module("openapi_python_client.config")
    config = settings.Config.from_sources(
        settings.ConfigFile(post_hooks=[]),
        settings.MetaType.NONE,
        document_source=source,
        file_encoding="utf-8",
        overwrite=True,
        output_path=package,
    )
    assert [error.detail for error in generator.generate(config=config)] == []
    sys.path.insert(0, str(directory))
    yield package
    sys.path.remove(str(directory))
    for name in [name for name in sys.modules if name.partition(".")[0] == package.name]:
        del sys.modules[name]


def module(package: Path, name: str) -> ModuleType:
    return importlib.import_module(f"{package.name}.{name}")


def test_every_operation_and_every_schema_has_its_own_name(package: Path) -> None:
    """No file is named by a path, a method or a number."""
    operations = {file.stem for file in package.glob("api/*/*.py")} - {"__init__"}
    wanted = {op["operationId"] for item in DESCRIPTION["paths"].values() for op in item.values()}
    assert operations == wanted
    models = {file.stem for file in package.glob("models/*.py")} - {"__init__"}
    assert [name for name in sorted(models) if MADE_UP.search(name)] == []
    known = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in DESCRIPTION["components"]["schemas"]}
    assert models - known == {"order_metadata", "ready_checks", "read_problem_name"}


def test_a_shop_can_do_everything_with_it(package: Path, sqlite_url: str, tmp_path: Path) -> None:
    """The README's order, a dry run, a repeat, a failure, reading, filters, and a key."""
    models: Any = module(package, "models")
    client_of: Any = module(package, "client")

    def call(group: str, name: str, *path: str, client: Any, **given: Any) -> Any:
        return module(package, f"api.{group}.{name}").sync_detailed(*path, client=client, **given)

    found = re.search(r"-d '(\{.*?\})'", README, re.DOTALL)
    assert found is not None
    order = models.Order.from_dict(json.loads(found[1]))
    assert order.to_dict() == json.loads(found[1])

    env = {"DATABASE_URL": sqlite_url, "SANDBOX_DATABASE": ":memory:", "CHECKOUT_KEY_CACHE_SECONDS": "0"}
    with a_checkout(env, tmp_path / "log") as server, ExitStack() as closing:
        nobody = closing.enter_context(client_of.Client(base_url=server.url))
        new = models.NewKey(caller="shop", who="ada", scopes=list(models.Scope), everyone=True)
        key = call("keys", "create_key", client=nobody, body=new).parsed.key
        shop = closing.enter_context(client_of.AuthenticatedClient(base_url=server.url, token=key))

        plan = call("checkout", "place_checkout", client=shop, body=order, dry_run=True)
        assert (plan.status_code, type(plan.parsed), plan.parsed.amount) == (200, models.Plan, 3998)
        placed = call("checkout", "place_checkout", client=shop, body=order, idempotency_key="k")
        saga = placed.parsed
        assert (placed.status_code, saga.status) == (201, models.SagaStatus.COMPLETED)
        assert saga.steps[0].result.additional_properties["status"] == "captured"
        again = call("checkout", "place_checkout", client=shop, body=order, idempotency_key="k")
        assert (again.parsed, again.headers["Idempotent-Replayed"]) == (saga, "true")

        unserved = models.Order.from_dict({**order.to_dict(), "order_id": "ord-2"})
        unserved.shipping_address.country = "XX"
        unserved.shipping_address.postal_code = None
        refused = call("checkout", "place_checkout", client=shop, body=unserved)
        assert (refused.status_code, type(refused.parsed)) == (422, models.Problem)
        assert (refused.parsed.type_, refused.parsed.saga.status) == (
            "/problems/shipping_refused",
            models.SagaStatus.COMPENSATED,
        )

        read = call("sagas", "read_saga", saga.id, client=shop)
        assert read.parsed == saga
        page = call(
            "sagas",
            "list_sagas",
            client=shop,
            status=models.SagaStatus.COMPLETED,
            order_id="ord-1001",
            created_after=saga.created_at,
            limit=5,
        )
        assert [one.id for one in page.parsed.data] == [saga.id]
        assert page.parsed.next_cursor is None
        reason = models.Operation(reason="The customer called.")
        late = call("operating", "cancel_saga", saga.id, client=shop, body=reason)
        assert (late.status_code, late.parsed.code) == (409, "saga_finished")
        feed = call("events", "read_events", client=shop).parsed
        assert [event.type_ for event in feed.data] == ["checkout.completed", "checkout.compensated"]
        webhooks = call("webhooks", "list_webhooks", client=shop)
        assert webhooks.parsed.data == []
        made = call("keys", "list_keys", client=shop).parsed.data
        assert [one.who for one in made] == ["ada"]
        assert call("health", "check_readiness", client=nobody).parsed.ready
        assert call("keys", "list_keys", client=nobody).status_code == 401


def test_an_older_client_reads_newer_words(package: Path) -> None:
    """Later releases add event types and problems."""
    models: Any = module(package, "models")
    saga = DESCRIPTION["webhooks"]["checkout.completed"]["post"]["requestBody"]["content"]["application/json"]
    event = next(iter(saga["examples"].values()))["value"]
    event["type"] = "checkout.returned"
    event["data"]["trail"][0] |= {"event": "signal_received", "more": 1}
    event["data"]["more"] = {"new": True}
    read = models.WebhookEvent.from_dict(event)
    assert read.data.trail[0].event == "signal_received"
    problem = {
        "type": "/problems/new",
        "title": "New",
        "status": 409,
        "detail": "New.",
        "code": "new",
        "request_id": "r",
    }
    assert models.Problem.from_dict(problem).type_ == "/problems/new"
