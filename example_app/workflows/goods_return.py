"""Goods that come back: wait until somebody has seen them, then put them on the shelf and pay back."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel

from flask_squidmesh import Manual, Pause, Step, StepContext, Workflow

from ..models import LedgerEntry, Order, db
from .mailing import send_once
from .stock import put_back


class Parcel(BaseModel):
    """What the buyer sends back."""

    order_id: str
    email: str


def take_back(ctx: StepContext, order_id: str, email: str) -> dict[str, Decimal]:
    """Put the goods on the shelf and credit the buyer."""
    order = Order.numbered(order_id)
    if send_once(ctx.idempotency_key, email, f"We pay back {order.total} EUR for order {order_id}", order):
        put_back(order)
        db.session.add(LedgerEntry(run_id=ctx.run_id, account=email, entry="refund", cents=order.total_cents))
        order.state = "returned"
    db.session.commit()
    return {"refunded": order.total}


class GoodsReturn(Workflow):
    """Wait for the parcel, then take the goods back."""

    subject = "Return of order {order_id}"

    send_back = Manual(Parcel)

    await_parcel = Pause(prompt="Have the goods of order {order_id} arrived in good order?")
    restock = Step(take_back)

    flow = [await_parcel >> restock]
