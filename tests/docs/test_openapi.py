"""The API's description is complete, true and up to date."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from app.api.openapi import document
from app.api.problems import PROBLEMS

KEPT = Path(__file__).parents[2] / "docs" / "openapi.json"
DESCRIPTION: dict[str, Any] = json.loads(document())

CHECKOUT_STATUSES = {
    "200",
    "201",
    "202",
    "400",
    "401",
    "402",
    "403",
    "408",
    "409",
    "413",
    "415",
    "422",
    "429",
    "500",
    "502",
    "503",
    "504",
}


def contents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each content of a request or an answer, with where it stands."""
    for path, item in DESCRIPTION["paths"].items():
        for method, operation in item.items():
            bodies = {"request": operation["requestBody"]} if "requestBody" in operation else {}
            for name, body in (bodies | operation["responses"]).items():
                for media_type, content in body.get("content", {}).items():
                    yield f"{method} {path} {name} {media_type}", content


def examples() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yield each example with where it stands and its schema."""
    for place, content in contents():
        for name, example in content.get("examples", {}).items():
            yield f"{place} {name}", content["schema"], example["value"]


def test_the_kept_description_is_the_apps() -> None:
    """Run `python -m app.api.openapi > docs/openapi.json` where this fails."""
    assert KEPT.read_text() == document()


def test_it_is_openapi_3_1() -> None:
    assert DESCRIPTION["openapi"].startswith("3.1")


def test_the_checkout_has_every_answer_of_the_contract() -> None:
    assert set(DESCRIPTION["paths"]["/checkout"]["post"]["responses"]) == CHECKOUT_STATUSES


@pytest.mark.parametrize(
    ("place", "content"),
    list(contents()),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_content_has_an_example(place: str, content: dict[str, Any]) -> None:
    assert content.get("examples") or place.endswith("text/html")


@pytest.mark.parametrize(
    ("place", "schema", "value"),
    list(examples()),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_example_fits_its_schema_and_has_no_member_that_the_schema_lacks(
    place: str, schema: dict[str, Any], value: Any
) -> None:
    strict = json.loads(json.dumps(DESCRIPTION["components"]))
    for name, component in strict["schemas"].items():
        if component.get("type") == "object" and name not in {
            "Order",
            "Item",
            "Address",
        }:
            component["additionalProperties"] = False
    validator = Draft202012Validator(
        {**schema, "components": strict},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )
    assert [error.message for error in validator.iter_errors(value)] == [], place


def test_every_problem_stands_as_an_example_where_it_can_happen() -> None:
    shown = {value["type"] for _, _, value in examples() if isinstance(value, dict) and "type" in value}
    unshown = {f"/problems/{name}" for name in PROBLEMS} - shown
    assert unshown == {
        f"/problems/{name}"
        for name in (
            "bad_request",
            "header_fields_too_large",
            "method_not_allowed",
            "step_refused",
            "checkout_cancelled",
            "checkout_poisoned",
        )
    }


def test_every_reference_leads_somewhere() -> None:
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', document())):
        place: Any = DESCRIPTION
        for part in reference.split("/"):
            place = place[part]


def test_every_component_is_used() -> None:
    used = set(re.findall(r'"#/components/schemas/([^"]+)"', document()))
    assert set(DESCRIPTION["components"]["schemas"]) == used
