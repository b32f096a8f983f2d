"""A payment that was interrupted: find out what became of it, and make it good if it was declined."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from flask_squidmesh import Exponential, FailStep, Manual, Retry, RetryStep, Step, StepContext, Workflow

from ..gateway import client as gateway
from ..gateway.client import GatewayBusy
from ..models import LedgerEntry, Order, db
from .mailing import send_once


class InterruptedPayment(BaseModel):
    """An attempt to pay an invoice. account_id: the buyer's address. invoice_id: the order's number."""

    account_id: str
    invoice_id: str
    attempt_id: str


def load_invoice(invoice_id: str) -> dict[str, Any]:
    """Read what is owed."""
    order = Order.numbered(invoice_id)
    return {"number": order.number, "total": order.total, "cents": order.total_cents}


def check_gateway_status(attempt_id: str) -> dict[str, Any]:
    """Ask the payment company; a busy one says itself when to ask again."""
    try:
        state = gateway.attempt_state(attempt_id)
    except GatewayBusy as busy:
        raise RetryStep(str(busy), after=busy.retry_after, code="retry_required") from busy
    if state == "declined":
        raise FailStep("the attempt was declined", code="declined", details={"attempt": attempt_id})
    return {"gateway_state": state}


def notify_customer(ctx: StepContext, account_id: str, invoice: dict[str, Any]) -> None:
    """Tell the buyer that all is well."""
    send_once(ctx.idempotency_key, account_id, f"Your payment for order {invoice['number']} has arrived")
    db.session.commit()


def issue_gateway_credit(ctx: StepContext, account_id: str, invoice: dict[str, Any]) -> dict[str, Any]:
    """Credit the buyer with what was declined."""
    why = ctx.failure["message"] if ctx.failure else "it was declined"
    if send_once(ctx.idempotency_key, account_id, f"We credit you {invoice['total']} EUR: {why}"):
        credit = LedgerEntry(run_id=ctx.run_id, account=account_id, entry="credit", cents=invoice["cents"])
        db.session.add(credit)
    db.session.commit()
    return {"credited": invoice["total"]}


class PaymentRecovery(Workflow):
    """Ask the payment company what became of an attempt; a declined one is credited."""

    subject = "Payment {attempt_id} for order {invoice_id}"

    payment_recovery = Manual(InterruptedPayment)

    load = Step(load_invoice, output="invoice")
    check_gateway = Step(check_gateway_status, retry=Retry(5, backoff=Exponential(1, 1)))
    notify = Step(notify_customer, compensatable=False)
    issue_credit = Step(issue_gateway_credit)

    flow = [
        load >> check_gateway >> notify,
        check_gateway.on_error(recovery="compensation") >> issue_credit,
    ]
