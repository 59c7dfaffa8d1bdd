"""The page "Add your own step", followed as written in a copy of the project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from app.saga import Closed, LooksUp, SagaStatus
from tests.processes import ROOT, Running, an_order, free_port, running

PAGE = (ROOT / "docs" / "how-to" / "add-your-own-step.md").read_text()
STEP, LOOKS_UP, INSURER, PLACE, TEST, IMPORT = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
REPLACED, INSTEAD = re.findall(r"`(return \(.*?\))`", PAGE)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Follow the page in a copy of the project."""
    copy = tmp_path_factory.mktemp("project")
    for folder in ("app", "alembic"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("alembic.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    (copy / "tests").mkdir()
    named = re.findall(r"[Ss]ave this (?:one )?as `([^`]+)`", PAGE)
    for name, blocks in zip(named, ([STEP, LOOKS_UP, INSURER, PLACE], [TEST]), strict=True):
        (copy / name).write_text("\n\n".join(blocks))
    definitions = copy / "app" / "bootstrap" / "saga_definitions.py"
    text = definitions.read_text()
    first = "from collections.abc import Mapping\n"
    assert text.count(REPLACED) == text.count(first) == 1, "the page names a line that isn't there"
    definitions.write_text(text.replace(REPLACED, INSTEAD).replace(first, first + IMPORT))
    return copy


@pytest.fixture(scope="module")
def served(copy: Path) -> Iterator[Running]:
    """Run the service with the page's step."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port), "--app-dir", str(copy)]
    env = {"DATABASE_URL": f"sqlite:///{copy}/checkout.db", "SANDBOX_DATABASE": ":memory:"}
    with running(command, port=port, env=env, log=copy / "log", ready="/readyz", cwd=copy) as server:
        yield server


def test_the_pages_test_passes(copy: Path) -> None:
    """Both of its cases."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_insurance.py"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_checkout_runs_the_pages_step(served: Running) -> None:
    """In its place, when compensating and in the plan too."""
    with httpx.Client(base_url=served.url, trust_env=False, verify=False, timeout=30) as client:
        completed = client.post("/checkout", json=an_order("ord-1"))
        assert completed.status_code == 201, completed.text
        saga = completed.json()
        assert (saga["definition"], saga["version"], saga["status"]) == ("checkout", 3, "completed")
        assert [step["name"] for step in saga["steps"]] == ["payment", "inventory", "insurance", "shipping"]
        unserved = an_order("ord-2")
        unserved["shipping_address"] = {**unserved["shipping_address"], "country": "XX"}  # type: ignore[dict-item]
        trail = client.post("/checkout", json=unserved).json()["saga"]["trail"]
        assert [line["step"] for line in trail if line["event"] == "step_compensated"] == [
            "insurance",
            "inventory",
            "payment",
        ]
        plan = client.post("/checkout?dry_run=true", json=an_order("ord-3")).json()
        assert plan["steps"][2]["does"] == "Insure the parcel"
        assert client.get("/").status_code == 200


async def _step() -> Any:
    names: dict[str, Any] = {}
    exec(STEP + LOOKS_UP + INSURER, names)  # noqa: S102 (our own page)
    return names["InsuranceStepThatLooksUp"](names["InMemoryInsurer"]())


async def test_the_pages_step_looks_its_policy_up() -> None:
    """There is none, then the policy, then it is closed."""
    step = await _step()
    assert isinstance(step, LooksUp), "or it would never be asked"
    context = {"saga_id": "s", "amount": 1}
    assert await step.look_up(context) is None
    await step.execute(context)
    assert await step.look_up(context) == {"policy_id": "policy-s"}
    await step.compensate(context)
    assert await step.look_up(context) == Closed()


@pytest.mark.parametrize(
    ("trouble", "ends"),
    [
        (ValueError("too valuable"), ["payment", "inventory"]),
        (ConnectionError(), ["payment", "inventory", "insurance"]),
    ],
)
async def test_the_pages_errors_say_what_is_known(trouble: Exception, ends: list[str]) -> None:
    """A rejection is not compensated, an unknown outcome is."""
    from app.saga import RetryPolicy, SagaDefinition, SagaOrchestrator  # noqa: PLC0415
    from app.services import InventoryStep, PaymentStep, ShippingStep  # noqa: PLC0415

    step = await _step()

    async def troubled(**_: object) -> str:
        raise trouble

    step.insurer.insure = troubled
    order = {**an_order("ord-1"), "amount": 3998, "metadata": {}}
    definition = (
        SagaDefinition("checkout")
        .do(PaymentStep())
        .do(InventoryStep())
        .do(step, policy=RetryPolicy(attempts=2, base=0.0, cap=0.0))
        .pivot(ShippingStep())
    )
    state = await SagaOrchestrator(definition).execute(order, saga_id="test-1")
    assert state.status is SagaStatus.COMPENSATED
    assert list(state.completion_order) == ends
