"""Shapes in which things happen by themselves: reminders, escalations, time-outs and the deadline of a run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from flask_squidmesh import (
    Deadline,
    Decision,
    End,
    Escalate,
    Fixed,
    Manual,
    Option,
    Pause,
    Retry,
    RetryStep,
    RunSummary,
    Step,
    Workflow,
)
from tests.shop import Order

from ..effects import Effects
from ..stage import Stage
from .shape import Shape, say, shape

SOON = timedelta(seconds=40)
LONG = timedelta(days=9)


class Answer(BaseModel):
    amount: int = 5


def timed_out(effects: Effects) -> Any:
    class TimedOut(Workflow, deadline=Deadline(LONG)):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        ask = Decision(
            "Well?",
            options=("go", "stop"),
            assignee="mia",
            within=4 * SOON,
            remind=(SOON, 3 * SOON),
            escalate=Escalate(after=2 * SOON, assignee="hans", groups=("heads",)),
        )
        b = Step(effects.does("b"))
        tell = Step(effects.does("tell"), compensate=effects.does("undo_tell"))
        flow = [
            a >> ask,
            ask.on("go") >> b,
            ask.on("stop") >> tell,
            ask.on_timeout >> tell >> End("late", compensate=True),
        ]

    return TimedOut


def decided_after_an_escalation(effects: Effects) -> Any:
    class Decided(Workflow, deadline=Deadline(LONG, cancel=True)):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        ask = Decision(
            "Well?",
            options=(Option("go", form=Answer), "back", Option("reject", comment_required=True)),
            updates=("amount",),
            assignee="mia",
            groups=("finance",),
            within=LONG / 2,
            remind=SOON,
            escalate=Escalate(after=2 * SOON, assignee="hans"),
        )
        b = Step(effects.does("b"))
        late = Step(effects.does("late"))
        flow = [
            a >> ask,
            ask.on("go").when("amount", greater_than=9) >> b >> End("large"),
            ask.on("go") >> b,
            ask.on("back") >> a,
            ask.on("reject") >> End("refused", compensate=True),
            ask.on_timeout >> late,
        ]

    return Decided


def refused_after_asking_back(effects: Effects) -> Any:
    return decided_after_an_escalation(effects)


def ended_by_its_deadline(effects: Effects) -> Any:
    class Ended(Workflow, deadline=Deadline(4 * SOON, cancel=True, compensate=True)):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        hold = Pause("Well?", groups=("heads",), remind=SOON)
        b = Step(effects.does("b"))
        flow = [a >> hold >> b]

    return Ended


def failed_by_its_deadline(effects: Effects) -> Any:
    class Failed(Workflow, deadline=Deadline(4 * SOON)):
        place = Manual(Order)
        a = Step(effects.does("a"), after=[], compensate=effects.does("undo_a"))
        one = Decision("One?", options=("go", "stop"), after=[a], remind=SOON)
        two = Pause("Two?", after=[a], assignee="mia", escalate=Escalate(after=SOON, assignee="hans"))
        b = Step(effects.does("b"), after=[one, two])

    return Failed


def told_of_as_it_takes_long(effects: Effects) -> Any:
    class Long(Workflow):
        place = Manual(Order)
        a = Step(
            effects.does("a", RetryStep("busy"), None),
            retry=Retry(2, backoff=Fixed(20 * SOON.total_seconds())),
            within=3 * SOON,
            remind=(SOON, 2 * SOON),
        )
        b = Step(effects.does("b"), within=3 * SOON)
        flow = [a >> b]

    return Long


def _wait(stage: Stage, run: RunSummary) -> None:
    """Nobody answers."""


def _happened(stage: Stage, run: RunSummary) -> list[str]:
    return [event.type for event in stage.shop.look(run.id).audit_events or ()]


def _assign_then_go(stage: Stage, run: RunSummary) -> None:
    """Once it was escalated Lee takes it, and then decides."""
    happened = _happened(stage, run)
    if run.needs is not None and "escalated" in happened:
        if "assigned" not in happened:
            say(stage, run, "assign_run", to="lee", expected_assignee="hans")
        else:
            say(stage, run, "decide_run", option="go", answer={"amount": 10})


def _ask_back_then_refuse(stage: Stage, run: RunSummary) -> None:
    if run.needs is not None:
        happened = _happened(stage, run)
        if "noted" not in happened:
            stage.say("note_run", run.id, "Whose is it?", actor="lee", idempotency_key="noted")
        else:
            say(stage, run, "decide_run", option="reject" if "decided" in happened else "back")


SHAPES: tuple[Shape, ...] = (
    shape(timed_out, decide=_wait),
    shape(decided_after_an_escalation, decide=_assign_then_go),
    shape(refused_after_asking_back, decide=_ask_back_then_refuse),
    shape(ended_by_its_deadline, decide=_wait),
    shape(failed_by_its_deadline, decide=_wait),
    shape(told_of_as_it_takes_long),
)
