"""Shapes that hear from outside: an event comes early, late, in the host's transaction, starts a run, or cancels it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask_squidmesh import CancelOn, End, Manual, OnEvent, Step, WaitForEvent, Workflow
from tests.shop import Order

from ..effects import Effects
from ..stage import Act, Stage
from .shape import Shape, shape, start, work


def event_comes_late(effects: Effects) -> Any:
    class ComesLate(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"))
        paid = WaitForEvent("payment.settled", key="{order_id}", model=Order)
        b = Step(effects.does("b"))
        c = Step(effects.does("c"))
        flow = [a >> paid, paid.when("paid.amount", greater_than=3) >> b, paid >> c]

    return ComesLate


def event_comes_early(effects: Effects) -> Any:
    return event_comes_late(effects)


def event_of_a_transaction(effects: Effects) -> Any:
    return event_comes_late(effects)


def event_that_one_takes(effects: Effects) -> Any:
    class OneTakes(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), after=[])
        one = WaitForEvent("payment.settled", key="{order_id}", model=Order, accept="first", after=[a])
        two = WaitForEvent("payment.settled", key="{order_id}", model=Order, accept="first", after=[a])
        b = Step(effects.does("b"), after=[one, two])

    return OneTakes


def event_that_does_not_come(effects: Effects) -> Any:
    class DoesNotCome(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        paid = WaitForEvent("payment.settled", key="{order_id}", within=timedelta(seconds=40))
        b = Step(effects.does("b"))
        flow = [a >> paid >> b, paid.on_timeout >> End("unpaid", compensate=True)]

    return DoesNotCome


def started_by_an_event(effects: Effects) -> Any:
    class Started(Workflow):
        came = OnEvent("payment.settled", Order)
        a = Step(effects.does("a"))

    return Started


def cancelled_by_an_event(effects: Effects) -> Any:
    class Cancelled(Workflow, cancel_on=CancelOn("payment.settled", key="{order_id}", compensate=True)):
        place = Manual(Order)
        a = Step(effects.does("a"), compensate=effects.does("undo_a"))
        paid = WaitForEvent("payment.never", key="{order_id}")
        flow = [a >> paid]

    return Cancelled


def _send(event_id: str = "evt-1") -> Act:
    def send(stage: Stage) -> None:
        """The provider calls back, and again where it was not answered."""
        stage.shop.mesh.send_event("payment.settled", key="o-1", payload={"amount": 5}, event_id=event_id)

    return send


def _send_with_a_note(stage: Stage) -> None:
    """The host sends the event in a transaction of its own, unless that was committed."""
    if not stage.notes:
        run = stage.runs[0]
        session = stage.shop.db.session
        stage.note(run.id, "settled")
        stage.shop.mesh.send_event("payment.settled", key="o-1", payload={"amount": 5}, session=session)
        session.commit()


SHAPES: tuple[Shape, ...] = (
    shape(event_comes_late, start, work, _send(), work),
    shape(event_comes_early, start, _send(), work),
    shape(event_of_a_transaction, start, work, _send_with_a_note, work),
    shape(event_that_one_takes, start, work, _send("evt-1"), work, _send("evt-2"), work),
    shape(event_that_does_not_come, start, work),
    shape(started_by_an_event, _send(), work),
    shape(cancelled_by_an_event, start, work, _send(), work),
)
