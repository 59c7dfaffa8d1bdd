"""The operator's configuration: what can't be used stops the start with a sentence that names the endpoint."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from app.settings.settings import Settings
from app.settings.webhook_endpoints import EventName, endpoints_of

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
GOOD: dict[str, Any] = {"name": "shop", "url": "https://shop.example/hooks?a=1", "secret": SECRET}


def test_a_whole_endpoint_is_read() -> None:
    """With two secrets while they are rotated, and both filters."""
    given = {k: v for k, v in GOOD.items() if k != "secret"}
    given |= {"secrets": [OTHER, SECRET], "events": ["checkout.completed"], "callers": ["a"]}
    (endpoint,) = endpoints_of(json.dumps([given]))
    assert (endpoint.name, endpoint.url, len(endpoint.secrets)) == ("shop", GOOD["url"], 2)
    assert endpoint.events == frozenset({EventName.COMPLETED})
    assert endpoint.callers == frozenset({"a"})
    assert "secrets" not in repr(endpoint)
    assert endpoints_of("") == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "http://shop.example/"}, "shop in CHECKOUT_WEBHOOKS needs an https:// url"),
        ({"url": "https://127.0.0.1/"}, "shop in CHECKOUT_WEBHOOKS has a private address"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "shop in CHECKOUT_WEBHOOKS has a private address"),
        ({"url": "https://user:pw@shop.example/"}, "without user or fragment"),
        ({"url": "https://shop.example:99999/"}, "needs a url such as"),
        ({"url": "ftp://shop.example/"}, "needs an https:// url"),
        ({"url": 7}, "needs a url such as"),
        ({"secret": "whsec_short"}, "whsec_ and 24 to 64 bytes"),
        ({"secret": SECRET.removeprefix("whsec_")}, "whsec_ and 24 to 64 bytes"),
        ({"secrets": [SECRET, OTHER]}, "needs one secret"),
        ({"events": ["checkout.begun"]}, "can filter these events: checkout.completed"),
        ({"callers": "a"}, "needs a list of names"),
        ({"nmae": "shop"}, "a member that isn't known \\(nmae\\)"),
        ({"name": "The Shop"}, "needs a name"),
    ],
)
def test_an_endpoint_that_cant_be_used_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    """The sentence says which one and what to write, and repeats no secret."""
    with pytest.raises(ValueError, match=words) as caught:
        endpoints_of(json.dumps([GOOD | change]))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '"x"'])
def test_what_is_no_list_of_objects_is_refused(text: str) -> None:
    """In a sentence too."""
    with pytest.raises(ValueError, match="must be a JSON list of objects"):
        endpoints_of(text)


def test_two_of_one_name_are_refused() -> None:
    """Their deliveries couldn't be told apart."""
    with pytest.raises(ValueError, match="two endpoints named shop"):
        endpoints_of(json.dumps([GOOD, GOOD]))


def test_the_settings_refuse_it_without_showing_a_secret() -> None:
    """What stops the start ends in a log."""
    text = json.dumps([GOOD | {"url": "http://shop.example"}])
    with pytest.raises(ValidationError, match="endpoint shop") as caught:
        Settings(webhooks=SecretStr(text))
    assert "whsec_" not in str(caught.value)
    assert Settings(webhooks=SecretStr(text), webhooks_allow_private=True).webhook_endpoints[0].name == "shop"
    with pytest.raises(ValidationError, match="CHECKOUT_WEBHOOK_RETRY_DELAYS"):
        Settings(webhook_retry_delays="5;300")
