"""The README agrees with the service."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import httpx2 as httpx

from tests.processes import ROOT, a_checkout

README = (ROOT / "README.md").read_text()


def _examples() -> list[tuple[str, list[str]]]:
    """Return each curl of the README with the lines of the answer below it."""
    found = re.findall(r"```bash\n(curl .*?)```\n\n```\n(.*?)```", README, re.DOTALL)
    return [(command, answer.splitlines()) for command, answer in found]


def as_curl_prints_it(command: str, url: str) -> str:
    """Send the request of the README's `curl -i` to this URL, and return what curl would print."""
    words = shlex.split(command)
    headers = [words[n + 1].split(": ", 1) for n, word in enumerate(words) if word == "-H"]
    body = words[words.index("-d") + 1]
    target = next(word for word in words if word.startswith("http")).replace("http://127.0.0.1:8000", url)
    answer = httpx.post(
        target, content=body, headers=dict(headers), trust_env=False, verify=False, timeout=30.0
    )
    return f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}\n\n{answer.text}"


def test_the_curls_get_the_answers_that_the_readme_shows(sqlite_url: str, tmp_path: Path) -> None:
    """The real answer has each line shown, in that order."""
    examples = _examples()
    assert len(examples) == 2
    env = {"DATABASE_URL": sqlite_url, "SANDBOX_DATABASE": ":memory:"}
    with a_checkout(env, tmp_path / "log", fresh=True) as server:
        for command, lines in examples:
            answer = as_curl_prints_it(command, server.url)
            at = 0
            for line in lines:
                at = answer.find(line, at)
                assert at >= 0, f"not in the answer, or not in that order: {line}\n{answer}"
                at += len(line)


def test_the_readme_is_one_screen_and_a_half() -> None:
    """The rest belongs on other pages."""
    assert len(README.splitlines()) <= 85
