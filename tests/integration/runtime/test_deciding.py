from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel

from flask_squidmesh import (
    Approval,
    ConflictError,
    Manual,
    ManualActionError,
    Pause,
    RunNotFoundError,
    Step,
    TransitionError,
    Workflow,
)
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]


def reviewing(script: Script, **options: Any) -> type[Workflow]:
    class Reviewing(Workflow):
        place = Manual(Order)
        review = Approval("Capture {amount} for {order_id}?", **options)
        capture = Step(script.does("capture", lambda ctx: {"seen": dict(ctx.state)}))
        decline = Step(script.does("decline"))
        flow = [review >> capture, review.on_reject >> decline]

    return Reviewing


def pausing(script: Script, **options: Any) -> type[Workflow]:
    class Pausing(Workflow):
        place = Manual(Order)
        hold = Pause("Look at {order_id}", **options)
        work = Step(script.does("work"))
        flow = [hold >> work]

    return Pausing


# -- waiting for a decision --------------------------------------------------------------------------------------


def test_an_approval_shows_what_it_asks(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script, within=timedelta(hours=4), permission="payments.review", output="review")
    shop = open_shop(workflow)
    run = shop.look(shop.run(workflow))
    assert (run.status, run.decision, run.current_step) == ("paused", "review#1", "review")
    assert run.needs is not None
    assert (run.needs.kind, run.needs.count) == ("decision", 1)
    assert run.needs.due_at is not None
    assert 0 < (run.needs.due_at - shop.clock.now()).total_seconds() <= 4 * 3600
    [row] = shop.rows(tables.step_runs)
    assert row.decision == {
        "kind": "approval",
        "prompt": "Capture 5 for o-1?",
        "permission": "payments.review",
        "ok": "capture",
        "error": "decline",
        "output": "review",
    }
    assert shop.events(run.id) == ["paused"]


@pytest.mark.rule("decision-record")
def test_approval_goes_on_with_the_ok_route(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script, output="review")
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    answer = shop.mesh.approve_run(run_id, actor="lee", comment="known customer", metadata={"ticket": "SUP-42"})
    assert (answer.status, answer.needs, answer.current_step) == ("running", None, "capture")
    drain()
    run = shop.look(run_id)
    review = run.context["review"]
    assert {key: review[key] for key in review if key != "decided_at"} == {
        "option": "approve",
        "decision": "approved",
        "actor": "lee",
        "comment": "known customer",
        "metadata": {"ticket": "SUP-42"},
    }
    [_, approved] = run.audit_events or ()
    assert (approved.type, approved.actor, approved.comment, approved.step, approved.visit) == (
        *("approved", "lee", "known customer"),
        *("review", 1),
    )
    assert run.status == "completed"
    assert script.calls == ["capture"]


