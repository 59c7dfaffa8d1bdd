"""What the README says is what the service does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import httpx2 as httpx
from pydantic import SecretStr

from app.settings.settings import Settings
from tests.processes import ROOT, a_checkout

README = (ROOT / "README.md").read_text()


def _examples() -> list[tuple[str, list[str]]]:
    """Return each curl of the README with the lines of the answer below it."""
    found = re.findall(r"```bash\n(curl .*?)```\n\n```\n(.*?)```", README, re.DOTALL)
    return [(command, answer.splitlines()) for command, answer in found]


def as_curl_prints_it(command: str, url: str) -> str:
    """Send what the README's `curl -i` sends, to another place, and return what it would print."""
    words = shlex.split(command)
    headers = [words[n + 1].split(": ", 1) for n, word in enumerate(words) if word == "-H"]
    body = words[words.index("-d") + 1]
    target = next(word for word in words if word.startswith("http")).replace("http://127.0.0.1:8000", url)
    answer = httpx.post(target, content=body, headers=dict(headers), trust_env=False, timeout=30.0)
    return f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}\n\n{answer.text}"


def _settings() -> dict[str, tuple[str, str]]:
    settings = {}
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        variable = str(alias.choices[0]) if alias else f"CHECKOUT_{name.upper()}"  # type: ignore[union-attr]
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        if isinstance(default, bool):
            default = str(default).lower()
        text = {None: "none", "": "empty"}.get(default, default)
        text = f"{text:g}" if isinstance(text, float) else str(text)
        settings[variable] = (text if text in {"none", "empty"} else f"`{text}`", field.description or "")
    return settings


def test_the_curls_get_the_answers_that_the_readme_shows(sqlite_url: str, tmp_path: Path) -> None:
    """Each line shown stands in the real answer, in that order."""
    examples = _examples()
    assert len(examples) == 2
    env = {"DATABASE_URL": sqlite_url, "SANDBOX_DATABASE": ":memory:"}
    with a_checkout(env, tmp_path / "log") as server:
        for command, lines in examples:
            answer = as_curl_prints_it(command, server.url)
            at = 0
            for line in lines:
                at = answer.find(line, at)
                assert at >= 0, f"not in the answer, or not in that order: {line}\n{answer}"
                at += len(line)


def test_every_setting_stands_in_the_table_with_its_default() -> None:
    """An operator finds each variable in the README, and nothing that isn't one."""
    table = README.partition("<!-- settings")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))
    assert rows == {variable: default for variable, (default, _) in _settings().items()}


def test_every_setting_says_what_it_means() -> None:
    """The table's words are the setting's own."""
    for variable, (_, description) in _settings().items():
        assert description, f"{variable} has no description"
        assert f"| {description} |" in README, f"the README describes {variable} otherwise"


def test_the_links_lead_somewhere() -> None:
    """Every file that the README names is there."""
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
