"""Taking goods off the shelf for an order and putting them back, each once however often it is asked."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import CursorResult, Update, update

from ..models import Order, Product, db


def take(order: Order) -> bool:
    """Set the ordered pieces aside, in the session's transaction.

    :returns: Whether they are set aside; false where there are too few.
    """
    mine = update(Order).where(Order.id == order.id, Order.reserved == 0).values(reserved=order.quantity)
    if not _changes_a_row(mine):
        return True
    enough = update(Product).where(Product.id == order.product_id, Product.stock >= order.quantity)
    if _changes_a_row(enough.values(stock=Product.stock - order.quantity)):
        return True
    db.session.rollback()
    return False


def put_back(order: Order) -> None:
    """Put what was set aside for the order back on the shelf, in the session's transaction."""
    pieces = order.reserved
    mine = update(Order).where(Order.id == order.id, Order.reserved == pieces).values(reserved=0)
    if pieces and _changes_a_row(mine):
        db.session.execute(update(Product).where(Product.id == order.product_id).values(stock=Product.stock + pieces))


def _changes_a_row(statement: Update) -> bool:
    return cast("CursorResult[Any]", db.session.execute(statement)).rowcount == 1
