"""Writing an order and starting its run: both in one transaction, or neither."""

from __future__ import annotations

from flask_squidmesh import Workflow

from .extensions import mesh
from .models import Order, Product, User, db
from .workflows import Checkout


def write_order(buyer: User, product: Product, *, form_key: str, quantity: int = 1) -> Order:
    """Write the order, in the session's transaction.

    :param form_key: Names the order before it has a number; the same key twice is refused by the database.
    """
    order = Order(form_key=form_key, buyer_id=buyer.id, product_id=product.id, quantity=quantity)
    order.total_cents = product.price_cents * quantity
    db.session.add(order)
    db.session.flush()
    return order


def place_order(
    buyer: User, product: Product, *, form_key: str, quantity: int = 1, workflow: type[Workflow] = Checkout
) -> Order:
    """Write the order, start its run and commit.

    :param form_key: As in `write_order`.
    :param workflow: What is started; it takes a basket.
    """
    order = write_order(buyer, product, form_key=form_key, quantity=quantity)
    basket = {"order_id": order.number, "sku": product.sku, "quantity": quantity, "email": buyer.email}
    run = mesh.start_run(workflow, basket, idempotency_key=order.number, actor=buyer.email, session=db.session)
    order.run_id = run.id
    db.session.commit()
    return order
