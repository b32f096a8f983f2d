"""What there is to buy."""

from __future__ import annotations

from uuid import uuid4

from flask import abort, render_template
from sqlalchemy import select

from ..models import Product, db
from . import blueprint


@blueprint.get("/")
def show_products() -> str:
    """All products."""
    products = db.session.scalars(select(Product).order_by(Product.name)).all()
    return render_template("shop/products.html", products=products)


@blueprint.get("/products/<sku>")
def show_product(sku: str) -> str:
    """One product, with the form that buys it."""
    product = db.session.scalar(select(Product).where(Product.sku == sku)) or abort(404)
    return render_template("shop/product.html", product=product, form_key=uuid4().hex)
