"""The page "Run behind PgBouncer" agrees with the code."""

from __future__ import annotations

import re

from app.settings.settings import Settings
from app.storage.engine.database import Database
from app.storage.engine.postgres_session import AT_START
from tests import pgbouncer
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "how-to" / "run-behind-pgbouncer.md").read_text()


def test_the_tests_use_the_pages_configuration() -> None:
    """Transaction mode, prepared statements, and no ignored parameter."""
    tested = pgbouncer._configuration("postgresql://a:b@127.0.0.1:5432/postgres", 6432)
    for name in ("pool_mode", "max_prepared_statements"):
        line = re.search(rf"^{name} = .*$", PAGE, re.MULTILINE)
        assert line is not None
        assert line[0] in tested
    assert "ignore_startup_parameters" not in tested
    assert list(AT_START) == ["application_name"]


def test_the_oldest_version_is_that_of_the_tests() -> None:
    assert f"from version {pgbouncer.OLDEST[0]}.{pgbouncer.OLDEST[1]} on" in PAGE


def test_the_url_and_the_settings_are_valid() -> None:
    url = re.search(r"DATABASE_URL=(\S+)", PAGE)
    assert url is not None
    assert Database(url[1]).is_postgres
    assert {name.lower() for name in re.findall(r"`CHECKOUT_(\w+)`", PAGE)} <= set(Settings.model_fields)


def test_the_command_exists() -> None:
    assert "\npooled: dev ##" in (ROOT / "Makefile").read_text()
