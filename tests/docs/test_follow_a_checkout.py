"""The page "Follow a checkout live": its addresses, answer and settings agree with the service."""

from __future__ import annotations

import json
import re

import pytest

from app.settings.settings import Settings
from tests.processes import ROOT
from tests.spec.test_read_tokens import a_shop

PAGE = (ROOT / "docs" / "how-to" / "follow-a-checkout.md").read_text()


async def test_the_service_gives_the_pages_answer(sqlite_url: str) -> None:
    """It has the same members, and its addresses work."""
    [shown] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    async with a_shop(sqlite_url) as shop:
        saga_id = await shop.a_saga("ord-1")
        given = await shop.a_token(saga_id)
        for name, value in json.loads(shown).items():
            pattern = re.escape(value).replace("…", ".+")
            if name != "expires_at":
                assert re.fullmatch(pattern, given[name]), name
        assert set(json.loads(shown)) == set(given)
        stream = await shop.client.get(given["events_url"])
        script = re.findall(r"```js\n(.*?)```", PAGE, re.DOTALL)[0]
        for event in re.findall(r'addEventListener\("(\w+)"', script):
            assert event == "error" or f"event: {event}\n" in stream.text


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`CHECKOUT_([A-Z_]+)[=`]", PAGE))))
def test_its_settings_exist(name: str) -> None:
    """Each variable on the page is a setting."""
    assert name.lower() in Settings.model_fields
