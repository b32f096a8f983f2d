"""What people read about an order or an expense while its run goes its way."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from flask_squidmesh import RunSummary

from ..extensions import mesh
from ..models import Expense, Order, User, db

ENDED = {
    "paid": "Paid. The receipt has been sent.",
    "returned": "The goods are back with us, and you have your money back.",
    "unpaid": "Your bank did not confirm the payment in time, and nothing was charged.",
    "rejected": "We could not accept this order, and nothing was charged.",
    "failed": "This order came to nothing, and nothing was charged.",
    "cancelled": "This order was cancelled.",
}
WAITING_FOR = {
    "decision": "A colleague from finance looks at your payment. You need not do anything.",
    "resume": "A colleague looks at your order. You need not do anything.",
    "interrupted": "We are finding out whether your payment went through. Please do not pay again.",
}
WORKING_ON = {
    "reserve": "We are setting the goods aside.",
    "authorise": "We are asking your bank.",
    "confirmation": "Your bank is confirming the payment. We wait for that.",
    "settle": "Your payment was approved. We take it in a few seconds.",
    "capture": "We are taking the payment.",
    "receipt": "We are writing your receipt.",
    "give_up": "Your bank did not confirm the payment in time. We are undoing everything.",
    "decline": "We are giving up the payment and putting the goods back.",
}

EXPENSE_ENDED = {
    "paid": "It is paid.",
    "rejected": "It was not accepted.",
    "withdrawn": "You took it back.",
    "unanswered": "Nobody has decided about it in time.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """An order for its buyer, or an expense for who submitted it.

    mark: done, needs, busy, failed or over. word: its state. now: what happens now.
    """

    mark: str
    word: str
    now: str


def progress_of(order: Order, run: RunSummary | None) -> Progress:
    """What to say of an order, from what the run did to it and from where the run is."""
    if order.state in ("paid", "returned"):
        return Progress(mark="done", word=order.state, now=ENDED[order.state])
    if run is None:
        return Progress(mark="busy", word=order.state, now="We have your order.")
    if run.status in ("completed", "failed", "cancelled"):
        return _come_to_nothing(order, run)
    return Progress(mark="needs" if run.status == "paused" else "busy", word=order.state, now=_now(run))


def _come_to_nothing(order: Order, run: RunSummary) -> Progress:
    if run.compensation == "running":
        return Progress(mark="busy", word="failed", now="The payment did not go through. We are undoing everything.")
    word = order.state if order.state in ENDED else run.status
    return Progress(mark="failed", word=word, now=f"{ENDED[word]} {order.reason or ''}".strip())


def _now(run: RunSummary) -> str:
    if run.status == "paused" and run.needs:
        return WAITING_FOR[run.needs.kind]
    if run.status == "retrying":
        return "The payment company is busy. We try again by ourselves."
    if run.status == "cancelling":
        return "This order is being cancelled."
    return WORKING_ON.get(run.current_step or "", "We are working on it.")


def expense_progress(expense: Expense, reader: User) -> Progress:
    """What to say of an expense to a user, from what the run did to it and from whom the run waits for."""
    word = expense.state.replace("_", " ")
    if expense.state in EXPENSE_ENDED:
        mark = "done" if expense.state == "paid" else "failed"
        return Progress(mark=mark, word=word, now=f"{EXPENSE_ENDED[expense.state]} {expense.reason or ''}".strip())
    why = mesh.explain_run(expense.run_id) if expense.run_id else None
    if why is None or why.reason not in ("paused_for_decision", "paused_for_approval"):
        return Progress(mark="busy", word=word, now="We are working on it.")
    waits = why.details
    email = waits.get("assignee")
    name = "you" if email == reader.email else db.session.scalar(select(User.name).where(User.email == email))
    whom = name or " or ".join(waits.get("groups") or ()) or "a colleague"
    due = waits.get("decide_by")
    by = f" until {due:%d %b %Y, %H:%M} UTC" if due else ""
    return Progress(mark="needs", word=word, now=f"It waits for {whom}{by}.")
