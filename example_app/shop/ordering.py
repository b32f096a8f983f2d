"""Placing orders and following them."""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, request, url_for
from flask_login import current_user
from sqlalchemy import ColumnElement, select, true
from werkzeug.wrappers import Response

from ..extensions import mesh
from ..models import Mail, Order, Product, db
from ..placing import place_order
from ..workflows import GoodsReturn
from . import blueprint
from .progress import Progress, progress_of


@blueprint.post("/orders")
def buy() -> Response:
    """Place an order and start its checkout: both or neither."""
    product = db.session.scalar(select(Product).where(Product.sku == request.form["sku"])) or abort(404)
    quantity = request.form.get("quantity", default=0, type=int)
    if not 1 <= quantity <= product.stock:
        flash(f"Please choose between 1 and {product.stock} pieces." if product.stock else "It is sold out.")
        return redirect(url_for(".show_product", sku=product.sku), 303)
    form_key = request.form["form_key"]
    order = _placed_before(form_key) or place_order(current_user, product, form_key=form_key, quantity=quantity)
    return redirect(url_for(".show_order", number=order.number), 303)


@blueprint.get("/orders")
def show_orders() -> str:
    """The buyer's own orders; for staff everybody's."""
    mine: ColumnElement[bool] = true() if current_user.staff else Order.buyer_id == current_user.id
    orders = db.session.scalars(select(Order).where(mine).order_by(Order.id.desc()).limit(50)).all()
    return render_template("shop/orders.html", orders=[(order, _progress(order)) for order in orders])


@blueprint.get("/orders/<number>")
def show_order(number: str) -> str:
    """One order: its state, what happens now, and what the buyer was told."""
    order = _visible(number)
    mails = db.session.scalars(select(Mail).where(Mail.order_id == order.id).order_by(Mail.id)).all()
    return render_template("shop/order.html", order=order, progress=_progress(order), mails=mails)


@blueprint.post("/orders/<number>/return")
def send_back(number: str) -> Response:
    """Begin a return of paid goods."""
    order = _visible(number)
    if order.state != "paid":
        abort(409, f"Order {number} is {order.state}; only paid goods can be sent back.")
    parcel = {"order_id": order.number, "email": order.buyer.email}
    mesh.start_run(GoodsReturn, parcel, idempotency_key=order.number, actor=current_user.email, session=db.session)
    db.session.commit()
    flash("Please send the parcel. You get your money back when we have seen it.")
    return redirect(url_for(".show_order", number=number), 303)


def _placed_before(form_key: str) -> Order | None:
    """The order that this very form placed already."""
    return db.session.scalar(select(Order).where(Order.form_key == form_key, Order.buyer_id == current_user.id))


def _visible(number: str) -> Order:
    try:
        order = Order.numbered(number)
    except LookupError:
        abort(404)
    if not current_user.staff and order.buyer_id != current_user.id:
        abort(404)
    return order


def _progress(order: Order) -> Progress:
    return progress_of(order, mesh.inspect_run(order.run_id) if order.run_id else None)
