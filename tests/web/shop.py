"""A small app with a dashboard, and runs in every state an operator can meet."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask
from pydantic import BaseModel

from flask_squidmesh import (
    Approval,
    Executor,
    Exponential,
    FailStep,
    Manual,
    Pause,
    Retry,
    RetryStep,
    SquidMesh,
    Step,
    Wait,
    Workflow,
)
from flask_squidmesh.testing import SettableClock, drain
from tests.kept import set_up_database

CANARY = "canary-5f1e"


class Order(BaseModel):
    order_id: str
    amount: int = 120
    card_token: str = CANARY
    note: str = "leave at the door"


class Silent(Executor):
    """Takes everything and delivers nothing; `work` delivers."""

    def enqueue(self, payload: Any, *, schedule_in: float | None = None) -> dict[str, Any]:
        return {}

    def continues(self, run: Any, step: str) -> bool:
        return True


def reserve(order_id: str) -> dict[str, Any]:
    return {"reservation": f"r-{order_id}", "access_token": CANARY}


def release(reservation: str) -> None:
    """Give the reservation back."""


def capture(order_id: str, amount: int) -> dict[str, Any]:
    return {"charge": f"c-{order_id}"}


def send_receipt(order_id: str) -> None:
    """Send it."""


def decline(order_id: str) -> None:
    """Tell the buyer."""


def busy(order_id: str) -> None:
    raise RetryStep("gateway busy", after=600)


def broken(order_id: str) -> None:
    raise ValueError(f"the label printer of {order_id} is out of paper")


def declined(order_id: str) -> None:
    raise FailStep("card declined", code="declined", details={"card_token": CANARY, "bank": "Nord"})


class Checkout(Workflow):
    """Reserve, have it reviewed, capture."""

    version = "2026-11"
    subject = "Order {order_id}"
    place_order = Manual(Order)
    reserve = Step(reserve, compensate=release)
    review = Approval(
        prompt="Capture {amount} EUR for order {order_id}?", within=timedelta(hours=4), permission="payments.review"
    )
    capture = Step(capture, irreversible=True)
    receipt = Step(send_receipt, compensatable=False)
    decline = Step(decline)
    flow = [reserve >> review >> capture >> receipt, review.on_reject >> decline]


class Packing(Workflow):
    """Hold the parcel until somebody has looked at it."""

    subject = "Parcel {order_id}"
    pack = Manual(Order)
    inspect = Pause(prompt="Is parcel {order_id} sealed?")
    label = Step(send_receipt)
    flow = [inspect >> label]


class Labels(Workflow):
    """Print a label."""

    subject = "Label {order_id}"
    print_label = Manual(Order)
    label = Step(broken, retry=Retry(1))


class Billing(Workflow):
    """Take the money."""

    subject = "Bill {order_id}"
    bill = Manual(Order)
    hold = Step(reserve, compensate=release)
    take = Step(declined)
    flow = [hold >> take]


class Shipping(Workflow):
    """Hand the parcel over."""

    subject = "Shipment {order_id}"
    ship = Manual(Order)
    call_carrier = Step(busy, retry=Retry(5, backoff=Exponential(1, 30)))


class Reminder(Workflow):
    """Wait, then tell the buyer."""

    subject = "Reminder {order_id}"
    remind = Manual(Order)
    patience = Wait(timedelta(days=2))
    tell = Step(send_receipt)
    flow = [patience >> tell]


class Import(Workflow):
    """Let two people look at the same goods."""

    subject = "Import {order_id}"
    declare = Manual(Order)
    customs = Approval(prompt="Are the papers of {order_id} complete?", permission="customs", after=[])
    quality = Approval(prompt="Is {order_id} sound?", permission="quality", after=[])
    store = Step(send_receipt, after=[customs, quality])


class Payout(Workflow):
    """Pay the seller; once begun it cannot be undone."""

    subject = "Payout {order_id}"
    pay_out = Manual(Order)
    transfer = Step(broken, irreversible=True)


WORKFLOWS = (Checkout, Packing, Labels, Billing, Shipping, Reminder, Import, Payout)


def allow_everything(action: str, run: Any, permission: str | None) -> bool:
    return True


def make_app(url: str, *, hooks: dict[str, Any] | None = None, **settings: Any) -> Flask:
    """An app on the database at the URL. hooks: by default everybody may do everything as "dana"."""
    app = Flask(__name__, static_folder=None)
    app.config.update(
        {
            "SECRET_KEY": "for tests only",
            "SQLALCHEMY_DATABASE_URI": url,
            "SQUIDMESH_EXECUTOR": Silent,
            "TESTING": True,
            **settings,
        }
    )
    set_up_database(app)
    given = {"authorize": allow_everything, "actor": lambda: "dana"} if hooks is None else hooks
    mesh = SquidMesh(app, clock=SettableClock(), **given)
    mesh.register(*WORKFLOWS)
    app.extensions["mesh"] = mesh
    return app


def mesh_of(app: Flask) -> SquidMesh:
    """The app's SquidMesh."""
    mesh: SquidMesh = app.extensions["mesh"]
    return mesh


def start(app: Flask, workflow: type[Workflow], order_id: str = "o-1", **payload: Any) -> str:
    """Start a run and work until nothing is due."""
    with app.app_context():
        run = mesh_of(app).start_run(workflow, {"order_id": order_id, **payload}, actor="buyer@shop.test")
    work(app)
    return run.id


def work(app: Flask) -> None:
    """Perform everything that is due."""
    with app.app_context():
        drain()


def advance(app: Flask, by: timedelta) -> None:
    """Move the app's clock."""
    clock = app.extensions["squidmesh"].clock.source
    assert isinstance(clock, SettableClock)
    clock.advance(by)


def fill(app: Flask) -> dict[str, str]:
    """A run in each state; their ids by a word."""
    return {
        "decision": start(app, Checkout, "88213"),
        "paused": start(app, Packing, "441"),
        "failed": start(app, Labels, "90017"),
        "compensated": start(app, Billing, "90018"),
        "retrying": start(app, Shipping, "90030"),
        "waiting": start(app, Reminder, "77"),
        "interrupted": start(app, Payout, "12"),
    }
