from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_squidmesh import ConflictError, Manual, Retry, RetryStep, Step, StepContext, UnknownWorkflowError, Workflow
from flask_squidmesh.storage import tables
from tests.shop import Order, Script, Shop

OpenShop = Callable[..., Shop]


def family(script: Script, work: Callable[[StepContext, type[Workflow]], Any]) -> tuple[type[Workflow], type[Workflow]]:
    class Child(Workflow):
        place = Manual(Order)
        by_hand = Manual(Order)
        work = Step(script.does("child"))

    def start(ctx: StepContext) -> Any:
        return work(ctx, Child)

    class Parent(Workflow):
        place = Manual(Order)
        start_ = Step(start, retry=Retry(3))

    return Parent, Child


@pytest.mark.rule("starting-actor", "child-linked")
def test_a_child_is_linked_both_ways(open_shop: OpenShop, script: Script) -> None:
    parent, child = family(
        script, lambda ctx, child: {"child": ctx.start_child(child, {"order_id": "o-9"}, key="k", trigger="by_hand")}
    )
    shop = open_shop(parent, child)
    run_id = shop.run(parent, actor="dana")
    run = shop.look(run_id)
    [child_id] = run.children
    started = shop.look(child_id)
    assert run.context == {"child": child_id}
    assert (started.parent_run_id, started.parent_step, started.actor) == (run_id, "start_", "dana")
    assert (started.status, started.trigger, started.payload["order_id"]) == ("completed", "by_hand", "o-9")


@pytest.mark.rule("child-once")
def test_the_same_key_returns_the_same_child(open_shop: OpenShop, script: Script) -> None:
    def work(ctx: StepContext, child: type[Workflow]) -> dict[str, Any]:
        started = [ctx.start_child(child, {}, key=key) for key in ("a", "b", "a")]
        if ctx.attempt < 3:
            raise RetryStep("again")
        return {"started": started}

    parent, child = family(script, work)
    shop = open_shop(parent, child)
    run = shop.look(shop.run(parent))
    first, second, third = run.context["started"]
    assert first == third != second
    assert set(run.children) == {first, second}
    assert script.calls == ["child", "child"]


@pytest.mark.rule("child-once")
def test_other_runs_have_other_children(open_shop: OpenShop, script: Script) -> None:
    parent, child = family(script, lambda ctx, child: {"child": ctx.start_child(child, {}, key="k")})
    shop = open_shop(parent, child)
    assert shop.look(shop.run(parent)).children != shop.look(shop.run(parent)).children


@pytest.mark.rule("child-fails")
@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (lambda ctx, child: ctx.start_child("nowhere", {}, key="k"), UnknownWorkflowError),
        (lambda ctx, child: ctx.start_child(child, {}, key=""), ConflictError),
        (lambda ctx, child: ctx.start_child(child, {}, key=None), ConflictError),
    ],
)
def test_a_child_that_cannot_be_started_fails_the_step(
    open_shop: OpenShop, script: Script, start: Callable[..., Any], expected: type[Exception]
) -> None:
    parent, child = family(script, start)
    shop = open_shop(parent, child)
    run = shop.look(shop.run(parent))
    assert run.last_error is not None
    assert (run.status, run.last_error["type"]) == ("failed", expected.__name__)
    assert len(shop.rows(tables.runs)) == 1
