"""When cron expressions are due, through changes of the clock too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_squidmesh.definition.cron import check, last_due, next_due, zone

BERLIN = "Europe/Berlin"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.rule("cron-clock-changes")
@pytest.mark.parametrize(
    ("expression", "timezone", "now", "last", "following"),
    [
        ("0 9 * * 1-5", "UTC", "2026-03-06T10:00", "2026-03-06T09:00", "2026-03-09T09:00"),
        ("0 9 * * 1-5", "UTC", "2026-03-06T09:00", "2026-03-06T09:00", "2026-03-09T09:00"),
        ("0 9 * * *", "UTC", "2026-03-06T08:59:59.999999", "2026-03-05T09:00", "2026-03-06T09:00"),
        ("0 9 * * *", "UTC", "2026-03-06T09:00:00.000001", "2026-03-06T09:00", "2026-03-07T09:00"),
        ("0 9 * * *", BERLIN, "2026-03-28T12:00", "2026-03-28T08:00", "2026-03-29T07:00"),
        # The hour from 2 to 3 is left out on 29 March: what is due in it is due at 3.
        ("30 2 * * *", BERLIN, "2026-03-29T00:59", "2026-03-28T01:30", "2026-03-29T01:00"),
        ("30 2 * * *", BERLIN, "2026-03-29T01:00", "2026-03-29T01:00", "2026-03-30T00:30"),
        ("0,30 2 * * *", BERLIN, "2026-03-29T01:05", "2026-03-29T01:00", "2026-03-30T00:00"),
        # The hour from 2 to 3 comes twice on 25 October: what is due in it is due the first time.
        ("30 2 * * *", BERLIN, "2026-10-25T00:29", "2026-10-24T00:30", "2026-10-25T00:30"),
        ("30 2 * * *", BERLIN, "2026-10-25T01:10", "2026-10-25T00:30", "2026-10-26T01:30"),
        ("30 2 * * *", BERLIN, "2026-10-25T01:40", "2026-10-25T00:30", "2026-10-26T01:30"),
        ("0 * * * *", BERLIN, "2026-10-25T00:30", "2026-10-25T00:00", "2026-10-25T01:00"),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00", "2024-02-29T00:00", "2028-02-29T00:00"),
        ("15 1 * * *", "Australia/Lord_Howe", "2026-04-04T15:20", "2026-04-04T14:15", "2026-04-05T14:45"),
    ],
)
def test_due_times(expression: str, timezone: str, now: str, last: str, following: str) -> None:
    assert last_due(expression, timezone, utc(now)) == utc(last)
    assert next_due(expression, timezone, utc(now)) == utc(following)


@pytest.mark.rule("cron-clock-changes")
@given(
    expression=st.sampled_from(["30 2 * * *", "0,30 1-3 * * *", "*/20 * * * *", "0 */2 * * *", "15 3 * * 0"]),
    timezone=st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe"]),
    now=st.datetimes(datetime(2026, 3, 1), datetime(2026, 11, 30), timezones=st.just(UTC)),
)
def test_next_and_last_agree(expression: str, timezone: str, now: datetime) -> None:
    following, last = next_due(expression, timezone, now), last_due(expression, timezone, now)
    assert last is not None
    assert last <= now < following
    assert last_due(expression, timezone, following) == following
    assert next_due(expression, timezone, last) == following
    assert last_due(expression, timezone, following - timedelta(microseconds=1)) == last


def test_due_times_are_utc_whatever_zone_is_asked_in() -> None:
    now = datetime(2026, 3, 6, 10, tzinfo=zone("Asia/Tokyo"))
    assert next_due("0 9 * * *", BERLIN, now) == utc("2026-03-06T08:00")
    assert next_due("0 9 * * *", BERLIN, now).tzinfo is UTC


@pytest.mark.parametrize("expression", ["* * * * *", "0 9 * * MON-FRI", "0 0 L * *", "0 0 1,15 */2 5#1"])
def test_expressions_that_can_be_read(expression: str) -> None:
    assert check(expression) == []


@pytest.mark.parametrize("expression", ["", "* * * *", "* * * * * *", "@daily", "61 * * * *", "0 0 30 2 *", 5, None])
def test_expressions_that_cannot(expression: object) -> None:
    assert len(check(expression)) == 1


@pytest.mark.parametrize("name", ["", "Europe", "Mars/Base", "/etc/passwd", "../UTC", "\0", None, 3])
def test_zones_that_do_not_exist(name: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone"):
        zone(name)
