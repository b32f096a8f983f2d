from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_squidmesh import (
    CompensationContext,
    FailStep,
    Fixed,
    Manual,
    Retry,
    Step,
    StepContext,
    TransitionError,
    Workflow,
)
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]


def saga(script: Script, *, undo_b: tuple[Any, ...] = (None,), retry_b: Retry | None = None) -> type[Workflow]:
    """Three steps that can be undone and a fourth that fails."""

    class Saga(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", {"a": 1}), compensate=script.does("undo_a"))
        b = Step(script.does("b", {"b": 2}), compensate=script.does("undo_b", *undo_b), compensate_retry=retry_b)
        plain = Step(script.does("plain"))
        c = Step(script.does("c", {"id": 3}), compensate=script.does("undo_c"), output="c")
        last = Step(script.does("last", FailStep("declined", code="declined")))
        flow = [a >> b >> plain >> c >> last]

    return Saga


@pytest.mark.rule("compensating-order", "compensating-not-failed", "compensating-step-run", "compensating-key")
def test_a_failed_run_is_undone_newest_first(open_shop: OpenShop, script: Script) -> None:
    workflow = saga(script)
    shop = open_shop(workflow)
    run = shop.look(run_id := shop.run(workflow))
    assert script.calls == ["a", "b", "plain", "c", "last", "undo_c", "undo_b", "undo_a"]
    assert (run.status, run.compensation, run.needs.kind if run.needs else None) == ("failed", "completed", "failed")
    assert shop.visits(run_id)[5:] == [("undo c", "completed"), ("undo b", "completed"), ("undo a", "completed")]
    keys = [context.idempotency_key for context in script.contexts]
    assert len(set(keys)) == len(keys)


@pytest.mark.rule("compensating-given")
def test_a_compensation_is_told_what_it_undoes(open_shop: OpenShop) -> None:
    told: dict[str, Any] = {}

    def undo(ctx: CompensationContext, amount: int) -> None:
        told.update(input=ctx.input, output=ctx.output, failure=dict(ctx.failure or {}), amount=amount)

    def work(order_id: str) -> dict[str, Any]:
        return {"id": f"r-{order_id}"}

    class Undoing(Workflow):
        place = Manual(Order)
        reserve = Step(work, output="reservation", compensate=undo)
        change = Step(lambda: {"amount": 9})
        fail = Step(Script().does("fail", FailStep("declined", code="declined")))
        flow = [reserve >> change >> fail]

    shop = open_shop(Undoing)
    shop.run(Undoing)
    assert (told["input"], told["output"], told["amount"]) == ({"order_id": "o-1"}, {"id": "r-o-1"}, 9)
    assert told["failure"]["code"] == "declined"


@pytest.mark.rule("compensating-fails", "compensating-again")
def test_a_compensation_that_fails_does_not_stop_the_others_and_can_be_retried(
    open_shop: OpenShop, script: Script
) -> None:
    workflow = saga(script, undo_b=(OSError("no"), None))
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    run = shop.look(run_id)
    assert script.calls[5:] == ["undo_c", "undo_b", "undo_a"]
    assert (run.compensation, run.needs.kind if run.needs else None) == ("failed", "compensation_failed")
    answer = shop.mesh.retry_compensation(run_id, actor="lee")
    assert (answer.compensation, answer.needs.kind if answer.needs else None) == ("running", "failed")
    with pytest.raises(TransitionError):
        shop.mesh.retry_compensation(run_id, actor="lee")
    drain()
    assert script.calls[5:] == ["undo_c", "undo_b", "undo_a", "undo_b"]
    run = shop.look(run_id)
    assert (run.compensation, run.needs.kind if run.needs else None) == ("completed", "failed")
    undo_b = [context for context in script.contexts if context.step == "b"][1:]
    assert [context.attempt for context in undo_b] == [1, 2]
    assert len({context.idempotency_key for context in undo_b}) == 1
    assert "compensation_retried" in shop.events(run_id)


@pytest.mark.rule("compensating-retry", "replaying-compensating")
def test_a_compensation_has_a_retry_policy_of_its_own(open_shop: OpenShop, script: Script) -> None:
    workflow = saga(script, undo_b=(OSError("no"), None), retry_b=Retry(2, backoff=Fixed(60)))
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    run = shop.look(run_id)
    assert (run.status, run.compensation) == ("failed", "running")
    assert script.calls[5:] == ["undo_c", "undo_b"]
    with pytest.raises(TransitionError):
        shop.mesh.replay_run(run_id)
    shop.later(61)
    assert script.calls[5:] == ["undo_c", "undo_b", "undo_b", "undo_a"]
    assert shop.look(run_id).compensation == "completed"


@pytest.mark.rule("executor-compensations")
def test_a_queue_is_given_compensations_by_a_method_of_their_own(open_shop: OpenShop, script: Script) -> None:
    queue, workflow = Recording(continues=True), saga(script)
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    shop.deliver(run_id, "a")
    assert queue.steps == ["a", "undo"]
    for number in range(3):
        assert shop.deliver(run_id).outcome == "executed"
        assert queue.steps == ["a", *["undo"] * min(number + 2, 3)]
    assert shop.deliver(run_id).outcome == "duplicate"


@pytest.mark.rule("compensating-order")
def test_a_run_without_anything_to_undo_is_not_compensated(open_shop: OpenShop, script: Script) -> None:
    class Failing(Workflow):
        place = Manual(Order)
        work = Step(script.does("work", FailStep("no")), compensate=script.does("undo"))

    shop = open_shop(Failing)
    run = shop.look(shop.run(Failing))
    assert (run.status, run.compensation) == ("failed", None)
    assert script.calls == ["work"]


@pytest.mark.rule("compensating-loops")
def test_every_visit_of_a_loop_is_undone(open_shop: OpenShop, script: Script) -> None:
    from flask_squidmesh import Approval

    class Loop(Workflow):
        place = Manual(Order)
        book = Step(script.does("book", lambda ctx: {"n": ctx.visit}), compensate=script.does("unbook"))
        review = Approval("Good?")
        fail = Step(script.does("fail", FailStep("no")))
        flow = [book >> review >> fail, review.on_reject >> book]

    shop = open_shop(Loop)
    run_id = shop.run(Loop)
    shop.mesh.reject_run(run_id, actor="lee")
    drain()
    shop.mesh.approve_run(run_id, actor="lee")
    drain()
    undone = [context for context in script.contexts if isinstance(context, CompensationContext)]
    assert [(context.visit, context.output) for context in undone] == [(2, {"n": 2}), (1, {"n": 1})]


@pytest.mark.rule("compensating-passed-over")
def test_a_step_that_was_skipped_over_by_an_error_route_is_undone_later(open_shop: OpenShop, script: Script) -> None:
    class Routed(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"), compensate=script.does("undo_a"))
        b = Step(script.does("b", FailStep("no")), compensate=script.does("undo_b"))
        rescue = Step(script.does("rescue", FailStep("no")))
        flow = [a >> b, b.on_error >> rescue]

    shop = open_shop(Routed)
    shop.run(Routed)
    assert script.calls == ["a", "b", "rescue", "undo_a"]


@pytest.mark.rule("compensating-late")
def test_a_sibling_that_ends_after_the_failure_is_undone_too(open_shop: OpenShop, script: Script) -> None:
    shops: list[Shop] = []

    def slow(ctx: Any) -> dict[str, Any]:
        assert shops[0].deliver(ctx.run_id, "bad").status == "failed"
        return {"slow": 1}

    class Fanning(Workflow):
        place = Manual(Order)
        early = Step(script.does("early"), after=[], compensate=script.does("undo_early"))
        slow_ = Step(slow, after=[early], compensate=script.does("undo_slow"))
        bad = Step(script.does("bad", FailStep("no")), after=[early])

    queue = Recording()
    shops.append(shop := open_shop(Fanning, executor=queue))
    run_id = shop.start(Fanning)
    shop.deliver(run_id, "early")
    shop.deliver(run_id, "slow_")
    while shop.deliver(run_id).outcome == "executed":
        pass
    run = shop.look(run_id)
    assert (run.status, run.compensation) == ("failed", "completed")
    assert script.calls == ["early", "bad", "undo_early", "undo_slow"]
    assert dict(shop.visits(run_id))["slow_"] == "completed"


@pytest.mark.rule("compensating-late")
def test_what_ends_after_the_failure_is_undone_last_in_the_order_in_which_it_ended(
    open_shop: OpenShop, script: Script
) -> None:
    def first_bad(ctx: StepContext) -> None:
        assert shop.deliver(ctx.run_id, "bad").status == "failed"

    def first_quick(ctx: StepContext) -> None:
        shop.deliver(ctx.run_id, "quick")

    class Fanning(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"), after=[], compensate=script.does("undo_a"))
        b = Step(script.does("b"), after=[a], compensate=script.does("undo_b"))
        slow = Step(first_quick, after=[b], compensate=script.does("undo_slow"))
        quick = Step(first_bad, after=[b], compensate=script.does("undo_quick"))
        bad = Step(script.does("bad", FailStep("no")), after=[b])

    shop: Shop = open_shop(Fanning, executor=Recording())
    run_id = shop.start(Fanning)
    for step in ("a", "b", "slow"):
        shop.deliver(run_id, step)
    while shop.deliver(run_id).outcome == "executed":
        pass
    assert script.calls == ["a", "b", "bad", "undo_b", "undo_a", "undo_quick", "undo_slow"]
    assert shop.look(run_id).compensation == "completed"


@pytest.mark.rule("state-fixed", "compensating-given")
def test_a_compensation_sees_nothing_that_ended_after_it_was_called_for(open_shop: OpenShop, script: Script) -> None:
    def first_bad(ctx: StepContext) -> dict[str, int]:
        assert shop.deliver(ctx.run_id, "bad").status == "failed"
        return {"late": 1}

    class Fanning(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", {"early": 1}), after=[], compensate=script.does("undo_a"))
        slow = Step(first_bad, after=[a])
        bad = Step(script.does("bad", FailStep("no")), after=[a])

    shop: Shop = open_shop(Fanning, executor=Recording())
    run_id = shop.start(Fanning)
    for step in ("a", "slow"):
        shop.deliver(run_id, step)
    assert shop.look(run_id).context == {"early": 1, "late": 1}
    assert shop.deliver(run_id).outcome == "executed"
    assert script.calls == ["a", "bad", "undo_a"]
    assert script.contexts[-1].state.keys() & {"early", "late"} == {"early"}


@pytest.mark.rule("failing-sibling-after")
def test_a_sibling_that_fails_after_the_failure_changes_nothing(open_shop: OpenShop, script: Script) -> None:
    shops: list[Shop] = []

    def slow(ctx: Any) -> None:
        shops[0].deliver(ctx.run_id, "bad")
        raise FailStep("later")

    class Fanning(Workflow):
        place = Manual(Order)
        slow_ = Step(slow, after=[])
        bad = Step(script.does("bad", FailStep("first")), after=[])

    shops.append(shop := open_shop(Fanning, executor=Recording()))
    run_id = shop.start(Fanning)
    shop.deliver(run_id, "slow_")
    run = shop.look(run_id)
    assert run.last_error is not None
    assert (run.status, run.last_error["message"], run.current_step) == ("failed", "first", "bad")


@pytest.mark.rule("child-live-runs-only")
def test_a_compensation_starts_no_children(open_shop: OpenShop, script: Script) -> None:
    class Child(Workflow):
        place = Manual(Order)
        work = Step(script.does("child"))

    class Parent(Workflow):
        place = Manual(Order)
        reserve = Step(
            script.does("reserve"), compensate=script.does("undo", lambda ctx: ctx.start_child(Child, key="k"))
        )
        fail = Step(script.does("fail", FailStep("no")))
        flow = [reserve >> fail]

    shop = open_shop(Parent, Child)
    run = shop.look(shop.run(Parent))
    assert run.compensation == "failed"
    [undone] = [row for row in run.step_runs or () if row.kind == "compensation"]
    assert undone.error is not None
    assert "Children are started by steps of a live run" in undone.error["message"]
    assert len(shop.rows(tables.runs)) == 1


@pytest.mark.rule("compensating-function", "deploy-compensation-gone")
def test_the_function_that_undoes_may_be_gone_after_a_deploy(open_shop: OpenShop, script: Script) -> None:
    workflow = saga(script, undo_b=(OSError("no"),), retry_b=Retry(2, backoff=Fixed(60)))
    shop = open_shop(workflow)
    run_id = shop.run(workflow)

    class Deployed(Workflow):
        name = "saga"
        place = Manual(Order)
        a = Step(script.does("a"), compensate=script.does("undo_a"))
        b = Step(script.does("b"))
        flow = [a >> b]

    later = open_shop(Deployed)
    later.clock.advance(61)
    drain()
    run = later.look(run_id)
    assert run.compensation == "failed"
    assert script.calls[-1] == "undo_a"
    [row] = later.rows(tables.step_runs, tables.step_runs.c.kind == "compensation", tables.step_runs.c.step == "b")
    assert "no longer declares" in row.error["message"]


@pytest.mark.rule("compensating-twice")
def test_a_compensation_delivered_twice_is_done_once(open_shop: OpenShop, script: Script) -> None:
    queue, workflow = Recording(continues=True), saga(script)
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    shop.deliver(run_id, "a")
    done = ["executed", "executed", "executed", "duplicate", "duplicate"]
    assert [shop.deliver(run_id).outcome for _ in done] == done
    assert script.calls[5:] == ["undo_c", "undo_b", "undo_a"]
    assert shop.look(run_id).compensation == "completed"
