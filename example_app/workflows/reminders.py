"""One letter for each open order, every letter a run of its own."""

from __future__ import annotations

from pydantic import BaseModel

from flask_squidmesh import Manual, Step, StepContext, Workflow

from ..models import Order
from .dependency_recovery import DependencyRecovery


class OpenOrders(BaseModel):
    """Whose buyers are to be reminded. numbers: of the orders."""

    numbers: list[str]


def write_letters(ctx: StepContext, numbers: list[str]) -> dict[str, list[str]]:
    """Start a reminder for each order. A second attempt finds those that the first one started."""
    return {"letters": [_letter(ctx, number) for number in numbers]}


def _letter(ctx: StepContext, number: str) -> str:
    buyer = Order.numbered(number).buyer.email
    reminder = {"account_id": buyer, "invoice_id": number, "attempt_id": f"reminder-{number}"}
    return ctx.start_child(DependencyRecovery, reminder, key=number)


class Reminders(Workflow):
    """Remind the buyers of several orders."""

    subject = "Reminders"

    reminders = Manual(OpenOrders)

    write = Step(write_letters)
