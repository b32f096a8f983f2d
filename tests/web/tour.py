"""Every kind of page there is, with something on it and with nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask
from pydantic import BaseModel

from flask_squidmesh import Cron, Manual, Scope, Step, WaitForEvent, Workflow
from flask_squidmesh.runtime import bulk_jobs
from tests.web.shop import Checkout, Labels, Order, advance, fill, mesh_of, start

UNKNOWN = "01a203ec-0a04-7839-a6fe-65e9e1b57e80"
LISTS = ("/", "/runs", "/failures", "/jobs", "/workflows", "/schedules", "/system", "/events", "/audit")
EMPTY_PAGES = (*LISTS, "/workflows/checkout", "/bulk")


def tidy() -> None:
    """Tidy up."""


class Settlement(BaseModel):
    amount: int


class Payment(Workflow):
    """Wait for money."""

    subject = "Payment {order_id}"
    ask = Manual(Order)
    paid = WaitForEvent("payment.settled", key="{order_id}", model=Settlement, within=timedelta(days=1))


class Nightly(Workflow):
    """Tidy every night."""

    nightly = Cron("0 3 * * *", timezone="Europe/Berlin")
    tidy = Step(tidy)


def closed(action: str, run: Any, permission: str | None) -> bool:
    """Lets nobody in."""
    return False


def furnish(app: Flask) -> dict[str, str]:
    """Make runs in every state, a worker, a schedule, an action on many runs, and a mount at /closed that is."""
    app.register_blueprint(mesh_of(app).dashboard(name="closed", url_prefix="/closed", authorize=closed))
    mesh_of(app).register(Nightly, Payment)
    ids, runtime = fill(app), app.extensions["squidmesh"]
    ids["approved"], ids["chosen"] = start(app, Checkout, "88214"), start(app, Checkout, "88215")
    start(app, Labels, "90017")
    ids["awaiting"] = start(app, Payment, "88216")
    with app.app_context():
        mesh_of(app).approve_run(ids["approved"], actor={"id": "lee", "label": "Lee L."}, comment="known customer")
        ids["event"] = mesh_of(app).send_event("payment.settled", key="88217", payload={"amount": 5}).id
        runtime.heartbeats.record("worker", "host:1:a", queue="squidmesh", threads=4)
        ids["job"] = runtime.bulk.begin(
            "approve",
            [
                bulk_jobs.BulkItem(run_id=ids["chosen"], token="review#1"),
                bulk_jobs.BulkItem(run_id=ids["paused"], token="?"),
            ],
            scope=Scope.all(),
            actor="dana",
        )
    advance(app, timedelta(hours=5))
    return ids


def pages(ids: dict[str, str]) -> list[str]:
    """The address of every kind of page below the dashboard's own."""
    run = {word: f"/runs/{run_id}" for word, run_id in ids.items() if word not in ("job", "event")}
    verbs = {
        "decision": ("approve", "reject", "cancel", "replay"),
        "interrupted": ("retry", "resolve", "fail"),
        "failed": ("acknowledge", "replay"),
        "paused": ("resume",),
    }
    return [
        *LISTS,
        *(
            "/?word=stuck",
            "/?tab=problems",
            "/runs?q=nothing&word=failed",
            "/runs?after=nonsense",
            "/audit?actor=nobody",
            "/help",
        ),
        *run.values(),
        *(
            f"{run['decision']}?view=graph",
            f"{run['decision']}?view=events",
            f"{run['compensated']}?step=hold",
            f"{run['failed']}?step=label",
        ),
        *(f"{run['retrying']}?step=call_carrier&visit=1&attempt=1", f"{run['decision']}/reveal/payload"),
        *(f"{run[word]}/{verb}" for word, given in verbs.items() for verb in given),
        *("/workflows/checkout", "/workflows/checkout/start", "/schedules/nightly/nightly/run"),
        *("/bulk?word=decision", "/bulk?word=decision&action=reject", f"/bulk/{ids['job']}", "/bulk"),
        *(f"/events/{ids['event']}", "/events/send", "/events/send?name=payment.settled&key=88216"),
        *("/nowhere", f"/runs/{UNKNOWN}"),
    ]
