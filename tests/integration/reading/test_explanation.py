from __future__ import annotations

import json
from typing import Any

import pytest

from flask_squidmesh import Scope
from flask_squidmesh.definition.workflow import Registry
from flask_squidmesh.errors import RunNotFoundError
from flask_squidmesh.queries.explanation import explain
from flask_squidmesh.queries.results import Explanation
from tests.integration.reading.rows import BOOM, EMPTY_REGISTRY, NOW, REGISTRY, SOME_ID, Rows, at, counted
from tests.telling import told


def explained(rows: Rows, run_id: str, registry: Registry = REGISTRY) -> Explanation:
    found = explain(rows.connection, registry, Scope.all(), run_id, now=NOW)
    assert told(found)
    return found


def test_an_unknown_run(rows: Rows) -> None:
    with pytest.raises(RunNotFoundError):
        explained(rows, SOME_ID)


def test_it_takes_four_queries(rows: Rows) -> None:
    run_id = rows.run()
    rows.claim(run_id, rows.step(run_id, "capture", status="running", attempts=1))

    with counted(rows.connection) as statements:
        explained(rows, run_id)

    assert len(statements) == 4


# -- ended ---------------------------------------------------------------------------------------------------------


@pytest.mark.rule("explaining-ended")
@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_ended_runs_say_whether_they_can_be_replayed(rows: Rows, status: str) -> None:
    run_id = rows.run(status=status)

    found = explained(rows, run_id)

    assert (found.reason, found.step) == (status, None)
    assert found.details == {"replay": {"allowed": True}}
    assert list(found.next_actions) == ["replay_run"]


@pytest.mark.rule("explaining-ended")
def test_a_replay_that_is_not_safe(rows: Rows) -> None:
    run_id = rows.run(status="completed")
    rows.completed(run_id, "capture", 1)

    found = explained(rows, run_id)

    replay = found.details["replay"]
    assert (replay["allowed"], replay["required_override"]) == (False, "allow_irreversible")
    assert [step["step"] for step in replay["blocked_by"]] == ["capture"]
    assert list(found.next_actions) == []


def test_an_ended_run_of_an_unregistered_workflow(rows: Rows) -> None:
    found = explained(rows, rows.run(status="completed"), EMPTY_REGISTRY)

    assert found.details == {"workflow_definition": "unavailable"}
    assert found.evidence["workflow_definition"] == {"available": False}


def failed_run(rows: Rows, *, attempts: int = 3, error: dict[str, Any] | None = None) -> str:
    run_id = rows.run(status="failed", current_step="capture", error=error or BOOM, needs="failed", needs_since=NOW)
    step_run = rows.step(run_id, "capture", status="failed", attempts=attempts, error=error or BOOM)
    for number in range(1, attempts + 1):
        rows.attempt(step_run, number)
    return run_id


@pytest.mark.rule("explaining-exhausted")
def test_retries_that_came_to_their_end(rows: Rows) -> None:
    found = explained(rows, failed_run(rows))

    assert (found.reason, found.step) == ("retry_exhausted", "capture")
    assert (found.details["max_attempts"], found.details["latest_attempt_number"]) == (3, 3)
    assert found.details["last_error"] == BOOM
    assert found.evidence["attempt"]["attempt_number"] == 3
    assert found.evidence["step_run"]["status"] == "failed"
    assert list(found.next_actions) == ["replay_run", "acknowledge_run"]


@pytest.mark.rule("explaining-step-failed")
@pytest.mark.parametrize(("attempts", "retryable"), [(1, True), (3, False)])
def test_a_failure_that_retries_did_not_bring_about(rows: Rows, attempts: int, retryable: bool) -> None:
    found = explained(rows, failed_run(rows, attempts=attempts, error={**BOOM, "retryable": retryable}))

    assert (found.reason, found.step) == ("step_failed", "capture")
    assert "max_attempts" not in found.details


