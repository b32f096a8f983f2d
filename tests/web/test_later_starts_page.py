"""The page and the button by which a run that begins later begins at another time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask

from tests.web.shop import Reminder, mesh_of
from tests.web.visiting import Visitor

HOUR = timedelta(hours=1)


def scheduled(app: Flask) -> str:
    with app.app_context():
        return mesh_of(app).start_run(Reminder, {"order_id": "7"}, at=HOUR).id


@pytest.mark.rule("reschedule")
def test_a_run_that_begins_later_is_shown_so_and_can_begin_at_another_time(app: Flask, visitor: Visitor) -> None:
    run_id = scheduled(app)
    page = visitor.get(f"/runs/{run_id}").text
    assert "Scheduled" in page
    assert "It begins at" in page
    assert f"/runs/{run_id}/reschedule" in page
    assert "begins in" in visitor.read("/runs?status=scheduled")
    asked = visitor.get(f"/runs/{run_id}/reschedule").text
    assert 'type="datetime-local"' in asked
    answer = visitor.send(f"/runs/{run_id}/reschedule", at="2099-03-01T09:30")
    assert answer.status_code == 303
    with app.app_context():
        due = mesh_of(app).inspect_run(run_id).due_at
    assert due is not None
    assert due.isoformat() == "2099-03-01T09:30:00+00:00"


@pytest.mark.rule("reschedule")
@pytest.mark.parametrize("at", ["", "soon", "2001-01-01T00:00"])
def test_what_is_no_time_is_asked_for_again(app: Flask, visitor: Visitor, at: str) -> None:
    run_id = scheduled(app)
    answer = visitor.send(f"/runs/{run_id}/reschedule", at=at)
    assert answer.status_code == 422
    assert "at-problem" in answer.text
