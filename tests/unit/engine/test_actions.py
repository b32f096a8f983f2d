from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from flask_squidmesh.definition import Approval, Manual, Pause, Step, Wait, Workflow
from flask_squidmesh.definition.spec import VisitSettings, WorkflowSpec
from flask_squidmesh.engine.command_effects import OneStep
from flask_squidmesh.engine.command_rules import (
    ActionFacts,
    NextAction,
    OpenDecision,
    Refusal,
    action_facts,
    allowed,
    decision_actions,
    decision_token,
    judge,
    open_decisions,
)
from flask_squidmesh.engine.facts import RunFact, StepFact
from flask_squidmesh.engine.transitions import RUN_MOVES, TERMINAL

DECLARED = frozenset({"reserve", "review", "settle", "capture", "decline", "hold"})
APPROVAL = OpenDecision(step="review", visit=1, kind="approval", ok=("capture",), error="decline")
SEVERAL = replace(APPROVAL, ok=("settle", "capture"))
PAUSE = OpenDecision(step="hold", visit=1, kind="pause", ok=("settle",))
INTERRUPTED = OpenDecision(step="capture", visit=2, kind="interrupted", final=True)
UNSAFE = ({"step": "capture", "irreversible": True, "compensatable": False, "status": "completed", "reason": "x"},)
CALLS = (
    "approve_run",
    "reject_run",
    "unblock_run",
    "retry_step",
    "resolve_step",
    "fail_step",
    "retry_compensation",
    "cancel_run",
    "replay_run",
    "acknowledge_run",
)


def facts(status: str, **values: Any) -> ActionFacts:
    usual: dict[str, Any] = {"declared": DECLARED, "irreversible": frozenset({"capture"}), "undoes": ("reserve",)}
    return ActionFacts(status=status, **{**usual, **values})


def action(of: ActionFacts, call: str) -> NextAction:
    return next(each for each in judge(of)[0] if each == call)


def refusal(of: ActionFacts, call: str) -> Refusal:
    return next(each for each in judge(of)[1] if each.call == call)


@pytest.mark.rule("next-actions")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (facts("pending"), ["cancel_run"]),
        (facts("running"), ["cancel_run"]),
        (facts("retrying"), ["cancel_run"]),
        (facts("cancelling"), []),
        (facts("paused", decisions=(APPROVAL,)), ["approve_run", "reject_run", "cancel_run"]),
        (facts("paused", decisions=(PAUSE,)), ["unblock_run", "cancel_run"]),
        (facts("paused", decisions=(INTERRUPTED,)), ["retry_step", "resolve_step", "fail_step", "cancel_run"]),
        (facts("running", decisions=(APPROVAL,)), ["approve_run", "reject_run", "cancel_run"]),
        (facts("cancelling", decisions=(INTERRUPTED,)), ["resolve_step", "fail_step"]),
        (facts("paused", decisions=(APPROVAL,), declared=None), ["cancel_run"]),
        (facts("paused", decisions=(APPROVAL,), declared=frozenset({"capture"})), ["approve_run", "cancel_run"]),
        (facts("paused"), ["cancel_run"]),
        (facts("completed"), ["replay_run"]),
        (facts("cancelled"), ["replay_run"]),
        (facts("completed", unsafe=UNSAFE), []),
        (facts("completed", declared=None), []),
        (facts("failed", needs="failed"), ["replay_run", "acknowledge_run"]),
        (facts("failed", acknowledged=True), ["replay_run"]),
        (facts("failed", needs="failed", compensation="running"), ["acknowledge_run"]),
        (
            facts("failed", needs="compensation_failed", compensation="failed", failed_compensations=("reserve",)),
            ["retry_compensation", "replay_run", "acknowledge_run"],
        ),
        (facts("cancelled", needs="compensation_failed", compensation="failed", declared=None), ["acknowledge_run"]),
    ],
)
def test_the_calls_that_would_succeed(given: ActionFacts, expected: list[str]) -> None:
    assert list(allowed(given)) == expected


