"""The contract's suite finds each rule that a service breaks, and no other fault; ours pass it."""

from __future__ import annotations

import asyncio
import json

import pytest
import yaml
from typer.testing import CliRunner

from app.cli import app as command_line
from app.gateway.contract import CASES, SERVICES_YAML, Grade, Report, Sample, check, offered
from app.sandbox.server import sandbox_app
from app.services import Participant, Sandbox
from tests.unit.gateway.contract.careless import CarelessPayments
from tests.unit.gateway.network import serving

REFUSED = Sample(declined="tok_declined", out_of_stock="OUT-OF-STOCK-1", unserviceable="XX")
BROKEN = {
    "no code": "nothing exists under a new reference",
    "leaves out its id": "PUT does the work",
    "charges a cent more": "PUT does the work",
    "charges again": "PUT sent again answers with the same resource",
    "minds the members' order": "the order of a body's members",
    "refuses its twin": "two PUTs at the same time",
    "doubles its twin": "two PUTs at the same time",
    "takes another body": "a PUT with another body is refused",
    "forgets": "GET returns the resource",
    "undoes once": "DELETE undoes the work, however often",
    "reopens": "after DELETE the reference is closed",
    "forgets that it closed": "after DELETE the reference is closed",
    "compensates only what exists": "DELETE succeeds where nothing exists",
    "gives one id": "two references are two pieces of work",
    "cuts the reference": "a reference of 64 characters",
    "knows no more members": "members that the service doesn't know",
    "breaks at bad JSON": "a body that is not JSON",
    "declines with 400": "a declined payment is 402",
    "charges what it declines": "a declined payment is 402",
}


async def _checked(fault: str) -> Report:
    async with serving(CarelessPayments(fault).app()) as url:
        return await asyncio.to_thread(check, url, [Participant.PAYMENT], sample=REFUSED)


@pytest.mark.parametrize("fault", BROKEN)
async def test_the_suite_finds_a_rule_that_is_broken(fault: str) -> None:
    """And says so at the promise that names it."""
    report = await _checked(fault)
    assert not report.conforms
    faults = [one for one in report.findings if one.grade is Grade.FAULT]
    assert any(one.promise.startswith(BROKEN[fault]) for one in faults), faults
    assert all(one.words for one in faults)


async def test_a_service_that_keeps_every_rule_conforms() -> None:
    report = await _checked("")
    assert report.conforms, report
    assert {one.grade for one in report.findings} == {Grade.OK}


async def test_what_the_checkout_does_not_use_today_is_a_note() -> None:
    """Capturing later is in the contract, and not yet in the checkout's saga."""
    report = await _checked("captures nothing")
    assert report.conforms
    assert [one.promise for one in report.findings if one.grade is Grade.NOTE] == [
        case.promise for case in CASES if not case.used_today
    ]


async def test_whatever_a_run_did_is_undone_and_what_could_not_be_is_named() -> None:
    payments = CarelessPayments()
    async with serving(payments.app()) as url:
        await asyncio.to_thread(check, url, [Participant.PAYMENT], sample=REFUSED)
    assert payments.made > 0
    assert payments.payments == {}
    report = await _checked("undoes once")
    assert report.left_behind
    assert all(one.startswith("payments/") for one in report.left_behind)


@pytest.mark.parametrize("service", list(Participant))
async def test_each_service_of_the_sandbox_conforms(service: Participant) -> None:
    """Found at its URL by the suite itself."""
    async with serving(sandbox_app(service, Sandbox())) as url:
        assert await asyncio.to_thread(offered, url) == [service]
        report = await asyncio.to_thread(check, url, [service], sample=REFUSED)
    assert report.conforms, report
    assert {one.grade for one in report.findings} == {Grade.OK}


async def test_the_command_prints_each_promise_and_fails_at_a_fault() -> None:
    async with serving(CarelessPayments("charges again").app()) as url:
        broken = await asyncio.to_thread(CliRunner().invoke, command_line, ["services", "check", url])
    assert broken.exit_code == 1
    assert "FAULT payment: PUT sent again answers with the same resource" in broken.stdout
    assert "the work was done twice" in broken.stdout
    assert max(map(len, broken.stdout.splitlines())) <= 80
    async with serving(CarelessPayments().app()) as url:
        kept = await asyncio.to_thread(
            CliRunner().invoke,
            command_line,
            ["services", "check", url, "--declined", "tok_declined", "--json"],
        )
    assert kept.exit_code == 0
    assert json.loads(kept.stdout)["conforms"] is True


def test_the_command_says_where_nobody_answers_or_nothing_can_be_asked() -> None:
    nobody = CliRunner().invoke(command_line, ["services", "check", "http://127.0.0.1:9"])
    assert (nobody.exit_code, "Nobody answers at http://127.0.0.1:9" in nobody.stderr) == (3, True)
    wrong = CliRunner().invoke(command_line, ["services", "check", "ftp://shop"])
    assert (wrong.exit_code, "http" in wrong.stderr) == (2, True)


async def test_the_sandbox_serves_the_contract_that_the_command_prints() -> None:
    """The same text, which is OpenAPI and names each service's paths."""
    import httpx2 as httpx  # noqa: PLC0415 (this test alone asks by hand)

    async with (
        serving(sandbox_app(Participant.PAYMENT, Sandbox())) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as client,
    ):
        served = await client.get("/openapi.yaml")
        page = await client.get("/docs")
    assert served.text == CliRunner().invoke(command_line, ["services", "contract"]).stdout == SERVICES_YAML
    assert "openapi.yaml" in page.text
    document = yaml.safe_load(served.text)
    assert document["openapi"].startswith("3.1")
    for service in Participant:
        assert set(document["paths"][f"/{service.resource}/{{reference}}"]) >= {"get", "put", "delete"}
