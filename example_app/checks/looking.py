"""Starting runs for the walks, and looking at what they did."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from sqlalchemy import select

from flask_squidmesh import Run, Workflow
from flask_squidmesh.queries.results import AuditEventView, StepView

from ..extensions import mesh
from ..gateway import client as gateway
from ..models import LedgerEntry, Order, Product, User, db
from ..people import BUYER, OPERATOR, Person
from ..placing import place_order, write_order
from ..stage import run_once
from ..workflows import Checkout


class Mismatch(Exception):
    """Something is not as it should be."""


def expect(what: str, found: Any, expected: Any) -> None:
    """Go on if both are equal.

    :raises Mismatch: They are not.
    """
    if found != expected:
        raise Mismatch(f"{what}: found {found!r}, expected {expected!r}")


def start(workflow: type[Workflow], payload: dict[str, Any], trigger: str | None = None, by: Person = OPERATOR) -> str:
    """Start a run and return its id."""
    return mesh.start_run(workflow, payload, trigger=trigger, actor=by.email).id


def ended(run_id: str, status: str) -> Run:
    """The run with its history, once it has the status; a run that ended in another way is a mismatch at once."""
    run = run_once(run_id, status, "failed", "cancelled")
    expect(f"the status of {run.workflow}", run.status, status)
    return run


def step(run: Run, name: str) -> StepView:
    """What became of one step."""
    return next(view for view in run.steps or () if view.step == name)


def history(run: Run) -> tuple[AuditEventView, ...]:
    """The run's audit events."""
    return run.audit_events or ()


def order_of(sku: str, workflow: type[Workflow] = Checkout) -> Order:
    """Have the buyer order one piece."""
    return place_order(*_buyer_and(sku), form_key=uuid4().hex, workflow=workflow)


def invoice() -> dict[str, str]:
    """The payload about an attempt to pay for an order that no run works on."""
    order = write_order(*_buyer_and("kettle"), form_key=uuid4().hex)
    db.session.commit()
    return {"account_id": BUYER.email, "invoice_id": order.number, "attempt_id": f"attempt-{order.number}"}


def _buyer_and(sku: str) -> tuple[User, Product]:
    buyer = db.session.scalars(select(User).where(User.email == BUYER.email)).one()
    return buyer, db.session.scalars(select(Product).where(Product.sku == sku)).one()


def stock(sku: str) -> int:
    """How many pieces are on the shelf."""
    db.session.rollback()
    return db.session.scalars(select(Product.stock).where(Product.sku == sku)).one()


def state(order: Order) -> str:
    """The order's state as the database has it."""
    db.session.refresh(order)
    return order.state


def entries(run: Run) -> list[str]:
    """What the run wrote into the books."""
    query = select(LedgerEntry.entry).where(LedgerEntry.run_id == run.id).order_by(LedgerEntry.id)
    return list(db.session.scalars(query))


def asked(order: Order) -> list[str]:
    """What the payment company was asked about the order, in order."""
    return [request["kind"] for request in reversed(gateway.requests(order.number))]
