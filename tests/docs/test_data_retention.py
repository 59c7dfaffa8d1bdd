"""The page "Data retention" agrees with the code."""

from __future__ import annotations

import re
import shlex

import pytest
from typer.testing import CliRunner

from app.checkout.redaction import CHECKOUT_REDACTION
from app.cli import app
from app.settings.groups.retention import MIN_KEEP_SAGAS_DAYS
from app.settings.settings import Settings
from app.storage.retention import redaction
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "how-to" / "data-retention.md").read_text()


def test_the_page_names_the_settings_with_their_defaults() -> None:
    settings = Settings()
    for words in (
        f"`CHECKOUT_KEEP_DATA_DAYS` ({settings.keep_data_days})",
        f"`CHECKOUT_KEEP_SAGAS_DAYS` ({settings.keep_sagas_days}: never)",
        f"`CHECKOUT_RETENTION_BATCH` ({settings.retention_batch})",
        f"`CHECKOUT_RETENTION_PAUSE_SECONDS` ({settings.retention_pause_seconds:g})",
        f"at least {MIN_KEEP_SAGAS_DAYS} ",
    ):
        assert words in PAGE


def test_the_page_names_what_is_kept_of_a_result() -> None:
    (line,) = re.findall(r"^\| (.*) of a step's result \|", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", line)) == set(CHECKOUT_REDACTION.kept_results)
    assert f"`{redaction.REMOVED}`" in PAGE


@pytest.mark.parametrize("line", re.findall(r"^python -m app (retention [^#\n]*)", PAGE, re.MULTILINE))
def test_the_pages_commands_work(line: str, sqlite_url: str) -> None:
    result = CliRunner().invoke(app, shlex.split(line), env={"DATABASE_URL": sqlite_url})
    assert result.exit_code == 0, result.output
