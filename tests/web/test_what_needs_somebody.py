"""What stands under *Needs you* of what people are asked and of what went wrong, and what no row says twice."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_squidmesh import FailStep, Manual, Step, Workflow
from flask_squidmesh.storage.tables import dispatches, runs
from tests.web.shop import Checkout, Import, Labels, Order, Packing, Payout, advance, make_app, mesh_of, start
from tests.web.visiting import Visitor, text_of

PROBLEMS = "/?tab=problems"


class Undoing(Workflow):
    """Fail, and fail to undo what was done."""

    subject = "Undoing {order_id}"
    begin = Manual(Order)
    hold = Step(lambda: None, compensate=lambda: _fail("the warehouse is closed"))
    take = Step(lambda: _fail("no money"))
    flow = [hold >> take]


def _fail(why: str) -> None:
    raise FailStep(why)


@pytest.fixture
def everywhere(migrated_url: str) -> Visitor:
    """On SQLite and on PostgreSQL."""
    return Visitor(make_app(migrated_url))


def rows(page: str) -> list[str]:
    """The text of each row, in order."""
    return [text_of(row) for row in re.findall(r'<li class="task.*?</li>\s*(?=<li class="task|</ol>)', page, re.DOTALL)]


def unstarted(app: Flask, order_id: str = "1") -> str:
    """A run whose first step nobody has taken."""
    with app.app_context():
        return mesh_of(app).start_run(Labels, {"order_id": order_id}).id


def change(app: Flask, run_id: str, **columns: Any) -> None:
    """Write into the dispatches of the run."""
    with app.app_context(), app.extensions["squidmesh"].database.write() as connection:
        connection.execute(sa.update(dispatches).where(dispatches.c.run_id == run_id).values(**columns))


def test_nothing_stands_there_where_nothing_needs_anybody(everywhere: Visitor) -> None:
    run_id = start(everywhere.app, Labels, "1")
    with everywhere.app.app_context():
        mesh_of(everywhere.app).acknowledge_run(run_id, actor="lee")
    for path in ("/", PROBLEMS):
        page = everywhere.get(path).text
        assert rows(page) == []
        assert "<title>(" not in page


def test_each_open_decision_of_a_run_is_a_row_with_its_own_buttons(everywhere: Visitor) -> None:
    run_id = start(everywhere.app, Import, "1")
    customs, quality = sorted(rows(everywhere.get("/").text), key=lambda row: "sound" in row)
    assert "Are the papers of 1 complete?" in customs
    assert "Is 1 sound?" in quality
    with everywhere.app.app_context():
        mesh_of(everywhere.app).approve_run(run_id, step="customs", actor="lee")
    [left] = rows(everywhere.get("/").text)
    assert "Is 1 sound?" in left


def test_what_a_decision_leads_to_is_said_with_its_danger(everywhere: Visitor) -> None:
    start(everywhere.app, Checkout, "1")
    [row] = rows(everywhere.get("/").text)
    assert "Capture 120 EUR for order 1?" in row
    assert "cannot be undone" in row
    assert "Approve…" in row
    assert "Reject…" in row


def test_a_run_of_a_workflow_that_is_not_known_any_more_stands_there_without_buttons(migrated_url: str) -> None:
    before, after = Visitor(make_app(migrated_url)), Visitor(make_app(migrated_url))
    run_id = start(before.app, Packing, "1")
    with after.app.app_context(), after.app.extensions["squidmesh"].database.write() as connection:
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(workflow="gone"))
    [row] = rows(after.get("/").text)
    assert "Is parcel 1 sealed?" in row
    assert "Resume" not in row


@pytest.mark.rule("errors-fingerprint")
def test_runs_that_failed_the_same_way_are_one_row_and_count_one_by_one(everywhere: Visitor) -> None:
    for _ in range(3):
        start(everywhere.app, Labels, "same")
    start(everywhere.app, Labels, "other")
    page = everywhere.get(PROBLEMS).text
    group, alone = rows(page)
    assert "3 runs" in group
    assert "the label printer of same is out of paper" in group
    assert "Label other" in alone
    assert "<title>(4)" in page


def test_what_could_not_be_undone_is_said_with_the_error_of_undoing(everywhere: Visitor) -> None:
    mesh_of(everywhere.app).register(Undoing)
    start(everywhere.app, Undoing, "1")
    [row] = rows(everywhere.get(PROBLEMS).text)
    assert "hold could not be undone: the warehouse is closed" in row
    assert "no money" not in row
    assert "Try again to undo…" in row


@pytest.mark.parametrize(
    ("work", "said"),
    [
        ({}, "No worker has taken label"),
        ({"hand_over_error": "broker is down"}, "could not be handed over: broker is down"),
        ({"held": "unknown step"}, "label"),
        ({"claim_id": "00000000-0000-4000-8000-000000000000", "claimed_by": "w"}, "label"),
    ],
)
def test_work_that_nobody_takes_is_told_with_the_reason(everywhere: Visitor, work: dict[str, Any], said: str) -> None:
    run_id = unstarted(everywhere.app)
    if work:
        change(everywhere.app, run_id, **work)
    advance(everywhere.app, timedelta(minutes=10))
    [row] = rows(everywhere.get(PROBLEMS).text)
    assert "Stuck" in row
    assert said in row


def test_a_run_that_waits_for_a_decision_is_not_told_of_as_stuck_too(everywhere: Visitor) -> None:
    run_id = unstarted(everywhere.app)
    with everywhere.app.app_context(), everywhere.app.extensions["squidmesh"].database.write() as connection:
        values = {"needs": "decision", "needs_since": everywhere.app.extensions["squidmesh"].clock.now()}
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(**values))
    advance(everywhere.app, timedelta(minutes=10))
    assert rows(everywhere.get(PROBLEMS).text) == []


def test_one_state_alone_is_listed_and_all_of_them_are_counted(everywhere: Visitor) -> None:
    start(everywhere.app, Labels, "failed")
    start(everywhere.app, Payout, "stands")
    unstarted(everywhere.app, "late")
    advance(everywhere.app, timedelta(minutes=10))
    titles = {"failed": "Label failed", "stuck": "Label late"}
    for word, title in titles.items():
        page = everywhere.get(f"{PROBLEMS}&word={word}").text
        assert title in text_of(page)
        assert [other for other in titles.values() if other in "".join(rows(page))] == [title]
        assert "<title>(3)" in page


def test_the_oldest_of_all_kinds_comes_first(everywhere: Visitor) -> None:
    start(everywhere.app, Labels, "first")
    advance(everywhere.app, timedelta(minutes=1))
    unstarted(everywhere.app, "second")
    advance(everywhere.app, timedelta(minutes=1))
    start(everywhere.app, Payout, "third")
    advance(everywhere.app, timedelta(minutes=10))
    found = rows(everywhere.get(PROBLEMS).text)
    assert [next(word for word in ("first", "second", "third") if word in row) for row in found] == [
        "first",
        "second",
        "third",
    ]