@pytest.mark.rule("next-actions")
@pytest.mark.parametrize("status", RUN_MOVES)
def test_every_call_is_either_possible_or_refused_with_a_reason(status: str) -> None:
    possible, refused = judge(facts(status, decisions=(APPROVAL, PAUSE) if status not in TERMINAL else ()))

    assert {str(each) for each in possible} | {each.call for each in refused} == set(CALLS)
    assert not {str(each) for each in possible} & {each.call for each in refused}
    assert all(each.reason for each in refused)


@pytest.mark.parametrize(
    ("given", "call", "reason"),
    [
        (facts("running"), "approve_run", "no_open_approval"),
        (facts("running"), "unblock_run", "no_open_pause"),
        (facts("running"), "retry_step", "not_interrupted"),
        (facts("completed"), "approve_run", "already_finished"),
        (facts("completed"), "cancel_run", "already_finished"),
        (facts("cancelling"), "cancel_run", "already_cancelling"),
        (facts("paused", decisions=(APPROVAL,), declared=None), "approve_run", "workflow_unavailable"),
        (facts("paused", decisions=(APPROVAL,), declared=frozenset({"capture"})), "reject_run", "target_unavailable"),
        (facts("cancelling", decisions=(INTERRUPTED,)), "retry_step", "being_cancelled"),
        (facts("running"), "replay_run", "not_finished"),
        (facts("failed", compensation="running"), "replay_run", "compensation_running"),
        (facts("failed", declared=None), "replay_run", "workflow_unavailable"),
        (facts("failed", unsafe=UNSAFE), "replay_run", "unsafe_replay"),
        (facts("failed", compensation="running"), "retry_compensation", "compensation_running"),
        (facts("failed"), "retry_compensation", "no_failed_compensation"),
        (facts("running"), "acknowledge_run", "not_failed"),
        (facts("failed", acknowledged=True), "acknowledge_run", "already_acknowledged"),
        (facts("failed"), "acknowledge_run", "already_replayed"),
    ],
)
def test_a_refusal_says_why(given: ActionFacts, call: str, reason: str) -> None:
    assert refusal(given, call).reason == reason


def test_an_unsafe_replay_names_what_blocks_it_and_how_to_override() -> None:
    details = refusal(facts("failed", unsafe=UNSAFE), "replay_run").details

    assert details == {"required_override": "allow_irreversible", "blocked_by": [dict(UNSAFE[0])]}


@pytest.mark.rule("decision-target-gone")
def test_a_target_that_is_gone_is_named() -> None:
    given = facts("paused", decisions=(APPROVAL,), declared=frozenset({"capture"}))

    assert refusal(given, "reject_run").details == {"targets": ["decline"]}


@pytest.mark.rule("next-actions-lead-to")
@pytest.mark.parametrize(
    ("decision", "call", "leads_to"),
    [
        (APPROVAL, "approve_run", {"target": "capture", "irreversible": True}),
        (APPROVAL, "reject_run", {"target": "decline", "irreversible": False}),
        (PAUSE, "unblock_run", {"target": "settle", "irreversible": False}),
        (replace(APPROVAL, ok=(), final=True), "approve_run", {"status": "completed"}),
        (replace(APPROVAL, ok=()), "approve_run", {}),
        (SEVERAL, "approve_run", {"targets": ["settle", "capture"], "irreversible": True}),
        (replace(APPROVAL, error=None), "reject_run", {"status": "failed", "compensates": ["reserve"]}),
        (INTERRUPTED, "retry_step", {"target": "capture", "irreversible": True}),
        (INTERRUPTED, "resolve_step", {"status": "completed"}),
        (INTERRUPTED, "fail_step", {"status": "failed", "compensates": ["reserve"]}),
    ],
)
def test_what_a_decision_leads_to(decision: OpenDecision, call: str, leads_to: dict[str, Any]) -> None:
    found = action(facts("paused", decisions=(decision,)), call)

    assert (found.step, dict(found.leads_to)) == (decision.step, leads_to)


