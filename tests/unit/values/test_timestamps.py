"""A time is taken where RFC 3339 has it so, and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.api.problems.validation import field_errors
from app.api.routes.keys import NewKey
from app.values.timestamps import instant_of

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
zones = st.integers(-(24 * 60 - 1), 24 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=zones)  # noqa: DTZ001 (hypothesis adds the zone)


@given(times)
def test_every_time_with_a_zone_is_taken(at: datetime) -> None:
    assert instant_of(at.isoformat()) == at


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-23T12:00:00Z", NOON),
        ("2026-11-23t12:00:00z", NOON),
        ("2026-11-23T13:30:00+01:30", NOON),
        ("2026-11-23T12:00:00-00:00", NOON),
        ("2026-11-23T12:00:00.000001Z", NOON + timedelta(microseconds=1)),
        ("2026-11-23T12:00:00.5Z", NOON + timedelta(seconds=0.5)),
        ("2026-11-23T12:00:00.0000000Z", NOON),
        ("2026-11-23T12:00:00.0000001Z", NOON + timedelta(microseconds=1)),
        ("2026-11-23T12:00:00.999999999Z", NOON + timedelta(seconds=1)),
        ("2026-11-23T11:59:60Z", NOON),
        ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_it_is_meant(text: str, at: datetime) -> None:
    assert instant_of(text) == at


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "now",
            "1900000000",
            "2026-11-23",
            "2026-11-23T12:00:00",
            "2026-11-23 12:00:00Z",
            "2026-W48-1T12:00:00Z",
        ),
        *("2026-11-23T24:00:00Z", "2026-11-23T12:60:00Z", "2026-11-23T12:00:61Z", "2026-02-29T12:00:00Z"),
        *("2026-11-23T12:00Z", "2026-11-23T12:00:00,5Z", "2026-11-23T12:00:00.Z", "20261123T120000Z"),
        *("2026-11-23T12:00:00+24:00", "2026-11-23T12:00:00+01:60", "2026-11-23T12:00:00+0100"),
        *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-00:01"),
        *("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:60Z", "2026-11-23T12:00:00Z\n"),
        "２０２６-11-23T12:00:00Z",  # noqa: RUF001
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="That is"):
        instant_of(text)


@pytest.mark.parametrize("value", [1900000000, 1900000000.5, "1900000000", "2030-01-01", True, [], ""])
def test_a_key_ends_at_a_time_and_not_at_what_may_be_one(value: object) -> None:
    """Seconds or milliseconds? A day, but where?"""
    with pytest.raises(ValidationError) as refused:
        NewKey.model_validate({"caller": "a", "who": "b", "scopes": ["read"], "expires_at": value})
    (field_error,) = field_errors(refused.value)
    assert (field_error["pointer"], field_error["code"]) == ("/expires_at", "not_a_time")


@pytest.mark.parametrize("value", [None, "2030-01-01T00:00:00Z", "2030-01-01T01:00:00+01:00"])
def test_a_key_ends_at_any_time_or_never(value: str | None) -> None:
    key = NewKey.model_validate({"caller": "a", "who": "b", "scopes": ["read"], "expires_at": value})
    assert key.expires_at == (datetime(2030, 1, 1, tzinfo=UTC) if value else None)
