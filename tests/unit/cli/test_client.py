"""What is wrong with CHECKOUT_URL and CHECKOUT_API_KEY, in a sentence that names the one that is wrong."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from app.cli import app

GOOD = "ck_k3v9x2ab_" + "s" * 43


def run(**env: str) -> tuple[int, str]:
    nowhere = {"CHECKOUT_URL": "http://127.0.0.1:9", "CHECKOUT_API_KEY": ""}
    result = CliRunner().invoke(app, ["sagas", "list"], env=nowhere | env)
    assert result.stdout == ""
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        (GOOD.replace("_", "\u2013", 1), "U+2013 EN DASH at character 3"),
        (GOOD + "\n", "a line end at character 56"),
        (GOOD + "\r\n", "a line end at character 56"),
        (" " + GOOD, "white space at character 1"),
        (GOOD + "\u200b", "U+200B ZERO WIDTH SPACE at character 56"),
        (GOOD + "\udcff", "U+DCFF at character 56"),
        (GOOD + "\x1b", "U+001B at character 56"),
    ],
)
def test_a_key_that_was_pasted_badly_is_named_and_never_shown(key: str, fault: str) -> None:
    code, words = run(CHECKOUT_API_KEY=key)
    assert code == 2
    assert words == f"CHECKOUT_API_KEY has {fault}, which no key has: set it to the key alone.\n"
    assert "sss" not in words


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "ftp://x",
        "http://",
        "http://x:99999",
        "http://x\n",
        "http://a b",
        "http://exa\u2013mple",
        "x",
    ],
)
def test_an_address_that_is_none_is_named(url: str) -> None:
    code, words = run(CHECKOUT_URL=url)
    assert (code, words.count("\n")) == (2, 1)
    assert words.startswith("CHECKOUT_URL isn't the address of a service")


def test_an_empty_address_is_as_none() -> None:
    """The default is asked then, where nothing may listen or something may."""
    code, words = run(CHECKOUT_URL="", CHECKOUT_API_KEY=GOOD + "\n")
    assert (code, "CHECKOUT_API_KEY" in words) == (2, True)


def test_a_service_that_is_not_there_is_another_matter() -> None:
    assert run() == (3, "The service was not reached (ConnectError): is CHECKOUT_URL right?\n")
