"""Money that somebody spent for the shop: the manager decides, finance signs what is large, the employee corrects."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, Field

from flask_squidmesh import Approval, Decision, End, Escalate, Manual, Option, Step, StepContext, Workflow

from ..models import Expense, LedgerEntry, db
from .mailing import send_once

LARGE = 1000
MOST = 5000


class Claim(BaseModel):
    """What somebody wants back. employee, manager, head: addresses, of whoever spent it and of who decides."""

    expense_id: str
    employee: str
    manager: str
    head: str
    purpose: str = Field(min_length=3, max_length=200)
    amount: Decimal = Field(gt=0, le=MOST, decimal_places=2)


class Granted(BaseModel):
    """What whoever approves fills in."""

    amount: Decimal = Field(
        gt=0, le=MOST, decimal_places=2, title="Amount in EUR", description="Less, if not all of it was for the shop"
    )


class Correction(BaseModel):
    """What the employee may change."""

    purpose: str = Field(min_length=3, max_length=200)
    amount: Decimal = Field(gt=0, le=MOST, decimal_places=2, title="Amount in EUR")


def put_forward(expense_id: str, purpose: str, amount: Decimal) -> None:
    """Write down what is asked for now: at first what was submitted, later what was corrected."""
    expense = Expense.numbered(expense_id)
    expense.state, expense.reason, expense.purpose = "submitted", None, purpose
    expense.amount_cents = int(amount.scaleb(2))
    db.session.commit()


def hand_back(ctx: StepContext, expense_id: str, employee: str, review: dict[str, Any]) -> dict[str, Any]:
    """Tell the employee what is asked."""
    _settle(ctx, expense_id, employee, "asked_back", review["comment"], "We have a question about")
    return {"question": review["comment"]}


def pay(ctx: StepContext, expense_id: str, employee: str, amount: Decimal) -> None:
    """Pay what was granted: the books, the expense and the run's own row in one transaction."""
    expense = Expense.numbered(expense_id)
    expense.state, expense.reason, expense.granted_cents = "paid", None, int(amount.scaleb(2))
    db.session.add(LedgerEntry(run_id=ctx.run_id, account=employee, entry="expense", cents=expense.granted_cents))
    send_once(ctx.idempotency_key, employee, f"We pay {amount} EUR for expense {expense_id}")


def decline(
    ctx: StepContext, expense_id: str, employee: str, review: dict[str, Any], second: dict[str, Any] | None = None
) -> None:
    """Tell the employee that it was rejected, and why."""
    _settle(ctx, expense_id, employee, "rejected", (second or review).get("comment"), "We do not pay")


def withdraw(expense_id: str) -> None:
    """Let it rest: the employee does not want it any more."""
    Expense.numbered(expense_id).state = "withdrawn"
    db.session.commit()


def lapse(ctx: StepContext, expense_id: str, employee: str) -> None:
    """Tell the employee that nobody has decided in time."""
    _settle(ctx, expense_id, employee, "unanswered", "Please submit it again.", "Nobody has decided about")


def _settle(ctx: StepContext, expense_id: str, employee: str, state: str, reason: str | None, words: str) -> None:
    expense = Expense.numbered(expense_id)
    expense.state, expense.reason = state, reason
    send_once(ctx.idempotency_key, employee, f"{words} expense {expense_id}: {reason or 'no reason was given'}")
    db.session.commit()


class Reimbursement(Workflow):
    """Have the manager decide, finance sign what is large, and pay."""

    subject = "Expense {expense_id}: {purpose}"

    submit = Manual(Claim)

    put_forward = Step(put_forward)
    review = Decision(
        "Pay {amount} EUR to {employee} for {purpose}?",
        options=(
            Option("approve", form=Granted),
            Option("ask_back", comment_required=True),
            Option("reject", comment_required=True),
        ),
        updates=("amount",),
        assignee="{manager}",
        groups=("managers",),
        not_starter=True,
        within=timedelta(hours=48),
        remind=timedelta(hours=24),
        escalate=Escalate(after=timedelta(hours=36), assignee="{head}"),
    )
    second = Approval(
        "Sign for {amount} EUR to {employee} too?",
        groups=("finance",),
        not_starter=True,
        not_by=("review",),
        within=timedelta(hours=24),
    )
    hand_back = Step(hand_back)
    correct = Decision(
        "{question}",
        options=(Option("resubmit", form=Correction), "withdraw"),
        updates=("purpose", "amount"),
        assignee="{employee}",
        remind=(timedelta(days=2), timedelta(days=5)),
    )
    pay = Step(pay, transaction=True)
    decline = Step(decline)
    withdraw = Step(withdraw)
    lapse = Step(lapse)

    flow = [
        put_forward >> review,
        review.on("approve").when("amount", greater_than=LARGE) >> second >> pay,
        review.on("approve") >> pay,
        review.on("ask_back") >> hand_back >> correct,
        review.on("reject") >> decline >> End("rejected"),
        review.on_timeout >> lapse,
        second.on_reject >> decline,
        correct.on("resubmit") >> put_forward,
        correct.on("withdraw") >> withdraw >> End("withdrawn"),
    ]
