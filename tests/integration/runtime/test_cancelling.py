from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_squidmesh import (
    Approval,
    FailStep,
    Fixed,
    Manual,
    Pause,
    Retry,
    RetryStep,
    Step,
    StepContext,
    TransitionError,
    Wait,
    Workflow,
)
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]


def waiting(script: Script) -> dict[str, type[Workflow]]:
    """One workflow for each way of not executing anything."""

    class Pending(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))

    class Waiting(Workflow):
        place = Manual(Order)
        first = Step(script.does("first"), compensate=script.does("undo"))
        settle = Wait(86_400)
        work = Step(script.does("work"))
        flow = [first >> settle >> work]

    class Retrying(Workflow):
        place = Manual(Order)
        first = Step(script.does("first"), compensate=script.does("undo"))
        work = Step(script.does("work", RetryStep("busy")), retry=Retry(2, backoff=Fixed(86_400)))
        flow = [first >> work]

    class Paused(Workflow):
        place = Manual(Order)
        first = Step(script.does("first"), compensate=script.does("undo"))
        hold = Pause("Go on?")
        work = Step(script.does("work"))
        flow = [first >> hold >> work]

    class Interrupted(Workflow):
        place = Manual(Order)
        first = Step(script.does("first"), compensate=script.does("undo"))
        work = Step(script.does("work", OSError("unknown")), irreversible=True)
        flow = [first >> work]

    class Asking(Workflow):
        place = Manual(Order)
        first = Step(script.does("first"), after=[], compensate=script.does("undo"))
        settle = Wait(86_400, after=[])
        review = Approval("Go on?", after=[first])
        work = Step(script.does("work"), after=[settle, review])

    return {each.__name__.lower(): each for each in (Pending, Waiting, Retrying, Paused, Interrupted, Asking)}


WAYS = ("pending", "waiting", "retrying", "paused", "interrupted", "asking")


@pytest.mark.rule(
    "audit-who", "cancelling-at-once", "cancelling-decision", "cancelled-needs-nobody", "cancelling-recorded-who"
)
@pytest.mark.parametrize("way", WAYS)
def test_with_nothing_executing_a_run_is_cancelled_at_once(open_shop: OpenShop, script: Script, way: str) -> None:
    workflow = waiting(script)[way]
    shop = open_shop(workflow, executor="database")
    run_id = shop.start(workflow)
    if way != "pending":
        drain()
    answer = shop.mesh.cancel_run(run_id, actor="lee", comment="changed my mind")
    assert (answer.status, answer.needs, answer.current_step) == ("cancelled", None, None)
    assert answer.finished_at is not None
    assert shop.rows(tables.dispatches) == []
    assert not {status for _, status in shop.visits(run_id)} & {"pending", "running", "paused"}
    calls = list(script.calls)
    shop.later(100_000)
    assert script.calls == calls
    [cancelled] = [event for event in shop.look(run_id).audit_events or () if event.type == "cancelled"]
    assert (cancelled.actor, cancelled.comment) == ("lee", "changed my mind")


@pytest.mark.rule("cancelling-undoes-nothing", "cancelling-compensate")
@pytest.mark.parametrize("way", WAYS[1:])
def test_cancelling_may_undo_what_was_done(open_shop: OpenShop, script: Script, way: str) -> None:
    workflow = waiting(script)[way]
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    answer = shop.mesh.cancel_run(run_id, actor="lee", compensate=True)
    assert (answer.status, answer.compensation) == ("cancelled", "running")
    drain()
    run = shop.look(run_id)
    assert (run.status, run.compensation, run.needs) == ("cancelled", "completed", None)
    assert script.calls[-1] == "undo"


@pytest.mark.rule("cancelling-undoes-nothing")
def test_cancelling_with_nothing_to_undo_leaves_no_mark(open_shop: OpenShop, script: Script) -> None:
    workflow = waiting(script)["pending"]
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    assert shop.mesh.cancel_run(run_id, actor="lee", compensate=True).compensation is None


@pytest.mark.rule("cancelling-finished")
@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_a_finished_run_cannot_be_cancelled(open_shop: OpenShop, script: Script, end: str) -> None:
    class Ending(Workflow):
        place = Manual(Order)
        work = Step(script.does("work", FailStep("no") if end == "failed" else None))

    shop = open_shop(Ending)
    run_id = shop.start(Ending)
    if end == "cancelled":
        shop.mesh.cancel_run(run_id, actor="lee")
    drain()
    with pytest.raises(TransitionError) as caught:
        shop.mesh.cancel_run(run_id, actor="lee")
    assert caught.value.status == end