@pytest.mark.rule("explaining-compensation")
def test_compensation_that_is_under_way(rows: Rows) -> None:
    run_id = rows.run(status="failed", current_step="capture", error=BOOM, compensation="running")
    rows.completed(run_id, "reserve", 1)
    undoing = rows.step(run_id, "reserve", kind="compensation", status="running", attempts=1)
    rows.claim(run_id, undoing, kind="compensation")

    found = explained(rows, run_id)

    assert (found.reason, found.step) == ("compensating", "reserve")
    assert found.details["compensations"] == {"reserve": "running"}
    assert found.details["failed_step"] == "capture"
    assert found.details["replay"] == {"allowed": False, "reason": "compensation_running"}
    assert "worker_lost" not in found.details


def test_compensation_that_lost_its_worker(rows: Rows) -> None:
    run_id = rows.run(status="failed", current_step="capture", compensation="running")
    undoing = rows.step(run_id, "reserve", kind="compensation", status="running", attempts=1)
    rows.claim(run_id, undoing, kind="compensation", expires=-5)

    assert explained(rows, run_id).details["worker_lost"]["worker"] == "worker-1"


@pytest.mark.rule("explaining-compensation")
def test_compensation_that_failed_names_its_steps(rows: Rows) -> None:
    run_id = rows.run(status="failed", current_step="capture", error=BOOM, compensation="failed")
    rows.step(run_id, "reserve", kind="compensation", status="failed", error=BOOM)

    found = explained(rows, run_id)

    assert (found.reason, found.step) == ("compensation_failed", "reserve")
    assert found.details["compensation_failures"] == [{"step": "reserve", "error": BOOM}]
    assert "retry_compensation" in found.next_actions


@pytest.mark.rule("explaining-cancelling")
def test_cancelling_waits_for_the_attempt(rows: Rows) -> None:
    run_id = rows.run(status="cancelling")
    rows.claim(run_id, rows.step(run_id, "capture", status="running", attempts=1))

    found = explained(rows, run_id)

    assert (found.reason, found.step) == ("cancelling", "capture")
    assert found.details == {"waiting_on": ["capture"]}
    assert list(found.next_actions) == []


# -- waiting for a person ------------------------------------------------------------------------------------------


@pytest.mark.rule("explaining-paused")
def test_an_approval(rows: Rows) -> None:
    run_id = rows.run(status="paused", current_step="review", needs="decision")
    rows.open_decision(run_id, "review", decide_by=at(-60))

    found = explained(rows, run_id)

    assert (found.reason, found.step) == ("paused_for_approval", "review")
    assert found.details == {
        "approval_targets": {"ok": "settle", "error": "decline"},
        "prompt": "Really?",
        "permission": "pay",
        "decide_by": at(-60),
        "deadline": "overdue",
    }
    assert list(found.next_actions) == ["approve_run", "reject_run", "cancel_run"]
    assert found.next_actions[0].leads_to == {"target": "settle", "irreversible": False}
    assert found.evidence["step_run"]["decision"]["kind"] == "approval"


@pytest.mark.rule("explaining-paused")
def test_a_pause(rows: Rows) -> None:
    run_id = rows.run(status="paused", current_step="hold")
    rows.open_decision(run_id, "hold", "pause", decision={"ok": "check"})

    found = explained(rows, run_id)

    assert (found.reason, found.details["resume_target"]) == ("paused_for_manual_action", "check")
    assert list(found.next_actions) == ["unblock_run", "cancel_run"]


@pytest.mark.rule("explaining-target-gone")
@pytest.mark.parametrize("kind", ["approval", "pause"])
def test_a_target_that_is_gone(rows: Rows, kind: str) -> None:
    run_id = rows.run(status="paused", current_step="review")
    rows.open_decision(run_id, "review", kind, decision={"ok": "gone"})

    found = explained(rows, run_id)

    assert found.reason == "paused_with_invalid_resume_target"
    assert found.next_actions[-1] == "cancel_run"
    assert "approve_run" not in found.next_actions
    assert "unblock_run" not in found.next_actions


