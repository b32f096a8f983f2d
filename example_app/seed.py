"""Fills the shop with people, products and runs in every state that an operator can meet. What is there stays."""

from __future__ import annotations

from collections.abc import Iterator

from flask import current_app
from sqlalchemy import select
from werkzeug.security import generate_password_hash

from .models import Product, Seeded, User, db
from .people import PASSWORD, PEOPLE
from .scenes import SCENES
from .stage import gateway_at_hand

SHELF = (
    ("kettle", "Kettle", "Boils a litre of water in three minutes.", 3490, 40),
    ("teapot", "Teapot", "Stoneware, for six cups, with a lid that stays on.", 2750, 25),
    ("cups", "Two cups", "Thin rims, thick handles.", 1680, 60),
    ("darjeeling", "Darjeeling, 250 g", "First flush, from one garden.", 1290, 80),
    ("biscuits", "Biscuits", "Butter, oats and a little salt.", 420, 120),
    ("samovar", "Samovar", "Brass, from the back of the shop. There is one.", 24900, 1),
)


def seed() -> Iterator[str]:
    """Put in what is missing, without mails, and without calls of the payment company; a line for each thing."""
    current_app.config.update(SHOP_SMTP_PORT=None, SQUIDMESH_EXTERNAL_URL=None)
    seed_people()
    seed_products()
    yield f"{len(PEOPLE)} people and {len(SHELF)} products are there."
    with gateway_at_hand():
        for scene in SCENES:
            if not _has(scene.__name__):
                scene()
                _remember(scene.__name__)
                yield f"Seeded: {scene.__doc__}"


def seed_people() -> None:
    """Let everybody in who can log in to the demo."""
    known = set(db.session.scalars(select(User.email)))
    for person in PEOPLE:
        if person.email not in known:
            password_hash = generate_password_hash(PASSWORD)
            user = User(email=person.email, name=person.name, role=person.role, password_hash=password_hash)
            user.manager_email = person.manager
            db.session.add(user)
    db.session.commit()


def seed_products() -> None:
    """Fill the shelves with what they lack altogether."""
    known = set(db.session.scalars(select(Product.sku)))
    for sku, name, description, price_cents, stock in SHELF:
        if sku not in known:
            db.session.add(Product(sku=sku, name=name, description=description, price_cents=price_cents, stock=stock))
    db.session.commit()


def _has(part: str) -> bool:
    return db.session.scalar(select(Seeded).where(Seeded.part == part)) is not None


def _remember(part: str) -> None:
    db.session.add(Seeded(part=part))
    db.session.commit()