def executing(script: Script, shop: Callable[[], Shop], *outcomes: Any, **options: Any) -> type[Workflow]:
    """A workflow whose second step is cancelled while it runs."""
    plan = list(outcomes)

    def work(ctx: StepContext) -> Any:
        assert not ctx.cancelled
        answer = shop().mesh.cancel_run(ctx.run_id, actor="lee", compensate=True)
        assert (answer.status, ctx.cancelled) == ("cancelling", True)
        with pytest.raises(TransitionError):
            shop().mesh.cancel_run(ctx.run_id, actor="lee")
        outcome = plan.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    class Executing(Workflow):
        place = Manual(Order)
        first = Step(script.does("first"), compensate=script.does("undo_first"))
        work_ = Step(work, compensate=script.does("undo_work"), **options)
        last = Step(script.does("last"))
        flow = [first >> work_ >> last]

    return Executing


@pytest.mark.rule("cancelling-executing", "cancelling-recorded", "cancelling-asked", "cancelling-compensate")
@pytest.mark.parametrize(
    ("outcome", "status", "undone"),
    [
        ({"done": 1}, "completed", ["undo_work", "undo_first"]),
        (FailStep("no"), "failed", ["undo_first"]),
        (RetryStep("busy"), "failed", ["undo_first"]),
    ],
)
def test_a_step_that_is_executing_is_recorded_in_full_and_counts(
    open_shop: OpenShop, script: Script, outcome: Any, status: str, undone: list[str]
) -> None:
    shops: list[Shop] = []
    workflow = executing(script, lambda: shops[0], outcome, retry=Retry(3))
    shops.append(shop := open_shop(workflow))
    run_id = shop.run(workflow)
    run = shop.look(run_id)
    assert (run.status, run.compensation) == ("cancelled", "completed")
    assert script.calls == ["first", *undone]
    assert dict(shop.visits(run_id))["work_"] == status


@pytest.mark.rule("interrupted-ending", "interrupted-retry")
def test_an_irreversible_step_whose_effect_is_unknown_keeps_the_run_cancelling(
    open_shop: OpenShop, script: Script
) -> None:
    shops: list[Shop] = []

    def work(ctx: StepContext) -> None:
        shops[0].mesh.cancel_run(ctx.run_id, actor="lee")
        raise OSError("unknown")

    class Charging(Workflow):
        place = Manual(Order)
        charge = Step(work, irreversible=True)

    shops.append(shop := open_shop(Charging))
    run_id = shop.run(Charging)
    run = shop.look(run_id)
    assert (run.status, run.needs.kind if run.needs else None) == ("cancelling", "interrupted")
    with pytest.raises(TransitionError):
        shop.mesh.retry_step(run_id, actor="lee")
    answer = shop.mesh.resolve_step(run_id, output={"charge": "c-1"}, actor="lee")
    assert (answer.status, answer.needs) == ("cancelled", None)
    assert shop.look(run_id).context == {"charge": "c-1"}


def test_a_delivery_of_a_cancelling_step_is_put_off(open_shop: OpenShop, script: Script) -> None:
    shops: list[Shop] = []
    outcomes = []

    def work(ctx: StepContext) -> None:
        shops[0].mesh.cancel_run(ctx.run_id, actor="lee")
        outcomes.append(shops[0].deliver(ctx.run_id, "work_").outcome)

    class Working(Workflow):
        place = Manual(Order)
        work_ = Step(work)

    shops.append(shop := open_shop(Working, executor=Recording()))
    run_id = shop.start(Working)
    assert shop.deliver(run_id, "work_").status == "cancelled"
    assert outcomes == ["too_early"]


@pytest.mark.rule("cancelling-siblings", "cancelling-executing")
def test_what_executes_is_waited_for_beside_a_join_that_has_not_begun(open_shop: OpenShop, script: Script) -> None:
    class Joining(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"), after=[])
        b = Step(script.does("b"), after=[])
        c = Step(script.does("c"), after=[a, b])

    shop = open_shop(Joining)
    run_id = shop.start(Joining)
    first, second = shop.claim_due(limit=2)
    shop.perform(first)
    assert shop.mesh.cancel_run(run_id, actor="lee").status == "cancelling"
    assert shop.perform(second) == "cancelled"
    assert sorted(shop.visits(run_id)) == [("a", "completed"), ("b", "completed"), ("c", "cancelled")]


@pytest.mark.rule("cancelling-siblings")
def test_siblings_that_execute_are_waited_for(open_shop: OpenShop, script: Script) -> None:
    shops: list[Shop] = []
    seen = []

    def left(ctx: StepContext) -> None:
        shops[0].mesh.cancel_run(ctx.run_id, actor="lee")
        seen.append(shops[0].status(ctx.run_id))

    class Fanning(Workflow):
        place = Manual(Order)
        left_ = Step(left, after=[])
        right = Step(script.does("right"), after=[])
        join = Step(script.does("join"), after=[left_, right])

    shops.append(shop := open_shop(Fanning, executor=Recording()))
    run_id = shop.start(Fanning)
    assert shop.deliver(run_id, "left_").status == "cancelled"
    assert seen == ["cancelling"]
    assert shop.deliver(run_id, "right").outcome == "cancelled"
    assert sorted(shop.visits(run_id)) == [("left_", "completed"), ("right", "cancelled")]
