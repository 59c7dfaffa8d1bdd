"""The page on DATABASE_URL: its URLs and parameters are accepted, and every accepted parameter is on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.settings import libpq_parameters
from app.settings.database_url import DatabaseUrlError
from app.settings.database_url_parser import parse_database_url

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
def test_each_url_on_the_page_is_accepted(url: str) -> None:
    parse_database_url(url)


@pytest.mark.parametrize("name", NAMES)
def test_each_parameter_on_the_page_is_accepted(name: str) -> None:
    parse_database_url(f"postgresql://u:p@h/d?{name}={VALUES.get(name, '0')}")


def test_every_parameter_without_effect_is_on_the_page() -> None:
    assert set(libpq_parameters._CHANGES_NOTHING) | set(libpq_parameters._DRIVERS) <= set(NAMES)


def test_any_other_parameter_is_refused_with_its_name() -> None:
    with pytest.raises(DatabaseUrlError, match="pgbouncer"):
        parse_database_url("postgresql://u:p@h/d?pgbouncer=true")