@pytest.mark.parametrize("call", ["resolve_step", "fail_step"])
def test_settling_the_last_step_of_a_run_that_is_cancelled_ends_it(call: str) -> None:
    assert action(facts("cancelling", decisions=(INTERRUPTED,)), call).leads_to == {"status": "cancelled"}


def test_cancelling_waits_for_what_is_executing() -> None:
    at_once = action(facts("running"), "cancel_run")
    later = action(facts("running", executing=("capture",)), "cancel_run")

    assert at_once.leads_to == {"status": "cancelled", "executing": [], "compensates": ["reserve"]}
    assert (later.leads_to["status"], later.leads_to["executing"]) == ("cancelling", ["capture"])


def test_several_open_decisions_are_offered_each_by_its_step() -> None:
    second = replace(APPROVAL, step="hold")
    given = facts("paused", decisions=(APPROVAL, second))

    assert [(str(each), each.step) for each in decision_actions(given)] == [
        ("approve_run", "review"),
        ("approve_run", "hold"),
        ("reject_run", "review"),
        ("reject_run", "hold"),
    ]
    assert list(allowed(given)) == ["approve_run", "reject_run", "cancel_run"]


def test_a_next_action_is_text_that_survives_copying() -> None:
    found = NextAction(
        "approve_run", action="approve", step="review", leads_to=OneStep(target="capture", irreversible=True)
    )

    assert found == "approve_run"
    for same in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert same.to_dict() == found.to_dict()
    assert json.loads(json.dumps(found.to_dict()))["action"] == "approve"


@pytest.mark.parametrize(
    ("status", "decisions", "token"),
    [
        ("running", (), "open"),
        ("paused", (APPROVAL,), "review#1"),
        ("paused", (replace(APPROVAL, visit=3), PAUSE), "hold#1,review#3"),
        ("completed", (), "completed"),
        ("failed", (INTERRUPTED,), "failed"),
    ],
)
def test_the_decision_token(status: str, decisions: tuple[OpenDecision, ...], token: str) -> None:
    assert decision_token(status, decisions) == token


def test_the_token_of_a_run_tells_its_replays_apart_and_names_none() -> None:
    tokens = [decision_token("failed", (), replay) for replay in (None, "r-2", "r-3")]
    assert len({*tokens}) == 3
    assert all(token.startswith("failed") and "r-" not in token for token in tokens)


# -- facts from rows -----------------------------------------------------------------------------------------------


class Order(BaseModel):
    order_id: str


def work(order_id: str) -> None: ...


def undo(order_id: str) -> None: ...


class Checkout(Workflow):
    place = Manual(Order)

    reserve = Step(work, compensate=undo)
    review = Approval(prompt="Really?")
    capture = Step(work, irreversible=True)
    settle = Wait(timedelta(seconds=5))
    decline = Step(work)
    hold = Pause()

    flow = [
        reserve >> review >> capture >> hold,
        capture.when("order_id", equals="1") >> settle,
        review.on_reject >> decline,
    ]


class Parallel(Workflow):
    place = Manual(Order)

    review = Approval(prompt="Really?", after=[])
    left = Step(work, after=[review], irreversible=True)
    right = Step(work, after=[review])


class Joined(Workflow):
    place = Manual(Order)

    legal = Approval(prompt="Legal?", after=[])
    money = Approval(prompt="Money?", after=[])
    done = Step(work, after=[legal, money])


CHECKOUT, PARALLEL, JOINED = Checkout.__squidmesh__, Parallel.__squidmesh__, Joined.__squidmesh__


def run(status: str = "paused", **columns: Any) -> RunFact:
    values: dict[str, Any] = {
        "id": "r",
        "workflow": "checkout",
        "trigger": "place",
        "status": status,
        "current_step": None,
        "position": 0,
        "remaining": 0,
        "open_steps": 0,
        "retrying_steps": 0,
        "revision": 0,
        "needs": None,
        "needs_count": 0,
        "needs_due_at": None,
        "needs_since": None,
        "compensation": None,
        "error": None,
        "acknowledged_at": None,
        "started_at": None,
        "actor": None,
    }
    return RunFact(**{**values, **columns})


