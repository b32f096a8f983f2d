"""What follows from one thing that happened, as rows to write."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from pydantic import BaseModel

from flask_squidmesh import Approval, Fixed, Manual, Pause, Retry, Step, Wait, Workflow
from flask_squidmesh.definition.spec import WorkflowSpec
from flask_squidmesh.engine.decide import Progress
from flask_squidmesh.engine.facts import (
    Changes,
    Decider,
    DecisionContext,
    Failure,
    Performed,
    RowsToRead,
    RunFact,
    StepFact,
    settings_of,
)
from flask_squidmesh.engine.transitions import RUN_MOVES, RunStatus
from tests.unit.engine.facts import run, visit

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
DONE = Performed(number=1, worker="w-1", started_at=NOW - timedelta(seconds=2), input={"x": 1})
LEE = Decider(actor="lee", comment="fine")
ERROR = {"type": "OSError", "message": "no", "retryable": True}


def work() -> None:
    """Some step."""


class Line(Workflow):
    place = Manual()
    a = Step(work, compensate=work)
    settle = Wait(60)
    review = Approval("Good?", output="review", within=3600)
    b = Step(work, retry=Retry(2, backoff=Fixed(5)))
    hold = Pause("Look")
    stop = Step(work)
    flow = [a >> settle >> review >> b >> hold, review.on_reject >> stop, b.on_error(recovery="undo") >> stop]


class Graph(Workflow):
    place = Manual()
    a = Step(work, after=[])
    b = Step(work, after=[])
    c = Step(work, after=[a])
    d = Step(work, after=[a, b])


class Number(BaseModel):
    x: int


class Fork(Workflow):
    place = Manual(Number)
    a = Step(work, compensate=work)
    b = Step(work)
    flow = [a.when("x", equals=1) >> b]


LINE: WorkflowSpec = Line.__squidmesh__
GRAPH: WorkflowSpec = Graph.__squidmesh__
FORK: WorkflowSpec = Fork.__squidmesh__


def progress(spec: WorkflowSpec, of: RunFact, **around: Any) -> Progress:
    numbers = count(1)
    return Progress(spec, of, now=NOW, new_id=lambda: f"new-{next(numbers)}", around=DecisionContext(**around))


def entered(changes: Changes) -> list[tuple[str, int, str]]:
    return [(row.step, row.missing, row.status) for row in changes.entered]


def settings(step: str, spec: WorkflowSpec = LINE) -> dict[str, Any]:
    return settings_of(spec.steps[step])


@pytest.mark.rule("starting-status")
def test_a_new_run_enters_its_first_step_and_stays_pending() -> None:
    deciding = progress(LINE, run(status="pending"))
    deciding.begin()
    assert entered(deciding.changes) == [("a", 0, "pending")]
    assert (deciding.status, deciding.changes.run["open_steps"]) == ("pending", 1)
    assert deciding.changes.run["current_step"] == "a"


@pytest.mark.rule("depending-start")
def test_a_new_dependency_run_enters_all_roots() -> None:
    deciding = progress(GRAPH, run(status="pending"))
    deciding.begin()
    assert entered(deciding.changes) == [("a", 0, "pending"), ("b", 0, "pending")]
    assert (deciding.changes.run["remaining"], deciding.changes.run["open_steps"]) == (4, 2)
    assert "current_step" not in deciding.changes.run


def test_a_completed_step_is_followed_by_the_next() -> None:
    deciding = progress(LINE, run(open_steps=1, position=3))
    deciding.complete(visit("a", settings=settings("a")), {"out": 1}, DONE)
    changes = deciding.changes
    [row] = changes.entered
    assert (row.step, row.sees, row.due_at) == ("settle", 4, NOW + timedelta(seconds=60))
    assert changes.updated["id-a"]["position"] == changes.run["position"] == 4
    assert changes.updated["id-a"]["output"] == {"out": 1}
    assert changes.ended == ["id-a"]
    [attempt] = changes.attempts
    assert (attempt.status, attempt.worker, attempt.number) == ("completed", "w-1", 1)
    assert (deciding.status, changes.run["open_steps"]) == ("running", 1)


@pytest.mark.rule("completing")
def test_the_last_step_completes_the_run() -> None:
    deciding = progress(LINE, run(open_steps=1))
    deciding.complete(visit("stop", settings=settings("stop")), {}, DONE)
    assert (deciding.status, deciding.changes.run["finished_at"], deciding.changes.entered) == ("completed", NOW, [])


@pytest.mark.rule("decision-pauses")
def test_an_approval_stops_the_run_and_asks() -> None:
    deciding = progress(LINE, run(open_steps=1))
    deciding.complete(visit("settle", settings=settings("settle")), {}, DONE)
    [row] = deciding.changes.entered
    assert (row.status, row.delivered, row.decide_by) == ("paused", False, NOW + timedelta(hours=1))
    changed = deciding.changes.run
    assert (deciding.status, changed["needs"], changed["needs_count"]) == ("paused", "decision", 1)
    assert (changed["needs_due_at"], changed["needs_since"]) == (NOW + timedelta(hours=1), NOW)
    assert [event.type for event in deciding.changes.audit] == ["paused"]


@pytest.mark.parametrize(("event", "target"), [("approved", "b"), ("rejected", "stop")])
def test_a_decision_goes_where_it_was_stored_to_go(event: str, target: str) -> None:
    decision = {"kind": "approval", "ok": "b", "error": "stop", "output": "review"}
    waiting = visit("review", status="paused", decision=decision, attempts=0, settings=settings("review"))
    deciding = progress(LINE, run(status="paused", needs="decision", needs_count=1))
    deciding.decide(waiting, event, LEE)
    assert entered(deciding.changes) == [(target, 0, "pending")]
    assert deciding.changes.updated["id-review"]["output"]["review"]["decision"] == event
    assert (deciding.status, deciding.changes.run["needs"], deciding.changes.run["needs_count"]) == ("running", None, 0)


@pytest.mark.rule("decision-pause-last")
def test_a_pause_at_the_end_completes_the_run() -> None:
    waiting = visit("hold", status="paused", decision={"kind": "pause", "ok": None}, settings=settings("hold"))
    deciding = progress(LINE, run(status="paused", needs="resume", needs_count=1))
    deciding.decide(waiting, "resumed", Decider(actor=None))
    assert (deciding.status, deciding.changes.run["needs"]) == ("completed", None)


def test_a_failure_is_retried_later() -> None:
    deciding = progress(LINE, run(open_steps=1))
    deciding.fail(visit("b", settings=settings("b")), Failure(error=ERROR), DONE)
    assert deciding.changes.released == {"id-b": NOW + timedelta(seconds=5)}
    assert (deciding.status, deciding.changes.run["retrying_steps"]) == ("retrying", 1)
    assert (deciding.changes.run["due_at"], deciding.changes.run["error"]) == (NOW + timedelta(seconds=5), ERROR)


@pytest.mark.rule("error-route")
def test_the_last_failure_takes_the_error_route() -> None:
    deciding = progress(LINE, run(open_steps=1, error=ERROR))
    deciding.fail(visit("b", attempts=2, settings=settings("b")), Failure(error=ERROR), DONE)
    [row] = deciding.changes.entered
    assert (row.step, row.failure) == ("stop", ERROR)
    assert deciding.changes.updated["id-b"]["recovery"] == "undo"
    assert [(event.type, event.metadata) for event in deciding.changes.audit] == [("undo_routed", {"target": "stop"})]
    assert (deciding.status, deciding.changes.run["error"]) == ("running", None)


@pytest.mark.rule("failing")
def test_without_a_route_the_run_fails_and_what_was_done_is_undone() -> None:
    deciding = progress(LINE, run(open_steps=1))
    deciding.fail(visit("a", settings=settings("a")), Failure(error=ERROR, final=True), DONE)
    assert (deciding.status, deciding.reads) == ("failed", ("open", "completed"))
    assert (deciding.changes.run["needs"], deciding.changes.run["open_steps"]) == ("failed", 0)
    done = [
        visit("a", status="completed", position=number, settings=settings("a"), id=f"done-{number}", visit=number)
        for number in (1, 2)
    ]
    rest = deciding.halt({"open": [], "completed": done})
    assert [(row.step, row.visit, row.delivered) for row in rest.changes.entered] == [("a", 2, True), ("a", 1, False)]
    assert {row.kind for row in rest.changes.entered} == {"compensation"}
    assert [row.failure for row in rest.changes.entered] == [ERROR, ERROR]
    assert (rest.changes.run["compensation"], rest.run.revision) == ("running", 1)
    assert (deciding.changes.entered, rest.reads) == ([], ())


def test_a_failure_stops_the_others_but_what_executes_and_what_was_interrupted() -> None:
    rows = [
        visit("b", status="pending", attempts=0),
        visit("c", status="running"),
        visit("d", status="paused", decision={"kind": "interrupted"}),
    ]
    deciding = progress(GRAPH, run(open_steps=3, needs="interrupted", needs_count=1))
    deciding.fail(visit("a", settings=settings("a", GRAPH)), Failure(error=ERROR, final=True), DONE)
    rest = deciding.halt({"open": rows, "completed": []})
    assert {row: columns["status"] for row, columns in rest.changes.updated.items()} == {"id-b": "cancelled"}
    assert rest.changes.ended == ["id-b"]
    needs = {name: rest.changes.run[name] for name in ("needs", "needs_count", "open_steps")}
    assert needs == {"needs": "failed", "needs_count": 2, "open_steps": 1}
    assert "compensation" not in rest.changes.run


@pytest.mark.parametrize(
    ("compensation", "reads", "planned"), [(None, ("open",), []), ("requested", ("open", "completed"), ["a"])]
)
def test_what_was_cancelled_is_undone_where_that_was_asked_for(
    compensation: str | None, reads: Sequence[RowsToRead], planned: list[str]
) -> None:
    deciding = progress(LINE, run(status="cancelling", open_steps=1, compensation=compensation))
    deciding.fail(visit("b", settings=settings("b")), Failure(error=ERROR), DONE)
    assert (deciding.status, deciding.reads) == ("cancelled", reads)
    done = [visit("a", status="completed", position=1, settings=settings("a"))]
    rest = deciding.halt({rows: done if rows == "completed" else [] for rows in reads})
    assert [row.step for row in rest.changes.entered] == planned


def test_what_asked_for_compensation_and_has_nothing_to_undo_is_done_with_it() -> None:
    deciding = progress(LINE, run(status="cancelling", open_steps=1, compensation="requested"))
    deciding.fail(visit("b", settings=settings("b")), Failure(error=ERROR), DONE)
    assert deciding.halt({"open": [], "completed": []}).changes.run["compensation"] is None


def test_a_step_that_no_condition_leads_on_from_is_undone_with_what_it_returned() -> None:
    deciding = progress(FORK, run(open_steps=1, position=3), state={"x": 2})
    deciding.complete(visit("a", settings=settings("a", FORK)), {"x": 2}, DONE)
    assert (deciding.status, deciding.changes.run["error"]["code"]) == ("failed", "no_matching_transition")
    done = [visit("a", status="completed", position=4, settings=settings("a", FORK))]
    [row] = deciding.halt({"open": [], "completed": done}).changes.entered
    assert row.sees == 4


def test_a_failure_needs_a_person_from_now_on_whatever_was_open_before() -> None:
    before = NOW - timedelta(days=1)
    deciding = progress(
        GRAPH, run(open_steps=1, needs="decision", needs_count=2, needs_since=before, needs_due_at=before)
    )
    deciding.fail(visit("a", settings=settings("a", GRAPH)), Failure(error=ERROR), DONE)
    needs = {name: deciding.changes.run[name] for name in ("needs", "needs_count", "needs_since", "needs_due_at")}
    assert needs == {"needs": "failed", "needs_count": 1, "needs_since": NOW, "needs_due_at": None}


def test_compensations_follow_each_other_and_one_that_fails_stops_none() -> None:
    first = visit("a", kind="compensation", id="c-1", settings={"order": 0, "kind": "compensation"})
    second = visit("b", kind="compensation", id="c-2", status="pending", attempts=0, settings={"order": 1})
    deciding = progress(
        LINE, run(status="failed", compensation="running", needs="failed"), compensations=[first, second]
    )
    deciding.fail(first, Failure(error=ERROR), DONE)
    assert [row.step_run_id for row in deciding.changes.dispatched] == ["c-2"]
    failed = visit("a", kind="compensation", id="c-1", status="failed", settings={"order": 0})
    deciding = progress(
        LINE, run(status="failed", compensation="running", needs="failed"), compensations=[failed, second]
    )
    deciding.complete(second._replace(status="running"), {}, DONE)
    assert (deciding.changes.run["compensation"], deciding.changes.run["needs"]) == ("failed", "compensation_failed")


@pytest.mark.rule("depending-join")
@pytest.mark.parametrize(
    ("missing", "opened", "left"),
    [(None, False, 1), (2, False, 1), (1, True, 0)],
)
def test_a_join_counts_down(missing: int | None, opened: bool, left: int) -> None:
    join = {"d": visit("d", status="pending", attempts=0, missing=missing)} if missing else {}
    deciding = progress(GRAPH, run(open_steps=2, remaining=3), joins=join)
    deciding.complete(visit("b", settings=settings("b", GRAPH)), {}, DONE)
    assert bool(deciding.changes.dispatched) == opened
    assert deciding.changes.run["open_steps"] == (2 if opened else 1)
    if missing:
        assert deciding.changes.updated["id-d"]["missing"] == left
    else:
        assert entered(deciding.changes) == [("d", 1, "pending")]
        assert deciding.changes.entered[0].delivered is False


@pytest.mark.rule("completing")
def test_a_dependency_run_completes_when_nothing_is_left() -> None:
    deciding = progress(GRAPH, run(open_steps=1, remaining=1))
    deciding.complete(visit("d", settings=settings("d", GRAPH)), {}, DONE)
    assert (deciding.status, deciding.changes.run["remaining"]) == ("completed", 0)


@pytest.mark.rule("cancelling-siblings")
def test_a_sibling_that_ends_while_the_run_is_cancelling_leads_nowhere() -> None:
    deciding = progress(GRAPH, run(status="cancelling", open_steps=2, remaining=4))
    deciding.complete(visit("a", settings=settings("a", GRAPH)), {"a": 1}, DONE)
    assert (deciding.status, deciding.changes.entered) == ("cancelling", [])
    deciding = progress(GRAPH, run(status="cancelling", open_steps=1, remaining=4))
    deciding.fail(visit("a", settings=settings("a", GRAPH)), Failure(error=ERROR), DONE)
    assert (deciding.status, deciding.reads) == ("cancelled", ("open",))


def test_cancelling_stops_what_is_not_executing() -> None:
    rows = [
        visit("a"),
        visit("b", status="pending", attempts=0),
        visit("c", status="pending", attempts=1, due_at=NOW),
        visit("d", status="pending", attempts=0, missing=1),
    ]
    deciding = progress(GRAPH, run(open_steps=3, retrying_steps=1))
    deciding.cancel(LEE, rows, compensate=False)
    assert sorted(deciding.changes.ended) == ["id-b", "id-c", "id-d"]
    assert (deciding.status, deciding.changes.run["open_steps"]) == ("cancelling", 1)
    assert deciding.changes.run["retrying_steps"] == 0
    assert RUN_MOVES["running"] >= {deciding.status}


@pytest.mark.parametrize(
    ("settings", "abandoned", "again", "status"),
    [
        ({}, 0, True, "running"),
        ({}, 2, False, "paused"),
        ({"irreversible": True}, 0, False, "paused"),
    ],
)
def test_a_lost_attempt(settings: dict[str, Any], abandoned: int, again: bool, status: str) -> None:
    deciding = progress(LINE, run(open_steps=1))
    lost = visit("a", abandoned=abandoned, settings=settings)
    assert deciding.abandon(lost, DONE, most=3) is again
    assert [attempt.status for attempt in deciding.changes.attempts] == ["abandoned"]
    assert deciding.status == status
    assert deciding.changes.audit[0].type == "abandoned"


@pytest.mark.rule("loops-bounded")
def test_visits_are_counted_and_bounded() -> None:
    decision = {"kind": "approval", "ok": "b", "error": "stop"}
    waiting = visit("review", status="paused", decision=decision, settings=settings("review"))
    deciding = progress(LINE, run(status="paused", needs="decision", needs_count=1), visits={"b": 4})
    deciding.decide(waiting, "approved", LEE)
    assert deciding.changes.entered[0].visit == 5
    deciding = progress(LINE, run(status="paused", needs="decision", needs_count=1), visits={"b": 100})
    deciding.decide(waiting, "approved", LEE)
    assert (deciding.status, deciding.changes.run["error"]["code"]) == ("failed", "max_visits")


@pytest.mark.parametrize("status", ["cancelling", "cancelled", "failed"])
@pytest.mark.parametrize(
    "ended",
    [
        visit("b", status="failed", settings=settings("b")),
        visit("stop", status="failed", settings=settings("stop")),
        visit("review", status="completed", decision={"kind": "approval", "ok": "b", "answered": "approved"}),
        visit("hold", status="completed", decision={"kind": "pause", "ok": None, "answered": "resumed"}),
        visit("b", status="completed", settings=settings("b")),
    ],
)
def test_nothing_follows_from_what_was_left_to_others_once_the_run_stops(status: RunStatus, ended: StepFact) -> None:
    deciding = progress(LINE, run(status=status, open_steps=1))
    deciding.follow(ended, ERROR)
    assert (deciding.status, deciding.changes.entered) == (status, [])
    assert deciding.changes.ended == [ended.id]
