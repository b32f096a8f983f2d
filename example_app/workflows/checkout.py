"""An order from the basket to the receipt: reserve, authorise, wait until the payment is confirmed, review, capture."""

from __future__ import annotations

import os
from datetime import timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, Field

from flask_squidmesh import (
    Approval,
    CompensationContext,
    End,
    Exponential,
    FailStep,
    Manual,
    Retry,
    Step,
    StepContext,
    Wait,
    WaitForEvent,
    Workflow,
)

from ..gateway import client as gateway
from ..gateway.client import CardDeclined, GatewayBusy
from ..models import LedgerEntry, Order, db
from .mailing import send_once
from .stock import put_back, take

PAYMENT_SECONDS = float(os.environ.get("SHOP_PAYMENT_SECONDS", "30"))
SETTLE_SECONDS = float(os.environ.get("SHOP_SETTLE_SECONDS", "5"))


class Basket(BaseModel):
    """What the buyer ordered."""

    order_id: str
    sku: str
    quantity: int = Field(default=1, ge=1)
    email: str


class Authorisation(BaseModel):
    """What the payment company tells when the money is set aside."""

    order_id: str


def reserve_stock(ctx: StepContext, order_id: str) -> dict[str, Any]:
    """Set the goods aside."""
    order = Order.numbered(order_id)
    if not take(order):
        order.state, order.reason = "failed", "It was sold out before we could set it aside."
        db.session.commit()
        raise FailStep(f"{order.product.name} is sold out", code="sold_out", details={"left": order.product.stock})
    order.state, order.reason, order.run_id = "reserved", None, ctx.run_id
    db.session.commit()
    return {"amount": order.total}


def release_stock(ctx: CompensationContext, order_id: str) -> None:
    """Put the goods back on the shelf: the order has come to nothing."""
    order = Order.numbered(order_id)
    put_back(order)
    if order.state != "unpaid":
        order.state = "failed" if ctx.failure else "cancelled"
        order.reason = "The payment did not go through." if ctx.failure else None
    db.session.commit()


def authorise_payment(ctx: StepContext, order_id: str, amount: Decimal) -> dict[str, Any]:
    """Ask to have the amount set aside on the buyer's card. The payment company calls back when it is."""
    payment = gateway.authorise(order_id, amount, idempotency_key=ctx.idempotency_key)
    order = Order.numbered(order_id)
    order.state = "paying"
    db.session.commit()
    return {"payment_id": payment["id"]}


def give_up(ctx: StepContext, order_id: str, email: str) -> None:
    """Tell the buyer that the payment was not confirmed in time. What was done is undone after that."""
    order = Order.numbered(order_id)
    order.state = "unpaid"
    send_once(ctx.idempotency_key, email, f"Your bank did not confirm the payment for order {order_id}", order)
    db.session.commit()


def void_authorisation(ctx: CompensationContext, payment_id: str) -> None:
    """Give up what was set aside on the buyer's card."""
    gateway.void(payment_id, idempotency_key=ctx.idempotency_key)


def capture_payment(ctx: StepContext, payment_id: str) -> dict[str, Any]:
    """Take the money. It calls the payment company and does nothing else, so that a failure can mean one thing only."""
    try:
        captured = gateway.capture(payment_id, idempotency_key=ctx.idempotency_key)
    except CardDeclined as declined:
        raise FailStep(str(declined), code="declined", details={"payment": payment_id}) from declined
    return {"captured": captured["id"]}


def send_receipt(ctx: StepContext, order_id: str, email: str, amount: Decimal) -> None:
    """Write the payment into the books and tell the buyer: together, and once, whatever is repeated."""
    order = Order.numbered(order_id)
    if send_once(ctx.idempotency_key, email, f"Receipt for order {order_id}: {amount} EUR", order):
        db.session.add(LedgerEntry(run_id=ctx.run_id, account=email, entry="sale", cents=order.total_cents))
        order.state = "paid"
    db.session.commit()


def release_and_tell(ctx: StepContext, order_id: str, email: str, payment_id: str) -> None:
    """After a rejection: give up the authorisation, put the goods back and tell the buyer.

    The comment of whoever rejected is for colleagues; the buyer gets a sentence of the shop.
    """
    gateway.void(payment_id, idempotency_key=ctx.idempotency_key)
    order = Order.numbered(order_id)
    put_back(order)
    order.state, order.reason = "rejected", "Our finance team could not accept the payment."
    send_once(ctx.idempotency_key, email, f"We could not accept order {order_id}: {order.reason}", order)
    db.session.commit()


class Checkout(Workflow):
    """Reserve, authorise, wait until the payment is confirmed, have it reviewed, capture."""

    version = "2026-12"
    subject = "Order {order_id}"

    place_order = Manual(Basket)

    reserve = Step(reserve_stock, compensate=release_stock)
    authorise = Step(
        authorise_payment,
        retry=Retry(8, backoff=Exponential(1, 30)),
        compensate=void_authorisation,
        compensate_retry=Retry(5, backoff=Exponential(1, 30)),
    )
    confirmation = WaitForEvent(
        "payment.authorised",
        key="{payment_id}",
        model=Authorisation,
        within=timedelta(seconds=PAYMENT_SECONDS),
    )
    review = Approval(
        prompt="Capture {amount} EUR for order {order_id}?",
        output="review",
        groups=("finance",),
        within=timedelta(hours=4),
        permission="payments.review",
    )
    settle = Wait(timedelta(seconds=SETTLE_SECONDS))
    capture = Step(capture_payment, retry=Retry(5, backoff=Exponential(1, 30), on=(GatewayBusy,)), irreversible=True)
    receipt = Step(send_receipt, retry=Retry(3), compensatable=False)
    decline = Step(release_and_tell, retry=Retry(5, backoff=Exponential(1, 30)))
    give_up = Step(give_up, retry=Retry(3))

    flow = [
        reserve >> authorise >> confirmation >> review >> settle >> capture >> receipt,
        confirmation.on_timeout >> give_up >> End("unpaid", compensate=True),
        review.on_reject >> decline,
    ]
