"""docs/how-to/database-url.md holds: its URLs are taken, and its parameters are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.settings import database_url
from app.settings.database_url import DatabaseUrlError, parse_database_url

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "database-url.md").read_text()
VALUES = {
    "port": "5432",
    "sslmode": "require",
    "channel_binding": "prefer",
    "target_session_attrs": "any",
    "gssencmode": "disable",
    "client_encoding": "utf8",
    "load_balance_hosts": "disable",
    "replication": "off",
    "sslcertmode": "allow",
    "sslsni": "1",
    "connect_timeout": "10",
}
NAMES = [
    name for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
]


@pytest.mark.parametrize("url", re.findall(r"^DATABASE_URL=(.*)$", PAGE, re.MULTILINE))
def test_each_url_shown_is_taken(url: str) -> None:
    parse_database_url(url)


@pytest.mark.parametrize("name", NAMES)
def test_each_parameter_named_is_taken(name: str) -> None:
    parse_database_url(f"postgresql://u:p@h/d?{name}={VALUES.get(name, '0')}")


def test_every_parameter_that_changes_nothing_is_named() -> None:
    assert set(database_url._CHANGES_NOTHING) | set(database_url._DRIVERS) <= set(NAMES)


def test_another_parameter_is_refused_by_its_name() -> None:
    with pytest.raises(DatabaseUrlError, match="pgbouncer"):
        parse_database_url("postgresql://u:p@h/d?pgbouncer=true")
