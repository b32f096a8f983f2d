from __future__ import annotations

from typing import Any

import pytest

from flask_squidmesh import Scope
from flask_squidmesh.errors import FilterError, RunNotFoundError
from flask_squidmesh.queries.audit_log import events
from tests.integration.reading.rows import NOW, Rows


def test_newest_first_over_pages(rows: Rows) -> None:
    run_id = rows.run()
    for number in range(5):
        rows.event(run_id, f"event-{number}")
    seen: list[str] = []
    after = None

    for _ in range(5):
        page = events(rows.connection, Scope.all(), limit=2, after=after)
        seen += [event.type for event in page.events]
        after = page.next
        if after is None:
            break

    assert seen == [f"event-{number}" for number in (4, 3, 2, 1, 0)]


def test_of_one_run_or_of_one_type(rows: Rows) -> None:
    one, other = rows.run(), rows.run()
    rows.event(one, "approved", actor="dana", comment="fine", metadata={"a": 1})
    rows.event(other, "approved")
    rows.event(None, "refused")

    (event,) = events(rows.connection, Scope.all(), run_id=one.upper()).events

    assert (event.run_id, event.actor, event.comment, event.metadata, event.at) == (one, "dana", "fine", {"a": 1}, NOW)
    assert [event.run_id for event in events(rows.connection, Scope.all(), type="approved").events] == [other, one]
    assert events(rows.connection, Scope.all(), type="refused").events[0].run_id is None


@pytest.mark.parametrize("options", [{"limit": 0}, {"after": "x"}, {"after": "-1"}, {"after": "9" * 30}])
def test_what_means_nothing_is_refused(rows: Rows, options: dict[str, Any]) -> None:
    with pytest.raises(FilterError):
        events(rows.connection, Scope.all(), **options)


def test_what_is_no_run_id_is_refused(rows: Rows) -> None:
    with pytest.raises(RunNotFoundError):
        events(rows.connection, Scope.all(), run_id="nonsense")
