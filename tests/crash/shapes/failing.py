"""Shapes that fail: error routes, compensation, exhausted retries, workers that die of a step."""

from __future__ import annotations

from typing import Any

from flask_squidmesh import FailStep, Fixed, Manual, Retry, RetryStep, RunSummary, Step, Wait, Workflow
from tests.shop import Order

from ..effects import Effects
from ..points import Killed
from ..stage import Stage
from .shape import Shape, find_out, say, shape


def error_route(effects: Effects) -> Any:
    class ErrorRoute(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a", FailStep("no")))
        b = Step(effects.does("b", lambda ctx: {"told": ctx.failure["message"] if ctx.failure else None}))
        c = Step(effects.does("c"))
        flow = [a >> c, a.on_error >> b]

    return ErrorRoute


def undo_route(effects: Effects) -> Any:
    class UndoRoute(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a", FailStep("no")))
        b = Step(effects.does("b"))
        flow = [a, a.on_error(recovery="undo") >> b]

    return UndoRoute


def compensation_route(effects: Effects) -> Any:
    class CompensationRoute(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        b = Step(effects.does("b", ValueError("no")), retry=Retry(2))
        credit = Step(effects.does("credit"))
        flow = [a >> b, b.on_error(recovery="compensation") >> credit]

    return CompensationRoute


def saga(effects: Effects) -> Any:
    class Saga(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        b = Step(effects.does("b"), compensate=effects.does("undo_b"))
        c = Step(effects.does("c", FailStep("no")))
        flow = [a >> b >> c]

    return Saga


def saga_that_retries(effects: Effects) -> Any:
    class SagaThatRetries(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        b = Step(
            effects.does("b"),
            compensate=effects.does("undo_b", RetryStep("busy"), None),
            compensate_retry=Retry(9, backoff=Fixed(5)),
        )
        c = Step(effects.does("c", FailStep("no")))
        flow = [a >> b >> c]

    return SagaThatRetries


def saga_that_fails(effects: Effects) -> Any:
    """The first undoing fails and the second goes on; then an operator has it tried again."""

    class SagaThatFails(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        b = Step(effects.does("b"), compensate=effects.does("undo_b", FailStep("stuck"), None))
        c = Step(effects.does("c", FailStep("no")))
        flow = [a >> b >> c]

    return SagaThatFails


def acknowledged(effects: Effects) -> Any:
    return saga_that_fails(effects)


def exhausted(effects: Effects) -> Any:
    class Exhausted(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        b = Step(effects.does("b", OSError("away")), retry=Retry(3, backoff=Fixed(5)))
        flow = [a >> b]

    return Exhausted


def fails_beside(effects: Effects) -> Any:
    class FailsBeside(Workflow):
        place = Manual(Order)
        top = Step(effects.does("top"), after=[], compensate=effects.does("undo_top"))
        left = Step(effects.does("left", FailStep("no")), after=[top])
        right = Wait(600, after=[top])
        below = Step(effects.does("below"), after=[left, right])

    return FailsBeside


def kills_once(effects: Effects) -> Any:
    """A worker dies of it anyhow, so that every point of taking over is tried too."""

    class KillsOnce(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"))
        b = Step(effects.does("b", lambda ctx: Killed if ctx.attempt == 1 else {"b": 1}))
        c = Step(effects.does("c"))
        flow = [a >> b >> c]

    return KillsOnce


def kills_once_beside(effects: Effects) -> Any:
    class KillsOnceBeside(Workflow):
        place = Manual(Order)
        left = Step(effects.does("left", lambda ctx: Killed if ctx.attempt == 1 else None), after=[])
        right = Step(effects.does("right"), after=[])
        below = Step(effects.does("below"), after=[left, right])

    return KillsOnceBeside


def kills_while_undoing(effects: Effects) -> Any:
    class KillsWhileUndoing(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a", lambda ctx: Killed if ctx.attempt == 1 else None))
        b = Step(effects.does("b", FailStep("no")))
        flow = [a >> b]

    return KillsWhileUndoing


def kills_when_charging(effects: Effects) -> Any:
    class KillsWhenCharging(Workflow):
        place = Manual(Order)
        charge = Step(
            effects.does("charge", lambda ctx: Killed, policy="irreversible"), irreversible=True, output="charge"
        )
        b = Step(effects.does("b"))
        flow = [charge >> b]

    return KillsWhenCharging


def kills_always(effects: Effects) -> Any:
    """After three dead workers a person has to look, and says that it has failed."""

    class KillsAlways(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        b = Step(effects.does("b", Killed))
        flow = [a >> b]

    return KillsAlways


def _try_again(stage: Stage, run: RunSummary) -> None:
    if run.needs is not None and run.needs.kind == "compensation_failed":
        say(stage, run, "retry_compensation")


def _take_note(stage: Stage, run: RunSummary) -> None:
    if run.needs is not None and run.needs.kind == "compensation_failed":
        say(stage, run, "acknowledge_run")


def _give_up(stage: Stage, run: RunSummary) -> None:
    if run.needs is not None and run.needs.kind == "interrupted":
        say(stage, run, "fail_step", reason="it kills")


SHAPES: tuple[Shape, ...] = (
    shape(error_route),
    shape(undo_route),
    shape(compensation_route),
    shape(saga),
    shape(saga_that_retries),
    shape(saga_that_fails, decide=_try_again),
    shape(acknowledged, decide=_take_note),
    shape(exhausted),
    shape(fails_beside),
    shape(kills_once),
    shape(kills_once_beside),
    shape(kills_while_undoing),
    shape(kills_when_charging, decide=find_out),
    shape(kills_always, decide=_give_up),
)
