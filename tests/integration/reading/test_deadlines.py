"""How late a decision is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flask_squidmesh.queries.inbox import deadline

SINCE = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.rule("decision-within")
@pytest.mark.parametrize(
    ("minutes", "word"),
    [(0, "on_time"), (44, "on_time"), (45, "due_soon"), (59, "due_soon"), (60, "overdue"), (600, "overdue")],
)
def test_a_decision_is_on_time_then_due_soon_then_overdue(minutes: int, word: str) -> None:
    assert deadline(SINCE, SINCE + timedelta(hours=1), SINCE + timedelta(minutes=minutes)) == word


def test_without_a_deadline_there_is_no_word() -> None:
    assert deadline(SINCE, None, SINCE + timedelta(days=1)) is None
