"""Windows that come after the same time again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_squidmesh import Every, Step, Workflow
from flask_squidmesh.definition.cron import every, interval, last_due, next_due, windows
from flask_squidmesh.errors import DefinitionError

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
SIX_HOURS = every(timedelta(hours=6))


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(seconds=1), "every 1s"),
        (timedelta(minutes=90), "every 1h30m"),
        (timedelta(days=7), "every 7d"),
        (timedelta(days=1, seconds=5), "every 1d5s"),
    ],
)
def test_an_interval_is_an_expression_and_back(length: timedelta, text: str) -> None:
    assert every(length) == text
    assert interval(text) == length


def test_a_cron_expression_is_no_interval() -> None:
    assert interval("0 9 * * *") is None
    assert interval("every ") is None


@pytest.mark.rule("cron-every")
def test_windows_are_counted_from_a_fixed_origin() -> None:
    assert last_due(SIX_HOURS, "UTC", NOON) == NOON
    assert last_due(SIX_HOURS, "UTC", NOON - timedelta(seconds=1)) == NOON - timedelta(hours=6)
    assert next_due(SIX_HOURS, "UTC", NOON) == NOON + timedelta(hours=6)
    assert next_due(SIX_HOURS, "UTC", NOON - timedelta(microseconds=1)) == NOON
    assert last_due(every(timedelta(days=7)), "UTC", NOON) == datetime(2027, 2, 25, tzinfo=UTC)


@pytest.mark.parametrize("expression", ["0 * * * *", every(timedelta(hours=1))])
def test_the_windows_of_a_stretch_are_the_latest_in_order_and_those_before(expression: str) -> None:
    latest, before = windows(expression, "UTC", after=NOON - timedelta(hours=5), until=NOON, most=2)
    assert latest == [NOON - timedelta(hours=1), NOON]
    assert before == [NOON - timedelta(hours=hours) for hours in (4, 3, 2)]
    assert windows(expression, "UTC", after=None, until=NOON, most=2) == ([NOON], [])
    assert windows(expression, "UTC", after=NOON, until=NOON, most=2) == ([], [])


def test_what_is_counted_of_a_long_stretch_is_bounded() -> None:
    latest, before = windows(every(timedelta(seconds=1)), "UTC", after=NOON - timedelta(days=9), until=NOON, most=1)
    assert (len(latest), len(before)) == (1, 1000)


def test_an_interval_longer_than_the_time_since_the_origin_has_no_window_but_that() -> None:
    century = every(timedelta(days=36500))
    assert last_due(century, "UTC", NOON) == datetime(1970, 1, 1, tzinfo=UTC)


def declared(**options: Any) -> type[Workflow]:
    parts: dict[str, Any] = {"often": Every(**options), "work": Step(lambda: None)}
    return type("Often", (Workflow,), parts)


@pytest.mark.parametrize(
    "length",
    [
        timedelta(0),
        -timedelta(hours=1),
        timedelta(milliseconds=900),
        timedelta(seconds=1.5),
        60,
        "1h",
        None,
        timedelta.max,
    ],
)
def test_an_interval_that_cannot_be_is_refused(length: Any) -> None:
    with pytest.raises(DefinitionError, match=r"trigger often: must come every whole second or more.* found "):
        declared(interval=length)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"overlap": "skp"}, "overlap='skp' is unknown; write one of allow, skip, queue, cancel"),
        ({"catch_up": "first"}, "catch_up='first' is unknown; write one of last, all, none"),
        ({"idempotency": "once"}, "idempotency='once' is unknown"),
        ({"overlap": ["skip"]}, r"overlap=\['skip'\] is unknown"),
    ],
)
def test_a_choice_that_is_misspelt_is_refused(options: Any, expected: str) -> None:
    with pytest.raises(DefinitionError, match=f"trigger often: {expected}"):
        declared(interval=timedelta(hours=1), **options)
