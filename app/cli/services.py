"""`checkout services check`: does a service of your own keep the contract?"""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import Annotated

import typer

from app.cli.output.failing import MISUSED, NOT_REACHED, REFUSED, failure
from app.cli.output.terminal import safe
from app.gateway.contract import SERVICES_YAML, Finding, Grade, Report, Sample, check, offered
from app.services import HttpGateway, Participant

app = typer.Typer(no_args_is_help=True)

_MARKS = {Grade.OK: "ok   ", Grade.FAULT: "FAULT", Grade.NOTE: "note ", Grade.LEFT_OUT: "-    "}


@app.command("check")
def check_services(
    url: Annotated[str, typer.Argument(help="The service's base URL, as PAYMENT_URL has it.")],
    *,
    service: Annotated[
        list[Participant] | None,
        typer.Option(help="Check this one. Repeat for several. Default: all that are found there."),
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="CHECKOUT_SERVICE_TOKEN", help="Sent as Authorization: Bearer.")
    ] = None,
    payment_method: Annotated[str, typer.Option(help="One that is always accepted.")] = "tok_visa",
    amount: Annotated[int, typer.Option(min=1, help="In minor units.")] = 3998,
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "EUR",
    sku: Annotated[str, typer.Option(help="One with at least 40 in stock.")] = "TSHIRT-M",
    country: Annotated[str, typer.Option(help="One that is delivered to.")] = "FR",
    declined: Annotated[str | None, typer.Option(help="A payment method that is declined.")] = None,
    out_of_stock: Annotated[str | None, typer.Option(help="A sku that is sold out.")] = None,
    unserviceable: Annotated[str | None, typer.Option(help="A country that isn't delivered to.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one request may take.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Run the contract's cases against a service.

    It really charges, reserves and books at that URL, and reverses that afterwards, so use a test instance. Exit code 1 on a fault, 3 if nothing
    answers.
    """
    sample = Sample(
        payment_method=payment_method,
        amount=amount,
        currency=currency,
        sku=sku,
        country=country,
        declined=declined,
        out_of_stock=out_of_stock,
        unserviceable=unserviceable,
    )
    try:
        HttpGateway(Participant.PAYMENT, url, bearer_token=token)  # the same check that PAYMENT_URL gets
        services = service or offered(url, token=token, timeout=timeout)
    except ValueError as error:
        raise failure(str(error), MISUSED) from None
    except ConnectionError as error:
        raise failure(f"{error} Is the URL right, and the service running?", NOT_REACHED) from None
    if not services:
        raise failure(
            f"No service was found at {url}: DELETE of a new reference under /payments, /reservations and "
            "/shipments must be 2xx. Name the service with --service to see its faults one by one."
        )
    report = check(
        url,
        services,
        sample=sample,
        token=token,
        timeout=timeout,
        on_finding=(lambda _: None) if as_json else _print,
    )
    if as_json:
        typer.echo(json.dumps({"conforms": report.conforms, **asdict(report)}, indent=2))
    else:
        _print_end(report)
    if not report.conforms:
        raise typer.Exit(REFUSED)


@app.command("contract")
def contract() -> None:
    """Print the services' contract: OpenAPI 3.1, in YAML."""
    typer.echo(SERVICES_YAML, nl=False)


def _print(finding: Finding) -> None:
    typer.echo(_wrapped(f"{_MARKS[finding.grade]} {finding.service}: {finding.promise}"))
    if finding.words:
        typer.echo(_wrapped(f"      {finding.words}"))


def _wrapped(line: str) -> str:
    return textwrap.fill(
        safe(line), 80, subsequent_indent="      ", drop_whitespace=True, break_long_words=False
    )


def _print_end(report: Report) -> None:
    for reference in report.left_behind:
        typer.echo(safe(f"Left behind, reverse it by hand: {reference}"), err=True)
    faults = sum(one.grade is Grade.FAULT for one in report.findings)
    services = ", ".join(dict.fromkeys(str(one.service) for one in report.findings))
    typer.echo(
        f"The contract is kept by: {services}."
        if report.conforms
        else f"{faults} of {len(report.findings)} promises are broken by: {services}."
    )