def row(step: str, status: str = "completed", **columns: Any) -> StepFact:
    values: dict[str, Any] = {
        "id": step,
        "run_id": "r",
        "kind": "step",
        "step": step,
        "visit": 1,
        "status": status,
        "sees": 0,
        "position": None,
        "missing": 0,
        "attempts": 1,
        "abandoned": 0,
        "settings": {},
        "failure": None,
        "decision": None,
        "due_at": None,
        "decide_by": None,
        "started_at": None,
    }
    values |= columns
    return StepFact(**{**values, "settings": VisitSettings.read(values["settings"])})


def asked(kind: str, ok: str | None = None, error: str | None = None) -> dict[str, Any]:
    return {"kind": kind, "prompt": None, "permission": "pay", "ok": ok, "error": error, "output": None}


@pytest.mark.parametrize(
    ("spec", "step", "decision", "expected"),
    [
        (CHECKOUT, "review", asked("approval", "capture", "decline"), (("capture",), False, "decline")),
        (CHECKOUT, "hold", asked("pause"), ((), True, None)),
        (CHECKOUT, "capture", asked("interrupted"), (("hold", "settle"), False, None)),
        (CHECKOUT, "decline", asked("interrupted"), ((), True, None)),
        (PARALLEL, "review", asked("approval"), (("left", "right"), False, None)),
        (PARALLEL, "right", asked("interrupted"), ((), False, None)),
        (None, "review", asked("approval", "capture"), (("capture",), False, None)),
    ],
)
def test_where_an_open_decision_leads(
    spec: WorkflowSpec | None, step: str, decision: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    (found,) = open_decisions([row(step, "paused", decision=decision)], spec)

    assert (tuple(sorted(found.ok)), found.final, found.error) == expected
    assert found.permission == "pay"


def test_a_join_follows_only_once_everything_else_is_done() -> None:
    first = row("legal", "paused", decision=asked("approval"))

    (waiting,) = open_decisions([first], JOINED)
    (last,) = open_decisions([first, row("money")], JOINED)

    assert (waiting.ok, last.ok) == ((), ("done",))


def test_a_decision_that_was_taken_is_not_open() -> None:
    assert open_decisions([row("review", "completed", decision=asked("approval"))], CHECKOUT) == ()


@pytest.mark.rule("next-actions-lead-to")
def test_compensation_would_undo_what_completed_newest_first_and_only_once() -> None:
    undoable = {"compensate": "undo"}
    rows = [
        row("reserve", visit=1, position=1, settings=undoable),
        row("decline", visit=1, position=2),
        row("capture", visit=1, position=3, settings=undoable),
        row("capture", visit=2, status="failed", settings=undoable),
        row("review", visit=1, position=4, settings=undoable),
        row("review", visit=1, kind="compensation", settings=undoable),
    ]

    assert action_facts(run(), rows, CHECKOUT).undoes == ("capture", "reserve")


def test_the_facts_of_rows() -> None:
    rows = [
        row("reserve", "running"),
        row("old", position=1, settings={"irreversible": True}),
        row("reserve", "failed", kind="compensation"),
    ]
    given = run("failed", needs="failed", compensation="failed", acknowledged_at=datetime(2026, 1, 1, tzinfo=UTC))

    found = action_facts(given, rows, CHECKOUT)

    assert (found.status, found.compensation, found.needs, found.acknowledged) == ("failed", "failed", "failed", True)
    assert found.executing == ("reserve",)
    assert found.failed_compensations == ("reserve",)
    assert [step["step"] for step in found.unsafe] == ["old"]
    assert found.irreversible == {"capture", "old"}
    assert found.declared == frozenset(CHECKOUT.steps)
    assert action_facts(given, rows, None).declared is None


def test_an_interrupted_compensation_is_settled_although_the_run_has_ended() -> None:
    rows = [row("reserve", "paused", kind="compensation", decision=asked("interrupted"))]
    given = action_facts(run("failed", needs="interrupted", compensation="running"), rows, CHECKOUT)

    assert list(allowed(given)) == ["resolve_step", "fail_step"]
    assert action(given, "fail_step").leads_to == {}