@pytest.mark.rule("explaining-unavailable")
def test_paused_without_its_workflow(rows: Rows) -> None:
    run_id = rows.run(status="paused")
    rows.open_decision(run_id, "review")

    found = explained(rows, run_id, EMPTY_REGISTRY)

    assert found.reason == "paused_with_unavailable_workflow"
    assert list(found.next_actions) == ["cancel_run"]


@pytest.mark.rule("explaining-no-metadata")
def test_paused_without_what_to_decide(rows: Rows) -> None:
    run_id = rows.run(status="paused", current_step="review")
    rows.step(run_id, "review", status="paused")

    found = explained(rows, run_id)

    assert (found.reason, found.step) == ("paused_with_missing_resume_metadata", "review")
    assert list(found.next_actions) == ["cancel_run"]


@pytest.mark.rule("explaining-interrupted")
def test_an_interrupted_step_comes_before_other_decisions(rows: Rows) -> None:
    run_id = rows.run(status="paused", needs="interrupted")
    rows.open_decision(run_id, "review", decide_by=at(-60))
    step_run = rows.open_decision(run_id, "capture", "interrupted", attempts=1, error=BOOM)
    rows.attempt(step_run, 1, "abandoned")

    found = explained(rows, run_id)

    assert (found.reason, found.step) == ("interrupted", "capture")
    assert (found.details["irreversible"], found.details["worker"]) == (True, "worker-1")
    assert found.details["also_open"] == ["review#1"]
    assert found.evidence["attempt"]["status"] == "abandoned"
    assert {"retry_step", "resolve_step", "fail_step"} <= set(found.next_actions)


# -- outstanding work ----------------------------------------------------------------------------------------------


@pytest.mark.rule("explaining-scheduled")
def test_work_that_no_worker_took_yet(rows: Rows) -> None:
    run_id = rows.run(status="pending")
    rows.dispatch(run_id, rows.step(run_id, "reserve"))

    found = explained(rows, run_id)

    assert (found.reason, found.step) == ("pending_dispatch", "reserve")
    assert list(found.next_actions) == ["cancel_run"]


@pytest.mark.rule("explaining-scheduled")
def test_the_next_step_is_on_its_way(rows: Rows) -> None:
    run_id = rows.run()
    rows.dispatch(run_id, rows.step(run_id, "settle"))

    assert explained(rows, run_id).reason == "step_scheduled"


@pytest.mark.rule("explaining-evidence", "explaining-running")
def test_a_worker_is_at_it(rows: Rows) -> None:
    run_id = rows.run()
    rows.claim(run_id, rows.step(run_id, "capture", status="running", attempts=2), hand_over_error="once refused")

    found = explained(rows, run_id)

    assert (found.reason, found.step) == ("step_running", "capture")
    assert (found.details["attempt_number"], found.details["worker"]) == (2, "worker-1")
    assert found.details["claim_expires_at"] == at(20)
    assert found.evidence["attempt"]["status"] == "running"


@pytest.mark.rule("explaining-lost")
def test_a_worker_that_was_lost(rows: Rows) -> None:
    run_id = rows.run()
    rows.claim(run_id, rows.step(run_id, "capture", status="running", attempts=1), expires=-1)

    found = explained(rows, run_id)

    assert (found.reason, found.step) == ("worker_lost", "capture")
    assert (found.details["worker"], found.details["claim_expired_at"]) == ("worker-1", at(-1))


@pytest.mark.rule("explaining-delayed")
def test_work_that_nobody_takes(rows: Rows) -> None:
    run_id = rows.run()
    dispatch = {"due_at": at(-90), "hand_overs": 2}
    rows.dispatch(run_id, rows.step(run_id, "reserve"), **dispatch)

    found = explained(rows, run_id)

    assert (found.reason, found.details["late_by"], found.details["hand_overs"]) == ("dispatch_delayed", 90.0, 2)
    assert found.evidence["dispatch"]["queue"] == "default"


