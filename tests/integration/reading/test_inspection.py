from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from flask_squidmesh import Scope
from flask_squidmesh.errors import RunNotFoundError
from flask_squidmesh.queries.results import Run, StepView
from flask_squidmesh.queries.run_snapshot import inspect
from tests.integration.reading.rows import BOOM, EMPTY_REGISTRY, REGISTRY, SOME_ID, Rows, at, counted


def inspected(rows: Rows, run_id: UUID | str, **options: Any) -> Run:
    return inspect(rows.connection, REGISTRY, Scope.all(), run_id, **{"include_history": True, **options})


def step(run: Run, name: str) -> StepView:
    assert run.steps is not None
    return next(each for each in run.steps if each.step == name)


@pytest.mark.rule("malformed-id")
@pytest.mark.parametrize("unknown", [SOME_ID, "nonsense", "", None, 7])
def test_an_unknown_or_malformed_id_is_no_run(rows: Rows, unknown: Any) -> None:
    with pytest.raises(RunNotFoundError):
        inspect(rows.connection, REGISTRY, Scope.all(), unknown)


@pytest.mark.rule("malformed-id")
def test_ids_are_taken_as_uuid_and_in_any_spelling(rows: Rows) -> None:
    run_id = rows.run()

    for spelled in (UUID(run_id), run_id.upper(), run_id.replace("-", "")):
        assert inspected(rows, spelled).id == run_id


@pytest.mark.rule("inspecting")
def test_history_is_there_only_when_asked_for(rows: Rows) -> None:
    run = inspected(rows, rows.run(), include_history=False)

    assert (run.steps, run.step_runs, run.audit_events) == (None, None, None)


def test_it_takes_six_queries_at_most(rows: Rows) -> None:
    run_id = rows.run()
    for number in range(5):
        rows.attempt(rows.completed(run_id, "reserve", number + 1, visit=number + 1), 1, "completed")

    with counted(rows.connection) as statements:
        inspected(rows, run_id)

    assert len(statements) <= 6


@pytest.mark.rule("depending-same-key", "outputs-once")
def test_context_is_the_outputs_merged_newest_wins(rows: Rows) -> None:
    run_id = rows.run()
    rows.completed(run_id, "review", 2, {"a": 2, "b": 2})
    rows.completed(run_id, "reserve", 1, {"a": 1, "c": 1})
    rows.step(run_id, "capture", kind="compensation", status="completed", output={"a": 9})

    assert inspected(rows, run_id).context == {"a": 2, "b": 2, "c": 1}


@pytest.mark.rule("inspecting-steps", "inspecting-waiting")
def test_steps_stand_in_order_of_declaration_with_their_last_visit(rows: Rows) -> None:
    run_id = rows.run()
    rows.completed(run_id, "reserve", 1, {"reservation": "x"})
    rows.completed(run_id, "reserve", 2, {"reservation": "y"}, visit=2)
    rows.completed(run_id, "gone", 3)

    run = inspected(rows, run_id)

    assert run.steps is not None
    names = [each.step for each in run.steps]
    assert names[:3] == ["reserve", "review", "settle"]
    assert names[-1] == "gone"
    assert (step(run, "reserve").visits, step(run, "reserve").output) == (2, {"reservation": "y"})
    assert (step(run, "review").status, step(run, "review").kind) == ("waiting", "approval")
    assert step(run, "gone").depends_on == ()


@pytest.mark.rule("inspecting-steps")
def test_dependency_steps_come_by_phase_and_a_join_waits(rows: Rows) -> None:
    run_id = rows.run(workflow="notice", trigger="prepare")
    rows.step(run_id, "notify", missing=1)
    rows.completed(run_id, "account", 1, {"account": {"name": "n"}})

    run = inspected(rows, run_id)

    assert run.steps is not None
    assert [(each.step, each.status) for each in run.steps] == [
        ("account", "completed"),
        ("invoice", "waiting"),
        ("notify", "waiting"),
    ]
    assert step(run, "notify").depends_on == ("account", "invoice")


@pytest.mark.rule("inspecting-attempts")
def test_a_running_attempt_comes_from_the_claim(rows: Rows) -> None:
    run_id = rows.run()
    step_run = rows.step(run_id, "capture", status="running", attempts=2, started_at=at(-30))
    rows.attempt(step_run, 1)
    rows.claim(run_id, step_run, expires=20)

    attempts = step(inspected(rows, run_id), "capture").attempts

    assert [(each.attempt_number, each.status) for each in attempts] == [(1, "failed"), (2, "running")]
    assert attempts[0].error == BOOM
    assert (attempts[1].worker, attempts[1].claim_expires_at) == ("worker-1", at(20))


@pytest.mark.rule("inspecting-attempts")
def test_work_that_nobody_holds_is_no_attempt(rows: Rows) -> None:
    run_id = rows.run()
    rows.dispatch(run_id, rows.step(run_id, "capture"))

    assert step(inspected(rows, run_id), "capture").attempts == ()


@pytest.mark.rule("inspecting-input")
def test_what_a_step_will_be_given_is_what_it_sees(rows: Rows) -> None:
    run_id = rows.run()
    rows.completed(run_id, "reserve", 1, {"reservation": "seen"})
    rows.completed(run_id, "check", 2, {"reservation": "later"})
    rows.step(run_id, "capture", sees=1)

    assert step(inspected(rows, run_id), "capture").input == {"reservation": "seen", "quantity": 1}


