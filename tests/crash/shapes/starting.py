"""Shapes that differ in how a run comes to be: keys, the host's transaction, schedules, children, replays."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask_squidmesh import Cron, FailStep, Manual, Step, Workflow
from flask_squidmesh.testing import SettableClock
from tests.shop import Order

from ..effects import Effects
from ..stage import Stage
from .shape import Shape, say, shape, start, work

WINDOW = datetime(2031, 3, 3, 9, 0, tzinfo=UTC)


def started_with_a_key(effects: Effects) -> Any:
    class StartedWithAKey(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"))

    return StartedWithAKey


def started_with_a_note(effects: Effects) -> Any:
    class StartedWithANote(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"))
        b = Step(effects.does("b"))
        flow = [a >> b]

    return StartedWithANote


def scheduled_by_the_host(effects: Effects) -> Any:
    class ScheduledByTheHost(Workflow):
        daily = Cron("0 9 * * *", Order)
        a = Step(effects.does("a"))

    return ScheduledByTheHost


def scheduled_by_workers(effects: Effects) -> Any:
    class ScheduledByWorkers(Workflow):
        daily = Cron("0 9 * * *", Order)
        a = Step(effects.does("a"))

    return ScheduledByWorkers


def children(effects: Effects) -> Any:
    class Child(Workflow):
        place = Manual(Order)
        grow = Step(effects.does("grow"))

    def both(ctx: Any) -> None:
        for key in ("one", "two"):
            ctx.start_child(Child, {"order_id": key}, key=key)

    class Parent(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a", within=both))
        b = Step(effects.does("b"))
        flow = [a >> b]

    return Parent, Child


def children_in_a_transaction(effects: Effects) -> Any:
    class Child(Workflow):
        place = Manual(Order)
        grow = Step(effects.does("grow"))

    def one(ctx: Any) -> None:
        effects.write(ctx.run_id, "parent")
        ctx.start_child(Child, {"order_id": "one"}, key="one")

    class Parent(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a", policy="transaction", within=one), transaction=True)
        b = Step(effects.does("b"))
        flow = [a >> b]

    return Parent, Child


def replayed(effects: Effects) -> Any:
    class Replayed(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"))
        b = Step(effects.does("b", lambda ctx: FailStep("no") if effects.is_first_run(ctx) else {"b": 1}))
        c = Step(effects.does("c"))
        flow = [a >> b >> c]

    return Replayed


def replayed_from_a_step(effects: Effects) -> Any:
    return replayed(effects)


def replayed_beside(effects: Effects) -> Any:
    class ReplayedBeside(Workflow):
        place = Manual(Order)
        left = Step(effects.does("left"), after=[], output="left")
        right = Step(effects.does("right"), after=[], output="right")
        below = Step(
            effects.does("below", lambda ctx: FailStep("no") if effects.is_first_run(ctx) else None),
            after=[left, right],
        )

    return ReplayedBeside


def _start_with_a_key(stage: Stage) -> None:
    stage.say("start_run", stage.workflows[0], {}, actor="dana", idempotency_key="o-1")


def _start_with_a_note(stage: Stage) -> None:
    """The host's own row and the run are one transaction, so that the row tells whether there is a run."""
    assert len(stage.notes) == len(stage.runs)
    if stage.notes:
        return
    session = stage.shop.db.session
    run = stage.shop.mesh.start_run(stage.workflows[0], {}, actor="dana", session=session)
    stage.note(run.id, "ordered")
    session.commit()


def _have_it_scheduled(stage: Stage) -> None:
    """The host's scheduler tells of the window until a run is there."""
    while not stage.runs:
        stage.executor.enqueue_cron(stage.workflows[0], "daily", intended_window=WINDOW, signal_id="s-1")
        stage.work()


def _fire_what_is_due(stage: Stage) -> None:
    """A worker looks at the schedules the day after it has come up."""
    clock = stage.shop.clock
    assert isinstance(clock, SettableClock)
    if clock.now() < WINDOW:
        clock.move_to(WINDOW)
    stage.shop.runtime.scheduler.fire_due(datetime(2031, 3, 2, 9, 0, tzinfo=UTC))


def _replay(stage: Stage) -> None:
    """An operator replays the first run."""
    if len(stage.runs) == 1:
        say(stage, stage.runs[0], "replay_run")


def _replay_from(step: str) -> Any:
    def replay(stage: Stage) -> None:
        if len(stage.runs) == 1:
            say(stage, stage.runs[0], "replay_run", from_step=step)

    return replay


SHAPES: tuple[Shape, ...] = (
    shape(started_with_a_key, _start_with_a_key, work),
    shape(started_with_a_note, _start_with_a_note, work),
    shape(scheduled_by_the_host, _have_it_scheduled, work),
    shape(scheduled_by_workers, _fire_what_is_due, work),
    shape(children),
    shape(children_in_a_transaction),
    shape(replayed, start, work, _replay, work),
    shape(replayed_from_a_step, start, work, _replay_from("b"), work),
    shape(replayed_beside, start, work, _replay_from("below"), work),
)
