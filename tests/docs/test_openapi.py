"""The API's description is complete, true and up to date."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from app.api import ApiSettings, create_api
from app.api.http.headers.idempotency import idempotency_key
from app.api.middleware.route_rights import RouteRights
from app.api.openapi.__main__ import _Unserved, document
from app.api.problems.catalogue import PROBLEMS
from app.api.problems.problem import Problem
from app.api.routes.keys import NewKey
from app.api.schemas.order import NAME_PATTERN, Address, Item, Order, Reference
from app.settings.webhook_endpoints import EventName

KEPT = Path(__file__).parents[2] / "docs" / "openapi.json"
DESCRIPTION: dict[str, Any] = json.loads(document())
RIGHTS = RouteRights(create_api(_Unserved).routes)

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
    """Yield each content of a request or an answer, with its place."""
    for path, item in (DESCRIPTION["paths"] | DESCRIPTION["webhooks"]).items():
        for method, operation in item.items():
            bodies = {"request": operation["requestBody"]} if "requestBody" in operation else {}
            for name, body in (bodies | operation["responses"]).items():
                for media_type, content in body.get("content", {}).items():
                    yield f"{method} {path} {name} {media_type}", content


def examples() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yield each example with its place and its schema."""
    for place, content in contents():
        for name, example in content.get("examples", {}).items():
            yield f"{place} {name}", content["schema"], example["value"]


def test_the_committed_description_is_up_to_date() -> None:
    """If not, run `python -m app.api.openapi > docs/openapi.json`."""
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
def test_every_example_fits_its_schema_without_extra_members(
    place: str, schema: dict[str, Any], value: Any
) -> None:
    strict = json.loads(json.dumps(DESCRIPTION["components"]))
    for name, component in strict["schemas"].items():
        if component.get("type") == "object" and name not in {
            "Order",
            "Item",
            "Address",
        }:
            component.setdefault("additionalProperties", False)
    validator = Draft202012Validator(
        {**schema, "components": strict},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )
    assert [error.message for error in validator.iter_errors(value)] == [], place


def test_every_problem_is_an_example_where_it_can_happen() -> None:
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


def test_no_reference_is_broken() -> None:
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', document())):
        place: Any = DESCRIPTION
        for part in reference.split("/"):
            place = place[part]


def test_every_component_is_used() -> None:
    used = set(re.findall(r'"#/components/schemas/([^"]+)"', document()))
    assert set(DESCRIPTION["components"]["schemas"]) == used


def described_operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield every operation with its path and method, with those of the webhooks."""
    for path, item in (DESCRIPTION["paths"] | DESCRIPTION["webhooks"]).items():
        for method, operation in item.items():
            yield path, method, operation


def test_it_has_servers_a_contact_a_license_and_described_tags() -> None:
    """Spectral's rules oas3-api-servers, info-contact, info-license, info-description and operation-tag-defined."""
    assert DESCRIPTION["servers"]
    assert all(server["url"] for server in DESCRIPTION["servers"])
    assert {"contact", "description", "license"} <= set(DESCRIPTION["info"])
    tags = {tag["name"]: tag["description"] for tag in DESCRIPTION["tags"]}
    used = {tag for _, _, operation in described_operations() for tag in operation["tags"]}
    assert used == set(tags)
    assert all(tags.values())


def test_every_operation_has_an_id_and_a_description() -> None:
    """Spectral's operation-operationId, its uniqueness and form, operation-description; and no description mentions the routing."""
    names = [operation["operationId"] for _, _, operation in described_operations()]
    assert len(set(names)) == len(names)
    for path, method, operation in described_operations():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"])
        assert not operation["operationId"].endswith(f"_{method}")
        assert operation["description"], path
        assert operation["summary"], path


def test_every_path_parameter_is_in_its_path_and_no_name_is_used_twice() -> None:
    """Spectral's path-params, path-keys-no-trailing-slash and operation-parameters."""
    for path, _, operation in described_operations():
        assert not path.endswith("/")
        given = [parameter for parameter in operation.get("parameters", []) if "name" in parameter]
        names = [(parameter["in"], parameter["name"]) for parameter in given]
        assert len(set(names)) == len(names)
        wanted = set(re.findall(r"\{(\w+)\}", path))
        assert {name for place, name in names if place == "path"} == wanted
        assert all(parameter["required"] for parameter in given if parameter["in"] == "path")
        assert all(parameter["description"] for parameter in given)