@pytest.mark.rule("inspecting-input")
def test_what_a_step_was_given_stays_as_recorded(rows: Rows) -> None:
    run_id = rows.run()
    rows.step(run_id, "capture", input={"reservation": "then"})

    assert step(inspected(rows, run_id), "capture").input == {"reservation": "then"}


def test_a_join_sees_its_ancestors_by_path(rows: Rows) -> None:
    run_id = rows.run(workflow="notice", trigger="prepare")
    rows.completed(run_id, "account", 1, {"account": {"name": "Ada"}})
    rows.completed(run_id, "invoice", 2, {"invoice": {}})
    rows.step(run_id, "notify", sees=2)

    assert step(inspected(rows, run_id), "notify").input == {"customer": "Ada"}


def test_input_that_cannot_be_bound_is_left_out(rows: Rows) -> None:
    run_id = rows.run()
    rows.step(run_id, "capture")

    assert step(inspected(rows, run_id), "capture").input is None


@pytest.mark.rule("inspecting-recovery")
def test_recovery_says_what_holds_for_replay_and_undoing(rows: Rows) -> None:
    run_id = rows.run(status="failed", error=BOOM)
    rows.completed(run_id, "reserve", 1)
    rows.step(run_id, "reserve", kind="compensation", status="failed", error=BOOM)
    rows.step(run_id, "capture", status="failed", recovery="compensation")

    run = inspected(rows, run_id)

    reserve, capture = step(run, "reserve").recovery, step(run, "capture").recovery
    assert (reserve["replay"], reserve["compensation"]["status"]) == ("allowed", "failed")
    assert reserve["compensation"]["error"] == BOOM
    assert (capture["irreversible"], capture["compensatable"]) == (True, False)
    assert (capture["replay"], capture["recovery"]) == ("manual_review_required", "manual_intervention")
    assert capture["failure"] == {"strategy": "compensation", "target": None}
    assert step(run, "check").recovery["replay"] == "allowed"


@pytest.mark.rule("retry-stored", "recovery-stored")
def test_what_was_stored_with_the_visit_wins_over_the_definition(rows: Rows) -> None:
    run_id = rows.run()
    rows.completed(run_id, "capture", 1, settings={"irreversible": False, "compensatable": True})

    assert step(inspected(rows, run_id), "capture").recovery["replay"] == "allowed"


@pytest.mark.rule("inspecting-visits")
def test_step_runs_come_in_the_order_they_were_made(rows: Rows) -> None:
    run_id = rows.run()
    moment = {"created_at": at(0)}
    rows.step(run_id, "review", kind="compensation", settings={"order": 1}, **moment)
    rows.step(run_id, "capture", kind="compensation", settings={"order": 0}, **moment)
    rows.step(run_id, "capture", **moment)
    rows.step(run_id, "reserve", **moment)
    rows.step(run_id, "settle", created_at=at(-1))

    run = inspected(rows, run_id)

    assert run.step_runs is not None
    assert [(each.kind, each.step) for each in run.step_runs] == [
        ("step", "settle"),
        ("step", "reserve"),
        ("step", "capture"),
        ("compensation", "capture"),
        ("compensation", "review"),
    ]


def test_the_decision_is_shown_and_named_by_its_token(rows: Rows) -> None:
    run_id = rows.run(status="paused", needs="decision", needs_count=1)
    rows.open_decision(run_id, "review", visit=2, decide_by=at(60))

    run = inspected(rows, run_id)

    assert run.decision == "review#2"
    assert run.step_runs is not None
    assert run.step_runs[0].decision == {
        "kind": "approval",
        "prompt": "Really?",
        "permission": "pay",
        "targets": {"ok": "settle", "error": "decline"},
        "output_key": None,
    }
    assert run.step_runs[0].decide_by == at(60)


@pytest.mark.rule("inspecting-audit")
def test_audit_events_and_children_belong_to_the_run(rows: Rows) -> None:
    run_id, other = rows.run(), rows.run()
    rows.event(run_id, "approved", step="review", visit=1, actor={"id": 7}, comment="ok", metadata={"ticket": "S-1"})
    rows.event(other, "rejected")
    children = [rows.run(parent_run_id=run_id, parent_step="reserve", child_key=key) for key in "ab"]

    run = inspected(rows, run_id)

    assert run.audit_events is not None
    assert [(e.type, e.actor, e.metadata) for e in run.audit_events] == [("approved", {"id": 7}, {"ticket": "S-1"})]
    assert list(run.children) == children


@pytest.mark.rule("inspecting-undeclared")
def test_a_workflow_that_is_not_registered_leaves_what_is_kept(rows: Rows) -> None:
    run_id = rows.run()
    rows.completed(run_id, "reserve", 1, {"reservation": "x"})
    rows.step(run_id, "capture")

    run = inspect(rows.connection, EMPTY_REGISTRY, Scope.all(), run_id, include_history=True)

    assert run.steps is not None
    assert [(each.step, each.kind, each.input) for each in run.steps] == [
        ("reserve", "function", None),
        ("capture", "function", None),
    ]


@pytest.mark.rule("inspecting-to-dict")
def test_it_is_json(rows: Rows) -> None:
    run_id = rows.run(needs="decision", needs_since=at(0))
    rows.claim(run_id, rows.step(run_id, "capture", status="running", attempts=1))
    rows.event(run_id, "paused")

    document = json.loads(json.dumps(inspected(rows, run_id).to_dict()))

    assert document["id"] == run_id
    assert document["steps"][3]["attempts"][0]["status"] == "running"
