"""Buying goods for the shelf: finance and the shop floor decide side by side."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import select, update

from flask_squidmesh import Approval, Manual, Step, StepContext, Workflow

from ..models import Product, db
from .mailing import send_once


class Purchase(BaseModel):
    """What shall be bought."""

    sku: str
    pieces: int = Field(default=10, ge=1)


def count_shelf(sku: str) -> dict[str, Any]:
    """See how much is left."""
    return {"left": db.session.scalars(select(Product.stock).where(Product.sku == sku)).one()}


def order_goods(ctx: StepContext, sku: str, pieces: int) -> None:
    """Order from the supplier and put the goods on the shelf: together, and once."""
    if send_once(ctx.idempotency_key, "supplier@shop.test", f"Please send {pieces} pieces of {sku}"):
        db.session.execute(update(Product).where(Product.sku == sku).values(stock=Product.stock + pieces))
    db.session.commit()


class Restocking(Workflow):
    """Count, have money and room approved, order."""

    subject = "{pieces} pieces of {sku} for the shelf"

    restocking = Manual(Purchase)

    count = Step(count_shelf, after=[], output="shelf")
    budget = Approval(
        prompt="Is there money for {pieces} pieces of {sku}?",
        output="budget",
        permission="payments.review",
        within=timedelta(days=2),
        after=[count],
    )
    room = Approval(prompt="Is there room for {pieces} pieces of {sku}?", output="room", after=[count])
    order = Step(order_goods, after=[budget, room])