@pytest.mark.parametrize("path", DESCRIPTION["paths"])
def test_an_operation_needs_what_its_route_states(path: str) -> None:
    schemes = DESCRIPTION["components"]["securitySchemes"]
    for method, operation in DESCRIPTION["paths"][path].items():
        rights = RIGHTS.find(method.upper(), re.sub(r"\{\w+\}", "x", path)).rights
        asked = {name for scheme in operation["security"] for name in scheme}
        assert asked <= set(schemes)
        assert ("key" in asked) == (not rights.public)
        assert ("session" in asked) == (not rights.public and method == "get")
        assert ("read_token" in asked) == rights.read_token
        assert rights.public or f"`{rights.scope}`" in operation["description"]
        assert rights.public or {"401", "403"} <= set(operation["responses"])


def test_no_member_has_a_default() -> None:
    """Generators treat a member with a default as always present: `line2` became required in TypeScript."""

    def defaults(value: Any, place: str) -> Iterator[str]:
        if isinstance(value, dict):
            if "default" in value and not place.endswith(("/properties", "/responses")):
                yield place
            for name, inner in value.items():
                if name not in {"examples", "value"}:
                    yield from defaults(inner, f"{place}/{name}")
        if isinstance(value, list):
            for index, inner in enumerate(value):
                yield from defaults(inner, f"{place}/{index}")

    assert list(defaults(DESCRIPTION, "")) == []


def test_optional_members_of_an_order_are_not_required() -> None:
    schemas = DESCRIPTION["components"]["schemas"]
    for name, model in (("Order", Order), ("Address", Address), ("Item", Item), ("NewKey", NewKey)):
        wanted = {member for member, field in model.model_fields.items() if field.is_required()}
        assert set(schemas[name]["required"]) == wanted
        assert set(schemas[name]["properties"]) == set(model.model_fields)


def test_every_webhook_event_is_described() -> None:
    assert set(DESCRIPTION["webhooks"]) == set(EventName)
    posted = DESCRIPTION["components"]["schemas"]["WebhookEvent"]
    assert set(posted["properties"]) == {"type", "timestamp", "data"}


def test_the_limits_are_the_servers_own() -> None:
    """Not the defaults."""
    described = create_api(_Unserved, ApiSettings(max_items=7, max_page_size=8)).openapi()
    assert described["components"]["schemas"]["Order"]["properties"]["items"]["maxItems"] == 7
    (limit,) = (
        one for one in described["paths"]["/sagas"]["get"]["parameters"] if one.get("name") == "limit"
    )
    assert limit["schema"] == {"type": "integer", "minimum": 1, "maximum": 8}


@given(
    st.text(
        st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \t\u00a0\u2003\u3000\u0085\u200d"),
        max_size=5,
    )
)
def test_the_pattern_of_a_name_agrees_with_the_check(text: str) -> None:
    try:
        taken = bool(TypeAdapter(Reference).validate_python(text))
    except ValidationError:
        taken = False
    assert taken == (re.fullmatch(NAME_PATTERN, text) is not None)  # `$` alone lets a line end by in Python


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        *(
            (value, True)
            for value in ("k", "a,b", "x" * 255, '"k"', f'"{"x" * 255}"', '"a\\"b"', '"\\\\"', 'a"b')
        ),
        *(
            (value, False)
            for value in ("", "a b", "é", "x" * 256, '"', '""', '"open', '"a b"', f'"{"x" * 256}"')
        ),
    ],
)
def test_the_pattern_of_an_idempotency_key_agrees_with_the_check(value: str, *, taken: bool) -> None:
    pattern = DESCRIPTION["components"]["parameters"]["Idempotency-Key"]["schema"]["pattern"]
    assert (re.search(pattern, value) is not None) == taken
    if taken:
        assert idempotency_key([value], required=True)
    else:
        with pytest.raises(Problem):
            idempotency_key([value], required=True)
