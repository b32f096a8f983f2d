"""Shapes in which a person decides: approvals, pauses, interrupted steps, cancelling."""

from __future__ import annotations

from typing import Any

from flask_squidmesh import Approval, Manual, Pause, RunSummary, Step, StepContext, Wait, Workflow
from flask_squidmesh.engine.transitions import TERMINAL
from tests.shop import Order

from ..effects import Effects, Outcome
from ..points import Killed
from ..stage import Decide, Stage
from .shape import Shape, deciding, find_out, say, shape, start, work


def approved(effects: Effects) -> Any:
    class Approved(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"))
        review = Approval("Good?", output="review")
        b = Step(effects.does("b"))
        stop = Step(effects.does("stop"))
        flow = [a >> review >> b, review.on_reject >> stop]

    return Approved


def rejected(effects: Effects) -> Any:
    return approved(effects)


def approved_by_two(effects: Effects) -> Any:
    class ApprovedByTwo(Workflow):
        place = Manual(Order)
        review = Approval("Good?", output="review", approvals=2, after=[])
        a = Step(effects.does("a"), after=[review])

    return ApprovedByTwo


def approved_with_a_note(effects: Effects) -> Any:
    return approved(effects)


def paused(effects: Effects) -> Any:
    class Paused(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"))
        hold = Pause("Go on?")
        b = Step(effects.does("b"))
        flow = [a >> hold >> b]

    return Paused


def approved_beside(effects: Effects) -> Any:
    class ApprovedBeside(Workflow):
        place = Manual(Order)
        first = Approval("One?", after=[])
        second = Approval("Two?", after=[], output="second")
        work = Step(effects.does("work"), after=[])
        below = Step(effects.does("below"), after=[first, second, work])

    return ApprovedBeside


def rejected_beside(effects: Effects) -> Any:
    class RejectedBeside(Workflow):
        place = Manual(Order)
        reserve = Step(effects.does("reserve"), after=[], compensate=effects.does("release"))
        review = Approval("Good?", after=[reserve])
        settle = Wait(60, after=[reserve])
        below = Step(effects.does("below"), after=[review, settle])

    return RejectedBeside


def interrupted(effects: Effects) -> Any:
    class Interrupted(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        charge = Step(
            effects.does("charge", OSError("cut off"), {"charge": "c"}, policy="irreversible"), irreversible=True
        )
        b = Step(effects.does("b"))
        flow = [a >> charge >> b]

    return Interrupted


def interrupted_and_resolved(effects: Effects) -> Any:
    return interrupted(effects)


def interrupted_and_retried(effects: Effects) -> Any:
    def cut_off_at_first(ctx: StepContext) -> Outcome:
        return OSError("cut off") if ctx.attempt == 1 else {"charge": "c"}

    class InterruptedAndRetried(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"))
        charge = Step(effects.does("charge", cut_off_at_first, policy="irreversible"), irreversible=True)
        b = Step(effects.does("b"))
        flow = [a >> charge >> b]

    return InterruptedAndRetried


def interrupted_and_failed(effects: Effects) -> Any:
    return interrupted(effects)


def cancelled_while_waiting(effects: Effects) -> Any:
    class CancelledWhileWaiting(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"))
        hold = Pause("Go on?")
        b = Step(effects.does("b"))
        flow = [a >> hold >> b]

    return CancelledWhileWaiting


def cancelled_and_undone(effects: Effects) -> Any:
    class CancelledAndUndone(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        b = Step(effects.does("b"), compensate=effects.does("undo_b"))
        hold = Pause("Go on?")
        flow = [a >> b >> hold]

    return CancelledAndUndone


def cancelled_while_executing(effects: Effects) -> Any:
    def cancel(ctx: Any) -> None:
        _cancel(effects.stage, ctx.run_id)

    class CancelledWhileExecuting(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        b = Step(effects.does("b", within=cancel), compensate=effects.does("undo_b"))
        c = Step(effects.does("c"))
        flow = [a >> b >> c]

    return CancelledWhileExecuting


def cancelled_and_lost(effects: Effects) -> Any:
    """The same with a worker that dies once the run is being cancelled, so that b is not known to have completed."""

    def cancel_and_die(ctx: Any) -> None:
        _cancel(effects.stage, ctx.run_id)
        raise Killed

    built = cancelled_while_executing(effects)

    class CancelledWhileExecuting(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        b = Step(effects.does("b", within=cancel_and_die), compensate=effects.does("undo_b"))
        c = Step(effects.does("c"))
        flow = [a >> b >> c]

    CancelledWhileExecuting.__qualname__ = built.__qualname__
    return CancelledWhileExecuting


def _cancel(stage: Stage, run_id: str) -> None:
    if stage.shop.status(run_id) not in TERMINAL | {"cancelling"}:
        stage.shop.mesh.cancel_run(run_id, actor="lee", compensate=True)


def _approve_each(stage: Stage, run: RunSummary) -> None:
    if run.needs is not None and run.needs.kind == "decision":
        waiting = next(row.step for row in stage.shop.look(run.id).step_runs or () if row.status == "paused")
        say(stage, run, "approve_run", step=waiting)


def _approve_by_two(stage: Stage, run: RunSummary) -> None:
    """Lee first, then Kim."""
    if run.needs is not None and run.needs.kind == "decision":
        said = [event.actor for event in stage.shop.look(run.id).audit_events or () if event.type == "approved"]
        actor = "kim" if "lee" in said else "lee"
        stage.say("approve_run", run.id, actor=actor, idempotency_key=f"approved by {actor}")


def _approve_with_a_note(stage: Stage, run: RunSummary) -> None:
    """The host's own row and the decision are one transaction."""
    if run.needs is None or run.needs.kind != "decision":
        return
    session = stage.shop.db.session
    stage.note(run.id, "approved")
    stage.shop.mesh.approve_run(run.id, actor="lee", session=session)
    session.commit()


def _after_an_interruption(call: str, **options: Any) -> Decide:
    """The step itself said that it is cut off: this call. Its worker died: find out."""

    def decide(stage: Stage, run: RunSummary) -> None:
        if run.needs is None or run.needs.kind != "interrupted":
            return
        visit = next(row for row in stage.shop.look(run.id).step_runs or () if row.status == "paused")
        if visit.attempts and visit.attempts[-1].status == "failed":
            say(stage, run, call, **options)
        else:
            _find_out_of_the_lost(stage, run, call, options)

    return decide


def _find_out_of_the_lost(stage: Stage, run: RunSummary, call: str, options: dict[str, Any]) -> None:
    happened = stage.effects.happened(run.id, "charge", 1)
    if happened is None:
        find_out(stage, run)
    elif happened.output is None:
        say(stage, run, call, **options)
    else:
        say(stage, run, "resolve_step", output=happened.output)


SHAPES: tuple[Shape, ...] = (
    shape(approved, decide=deciding("approve_run")),
    shape(rejected, decide=deciding("reject_run")),
    shape(approved_by_two, decide=_approve_by_two),
    shape(approved_with_a_note, decide=_approve_with_a_note),
    shape(paused, decide=deciding("unblock_run")),
    shape(approved_beside, decide=_approve_each),
    shape(rejected_beside, decide=deciding("reject_run")),
    shape(interrupted_and_resolved, decide=_after_an_interruption("resolve_step", output={"charge": "found"})),
    shape(interrupted_and_retried, decide=_after_an_interruption("retry_step")),
    shape(interrupted_and_failed, decide=_after_an_interruption("fail_step", reason="never charged")),
    shape(cancelled_while_waiting, start, work, decide=deciding("cancel_run")),
    shape(cancelled_and_undone, start, work, decide=deciding("cancel_run", compensate=True)),
    shape(cancelled_while_executing, or_else="cancelled_and_lost"),
    shape(cancelled_and_lost),
)
