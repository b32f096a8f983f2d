"""Shapes in which people are told of what happens."""

from __future__ import annotations

from typing import Any

from flask_squidmesh import Approval, Manual, Retry, Step, Workflow
from tests.shop import Order

from ..effects import Effects
from ..stage import Stage
from .deciding import approved
from .shape import Shape, deciding, shape, start, work
from .waiting import timed_out


def told_of_an_approval(effects: Effects) -> Any:
    return approved(effects)


def told_of_a_deadline(effects: Effects) -> Any:
    return timed_out(effects)


def told_of_a_failure(effects: Effects) -> Any:
    class Failing(Workflow):
        place = Manual(Order)
        take = Step(effects.does("take"), compensate=effects.does("undo_take", ValueError("no")), after=[])
        review = Approval("Good?", after=[])
        work = Step(effects.does("work", ValueError("no")), retry=Retry(1), after=[take])

    return Failing


def tell(stage: Stage) -> None:
    """Somebody wants to be told."""
    stage.tell_everything()


SHAPES: tuple[Shape, ...] = (
    shape(told_of_an_approval, tell, start, work, decide=deciding("approve_run")),
    shape(told_of_a_deadline, tell, start, work),
    shape(told_of_a_failure, tell, start, work, decide=lambda stage, run: None),
)