@pytest.mark.rule("explaining-evidence", "explaining-delayed")
def test_work_that_the_executor_refused(rows: Rows) -> None:
    run_id = rows.run()
    rows.dispatch(run_id, rows.step(run_id, "reserve"), due_at=at(-1), hand_over_error="broker is down")

    found = explained(rows, run_id)

    assert (found.reason, found.details["executor_error"]) == ("dispatch_delayed", "broker is down")


def test_a_wait_whose_hand_over_failed_is_not_late_yet(rows: Rows) -> None:
    run_id = rows.run()
    rows.dispatch(run_id, rows.step(run_id, "settle"), due_at=at(60), hand_over_error="broker is down")

    assert explained(rows, run_id).reason == "waiting_until"


@pytest.mark.rule("explaining-delayed")
def test_a_run_that_nothing_is_to_be_done_for_is_told_as_stuck(rows: Rows) -> None:
    run_id = rows.run(current_step="reserve")
    rows.step(run_id, "reserve")

    found = explained(rows, run_id)

    assert (found.reason, found.step, dict(found.details)) == ("dispatch_delayed", "reserve", {"dispatch": "missing"})


@pytest.mark.rule("explaining-mismatch")
def test_work_that_was_put_back(rows: Rows) -> None:
    run_id = rows.run()
    rows.dispatch(run_id, rows.step(run_id, "reserve"), held="This worker does not know step reserve.")

    found = explained(rows, run_id)

    assert found.reason == "definition_mismatch"
    assert found.details["held"] == "This worker does not know step reserve."


def test_work_that_was_put_back_is_told_before_its_delay(rows: Rows) -> None:
    run_id = rows.run()
    rows.dispatch(run_id, rows.step(run_id, "reserve"), held="This worker does not know it.", due_at=at(-3600))

    assert explained(rows, run_id).reason == "definition_mismatch"


@pytest.mark.rule("explaining-retry")
def test_a_retry_that_is_due_later(rows: Rows) -> None:
    run_id = rows.run(status="retrying", current_step="capture")
    step_run = rows.step(run_id, "capture", attempts=1, error=BOOM, due_at=at(30))
    rows.attempt(step_run, 1)
    rows.dispatch(run_id, step_run, due_at=at(30))

    found = explained(rows, run_id)

    assert (found.reason, found.step) == ("waiting_for_retry", "capture")
    assert found.details == {
        "next_attempt_number": 2,
        "max_attempts": 3,
        "due_at": at(30),
        "last_error": BOOM,
    }


@pytest.mark.rule("explaining-until")
def test_a_timed_wait(rows: Rows) -> None:
    run_id = rows.run(current_step="settle", due_at=at(45))
    rows.dispatch(run_id, rows.step(run_id, "settle", due_at=at(45)), due_at=at(45))

    found = explained(rows, run_id)

    assert (found.reason, found.step) == ("waiting_until", "settle")
    assert found.details == {"until": at(45), "seconds": 45.0}


@pytest.mark.rule("fingerprint")
def test_a_definition_that_changed_is_evidence(rows: Rows) -> None:
    run_id = rows.run(fingerprint="another")
    rows.dispatch(run_id, rows.step(run_id, "reserve"))

    assert explained(rows, run_id).evidence["workflow_definition"] == {"available": True, "changed": True}


# -- workflows of dependencies -------------------------------------------------------------------------------------


def notice(rows: Rows, **columns: Any) -> str:
    return rows.run(workflow="notice", trigger="prepare", **columns)


@pytest.mark.rule("explaining-dependencies")
def test_fresh_roots_are_on_their_way(rows: Rows) -> None:
    run_id = notice(rows, status="pending")
    for name in ("account", "invoice"):
        rows.dispatch(run_id, rows.step(run_id, name))

    assert (explained(rows, run_id).reason, explained(rows, run_id).step) == ("pending_dispatch", "account")


