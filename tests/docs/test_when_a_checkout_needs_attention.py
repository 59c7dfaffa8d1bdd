"""The page "When a checkout needs attention" works, line by line, for a shop that follows it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import httpx2 as httpx

from app.api.problems.catalogue import NOTICES
from tests.processes import ROOT, a_checkout

PAGE = (ROOT / "docs" / "how-to" / "when-a-checkout-needs-attention.md").read_text()


def sent(client: httpx.Client, command: str, **headers: str) -> httpx.Response:
    """Send what a curl of the page sends, with these headers instead."""
    words = shlex.split(command.replace("\\\n", " "))
    named = dict(words[n + 1].split(": ", 1) for n, word in enumerate(words) if word == "-H")
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    named = {name: value for name, value in {**named, **changed}.items() if value}
    return client.post("/checkout", content=words[words.index("-d") + 1], headers=named)


def test_a_shop_that_follows_the_page_gets_what_it_shows(sqlite_url: str, tmp_path: Path) -> None:
    """The answer, the table, the 409, the operator's way out and the outcome under the first key."""
    ((command, shown),) = re.findall(r"```bash\n(curl -i .*?)```\n\n```\n(.*?)```", PAGE, re.DOTALL)
    resolution = json.loads(re.findall(r"-d '(\{\"step\".*?\})'", PAGE)[0])
    env = {"DATABASE_URL": sqlite_url, "SANDBOX_DATABASE": ":memory:"}
    with (
        a_checkout(env, tmp_path / "log") as server,
        httpx.Client(base_url=server.url, trust_env=False, verify=False, timeout=30.0) as client,
    ):
        answer = sent(client, command)
        printed = [f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}"]
        printed += [f"{name.lower()}: {value}" for name, value in answer.headers.items()]
        for line in shown.splitlines():
            assert line in printed or line in answer.text, f"{line}\n{printed}\n{answer.text}"
        saga = answer.json()
        assert set(saga["attention"]) == {"step", "action", "code", "message", "since"}
        assert saga["next_action_at"] is None

        read = client.get(answer.headers["location"], headers={"Prefer": "wait=20"})
        assert (read.headers["saga-status"], read.headers["link"]) == (
            "needs_attention",
            answer.headers["link"],
        )
        page = client.get(answer.headers["link"].partition(">")[0].removeprefix("<"))
        assert (page.status_code, NOTICES["needs_attention"].title in page.text) == (200, True)

        again = sent(client, command, Idempotency_Key="another")
        assert (again.status_code, again.json()["code"]) == (409, "order_in_checkout")
        assert again.headers["saga-status"] == "needs_attention"
        same = sent(client, command)
        assert (same.status_code, same.headers["idempotent-replayed"]) == (202, "true")
        found = client.get("/sagas?order_id=ord-2001").json()["data"]
        assert [one["status"] for one in found] == ["needs_attention"]

        resolved = client.post(f"{answer.headers['location']}/resolve", json=resolution)
        assert (resolved.json()["status"], resolved.headers["saga-status"]) == ("compensated",) * 2
        ended = sent(client, command)
        assert (ended.status_code, ended.headers["saga-status"]) == (422, "compensated")
        assert sent(client, command, Idempotency_Key="another", X_Simulate="").status_code == 201
