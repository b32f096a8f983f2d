"""The runs that the demo begins with: one scene for each state that an operator can meet, the oldest first."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

from sqlalchemy import select

from flask_squidmesh import Workflow

from .clock import hours_ago
from .extensions import mesh
from .gateway import client as gateway
from .models import Order, Product, User, db
from .people import BUYER, EMPLOYEE, FINANCE, MANAGER, OPERATOR
from .placing import place_order, submit_expense
from .stage import later
from .workflows import (
    CancellableWait,
    Checkout,
    DailyDigest,
    GoodsReturn,
    LocalLedgerCheckout,
    ManualApproval,
    RetryVerification,
    SagaCheckout,
    StockCount,
)
from .workflows.checkout import PAYMENT_SECONDS, SETTLE_SECONDS

HOUR = 3600


def overdue() -> None:
    """an order whose review is overdue"""
    with hours_ago(6):
        _confirmed("samovar")


def completed() -> None:
    """orders that were paid, and what else went well"""
    with hours_ago(5):
        for sku in ("kettle", "darjeeling"):
            _approved(sku)
        later(SETTLE_SECONDS)
        _start(RetryVerification, {"attempt_id": "1"})
        later(0)
        later(1)


def rejected() -> None:
    """an order that finance rejected"""
    with hours_ago(4.5):
        order = _confirmed("cups")
        mesh.reject_run(order.run_id or "", actor=FINANCE.email, comment="The card is reported stolen.")
        later(0)


def compensated() -> None:
    """an order whose card was declined, and a saga: both undone"""
    with hours_ago(4):
        _approved("teapot")
        with gateway.behaving("declining"):
            later(SETTLE_SECONDS)
        _order("cups", SagaCheckout)
        later(0)
        later(1)


def unpaid() -> None:
    """an order whose payment was never confirmed: undone"""
    with hours_ago(3.8):
        _order("cups")
        later(0)
        later(PAYMENT_SECONDS)


def compensation_failed() -> None:
    """a saga whose authorisation could not be voided"""
    with hours_ago(3.5):
        _order("cups", SagaCheckout)
        later(0)
        with gateway.behaving("busy", 100):
            later(1)


def interrupted() -> None:
    """an order whose capture was sent, and whose answer was lost"""
    with hours_ago(3):
        _approved("biscuits")
        with gateway.behaving("forgetful"):
            later(SETTLE_SECONDS)


def failed() -> None:
    """two bookings that failed, one of them acknowledged"""
    with hours_ago(2):
        payload = {"account_id": BUYER.email, "fail_after_reserve": True}
        known, _ = _start(LocalLedgerCheckout, payload), _start(LocalLedgerCheckout, payload)
        later(0)
        mesh.acknowledge_run(known, actor=OPERATOR.email, comment="Asked for by the test account.")


def replayed() -> None:
    """a digest that was sent twice because somebody wanted it again"""
    with hours_ago(1.5):
        digest = _start(DailyDigest, {"channel": "ops"}, trigger="manual_digest")
        later(0)
        mesh.replay_run(digest, actor=OPERATOR.email, comment="The numbers were corrected.")
        later(0)


def cancelled() -> None:
    """a wait that was cancelled"""
    with hours_ago(1):
        waiting = _start(CancellableWait, {"account_id": BUYER.email})
        later(0)
        mesh.cancel_run(waiting, actor=OPERATOR.email, comment="The parcel came in the meantime.")


def paused() -> None:
    """decisions and a resumption that somebody waits for"""
    with hours_ago(0.5):
        order = _approved("kettle")
        later(SETTLE_SECONDS)
        _start(GoodsReturn, {"order_id": order.number, "email": BUYER.email})
        _confirmed("teapot")
        _start(ManualApproval, {"account_id": BUYER.email})
        later(0)


def unfinished() -> None:
    """runs that wait, that are retried in an hour, and one that takes ten minutes"""
    _start(CancellableWait, {"account_id": BUYER.email})
    _start(RetryVerification, {"attempt_id": "2", "delay": 3600})
    later(0)
    _start(StockCount, {"seconds": 600})


def expenses() -> None:
    """expenses: paid, rejected, asked back, signed once, waiting for somebody, handed on, and left to lapse"""
    with hours_ago(60):
        _expense("a hotel that nobody asked about", "260.00")
        later(0)
        later(49 * HOUR)
    with hours_ago(40):
        _expense("a train to the fair", "146.80")
        later(0)
        later(37 * HOUR)
    with hours_ago(30):
        paid, rejected = _expense("lunch with the tea importer", "64.50"), _expense("a speeding ticket", "45.00")
        later(0)
        mesh.decide_run(paid, "approve", {"amount": "52.00"}, actor=MANAGER.acting, comment="Without the wine.")
        mesh.decide_run(rejected, "reject", actor=MANAGER.acting, comment="The shop does not pay fines.")
        later(0)
    with hours_ago(20):
        asked = _expense("taxi", "38.00")
        signed = _expense("a stand at the fair", "2400.00")
        later(0)
        mesh.decide_run(asked, "ask_back", actor=MANAGER.acting, comment="From where to where?")
        mesh.decide_run(signed, "approve", actor=MANAGER.acting, comment="As agreed in spring.")
        mesh.note_run(signed, "The invoice comes from the fair directly.", actor=MANAGER.acting)
        later(0)
    with hours_ago(2):
        _expense("paper bags", "118.20")
        later(0)


SCENES = (
    *(expenses, overdue, completed, rejected, compensated, unpaid, compensation_failed, interrupted),
    *(failed, replayed, cancelled, paused, unfinished),
)


def _order(sku: str, workflow: type[Workflow] = Checkout) -> Order:
    buyer = db.session.scalars(select(User).where(User.email == BUYER.email)).one()
    product = db.session.scalars(select(Product).where(Product.sku == sku)).one()
    return place_order(buyer, product, form_key=uuid4().hex, workflow=workflow)


def _expense(purpose: str, amount: str) -> str:
    employee = db.session.scalars(select(User).where(User.email == EMPLOYEE.email)).one()
    return submit_expense(employee, purpose, Decimal(amount), form_key=uuid4().hex).run_id or ""


def _confirmed(sku: str) -> Order:
    """An order whose payment is confirmed, by the event that a call of the payment company becomes."""
    order = _order(sku)
    later(0)
    payment = mesh.inspect_run(order.run_id or "").context["payment_id"]
    mesh.send_event("payment.authorised", key=payment, payload={"order_id": order.number}, event_id=f"evt-{payment}")
    later(0)
    return order


def _approved(sku: str) -> Order:
    order = _confirmed(sku)
    mesh.approve_run(order.run_id or "", actor=FINANCE.email, comment="Known customer.")
    later(0)
    return order


def _start(workflow: type[Workflow], payload: dict[str, object], trigger: str | None = None) -> str:
    return mesh.start_run(workflow, payload, trigger=trigger, actor=OPERATOR.email).id