def test_a_running_step_is_told_and_not_the_join(rows: Rows) -> None:
    run_id = notice(rows)
    rows.completed(run_id, "account", 1)
    rows.step(run_id, "notify", missing=1)
    rows.claim(run_id, rows.step(run_id, "invoice", status="running", attempts=1))

    found = explained(rows, run_id)

    assert (found.reason, found.step) == ("step_running", "invoice")


@pytest.mark.rule("explaining-running")
def test_steps_that_run_at_once_are_all_told(rows: Rows) -> None:
    run_id = notice(rows)
    for name in ("account", "invoice"):
        rows.claim(run_id, rows.step(run_id, name, status="running", attempts=1))

    assert explained(rows, run_id).details["also_running"] == ["invoice"]


@pytest.mark.rule("explaining-dependencies")
def test_a_join_is_told_when_nothing_runs(rows: Rows) -> None:
    run_id = notice(rows)
    rows.completed(run_id, "account", 1)
    rows.step(run_id, "notify", missing=1)
    rows.dispatch(run_id, rows.step(run_id, "invoice"))

    found = explained(rows, run_id)

    assert (found.reason, found.step) == ("waiting_for_dependencies", "notify")
    assert found.details == {
        "waiting_on": ["invoice"],
        "dependency_statuses": {"account": "completed", "invoice": "pending"},
    }
    assert [(step["step"], step["status"]) for step in found.evidence["steps"]] == [
        ("account", "completed"),
        ("invoice", "pending"),
        ("notify", "waiting"),
    ]


def test_a_retry_is_told_before_the_join_that_waits_for_it(rows: Rows) -> None:
    run_id = notice(rows, status="retrying")
    rows.completed(run_id, "account", 1)
    rows.step(run_id, "notify", missing=1)
    rows.dispatch(run_id, rows.step(run_id, "invoice", attempts=1, error=BOOM), due_at=at(30))

    assert explained(rows, run_id).reason == "waiting_for_retry"


def test_queued_work_is_told_before_a_retry_that_waits(rows: Rows) -> None:
    run_id = notice(rows)
    rows.dispatch(run_id, rows.step(run_id, "invoice", attempts=1, error=BOOM), due_at=at(30))
    rows.dispatch(run_id, rows.step(run_id, "account"))

    assert explained(rows, run_id).reason == "step_scheduled"


def test_a_join_whose_dependencies_are_done_is_on_its_way(rows: Rows) -> None:
    run_id = notice(rows)
    rows.completed(run_id, "account", 1)
    rows.completed(run_id, "invoice", 2)
    rows.dispatch(run_id, rows.step(run_id, "notify"))

    found = explained(rows, run_id)

    assert (found.reason, found.step) == ("step_scheduled", "notify")
    assert found.details["satisfied_dependencies"] == ["account", "invoice"]


@pytest.mark.rule("explaining-also-open")
def test_a_decision_beside_running_work_is_named(rows: Rows) -> None:
    run_id = rows.run(needs="decision")
    rows.open_decision(run_id, "review")
    rows.claim(run_id, rows.step(run_id, "check", status="running", attempts=1))

    found = explained(rows, run_id)

    assert (found.reason, found.details["also_open"]) == ("step_running", ["review#1"])
    assert "approve_run" in found.next_actions


@pytest.mark.rule("explaining-evidence")
def test_it_is_json(rows: Rows) -> None:
    run_id = rows.run(status="paused", current_step="review")
    rows.open_decision(run_id, "review", decide_by=at(60))

    document = json.loads(json.dumps(explained(rows, run_id).to_dict()))

    assert document["next_actions"][0]["call"] == "approve_run"
    assert {refusal["call"] for refusal in document["refusals"]} >= {"replay_run", "unblock_run"}
    assert document["evidence"]["run"]["id"] == run_id
