"""What follows from one thing that happened, as rows to write."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, cast

import pytest
from pydantic import BaseModel

from flask_squidmesh import Approval, Fixed, Manual, Pause, Retry, Step, Wait, Workflow
from flask_squidmesh.definition.spec import VisitSettings, WorkflowSpec
from flask_squidmesh.engine.changes import Changes, RowsToRead
from flask_squidmesh.engine.decide import decide
from flask_squidmesh.engine.error_records import error
from flask_squidmesh.engine.facts import (
    AttemptAbandoned,
    AttemptCompleted,
    AttemptFailed,
    Decider,
    DecisionAnswered,
    DecisionContext,
    DecisionState,
    Fact,
    Failure,
    FollowUpDue,
    Performed,
    RunCancelled,
    RunFact,
    RunStarted,
    StepFact,
)
from flask_squidmesh.engine.kept_decisions import DecisionEvent
from flask_squidmesh.engine.transitions import RUN_MOVES, RunStatus
from tests.unit.engine.facts import run, visit

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
DONE = Performed(number=1, worker="w-1", started_at=NOW - timedelta(seconds=2), input={"x": 1})
LEE = Decider(actor="lee", comment="fine")
ERROR = error("OSError", "no", retryable=True)


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


class Deciding:
    """What was decided about a run, and the status that it has then."""

    def __init__(self, spec: WorkflowSpec, of: RunFact, **context: Any) -> None:
        numbers = count(1)
        self._of = of
        self._state = DecisionState(spec, of, NOW, lambda: f"new-{next(numbers)}", DecisionContext(**context))

    def decide(self, fact: Fact) -> None:
        self._fact = fact
        self.changes = decide(self._state, fact)

    def decide_with(self, **read: Sequence[StepFact]) -> None:
        """Decide again with the rows that were asked for."""
        assert [*read] == [*self.changes.reads]
        context = self._state.context._replace(read=cast("dict[RowsToRead, Sequence[StepFact]]", read))
        self.changes = decide(self._state._replace(context=context), self._fact)
        assert not self.changes.reads

    @property
    def code(self) -> object:
        error = self.changes.run["error"]
        return error and error["code"]

    @property
    def status(self) -> RunStatus:
        return self.changes.run.get("status", self._of.status)


def entered(changes: Changes) -> list[tuple[str, int, str]]:
    return [(row.step, row.missing, row.status) for row in changes.entered]


def settings(step: str, spec: WorkflowSpec = LINE) -> VisitSettings:
    return spec.visit_settings[step]


@pytest.mark.rule("starting-status")
def test_a_new_run_enters_its_first_step_and_stays_pending() -> None:
    deciding = Deciding(LINE, run(status="pending"))
    deciding.decide(RunStarted())
    assert entered(deciding.changes) == [("a", 0, "pending")]
    assert (deciding.status, deciding.changes.run["open_steps"]) == ("pending", 1)
    assert deciding.changes.run["current_step"] == "a"


@pytest.mark.rule("depending-start")
def test_a_new_dependency_run_enters_all_roots() -> None:
    deciding = Deciding(GRAPH, run(status="pending"))
    deciding.decide(RunStarted())
    assert entered(deciding.changes) == [("a", 0, "pending"), ("b", 0, "pending")]
    assert (deciding.changes.run["remaining"], deciding.changes.run["open_steps"]) == (4, 2)
    assert "current_step" not in deciding.changes.run


def test_a_completed_step_is_followed_by_the_next() -> None:
    deciding = Deciding(LINE, run(open_steps=1, position=3))
    deciding.decide(AttemptCompleted(visit("a", settings=settings("a")), {"out": 1}, DONE))
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
    deciding = Deciding(LINE, run(open_steps=1))
    deciding.decide(AttemptCompleted(visit("stop", settings=settings("stop")), {}, DONE))
    assert (deciding.status, deciding.changes.run["finished_at"], deciding.changes.entered) == ("completed", NOW, [])


@pytest.mark.rule("decision-pauses")
def test_an_approval_stops_the_run_and_asks() -> None:
    deciding = Deciding(LINE, run(open_steps=1))
    deciding.decide(AttemptCompleted(visit("settle", settings=settings("settle")), {}, DONE))
    [row] = deciding.changes.entered
    assert (row.status, row.delivered, row.decide_by) == ("paused", False, NOW + timedelta(hours=1))
    changed = deciding.changes.run
    assert (deciding.status, changed["needs"], changed["needs_count"]) == ("paused", "decision", 1)
    assert (changed["needs_due_at"], changed["needs_since"]) == (NOW + timedelta(hours=1), NOW)
    assert [event.type for event in deciding.changes.audit] == ["paused"]


@pytest.mark.parametrize(("event", "target"), [("approved", "b"), ("rejected", "stop")])
def test_a_decision_goes_where_it_was_stored_to_go(event: DecisionEvent, target: str) -> None:
    decision = {"kind": "approval", "ok": "b", "error": "stop", "output": "review"}
    waiting = visit("review", status="paused", decision=decision, attempts=0, settings=settings("review"))
    deciding = Deciding(LINE, run(status="paused", needs="decision", needs_count=1))
    deciding.decide(DecisionAnswered(waiting, event, LEE))
    assert entered(deciding.changes) == [(target, 0, "pending")]
    kept = cast("dict[str, dict[str, str]]", deciding.changes.updated["id-review"]["output"])
    assert kept["review"]["decision"] == event
    assert (deciding.status, deciding.changes.run["needs"], deciding.changes.run["needs_count"]) == ("running", None, 0)


@pytest.mark.rule("decision-pause-last")
def test_a_pause_at_the_end_completes_the_run() -> None:
    waiting = visit("hold", status="paused", decision={"kind": "pause", "ok": None}, settings=settings("hold"))
    deciding = Deciding(LINE, run(status="paused", needs="resume", needs_count=1))
    deciding.decide(DecisionAnswered(waiting, "resumed", Decider(actor=None)))
    assert (deciding.status, deciding.changes.run["needs"]) == ("completed", None)


def test_a_failure_is_retried_later() -> None:
    deciding = Deciding(LINE, run(open_steps=1))
    deciding.decide(AttemptFailed(visit("b", settings=settings("b")), Failure(error=ERROR), DONE))
    assert deciding.changes.released == {"id-b": NOW + timedelta(seconds=5)}
    assert (deciding.status, deciding.changes.run["retrying_steps"]) == ("retrying", 1)
    assert (deciding.changes.run["due_at"], deciding.changes.run["error"]) == (NOW + timedelta(seconds=5), ERROR)


@pytest.mark.rule("error-route")
def test_the_last_failure_takes_the_error_route() -> None:
    deciding = Deciding(LINE, run(open_steps=1, error=ERROR))
    deciding.decide(AttemptFailed(visit("b", attempts=2, settings=settings("b")), Failure(error=ERROR), DONE))
    [row] = deciding.changes.entered
    assert (row.step, row.failure) == ("stop", ERROR)
    assert deciding.changes.updated["id-b"]["recovery"] == "undo"
    assert [(event.type, event.metadata) for event in deciding.changes.audit] == [("undo_routed", {"target": "stop"})]
    assert (deciding.status, deciding.changes.run["error"]) == ("running", None)


@pytest.mark.rule("failing")
def test_without_a_route_the_run_fails_and_what_was_done_is_undone() -> None:
    deciding = Deciding(LINE, run(open_steps=1))
    deciding.decide(AttemptFailed(visit("a", settings=settings("a")), Failure(error=ERROR, final=True), DONE))
    assert (deciding.status, deciding.changes.reads) == ("failed", ("open", "completed"))
    assert (deciding.changes.run["needs"], deciding.changes.run["open_steps"]) == ("failed", 0)
    done = [
        visit("a", status="completed", position=number, settings=settings("a"), id=f"done-{number}", visit=number)
        for number in (1, 2)
    ]
    deciding.decide_with(open=[visit("a", settings=settings("a"))], completed=done)
    made = deciding.changes.entered
    assert [(row.step, row.visit, row.delivered) for row in made] == [("a", 2, True), ("a", 1, False)]
    assert {row.kind for row in made} == {"compensation"}
    assert [row.failure for row in made] == [ERROR, ERROR]
    assert (deciding.status, deciding.changes.run["compensation"]) == ("failed", "running")
    assert deciding.changes.updated.keys() == {"id-a"}


def test_a_failure_stops_the_others_but_what_executes_and_what_was_interrupted() -> None:
    rows = [
        visit("b", status="pending", attempts=0),
        visit("c", status="running"),
        visit("d", status="paused", decision={"kind": "interrupted"}),
    ]
    deciding = Deciding(GRAPH, run(open_steps=3, needs="interrupted", needs_count=1))
    deciding.decide(AttemptFailed(visit("a", settings=settings("a", GRAPH)), Failure(error=ERROR, final=True), DONE))
    deciding.decide_with(open=rows, completed=[])
    updated = deciding.changes.updated
    assert {row: columns["status"] for row, columns in updated.items()} == {"id-a": "failed", "id-b": "cancelled"}
    assert deciding.changes.ended == ["id-a", "id-b"]
    changed = deciding.changes.run
    needs = (changed["needs"], changed["needs_count"], changed["open_steps"])
    assert needs == ("failed", 2, 1)
    assert "compensation" not in changed


@pytest.mark.parametrize(
    ("compensation", "reads", "planned"), [(None, ("open",), []), ("requested", ("open", "completed"), ["a"])]
)
def test_what_was_cancelled_is_undone_where_that_was_asked_for(
    compensation: str | None, reads: Sequence[RowsToRead], planned: list[str]
) -> None:
    deciding = Deciding(LINE, run(status="cancelling", open_steps=1, compensation=compensation))
    deciding.decide(AttemptFailed(visit("b", settings=settings("b")), Failure(error=ERROR), DONE))
    assert (deciding.status, deciding.changes.reads) == ("cancelled", reads)
    done = [visit("a", status="completed", position=1, settings=settings("a"))]
    deciding.decide_with(**{rows: done if rows == "completed" else [] for rows in reads})
    assert [row.step for row in deciding.changes.entered] == planned


def test_what_asked_for_compensation_and_has_nothing_to_undo_is_done_with_it() -> None:
    deciding = Deciding(LINE, run(status="cancelling", open_steps=1, compensation="requested"))
    deciding.decide(AttemptFailed(visit("b", settings=settings("b")), Failure(error=ERROR), DONE))
    deciding.decide_with(open=[], completed=[])
    assert deciding.changes.run["compensation"] is None


def test_a_step_that_no_condition_leads_on_from_is_undone_with_what_it_returned() -> None:
    deciding = Deciding(FORK, run(open_steps=1, position=3), state={"x": 2})
    deciding.decide(AttemptCompleted(visit("a", settings=settings("a", FORK)), {"x": 2}, DONE))
    assert (deciding.status, deciding.code) == ("failed", "no_matching_transition")
    deciding.decide_with(open=[visit("a", settings=settings("a", FORK))], completed=[])
    [row] = deciding.changes.entered
    assert (row.step, row.sees) == ("a", 4)


def test_a_failure_needs_a_person_from_now_on_whatever_was_open_before() -> None:
    before = NOW - timedelta(days=1)
    deciding = Deciding(
        GRAPH, run(open_steps=1, needs="decision", needs_count=2, needs_since=before, needs_due_at=before)
    )
    deciding.decide(AttemptFailed(visit("a", settings=settings("a", GRAPH)), Failure(error=ERROR), DONE))
    needs = {name: deciding.changes.run[name] for name in ("needs", "needs_count", "needs_since", "needs_due_at")}
    assert needs == {"needs": "failed", "needs_count": 1, "needs_since": NOW, "needs_due_at": None}


def test_compensations_follow_each_other_and_one_that_fails_stops_none() -> None:
    first = visit("a", kind="compensation", id="c-1", settings=VisitSettings(order=0, kind="compensation"))
    second = visit("b", kind="compensation", id="c-2", status="pending", attempts=0, settings=VisitSettings(order=1))
    deciding = Deciding(
        LINE, run(status="failed", compensation="running", needs="failed"), compensations=[first, second]
    )
    deciding.decide(AttemptFailed(first, Failure(error=ERROR), DONE))
    assert [row.step_run_id for row in deciding.changes.dispatched] == ["c-2"]
    failed = visit("a", kind="compensation", id="c-1", status="failed", settings=VisitSettings(order=0))
    deciding = Deciding(
        LINE, run(status="failed", compensation="running", needs="failed"), compensations=[failed, second]
    )
    deciding.decide(AttemptCompleted(second._replace(status="running"), {}, DONE))
    assert (deciding.changes.run["compensation"], deciding.changes.run["needs"]) == ("failed", "compensation_failed")


@pytest.mark.rule("depending-join")
@pytest.mark.parametrize(
    ("missing", "opened", "left"),
    [(None, False, 1), (2, False, 1), (1, True, 0)],
)
def test_a_join_counts_down(missing: int | None, opened: bool, left: int) -> None:
    join = {"d": visit("d", status="pending", attempts=0, missing=missing)} if missing else {}
    deciding = Deciding(GRAPH, run(open_steps=2, remaining=3), joins=join)
    deciding.decide(AttemptCompleted(visit("b", settings=settings("b", GRAPH)), {}, DONE))
    assert bool(deciding.changes.dispatched) == opened
    assert deciding.changes.run["open_steps"] == (2 if opened else 1)
    if missing:
        assert deciding.changes.updated["id-d"]["missing"] == left
    else:
        assert entered(deciding.changes) == [("d", 1, "pending")]
        assert deciding.changes.entered[0].delivered is False


@pytest.mark.rule("completing")
def test_a_dependency_run_completes_when_nothing_is_left() -> None:
    deciding = Deciding(GRAPH, run(open_steps=1, remaining=1))
    deciding.decide(AttemptCompleted(visit("d", settings=settings("d", GRAPH)), {}, DONE))
    assert (deciding.status, deciding.changes.run["remaining"]) == ("completed", 0)


@pytest.mark.rule("cancelling-siblings")
def test_a_sibling_that_ends_while_the_run_is_cancelling_leads_nowhere() -> None:
    deciding = Deciding(GRAPH, run(status="cancelling", open_steps=2, remaining=4))
    deciding.decide(AttemptCompleted(visit("a", settings=settings("a", GRAPH)), {"a": 1}, DONE))
    assert (deciding.status, deciding.changes.entered) == ("cancelling", [])
    deciding = Deciding(GRAPH, run(status="cancelling", open_steps=1, remaining=4))
    deciding.decide(AttemptFailed(visit("a", settings=settings("a", GRAPH)), Failure(error=ERROR), DONE))
    assert (deciding.status, deciding.changes.reads) == ("cancelled", ("open",))


def test_cancelling_stops_what_is_not_executing() -> None:
    rows = [
        visit("a"),
        visit("b", status="pending", attempts=0),
        visit("c", status="pending", attempts=1, due_at=NOW),
        visit("d", status="pending", attempts=0, missing=1),
    ]
    deciding = Deciding(GRAPH, run(open_steps=3, retrying_steps=1))
    deciding.decide(RunCancelled(LEE, compensate=False))
    deciding.decide_with(open=rows)
    assert sorted(deciding.changes.ended) == ["id-b", "id-c", "id-d"]
    assert (deciding.status, deciding.changes.run["open_steps"]) == ("cancelling", 1)
    assert deciding.changes.run["retrying_steps"] == 0
    assert RUN_MOVES["running"] >= {deciding.status}


@pytest.mark.parametrize(
    ("settings", "abandoned", "again", "status"),
    [
        (VisitSettings(), 0, True, "running"),
        (VisitSettings(), 2, False, "paused"),
        (VisitSettings(irreversible=True), 0, False, "paused"),
    ],
)
def test_a_lost_attempt(settings: VisitSettings, abandoned: int, again: bool, status: str) -> None:
    deciding = Deciding(LINE, run(open_steps=1))
    lost = visit("a", abandoned=abandoned, settings=settings)
    deciding.decide(AttemptAbandoned(lost, DONE, most=3))
    assert deciding.changes.freed == ({"id-a": DONE.started_at} if again else {})
    assert [attempt.status for attempt in deciding.changes.attempts] == ["abandoned"]
    assert deciding.status == status
    assert deciding.changes.audit[0].type == "abandoned"


@pytest.mark.rule("loops-bounded")
def test_visits_are_counted_and_bounded() -> None:
    decision = {"kind": "approval", "ok": "b", "error": "stop"}
    waiting = visit("review", status="paused", decision=decision, settings=settings("review"))
    deciding = Deciding(LINE, run(status="paused", needs="decision", needs_count=1), visits={"b": 4})
    deciding.decide(DecisionAnswered(waiting, "approved", LEE))
    assert deciding.changes.entered[0].visit == 5
    deciding = Deciding(LINE, run(status="paused", needs="decision", needs_count=1), visits={"b": 100})
    deciding.decide(DecisionAnswered(waiting, "approved", LEE))
    assert (deciding.status, deciding.code) == ("failed", "max_visits")


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
    deciding = Deciding(LINE, run(status=status, open_steps=1))
    deciding.decide(FollowUpDue(ended, ERROR))
    assert (deciding.status, deciding.changes.entered) == (status, [])
    assert deciding.changes.ended == [ended.id]
