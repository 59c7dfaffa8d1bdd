"""Settings that can't be used: a line for each, with the variable, the fault and an example, and never the value."""

from __future__ import annotations

import re

import pytest

from app.settings.deprecated import DEPRECATED, deprecated_variables
from app.settings.environment import SettingsError, read_settings, unknown_variables, variable
from app.settings.settings import Settings

SECRET = "sEcr3t"
VARIABLES = [variable(name) for name in Settings.model_fields]


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, *DEPRECATED):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("value", ["", " ", "\r", "\t\n"])
def test_every_variable_that_is_set_but_empty_counts_as_unset(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As compose files and charts pass on what nobody set."""
    unset = read_settings()
    for name in VARIABLES:
        monkeypatch.setenv(name, value)
    assert read_settings() == unset


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHECKOUT_STEP_TIMEOUT_SECONDS", "7\r"),
        ("CHECKOUT_MAX_ITEMS", " 7 "),
        ("CHECKOUT_ALLOW_UNAUTHENTICATED", "true\n"),
        ("CHECKOUT_PAYMENT_TOKEN", "abc\n"),
        ("PAYMENT_URL", "http://payments:9001\r\n"),
        ("SANDBOX_DATABASE", "books.db\r"),
        ("DATABASE_URL", "sqlite:///./x.db\r"),
    ],
)
def test_line_ends_and_blanks_around_a_value_do_not_count(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a secret's file, or an env file from Windows, has them."""
    monkeypatch.setenv(name, value.strip())
    clean = read_settings()
    monkeypatch.setenv(name, value)
    assert read_settings() == clean


@pytest.mark.parametrize("name", [one for one in VARIABLES if one != "OTEL_SDK_DISABLED"])
def test_a_value_that_cannot_be_used_is_told_in_one_line_without_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the setting is; a text takes this value, and is tried with a worse one below."""
    monkeypatch.setenv(name, SECRET)
    try:
        read_settings()
    except SettingsError as error:
        (line,) = error.lines
        assert name in line
        assert SECRET not in line
        assert re.search(r"write |Write |must ", line), line
        assert line.endswith(".")
    else:
        assert name in {
            "CHECKOUT_PAYMENT_TOKEN",
            "CHECKOUT_INVENTORY_TOKEN",
            "CHECKOUT_SHIPPING_TOKEN",
            "SANDBOX_DATABASE",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        }


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (
            "CHECKOUT_STEP_TIMEOUT_SECONDS",
            "5s",
            "CHECKOUT_STEP_TIMEOUT_SECONDS isn't a number: write a number above 0 and at most 86400, such as 5.",
        ),
        (
            "CHECKOUT_LEASE_SECONDS",
            "-1",
            "CHECKOUT_LEASE_SECONDS is too small: write a number above 0 and at most 86400, such as 10.",
        ),
        (
            "checkout_max_items",
            "1.5",
            "checkout_max_items isn't a whole number: write a whole number of at least 1 and at most 1000000, such as 100.",
        ),
        ("CHECKOUT_TRACES", "x", "CHECKOUT_TRACES is neither true nor false: write true or false."),
        (
            "CHECKOUT_LOG_LEVEL",
            "loud",
            "CHECKOUT_LOG_LEVEL isn't one of its words: write one of debug, info, warning, error, such as info.",
        ),
        (
            "CHECKOUT_PAYMENT_TOKEN",
            "a b",
            "CHECKOUT_PAYMENT_TOKEN: A bearer token must be visible ASCII characters alone.",
        ),
        (
            "CHECKOUT_RETRY_CAP_SECONDS",
            "0.01",
            "CHECKOUT_RETRY_CAP_SECONDS must be at least CHECKOUT_RETRY_BASE_SECONDS (0.1).",
        ),
    ],
)
def test_the_line_names_the_variable_as_it_was_set(
    name: str, value: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert caught.value.lines == [line]


@pytest.mark.parametrize(
    "url",
    ["payments:9001", "http://", "http://u:p@h", "http://h:99999", "http://h?x", "http://[x", "ftp://h"],
)
def test_a_services_url_is_checked_before_the_first_call(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENT_URL", url)
    with pytest.raises(SettingsError, match=r"^PAYMENT_URL: .*such as http://127.0.0.1:9001\.$"):
        read_settings()


def test_several_wrong_settings_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an operator fixes all of them at once."""
    for name, value in {
        "DATABASE_URL": f"postgresql://u:{SECRET}/x@h/d",
        "CHECKOUT_MAX_ITEMS": "x",
        "PAYMENT_URL": "x",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert [line.partition(" ")[0].rstrip(":") for line in caught.value.lines] == [
        "DATABASE_URL",
        "PAYMENT_URL",
        "CHECKOUT_MAX_ITEMS",
    ]
    assert SECRET not in str(caught.value)


def test_settings_that_do_not_fit_together_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECKOUT_MAX_WAIT_SECONDS", "1")
    monkeypatch.setenv("CHECKOUT_MAX_PAGE_SIZE", "1")
    monkeypatch.setenv("CHECKOUT_WEBHOOKS", SECRET)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert len(caught.value.lines) == 3


def test_a_misspelt_variable_is_told_with_the_one_that_is_meant() -> None:
    given = {"CHECKOUT_STEP_TIMEOUT": "5", "CHECKOUT_XYZ": "1", "SANDBOX_FAILURERATE": "1", "OTHER": "1"}
    assert unknown_variables(given) == [
        "CHECKOUT_STEP_TIMEOUT isn't a setting, so it changes nothing: is CHECKOUT_STEP_TIMEOUT_SECONDS meant?",
        "CHECKOUT_XYZ isn't a setting, so it changes nothing.",
        "SANDBOX_FAILURERATE isn't a setting, so it changes nothing: is SANDBOX_FAILURE_RATE meant?",
    ]


def test_what_kubernetes_adds_for_a_service_named_checkout_is_no_misspelling() -> None:
    given = {
        "CHECKOUT_SERVICE_HOST": "10.0.0.1",
        "CHECKOUT_SERVICE_PORT": "80",
        "CHECKOUT_SERVICE_PORT_HTTP": "80",
        "CHECKOUT_PORT": "tcp://10.0.0.1:80",
        "CHECKOUT_PORT_80_TCP": "tcp://10.0.0.1:80",
        "CHECKOUT_PORT_80_TCP_ADDR": "10.0.0.1",
        "CHECKOUT_API_KEY": "x",
        "CHECKOUT_URL": "http://127.0.0.1:8000",
    }
    assert unknown_variables(given) == []


@pytest.mark.parametrize(("old", "new"), DEPRECATED.items())
def test_a_deprecated_name_is_accepted_with_a_warning(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sets what the new name sets, and is no misspelling."""
    value = "true" if "ALLOW" in old else "7"
    monkeypatch.setenv(new, value)
    renamed = read_settings()
    monkeypatch.delenv(new)
    assert read_settings() != renamed
    monkeypatch.setenv(old, value)
    assert read_settings() == renamed
    given = {old: value, new: value}
    assert unknown_variables(given) == []
    (warning,) = deprecated_variables(given)
    assert old in warning
    assert new in warning


def test_the_old_and_the_new_name_with_the_same_value_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a deployment that runs both releases sets them."""
    monkeypatch.setenv("CHECKOUT_WEBHOOK_PAUSES", "5,6")
    monkeypatch.setenv("CHECKOUT_WEBHOOK_RETRY_DELAYS", "5,6")
    assert read_settings().webhook_retry_delays == "5,6"


def test_the_old_and_the_new_name_with_different_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sentence that names both, beside the other faults."""
    monkeypatch.setenv("CHECKOUT_WEBHOOK_PAUSES", "5,6")
    monkeypatch.setenv("CHECKOUT_WEBHOOK_RETRY_DELAYS", "7,8")
    monkeypatch.setenv("CHECKOUT_MAX_ITEMS", "x")
    with pytest.raises(SettingsError) as caught:
        read_settings()
    first, second = caught.value.lines
    assert first == (
        "CHECKOUT_WEBHOOK_PAUSES and CHECKOUT_WEBHOOK_RETRY_DELAYS are the same setting, and have different values: "
        "set CHECKOUT_WEBHOOK_RETRY_DELAYS alone."
    )
    assert "CHECKOUT_MAX_ITEMS" in second


def test_a_fault_names_the_deprecated_variable_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECKOUT_STORAGE_PATIENCE_SECONDS", "x")
    with pytest.raises(SettingsError, match=r"^CHECKOUT_STORAGE_PATIENCE_SECONDS isn't a number"):
        read_settings()
