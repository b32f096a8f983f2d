"""Dependency workflows: fan-out, joins, and what happens between siblings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import (
    Approval,
    FailStep,
    Fixed,
    Manual,
    ManualActionError,
    Pause,
    Retry,
    RetryStep,
    Step,
    TransitionError,
    Wait,
    Workflow,
)
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop, error_of

OpenShop = Callable[..., Shop]


@pytest.mark.rule("dispatch-ready-steps")
def test_all_roots_are_handed_over_together(open_shop: OpenShop, script: Script) -> None:
    class Roots(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"), after=[])
        b = Step(script.does("b"), after=[])
        c = Step(script.does("c"), after=[a, b])

    queue = Recording()
    shop = open_shop(Roots, executor=queue)
    run = shop.mesh.start_run(Roots, {})
    assert queue.steps == ["a", "b"]
    assert run.current_step is None
    shop.deliver(run.id, "b")
    assert queue.steps == ["a", "b"]
    assert shop.deliver(run.id, "c").outcome == "duplicate"
    shop.deliver(run.id, "a")
    assert queue.steps == ["a", "b", "c"]
    assert shop.deliver(run.id, "c").status == "completed"


@pytest.mark.rule("depending-parents")
def test_a_child_does_not_wait_for_roots_that_are_none_of_its_parents(open_shop: OpenShop, script: Script) -> None:
    class Uneven(Workflow):
        place = Manual(Order)
        slow = Wait(3600, after=[])
        fast = Step(script.does("fast"), after=[])
        after_fast = Step(script.does("after_fast"), after=[fast])
        deep = Step(script.does("deep"), after=[after_fast])
        join = Step(script.does("join"), after=[slow, deep])

    shop = open_shop(Uneven)
    run_id = shop.run(Uneven)
    assert script.calls == ["fast", "after_fast", "deep"]
    assert shop.status(run_id) == "running"
    shop.later(3600)
    assert (script.calls[-1], shop.status(run_id)) == ("join", "completed")


@pytest.mark.rule("depending-sees")
def test_a_join_counts_its_parents_and_sees_only_its_ancestors(open_shop: OpenShop, script: Script) -> None:
    class Diamond(Workflow):
        place = Manual(Order)
        top = Step(script.does("top", {"top": 1}), after=[])
        left = Step(script.does("left", {"left": 1}), after=[top])
        right = Step(script.does("right", {"right": 1}), after=[top])
        other = Step(script.does("other", {"other": 1}), after=[])
        bottom = Step(script.does("bottom", lambda ctx: {"saw": sorted(ctx.state)}), after=[left, right])
        of_left = Step(script.does("of_left", lambda ctx: {"left_saw": sorted(ctx.state)}), after=[left])

    shop = open_shop(Diamond)
    run = shop.look(shop.run(Diamond))
    assert run.status == "completed"
    assert run.context["saw"] == ["amount", "left", "order_id", "right", "top"]
    assert run.context["left_saw"] == ["amount", "left", "order_id", "top"]
    assert script.calls.count("bottom") == 1


@pytest.mark.rule("retry-siblings")
def test_a_retrying_sibling_holds_up_only_its_own_join(open_shop: OpenShop, script: Script) -> None:
    class Retrying(Workflow):
        place = Manual(Order)
        bad = Step(script.does("bad", RetryStep("busy"), None), after=[], retry=Retry(2, backoff=Fixed(60)))
        good = Step(script.does("good"), after=[])
        next_good = Step(script.does("next_good"), after=[good])
        join = Step(script.does("join"), after=[bad, next_good])

    shop = open_shop(Retrying)
    run_id = shop.run(Retrying)
    assert script.calls == ["bad", "good", "next_good"]
    assert shop.status(run_id) == "retrying"
    shop.later(61)
    assert script.calls[3:] == ["bad", "join"]
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("retry-siblings")
def test_two_siblings_may_retry_at_once(open_shop: OpenShop, script: Script) -> None:
    class Both(Workflow):
        place = Manual(Order)
        one = Step(script.does("one", RetryStep("busy"), None), after=[], retry=Retry(2, backoff=Fixed(60)))
        two = Step(script.does("two", RetryStep("busy"), None), after=[], retry=Retry(2, backoff=Fixed(120)))
        join = Step(script.does("join"), after=[one, two])

    shop = open_shop(Both)
    run_id = shop.run(Both)
    assert shop.status(run_id) == "retrying"
    shop.later(61)
    assert shop.status(run_id) == "retrying"
    shop.later(60)
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("failing-dependency")
def test_a_final_failure_ends_the_run_and_its_waiting_siblings(open_shop: OpenShop, script: Script) -> None:
    class Failing(Workflow):
        place = Manual(Order)
        done = Step(script.does("done"), after=[], compensate=script.does("undo"))
        waiting = Wait(3600, after=[])
        review = Approval("Good?", after=[done])
        bad = Step(script.does("bad", FailStep("no")), after=[done])
        join = Step(script.does("join"), after=[waiting, bad])

    shop = open_shop(Failing)
    run_id = shop.run(Failing)
    run = shop.look(run_id)
    assert (run.status, run.current_step, run.needs.kind if run.needs else None) == ("failed", "bad", "failed")
    states = dict(shop.visits(run_id))
    assert (states["waiting"], states["review"], "join" in states) == ("cancelled", "cancelled", False)
    assert (script.calls[-1], run.compensation) == ("undo", "completed")
    shop.later(4000)
    assert "join" not in script.calls


@pytest.mark.rule("wait-join")
def test_a_join_that_opens_as_a_wait_waits_from_then_on(open_shop: OpenShop, script: Script) -> None:
    class Waiting(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"), after=[])
        b = Wait(100, after=[])
        settle = Wait(100, after=[a, b])
        last = Step(script.does("last"), after=[settle])

    shop = open_shop(Waiting)
    run_id = shop.run(Waiting)
    shop.later(101)
    shop.later(50)
    assert script.calls == ["a"]
    shop.later(51)
    assert shop.status(run_id) == "completed"


def approving(script: Script) -> type[Workflow]:
    class Approving(Workflow):
        place = Manual(Order)
        load = Step(script.does("load", {"loaded": "yes"}), after=[])
        legal = Approval("Legal: {loaded}?", after=[load], output="legal", within=3600)
        finance = Approval("Finance: {order_id}?", after=[], output="finance")
        hold = Pause("Hold", after=[])
        slow = Wait(600, after=[])
        publish = Step(script.does("publish", lambda ctx: {"saw": sorted(ctx.state)}), after=[legal, finance])

    return Approving


@pytest.mark.rule("declaring-manual-steps", "decision-beside", "decision-several", "inspecting-needs")
def test_decisions_are_open_while_other_work_goes_on(open_shop: OpenShop, script: Script) -> None:
    workflow = approving(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    run = shop.look(run_id)
    assert run.status == "running"
    assert run.needs is not None
    assert (run.needs.kind, run.needs.count) == ("decision", 3)
    assert run.needs.due_at is not None
    assert run.decision == "finance#1,hold#1,legal#1"
    shop.later(601)
    assert shop.status(run_id) == "paused"
    with pytest.raises(ManualActionError) as caught:
        shop.mesh.approve_run(run_id, actor="lee")
    assert caught.value.field == "step"
    answer = shop.mesh.approve_run(run_id, actor="lee", step="legal")
    assert answer.needs is not None
    assert (answer.status, answer.needs.count, answer.needs.due_at) == ("paused", 2, None)
    shop.mesh.approve_run(run_id, actor="lee")
    drain()
    assert script.calls == ["load", "publish"]
    answer = shop.mesh.unblock_run(run_id)
    assert (answer.status, answer.needs) == ("completed", None)


@pytest.mark.rule("inspecting-needs")
def test_needs_keep_since_when_the_oldest_decision_waits(open_shop: OpenShop, script: Script) -> None:
    workflow = approving(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    before = shop.look(run_id).needs
    shop.clock.advance(60)
    after = shop.mesh.approve_run(run_id, actor="lee", step="legal").needs
    assert before is not None
    assert after is not None
    assert (after.since - before.since).total_seconds() < 1  # type: ignore[operator]


@pytest.mark.rule("decision-within")
def test_a_decision_behind_a_join_has_its_time_from_when_it_was_asked_for(open_shop: OpenShop, script: Script) -> None:
    class Reviewing(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"), after=[])
        settle = Wait(36_000, after=[])
        review = Approval("Good?", after=[work, settle], within=timedelta(hours=1))

    shop = open_shop(Reviewing)
    run_id = shop.run(Reviewing)
    shop.later(36_001)
    asked = shop.clock.now()
    assert shop.mesh.explain_run(run_id).details["deadline"] == "on_time"
    needs = shop.look(run_id).needs
    assert needs is not None
    assert needs.since is not None
    assert asked - needs.since < timedelta(minutes=1)
    shop.clock.advance(timedelta(minutes=50))
    assert shop.mesh.explain_run(run_id).details["deadline"] == "due_soon"


@pytest.mark.rule("decision-reject-dependency")
def test_a_rejection_fails_a_dependency_run(open_shop: OpenShop, script: Script) -> None:
    workflow = approving(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    shop.mesh.reject_run(run_id, actor="lee", step="finance", comment="too expensive")
    run = shop.look(run_id)
    assert (run.status, error_of(run)["message"], error_of(run)["code"]) == ("failed", "too expensive", "rejected")
    assert shop.rows(tables.dispatches) == []


@pytest.mark.rule("decision-reject-dependency")
def test_a_rejection_undoes_what_was_done_and_closes_other_decisions(open_shop: OpenShop, script: Script) -> None:
    class Publishing(Workflow):
        place = Manual(Order)
        reserve = Step(script.does("reserve"), after=[], compensate=script.does("release"))
        legal = Approval("Lawful?", after=[reserve])
        finance = Approval("Affordable?", after=[reserve])
        publish = Step(script.does("publish"), after=[legal, finance])

    shop = open_shop(Publishing)
    run_id = shop.run(Publishing)
    answer = shop.mesh.reject_run(run_id, actor="lee", step="legal")
    assert (answer.needs and answer.needs.kind, answer.compensation) == ("failed", "running")
    drain()
    assert shop.look(run_id).compensation == "completed"
    states = dict(shop.visits(run_id))
    assert (states["legal"], states["finance"], states["undo reserve"]) == ("failed", "cancelled", "completed")
    assert script.calls == ["reserve", "release"]
    with pytest.raises(TransitionError):
        shop.mesh.approve_run(run_id, actor="lee", step="finance")


@pytest.mark.rule("inspecting-needs")
def test_needs_name_the_earliest_due_time_of_those_that_are_open(open_shop: OpenShop, script: Script) -> None:
    class Reviewing(Workflow):
        place = Manual(Order)
        late = Approval("Later?", after=[], within=timedelta(hours=9))
        soon = Approval("Soon?", after=[], within=timedelta(hours=1))
        some_day = Approval("Ever?", after=[])

    shop = open_shop(Reviewing)
    run_id = shop.run(Reviewing)

    def hours() -> float | None:
        needs = shop.look(run_id).needs
        assert needs is not None
        return round((needs.due_at - shop.clock.now()).total_seconds() / 3600) if needs.due_at else None

    assert hours() == 1
    shop.mesh.approve_run(run_id, actor="lee", step="soon")
    assert hours() == 9
    shop.mesh.approve_run(run_id, actor="lee", step="late")
    assert hours() is None


@pytest.mark.rule("current-step")
def test_a_run_is_at_no_one_step_unless_one_is_asked_about_or_tried_again(open_shop: OpenShop, script: Script) -> None:
    class Reviewing(Workflow):
        place = Manual(Order)
        review = Approval("Good?", after=[])
        busy = Step(script.does("busy", RetryStep("busy"), None), after=[review], retry=Retry(2, backoff=Fixed(60)))
        settle = Wait(3600, after=[busy])

    shop = open_shop(Reviewing)
    run_id = shop.run(Reviewing)
    assert shop.look(run_id).current_step == "review"
    assert shop.mesh.approve_run(run_id, actor="lee").current_step is None
    drain()
    assert (shop.status(run_id), shop.look(run_id).current_step) == ("retrying", "busy")
    shop.later(61)
    assert (shop.status(run_id), shop.look(run_id).current_step) == ("running", None)


@pytest.mark.rule("decision-several")
def test_a_decision_is_looked_for_at_the_step_that_is_named(open_shop: OpenShop, script: Script) -> None:
    workflow = approving(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    for step in ("hold", "load", "nowhere"):
        with pytest.raises(TransitionError, match=f"no approval open at step {step}; it has at: finance, legal"):
            shop.mesh.approve_run(run_id, actor="lee", step=step)
    assert shop.mesh.unblock_run(run_id).needs.count == 2  # type: ignore[union-attr]


@pytest.mark.rule("decision-join")
def test_a_join_may_be_a_decision(open_shop: OpenShop, script: Script) -> None:
    class Joined(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", {"text": "hello"}), after=[])
        b = Step(script.does("b"), after=[])
        review = Approval("Send {text}?", after=[a, b])
        send = Step(script.does("send"), after=[review])

    shop = open_shop(Joined)
    run_id = shop.run(Joined)
    assert shop.status(run_id) == "paused"
    [review] = [row for row in shop.look(run_id).step_runs or () if row.step == "review"]
    assert review.decision is not None
    assert review.decision["prompt"] == "Send hello?"
    shop.mesh.approve_run(run_id, actor="lee", expected="review#1")
    drain()
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("in-place-fan-out")
def test_a_fan_out_goes_on_in_place_with_one_and_hands_the_others_over(open_shop: OpenShop, script: Script) -> None:
    class Fan(Workflow):
        place = Manual(Order)
        top = Step(script.does("top"), after=[])
        one = Step(script.does("one"), after=[top])
        two = Step(script.does("two"), after=[top])
        three = Step(script.does("three"), after=[top])

    queue = Recording(continues=True)
    shop = open_shop(Fan, executor=queue)
    run_id = shop.start(Fan)
    shop.deliver(run_id, "top")
    assert script.calls == ["top", "one"]
    assert queue.steps == ["top", "two", "three"]
    shop.deliver(run_id, "two")
    assert shop.deliver(run_id, "three").status == "completed"


@pytest.mark.rule("deploy-added")
def test_a_step_added_to_the_end_after_a_deploy_is_performed(open_shop: OpenShop, script: Script) -> None:
    class Growing(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"), after=[])
        b = Wait(60, after=[a])

    shop = open_shop(Growing)
    run_id = shop.run(Growing)

    class Deployed(Workflow):
        name = "growing"
        place = Manual(Order)
        a = Step(script.does("a"), after=[])
        b = Wait(60, after=[a])
        c = Step(script.does("c"), after=[b])

    later = open_shop(Deployed)
    later.clock.advance(61)
    drain()
    assert (script.calls, later.status(run_id)) == (["a", "c"], "completed")


@pytest.mark.rule("depending-join")
def test_a_join_of_three_begins_with_the_last_of_them(open_shop: OpenShop, script: Script) -> None:
    class Three(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"), after=[])
        b = Step(script.does("b"), after=[])
        c = Step(script.does("c"), after=[])
        join = Step(script.does("join"), after=[a, b, c])

    queue = Recording()
    shop = open_shop(Three, executor=queue)
    run_id = shop.start(Three)
    for step in ("b", "a"):
        shop.deliver(run_id, step)
        assert shop.deliver(run_id, "join").outcome == "duplicate"
    shop.deliver(run_id, "c")
    assert shop.deliver(run_id, "join").status == "completed"
    assert script.calls == ["b", "a", "c", "join"]


@pytest.mark.rule("depending-same-key")
def test_what_two_steps_side_by_side_returned_is_given_to_nobody(open_shop: OpenShop) -> None:
    def take(data: dict[str, str]) -> None:
        raise AssertionError("not called")

    def take_all(**rest: Any) -> None:
        raise AssertionError("not called")

    for taking in (take, take_all):

        class Racing(Workflow):
            name = taking.__name__
            place = Manual(Order)
            read = Step(lambda: {"data": {"from": "read"}}, after=[])
            load = Step(lambda: {"data": {"from": "load"}}, after=[])
            taken = Step(taking, after=[read, load])

        shop = open_shop(Racing)
        run = shop.look(shop.run(Racing))
        assert run.needs is not None
        assert run.needs.kind == "incident"
        [step_run] = [each for each in run.step_runs or () if each.step == "taken"]
        assert step_run.error is not None
        assert "steps load and read ran side by side and both returned data" in step_run.error["message"]


@pytest.mark.rule("depending-same-key")
def test_what_a_later_step_returned_once_more_is_not_disputed(open_shop: OpenShop, script: Script) -> None:
    def merge(payload: Order) -> dict[str, str]:
        return {"data": "merged"}

    def take(data: str, other: str) -> dict[str, str]:
        return {"taken": data + other}

    class Merging(Workflow):
        place = Manual(Order)
        read = Step(lambda: {"data": "read"}, after=[])
        load = Step(lambda: {"data": "load", "other": "!"}, after=[])
        merged = Step(merge, after=[read, load])
        taken = Step(take, after=[merged])

    shop = open_shop(Merging)
    assert shop.look(shop.run(Merging)).context["taken"] == "merged!"
