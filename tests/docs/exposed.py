"""The metrics that a real service exposes, and those that a query uses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from app.settings.settings import Settings
from tests.in_process import a_service
from tests.processes import ADDRESS, an_order

TARGET = frozenset({"job", "instance"})
"""The labels that Prometheus itself adds."""

_WEBHOOKS = [
    {"name": "shop", "url": "http://127.0.0.1:9/", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
]
_SELECTOR = re.compile(r"\b(?P<name>(?:checkout_\w+|up)\b)(?!\s*\()(?:\{(?P<matchers>[^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


@dataclass
class Exposed:
    """Each sample's labels with their values, by name; and the names of the families that are not deprecated."""

    labels: dict[str, dict[str, set[str]]] = field(default_factory=lambda: {"up": {}})
    families: set[str] = field(default_factory=set)

    def missing_from(self, query: str) -> list[str]:
        """Return what a query uses and the service doesn't expose."""
        found = []
        known = {name for labels in self.labels.values() for name in labels} | TARGET
        for match in _SELECTOR.finditer(_GROUPING.sub("", query)):
            name = match["name"]
            if name not in self.labels:
                found.append(f"no metric {name}")
                continue
            for label, operator, value in _MATCHER.findall(match["matchers"] or ""):
                values = self.labels[name].get(label)
                if label in TARGET:
                    continue
                if values is None:
                    found.append(f"{name} has no label {label}")
                elif operator in "=~" and not any(re.fullmatch(value, one) for one in values):
                    found.append(f"{name} never has {label}={value}")
        for names in _GROUPING.findall(query):
            found += [f"no label {name}" for name in re.findall(r"\w+", names) if name not in known]
        return found


def names_in(query: str) -> set[str]:
    """Return the metrics that a query uses."""
    return {match["name"] for match in _SELECTOR.finditer(_GROUPING.sub("", query))}


async def exposition(directory: Path) -> list[Metric]:
    """Run a service through a success, a failure and an unknown outcome, and return what it exposes."""
    settings = Settings(
        database_url=SecretStr(f"sqlite:///{directory}/checkout.db"),
        sandbox_database=":memory:",
        retry_base_seconds=0.001,
        retry_cap_seconds=0.001,
        webhooks=SecretStr(json.dumps(_WEBHOOKS)),
        webhooks_allow_private=True,
    )
    async with a_service(settings, "http://checkout") as client:
        for n, (order, headers) in enumerate(_CHECKOUTS):
            await client.post("/checkout", json=an_order(f"ord-{n}", **order), headers=headers)
        return list(text_string_to_metric_families((await client.get("/metrics")).text))


async def scraped(directory: Path) -> Exposed:
    """Return what such a service exposes, by name and label."""
    exposed = Exposed()
    for family in await exposition(directory):
        deprecated = family.documentation.startswith("Deprecated")
        if family.name.startswith("checkout_") and not family.name.endswith("_created") and not deprecated:
            exposed.families.add(family.name)
        for sample in family.samples:
            labels = exposed.labels.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return exposed


_CHECKOUTS: tuple[tuple[Mapping[str, object], Mapping[str, str]], ...] = (
    ({}, {}),
    ({"payment_method": "tok_declined"}, {}),
    ({}, {"X-Simulate": "payment.execute=timeout_after_effect"}),
    (
        {"shipping_address": {**ADDRESS, "country": "XX"}},
        {"X-Simulate": "payment.compensate=not_reversible"},
    ),
)
