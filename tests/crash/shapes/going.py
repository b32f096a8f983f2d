"""Shapes that go their way without anybody: chains, joins, loops, waits, retries, transactions."""

from __future__ import annotations

from typing import Any

from flask_squidmesh import Fixed, Log, Manual, Retry, RetryStep, Step, StepContext, Wait, Workflow
from tests.shop import Order

from ..effects import Effects
from .shape import Shape, shape


def chain(effects: Effects) -> Any:
    class Chain(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a", {"a": 1}))
        tell = Log("at {order_id}", level="debug")
        b = Step(effects.does("b", {"b": 2}))
        c = Step(effects.does("c"), output="c")
        flow = [a >> tell >> b >> c]

    return Chain


def join(effects: Effects) -> Any:
    below_does = effects.does("below")

    def below(ctx: StepContext, given: str) -> dict[str, str]:
        below_does(ctx)
        return {"given": given}

    class Join(Workflow):
        place = Manual(Order)
        top = Step(effects.does("top", {"by": "top"}), after=[])
        left = Step(effects.does("left", {"by": "left"}), after=[top], output="left")
        right = Step(effects.does("right", {"by": "right"}), after=[top], output="right")
        below_ = Step(below, after=[left, right], input={"given": "left.by"})

    return Join


def loop(effects: Effects) -> Any:
    class Loop(Workflow):
        place = Manual(Order)
        draft = Step(effects.does("draft", lambda ctx: {"good": ctx.visit >= 3}))
        check = Step(effects.does("check"))
        publish = Step(effects.does("publish"))
        flow = [draft >> check, check.when("good", equals=False) >> draft, check >> publish]

    return Loop


def waits(effects: Effects) -> Any:
    class Waits(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"))
        settle = Wait(60)
        b = Step(effects.does("b"))
        flow = [a >> settle >> b]

    return Waits


def waits_in_a_join(effects: Effects) -> Any:
    class WaitsInAJoin(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), after=[])
        settle = Wait(60, after=[])
        b = Step(effects.does("b"), after=[a, settle])

    return WaitsInAJoin


def retries(effects: Effects) -> Any:
    class Retries(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a", RetryStep("busy"), OSError("away"), {"a": 1}), retry=Retry(9, backoff=Fixed(5)))
        b = Step(effects.does("b", RetryStep("later", after=90), {"b": 1}), retry=Retry(9))
        flow = [a >> b]

    return Retries


def retries_beside(effects: Effects) -> Any:
    class RetriesBeside(Workflow):
        place = Manual(Order)
        left = Step(effects.does("left", RetryStep("busy"), None), after=[], retry=Retry(9, backoff=Fixed(5)))
        right = Step(effects.does("right"), after=[])
        below = Step(effects.does("below"), after=[left, right])

    return RetriesBeside


def transactions(effects: Effects) -> Any:
    def post(ctx: Any) -> None:
        effects.write(ctx.run_id, f"{ctx.step}#{ctx.visit}")

    class Transactions(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"))
        book = Step(effects.does("book", policy="transaction", within=post), transaction=True)
        post_ = Step(
            effects.does("post", RetryStep("busy"), {"posted": 1}, policy="transaction", within=post),
            transaction=True,
            retry=Retry(9, backoff=Fixed(5)),
        )
        b = Step(effects.does("b"))
        flow = [a >> book >> post_ >> b]

    return Transactions


def irreversible(effects: Effects) -> Any:
    class Irreversible(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"))
        charge = Step(effects.does("charge", {"charge": "c"}, policy="irreversible"), irreversible=True)
        b = Step(effects.does("b"))
        flow = [a >> charge >> b]

    return Irreversible


def irreversible_beside(effects: Effects) -> Any:
    class IrreversibleBeside(Workflow):
        place = Manual(Order)
        charge = Step(
            effects.does("charge", {"id": "c"}, policy="irreversible"), after=[], irreversible=True, output="charge"
        )
        pack = Step(effects.does("pack"), after=[])
        send = Step(effects.does("send"), after=[charge, pack])

    return IrreversibleBeside


SHAPES: tuple[Shape, ...] = (
    shape(chain),
    shape(join),
    shape(loop),
    shape(waits),
    shape(waits_in_a_join),
    shape(retries),
    shape(retries_beside),
    shape(transactions),
    shape(irreversible),
    shape(irreversible_beside),
)