@pytest.mark.rule("decision-reject")
def test_rejection_goes_on_with_its_route(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    shop.mesh.reject_run(run_id, actor={"name": "lee"})
    drain()
    assert script.calls == ["decline"]
    review = shop.look(run_id).context["review"]
    assert (review["option"], review["decision"], review["actor"]) == ("reject", "rejected", {"name": "lee"})
    assert shop.events(run_id) == ["paused", "rejected"]


@pytest.mark.rule("decision-record")
def test_the_record_of_a_decision_overwrites_no_field_of_the_payload(open_shop: OpenShop, script: Script) -> None:
    class Asking(BaseModel):
        decision: str = "mine"
        actor: str = "dana"
        comment: str = "none"

    class Asked(Workflow):
        place = Manual(Asking)
        review = Approval("Good?")
        work = Step(script.does("work"))
        flow = [review >> work, review.on_reject >> work]

    shop = open_shop(Asked)
    run_id = shop.run(Asked)
    shop.mesh.approve_run(run_id, actor="lee", comment="fine")
    drain()
    seen = dict(script.contexts[0].state)
    review = seen.pop("review")
    assert seen == {"decision": "mine", "actor": "dana", "comment": "none"}
    assert (review["decision"], review["actor"], review["comment"]) == ("approved", "lee", "fine")


@pytest.mark.rule("decision-actor")
def test_a_pause_is_resumed_without_a_name_if_need_be(open_shop: OpenShop, script: Script) -> None:
    workflow = pausing(script, output="hold")
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    shop.mesh.unblock_run(run_id)
    drain()
    run = shop.look(run_id)
    assert (run.status, run.context["hold"]) == ("completed", {})
    assert shop.events(run_id) == ["paused", "resumed"]


def test_a_prompt_knows_the_decision_before(open_shop: OpenShop, script: Script) -> None:
    class Twice(Workflow):
        place = Manual(Order)
        first = Approval("First?", output="first")
        second = Approval("After {first}?")
        stop = Step(script.does("stop"))
        done = Step(script.does("done"))
        flow = [first >> second >> done, first.on_reject >> stop, second.on_reject >> stop]

    shop = open_shop(Twice)
    run_id = shop.run(Twice)
    shop.mesh.approve_run(run_id, actor="lee")
    [*_, second] = shop.look(run_id).step_runs or ()
    assert second.decision is not None
    assert '"approved"' in (second.decision["prompt"] or "")


@pytest.mark.rule("decision-stored", "deploy-approval-gone")
def test_an_open_decision_keeps_its_targets_after_a_deploy(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)

    class Deployed(Workflow):
        name = "reviewing"
        place = Manual(Order)
        review = Approval("Else?", output="other")
        audit = Step(script.does("audit"))
        capture = Step(script.does("capture"))
        decline = Step(script.does("decline"))
        flow = [review >> audit >> capture, review.on_reject >> decline]

    later = open_shop(Deployed)
    later.mesh.approve_run(run_id, actor="lee")
    drain()
    assert script.calls == ["capture"]
    assert "other" not in later.look(run_id).context


@pytest.mark.rule("decision-target-gone")
def test_a_target_that_is_gone_is_refused(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)

    class Deployed(Workflow):
        name = "reviewing"
        place = Manual(Order)
        review = Approval("Else?")
        decline = Step(script.does("decline"))
        flow = [review >> decline, review.on_reject >> decline]

    later = open_shop(Deployed)
    with pytest.raises(TransitionError, match="capture") as caught:
        later.mesh.approve_run(run_id, actor="lee")
    assert "reject_run" in caught.value.allowed
    later.mesh.reject_run(run_id, actor="lee")
    assert drain() == 1


# -- what callers say --------------------------------------------------------------------------------------------


@pytest.mark.rule("decision-actor", "decision-arguments")
@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, "actor"),
        ({"actor": ""}, "actor"),
        ({"actor": "  "}, "actor"),
        ({"actor": {}}, "actor"),
        ({"actor": 7}, "actor"),
        ({"actor": "a\0b"}, "actor"),
        ({"actor": "lee", "comment": ""}, "comment"),
        ({"actor": "lee", "comment": 7}, "comment"),
        ({"actor": "lee", "comment": "x" * 10_001}, "comment"),
        ({"actor": "lee", "comment": "a\0b"}, "comment"),
        ({"actor": "lee", "metadata": "text"}, "metadata"),
        ({"actor": "lee", "metadata": {"a": float("nan")}}, "metadata"),
        ({"actor": 7, "comment": 7, "metadata": 7}, "actor"),
    ],
)
def test_what_is_said_must_fit(migrated_sqlite_url: str, script: Script, said: dict[str, Any], field: str) -> None:
    shop = Shop(migrated_sqlite_url, workflow := reviewing(script))
    with shop.app.app_context():
        run_id = shop.run(workflow)
        with pytest.raises(ManualActionError) as caught:
            shop.mesh.approve_run(run_id, **said)
        assert caught.value.field == field
        assert shop.status(run_id) == "paused"
    shop.runtime.database.dispose()


@pytest.mark.rule("decision-arguments")
@pytest.mark.parametrize("field", ["actor", "metadata"])
def test_what_is_said_may_not_be_too_large(open_shop: OpenShop, script: Script, field: str) -> None:
    workflow = reviewing(script)
    shop = open_shop(workflow, max_payload_bytes=100)
    run_id = shop.run(workflow)
    said: dict[str, Any] = {"actor": "lee", field: {"much": "x" * 100}}
    with pytest.raises(ManualActionError, match="SQUIDMESH_MAX_PAYLOAD_BYTES allows 100") as caught:
        shop.mesh.approve_run(run_id, **said)
    assert caught.value.field == field
    assert shop.status(run_id) == "paused"


@pytest.mark.rule("malformed-id")
@pytest.mark.parametrize("run_id", ["nonsense", "", 7, None])
def test_an_id_that_is_none_is_no_run(migrated_sqlite_url: str, script: Script, run_id: Any) -> None:
    shop = Shop(migrated_sqlite_url, reviewing(script))
    with shop.app.app_context():
        for call in (shop.mesh.cancel_run, shop.mesh.unblock_run, shop.mesh.acknowledge_run, shop.mesh.inspect_run):
            with pytest.raises(RunNotFoundError):
                call(run_id)
    shop.runtime.database.dispose()


