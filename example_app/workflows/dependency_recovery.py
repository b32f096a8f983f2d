"""Two things looked up side by side, and a letter that needs both."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from sqlalchemy import select

from flask_squidmesh import Manual, Step, StepContext, Workflow

from ..models import Order, User, db
from .mailing import send_once


class OpenInvoice(BaseModel):
    """An invoice to remind somebody of. account_id: the buyer's address. invoice_id: the order's number."""

    account_id: str
    invoice_id: str
    attempt_id: str


def load_account(account_id: str) -> dict[str, Any]:
    """Read who is to be reminded."""
    buyer = db.session.scalars(select(User).where(User.email == account_id)).one()
    return {"email": buyer.email, "name": buyer.name}


def load_invoice(invoice_id: str) -> dict[str, Any]:
    """Read what is owed."""
    order = Order.numbered(invoice_id)
    return {"number": order.number, "total": order.total}


def prepare_notification(ctx: StepContext, name: str, email: str, number: str, total: str) -> dict[str, Any]:
    """Write the letter."""
    letter = f"Dear {name}, {total} EUR are open for order {number}"
    send_once(ctx.idempotency_key, email, letter)
    db.session.commit()
    return {"letter": letter}


class DependencyRecovery(Workflow):
    """Look up account and invoice side by side, then write to the buyer."""

    subject = "Reminder for order {invoice_id}"

    dependency_recovery = Manual(OpenInvoice)

    account = Step(load_account, after=[], output="account_found")
    invoice = Step(load_invoice, after=[], output="invoice_found")
    notification = Step(
        prepare_notification,
        after=[account, invoice],
        input={
            "name": "account_found.name",
            "email": "account_found.email",
            "number": "invoice_found.number",
            "total": "invoice_found.total",
        },
    )
