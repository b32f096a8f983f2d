"""A workflow for people with all that steps for people can do, for tests on any database."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, Field

from flask_squidmesh import Approval, Decision, End, Escalate, Manual, Option, Step, Workflow
from tests.shop import Script

HOUR = timedelta(hours=1)


class Invoice(BaseModel):
    amount: Decimal = Decimal(400)


class Expense(BaseModel):
    invoice: Invoice = Invoice()
    supplier: str = "ACME"
    manager_id: str = "mia"
    head_id: str = "hans"


class Review(BaseModel):
    amount: Decimal = Field(le=5000)
    reason: str = ""


def expense(script: Script, *, model: type[BaseModel] = Review, called: str = "Reimburse", **options: Any) -> Any:
    """The workflow of the issue: levels, ask back, escalation, time-out. options: of its review."""
    review = Decision(
        "Pay {amount} EUR to {supplier}?",
        **{
            "options": (Option("approve", form=model), "ask_back", Option("reject", comment_required=True)),
            "input": {"amount": "invoice.amount"},
            "updates": ("amount",),
            "assignee": "{manager_id}",
            "groups": ("finance",),
            "within": 48 * HOUR,
            "remind": 24 * HOUR,
            "escalate": Escalate(after=36 * HOUR, assignee="{head_id}", groups=("heads",)),
            **options,
        },
    )
    check = Step(script.does("check", {"amount": "1"}), compensate=script.does("undo_check"))
    second = Approval("Second?", not_by=("review",))
    pay, fix, tell, park = (Step(script.does(name)) for name in ("pay", "fix", "tell", "park"))
    flow = [
        check >> review,
        review.on("approve").when("amount", greater_than=1000) >> second >> pay,
        review.on("approve") >> pay,
        review.on("ask_back") >> fix >> review,
        review.on("reject") >> tell >> End("rejected_by_manager", compensate=True),
        review.on_timeout >> park,
        second.on_reject >> tell,
    ]
    steps = {"check": check, "review": review, "second": second, "pay": pay, "fix": fix, "tell": tell, "park": park}
    return type(called, (Workflow,), {"start": Manual(Expense), **steps, "flow": flow})