@pytest.mark.rule("malformed-id")
def test_a_run_that_is_not_there_is_not_found(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(reviewing(script))
    with pytest.raises(RunNotFoundError):
        shop.mesh.approve_run(uuid4(), actor="lee")


def test_ids_may_be_uuids_or_text(open_shop: OpenShop, script: Script) -> None:
    from uuid import UUID

    workflow = reviewing(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    assert shop.mesh.approve_run(UUID(run_id), actor="lee").id == run_id
    assert shop.mesh.inspect_run(run_id.upper()).id == run_id


@pytest.mark.rule("decision-not-fitting")
@pytest.mark.parametrize("call", ["approve_run", "reject_run", "unblock_run", "retry_step", "fail_step"])
def test_calls_that_do_not_fit_say_what_does(open_shop: OpenShop, script: Script, call: str) -> None:
    workflow = pausing(script) if call != "unblock_run" else reviewing(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    with pytest.raises(TransitionError) as caught:
        getattr(shop.mesh, call)(run_id, actor="lee")
    assert caught.value.status == "paused"
    assert "cancel_run" in caught.value.allowed
    assert call not in caught.value.allowed
    assert shop.events(run_id) == ["paused"]


@pytest.mark.rule("decision-second", "inspecting-audit")
def test_a_decision_twice_is_refused_the_second_time(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    shop.mesh.approve_run(run_id, actor="lee")
    with pytest.raises(TransitionError):
        shop.mesh.reject_run(run_id, actor="dana")
    assert shop.events(run_id) == ["paused", "approved"]


# -- decision tokens and idempotency keys ------------------------------------------------------------------------


@pytest.mark.rule("expected-token")
def test_a_stale_decision_token_is_a_conflict_and_does_nothing(open_shop: OpenShop, script: Script) -> None:
    class Rework(Workflow):
        place = Manual(Order)
        review = Approval("Publish?")
        publish = Step(script.does("publish"))
        revise = Step(script.does("revise"))
        flow = [review >> publish, review.on_reject >> revise, revise >> review]

    shop = open_shop(Rework)
    run_id = shop.run(Rework)
    seen = shop.look(run_id).decision
    shop.mesh.reject_run(run_id, actor="lee", expected=seen)
    drain()
    with pytest.raises(ConflictError) as caught:
        shop.mesh.approve_run(run_id, actor="dana", expected=seen)
    assert caught.value.current["decision"] == "review#2"
    assert caught.value.current["last_event"]["type"] == "paused"
    assert "publish" not in script.calls
    shop.mesh.approve_run(run_id, actor="dana", expected="review#2")
    drain()
    assert script.calls == ["revise", "publish"]


@pytest.mark.rule("expected-cancel")
def test_cancel_needs_only_that_the_run_is_not_finished(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    shop.mesh.cancel_run(run_id, actor="lee", expected="something older")
    with pytest.raises(ConflictError) as caught:
        shop.mesh.cancel_run(run_id, actor="lee", expected="open")
    assert caught.value.current["status"] == "cancelled"


@pytest.mark.rule("call-key-once")
def test_the_same_key_is_done_once_and_answered_as_before(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    first = shop.mesh.approve_run(run_id, actor="lee", idempotency_key="k", expected="review#1")
    drain()
    again = shop.mesh.approve_run(run_id, actor="lee", idempotency_key="k", expected="review#1")
    assert again == first
    assert (again.status, shop.status(run_id)) == ("running", "completed")
    assert shop.events(run_id) == ["paused", "approved"]
    with pytest.raises(TransitionError):
        shop.mesh.approve_run(run_id, actor="lee", idempotency_key="other")


OTHERWISE: list[dict[str, Any]] = [
    {"actor": "kim"},
    {"actor": {"id": "kim", "label": "lee"}},
    {"comment": "else"},
    {"comment": None},
    {"metadata": {"ticket": 2}},
    {"step": None},
    {"step": "elsewhere"},
]


@pytest.mark.rule("call-key-bound")
def test_a_key_is_that_of_one_person_and_the_same_arguments(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    said: dict[str, Any] = {
        **{"actor": "lee", "comment": "good", "metadata": {"ticket": 1}, "step": "review"},
        "idempotency_key": "k",
    }
    first = shop.mesh.approve_run(run_id, **said)
    same: dict[str, Any]
    for same in ({}, {"actor": " lee "}, {"actor": {"id": "lee", "label": "Lee"}}, {"expected": "review#1"}):
        assert shop.mesh.approve_run(run_id, **{**said, **same}) == first
    for otherwise in OTHERWISE:
        with pytest.raises(ConflictError, match="by somebody else or with other arguments"):
            shop.mesh.approve_run(run_id, **{**said, **otherwise})
    assert shop.events(run_id) == ["paused", "approved"]


def test_a_key_without_a_person_is_nobody_elses_either(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    first = shop.mesh.cancel_run(run_id, idempotency_key="k")
    assert shop.mesh.cancel_run(run_id, idempotency_key="k") == first
    with pytest.raises(ConflictError):
        shop.mesh.cancel_run(run_id, idempotency_key="k", actor="lee")
    with pytest.raises(ConflictError):
        shop.mesh.cancel_run(run_id, idempotency_key="k", compensate=True)


@pytest.mark.rule("call-key-free")
def test_a_key_belongs_to_one_call_on_one_run(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script)
    shop = open_shop(workflow)
    first, second = shop.run(workflow), shop.run(workflow)
    shop.mesh.approve_run(first, actor="lee", idempotency_key="k")
    assert shop.mesh.approve_run(second, actor="lee", idempotency_key="k").id == second
    drain()
    shop.mesh.replay_run(first, idempotency_key="k")


@pytest.mark.rule("call-key-free")
def test_a_refused_call_leaves_its_key_free(open_shop: OpenShop, script: Script) -> None:
    workflow = pausing(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    with pytest.raises(ConflictError):
        shop.mesh.unblock_run(run_id, idempotency_key="k", expected="hold#2")
    shop.mesh.unblock_run(run_id, idempotency_key="k", expected="hold#1")
    drain()
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("call-key-free")
@pytest.mark.parametrize("key", ["", "  ", 7, "k" * 201, "a\0b"])
def test_a_key_must_be_a_short_text(migrated_sqlite_url: str, script: Script, key: Any) -> None:
    shop = Shop(migrated_sqlite_url, workflow := pausing(script))
    with shop.app.app_context():
        run_id = shop.run(workflow)
        with pytest.raises(ConflictError):
            shop.mesh.unblock_run(run_id, idempotency_key=key)
    shop.runtime.database.dispose()


def test_answers_with_times_survive_being_stored(open_shop: OpenShop, script: Script) -> None:
    class Chain(Workflow):
        place = Manual(Order)
        first = Approval("First?")
        second = Approval("Second?", within=timedelta(hours=1))
        stop = Step(script.does("stop"))
        done = Step(script.does("done"))
        flow = [first >> second >> done, first.on_reject >> stop, second.on_reject >> stop]

    shop = open_shop(Chain)
    run_id = shop.run(Chain)
    first = shop.mesh.approve_run(run_id, actor="lee", idempotency_key="k")
    assert first.needs is not None
    assert first.needs.due_at is not None
    assert shop.mesh.approve_run(run_id, actor="lee", idempotency_key="k") == first


# -- joining the host's session ----------------------------------------------------------------------------------


@pytest.mark.rule("call-session")
def test_a_joined_decision_is_handed_over_after_the_commit(open_shop: OpenShop, script: Script) -> None:
    queue, workflow = Recording(), reviewing(script)
    shop = open_shop(workflow, executor=queue)
    run_id = shop.run(workflow)
    shop.mesh.approve_run(run_id, actor="lee", session=shop.db.session)
    assert queue.given == []
    shop.db.session.commit()
    assert queue.steps == ["capture"]


@pytest.mark.rule("call-session")
def test_a_joined_decision_that_is_rolled_back_was_never_taken(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    shop.mesh.approve_run(run_id, actor="lee", session=shop.db.session, idempotency_key="k")
    shop.db.session.rollback()
    assert (shop.status(run_id), shop.events(run_id)) == ("paused", ["paused"])
    shop.mesh.reject_run(run_id, actor="dana", expected="review#1")


# -- ending ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("audit-who", "acknowledge")
def test_a_failed_run_is_acknowledged_once(open_shop: OpenShop, script: Script) -> None:
    class Failing(Workflow):
        place = Manual(Order)
        work = Step(script.does("work", OSError("no")))

    shop = open_shop(Failing)
    run_id = shop.run(Failing)
    answer = shop.mesh.acknowledge_run(run_id, actor="lee", comment="seen", expected="failed")
    assert (answer.status, answer.needs) == ("failed", None)
    assert answer.acknowledged_at is not None
    with pytest.raises(TransitionError):
        shop.mesh.acknowledge_run(run_id, actor="lee")
    assert shop.events(run_id) == ["acknowledged"]


@pytest.mark.rule("decision-hand-over-fails")
def test_a_decision_stands_though_its_hand_over_fails(open_shop: OpenShop, script: Script) -> None:
    queue, workflow = Recording(), reviewing(script)
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    queue.failing = ConnectionError("the queue is away")
    answer = shop.mesh.approve_run(run_id, actor="lee")
    assert (answer.status, answer.current_step) == ("running", "capture")
    assert shop.events(run_id) == ["paused", "approved"]
    assert shop.deliver(run_id, "capture").status == "completed"


@pytest.mark.rule("decision-overdue")
def test_an_overdue_decision_stays_open(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script, within=timedelta(hours=1))
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    shop.later(timedelta(days=30))
    assert (shop.status(run_id), shop.events(run_id)) == ("paused", ["paused"])
    shop.mesh.approve_run(run_id, actor="lee")
    drain()
    assert shop.status(run_id) == "completed"
