"""The receiver on the page "Receive webhooks" verifies real deliveries."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.settings.settings import Settings
from app.settings.webhook_endpoints import endpoints_of
from app.webhooks.signature import signature_headers
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "how-to" / "receive-webhooks.md").read_text()
BODY = b'{"type":"checkout.completed"}'


def _verified() -> Any:
    names: dict[str, Any] = {}
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(block, names)  # noqa: S102 (our own page)
    return names["verified"]


def test_the_pages_receiver_accepts_deliveries_and_nothing_else() -> None:
    """Signed with the configured secret, old or new; another body, another secret or an old one is refused."""
    found = re.search(r"CHECKOUT_WEBHOOKS='(.*?)'", PAGE)
    assert found
    (endpoint,) = endpoints_of(found[1])
    secret = "whsec_" + base64.b64encode(endpoint.secrets[0]).decode()
    now, verified = datetime.now(UTC), _verified()
    headers = signature_headers("evt_1", BODY, at=now, secrets=(b"n" * 24, *endpoint.secrets))
    assert verified(secret, headers, BODY) == {"type": "checkout.completed"}
    old = signature_headers("evt_1", BODY, at=now - timedelta(minutes=6), secrets=endpoint.secrets)
    other = "whsec_" + base64.b64encode(b"o" * 24).decode()
    for wrong in ((secret, headers, BODY + b" "), (other, headers, BODY), (secret, old, BODY)):
        with pytest.raises(ValueError, match=r"Not signed|Too old"):
            verified(*wrong)


def test_the_page_names_the_default_delays() -> None:
    """The same numbers, written for people."""
    words = "5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h"
    assert words in PAGE
    unit = {"s": 1, "min": 60, "h": 3600}
    told = [int(number) * unit[name] for number, name in re.findall(r"(\d+) (s|min|h)\b", words)]
    assert ",".join(map(str, told)) == Settings().webhook_retry_delays
