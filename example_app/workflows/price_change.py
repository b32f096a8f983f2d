"""A new price that finance has to like: what is rejected comes back, half-way nearer to the old one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import select

from flask_squidmesh import Approval, Manual, Step, Workflow

from ..models import Product, db

CENT = Decimal("0.01")
ROUNDS = 3


class NewPrice(BaseModel):
    """What a piece shall cost. price: in euros."""

    sku: str
    price: Decimal = Field(gt=0, decimal_places=2)


def look_up_price(sku: str) -> dict[str, Any]:
    """Read what it costs now."""
    return {"old_price": _product(sku).price}


def meet_half_way(price: Decimal, old_price: Decimal) -> dict[str, Any]:
    """Propose the middle between the old price and the one that was rejected."""
    return {"price": ((price + old_price) / 2).quantize(CENT)}


def change_price(sku: str, price: Decimal) -> None:
    """Write the price on the shelf."""
    _product(sku).price_cents = int(price.scaleb(2))
    db.session.commit()


def _product(sku: str) -> Product:
    return db.session.scalars(select(Product).where(Product.sku == sku)).one()


class PriceChange(Workflow):
    """Propose a price until finance approves one, three times at most."""

    subject = "New price of {sku}"

    price_change = Manual(NewPrice)

    look_up = Step(look_up_price)
    review = Approval(
        prompt="Sell {sku} at {price} EUR instead of {old_price} EUR?",
        output="review",
        permission="payments.review",
        not_starter=True,
        max_visits=ROUNDS,
    )
    revise = Step(meet_half_way)
    change = Step(change_price)

    flow = [
        look_up >> review >> change,
        review.on_reject >> revise >> review,
    ]
