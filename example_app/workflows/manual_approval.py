"""A question to a person, and one thing or the other done with the answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select

from flask_squidmesh import Approval, Manual, Step, Workflow

from ..models import User, db


class Applicant(BaseModel):
    """Who would like to pay by invoice. account_id: the buyer's address."""

    account_id: str


def record_approval(account_id: str, approval: dict[str, Any]) -> dict[str, Any]:
    """Let the buyer pay by invoice."""
    return _recorded(account_id, allowed=True, approval=approval)


def record_rejection(account_id: str, approval: dict[str, Any]) -> dict[str, Any]:
    """Have the buyer go on paying by card."""
    return _recorded(account_id, allowed=False, approval=approval)


def _recorded(account_id: str, *, allowed: bool, approval: dict[str, Any]) -> dict[str, Any]:
    buyer = db.session.scalars(select(User).where(User.email == account_id)).one()
    buyer.pays_by_invoice = allowed
    db.session.commit()
    return {"status": "approved" if allowed else "rejected", "by": approval["actor"], "account_id": account_id}


class ManualApproval(Workflow):
    """Ask whether a buyer may pay by invoice, and record the answer."""

    subject = "Payment by invoice for {account_id}"

    manual_approval = Manual(Applicant)

    wait_for_approval = Approval(prompt="May {account_id} pay by invoice?", output="approval", within=timedelta(days=1))
    accept = Step(record_approval, output="approval")
    refuse = Step(record_rejection, output="approval")

    flow = [
        wait_for_approval >> accept,
        wait_for_approval.on_reject >> refuse,
    ]
