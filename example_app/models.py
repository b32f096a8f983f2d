"""The shop's tables. The library's own stand beside them in the same database."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from flask_login import UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from flask_squidmesh import Person

from .clock import clock
from .people import GROUPS


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


db = SQLAlchemy(model_class=Base)


class Model(db.Model):  # type: ignore[name-defined,misc]
    """What every table of the shop has: a number."""

    __abstract__ = True

    id: Mapped[int] = mapped_column(primary_key=True)


def now() -> datetime:
    """The time in UTC, as the tables keep it."""
    return clock.now().replace(tzinfo=None)


def euros(cents: int) -> Decimal:
    """An amount in euros, with two decimals."""
    return Decimal(cents).scaleb(-2)


class User(UserMixin, Model):  # type: ignore[misc]
    """Somebody who can log in. role: one of those in people.py. manager_email: who signs the expenses of the person."""

    __tablename__ = "users"

    email: Mapped[str] = mapped_column(String(120), unique=True)
    name: Mapped[str] = mapped_column(String(80))
    role: Mapped[str] = mapped_column(String(20))
    password_hash: Mapped[str] = mapped_column(String(200))
    pays_by_invoice: Mapped[bool] = mapped_column(default=False)
    manager_email: Mapped[str | None] = mapped_column(String(120))

    @property
    def staff(self) -> bool:
        """Whether the user works for the shop."""
        return self.role != "buyer"

    @property
    def groups(self) -> tuple[str, ...]:
        """What the user belongs to."""
        return GROUPS.get(self.role, ())

    @property
    def acting(self) -> Person:
        """The user as whoever acts, for all calls with `actor=`."""
        return Person(self.email, self.name, self.groups)


class Product(Model):
    """Something on the shelf."""

    __tablename__ = "products"

    sku: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(80))
    description: Mapped[str] = mapped_column(String(300))
    price_cents: Mapped[int]
    stock: Mapped[int]

    @property
    def price(self) -> Decimal:
        """What one piece costs, in euros."""
        return euros(self.price_cents)


class Order(Model):
    """What a buyer wants. state: placed, reserved, paying, paid, returned, unpaid, rejected, failed or cancelled.

    form_key: from the form that placed the order, so that a form sent twice orders once. reserved: how many pieces
    are set aside for it. reason: why it came to nothing, for the buyer.
    """

    __tablename__ = "orders"

    form_key: Mapped[str] = mapped_column(String(40), unique=True)
    buyer_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    quantity: Mapped[int]
    total_cents: Mapped[int]
    state: Mapped[str] = mapped_column(String(20), default="placed")
    reserved: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str | None] = mapped_column(String(300))
    run_id: Mapped[str | None] = mapped_column(String(40), index=True)
    placed_at: Mapped[datetime] = mapped_column(default=now)

    buyer: Mapped[User] = relationship()
    product: Mapped[Product] = relationship()

    @property
    def total(self) -> Decimal:
        """What the order costs, in euros."""
        return euros(self.total_cents)

    @property
    def number(self) -> str:
        """What people call the order, as in `o-17`."""
        return f"o-{self.id}"

    @classmethod
    def numbered(cls, number: str) -> Order:
        """The order that people call so.

        :raises LookupError: There is none.
        """
        digits = number.removeprefix("o-")
        order = db.session.get(cls, int(digits)) if digits.isdecimal() else None
        if order is None:
            raise LookupError(f"There is no order {number!r}. Orders are called o-1, o-2 and so on.")
        return order


class Expense(Model):
    """Money that somebody spent for the shop. state: submitted, asked_back, paid, rejected, withdrawn or unanswered.

    form_key: as that of an order. granted_cents: what was paid. reason: what whoever decided had to say.
    """

    __tablename__ = "expenses"

    form_key: Mapped[str] = mapped_column(String(40), unique=True)
    employee_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    purpose: Mapped[str] = mapped_column(String(200))
    amount_cents: Mapped[int]
    granted_cents: Mapped[int | None]
    state: Mapped[str] = mapped_column(String(20), default="submitted")
    reason: Mapped[str | None] = mapped_column(String(300))
    run_id: Mapped[str | None] = mapped_column(String(40), index=True)
    submitted_at: Mapped[datetime] = mapped_column(default=now)

    employee: Mapped[User] = relationship()

    @property
    def amount(self) -> Decimal:
        """What was spent, in euros."""
        return euros(self.amount_cents)

    @property
    def granted(self) -> Decimal | None:
        """What was paid, in euros."""
        return None if self.granted_cents is None else euros(self.granted_cents)

    @property
    def number(self) -> str:
        """What people call the expense, as in `e-17`."""
        return f"e-{self.id}"

    @classmethod
    def numbered(cls, number: str) -> Expense:
        """The expense that people call so.

        :raises LookupError: There is none.
        """
        digits = number.removeprefix("e-")
        expense = db.session.get(cls, int(digits)) if digits.isdecimal() else None
        if expense is None:
            raise LookupError(f"There is no expense {number!r}. Expenses are called e-1, e-2 and so on.")
        return expense


class LedgerEntry(Model):
    """One line in the books: money of an account that a run set aside, took or gave back."""

    __tablename__ = "ledger_entries"

    run_id: Mapped[str] = mapped_column(String(40), index=True)
    account: Mapped[str] = mapped_column(String(120))
    entry: Mapped[str] = mapped_column(String(20))
    cents: Mapped[int | None]
    made_at: Mapped[datetime] = mapped_column(default=now)


class Mail(Model):
    """A message that the shop sent. key: whoever sends with a key that is there already sends nothing."""

    __tablename__ = "mails"

    key: Mapped[str] = mapped_column(String(200), unique=True)
    recipient: Mapped[str] = mapped_column(String(120))
    subject: Mapped[str] = mapped_column(String(300))
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"), index=True)
    sent_at: Mapped[datetime] = mapped_column(default=now)


class Seeded(Model):
    """Which part of the demo's data is there already."""

    __tablename__ = "seeded"

    part: Mapped[str] = mapped_column(String(60), unique=True)
