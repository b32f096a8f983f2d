"""Rows as the runtime leaves them, and the workflows they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from pydantic import BaseModel

from flask_squidmesh.definition import Approval, Manual, Pause, Retry, Step, Wait, Workflow
from flask_squidmesh.definition.workflow import Registry
from flask_squidmesh.storage.tables import WorkflowRun, attempts, audit_events, dispatches, runs, step_runs

NOW = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)
SOME_ID = "0b9df4c2-6a55-4f0e-8f6b-0d6a7f1d2c11"
BOOM = {"type": "Boom", "message": "it broke", "code": None, "details": None, "traceback": None, "retryable": True}


def at(seconds: float) -> datetime:
    """A moment so many seconds from NOW."""
    return NOW + timedelta(seconds=seconds)


class Order(BaseModel):
    order_id: str
    quantity: int = 1


def reserve(order: Order) -> dict[str, str]:
    return {"reservation": order.order_id}


def release(reservation: str) -> None: ...


def capture(reservation: str, quantity: int) -> dict[str, str]:
    return {"charge": reservation * quantity}


def tell(order_id: str) -> None: ...


class Checkout(Workflow):
    subject = "Order {order_id}"
    aliases = ("purchase",)

    place = Manual(Order)

    reserve = Step(reserve, compensate=release)
    review = Approval(prompt="Capture {order_id}?", output="review", within=timedelta(hours=1), permission="pay")
    settle = Wait(timedelta(seconds=5))
    capture = Step(capture, retry=Retry(3), irreversible=True)
    decline = Step(tell)
    apologise = Step(tell)
    hold = Pause()
    check = Step(tell)

    flow = [
        reserve >> review >> settle >> capture >> check,
        check.when("quantity", greater_than=5) >> hold,
        check.when("quantity", greater_than=2) >> decline,
        check >> apologise,
        review.on_reject >> decline,
    ]


def load(order_id: str) -> dict[str, str]:
    return {"name": order_id}


def notify(customer: str) -> None: ...


class Notice(Workflow):
    prepare = Manual(Order)

    account = Step(load, output="account")
    invoice = Step(load, output="invoice", retry=Retry(3))
    notify = Step(notify, after=[account, invoice], input={"customer": "account.name"})


REGISTRY = Registry()
REGISTRY.register(Checkout, Notice)
EMPTY_REGISTRY = Registry()
CHECKOUT, NOTICE = REGISTRY.get("checkout"), REGISTRY.get("notice")


class Rows:
    """Inserts rows with sensible values for whatever is not said."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self._moment = 0

    def run(self, **columns: Any) -> str:
        """A run of checkout, created a while ago, each a second after the one before."""
        self._moment += 1
        created = at(-3600 + self._moment)
        spec = REGISTRY.get(columns.get("workflow", "checkout")) if columns.get("workflow") != "unknown" else CHECKOUT
        values = {
            "id": str(uuid4()),
            "workflow": spec.name,
            "trigger": "place",
            "fingerprint": spec.fingerprint,
            "subject": "Order o-1",
            "status": "running",
            "payload": {"order_id": "o-1", "quantity": 1},
            "created_at": created,
            "updated_at": created,
            "started_at": created,
            **columns,
        }
        self.connection.execute(sa.insert(runs).values(**values))
        return str(values["id"])

    def step(self, run_id: str, step: str, **columns: Any) -> str:
        """A visit to a step, each made a second after the one before."""
        self._moment += 1
        workflow = self.connection.scalar(sa.select(WorkflowRun.workflow).where(WorkflowRun.id == run_id))
        declared = REGISTRY.get(workflow or "").steps.get(step) if workflow != "unknown" else CHECKOUT.steps.get(step)
        created = at(-3600 + self._moment)
        settings: Mapping[str, Any] = declared.visit_settings.stored() if declared else {"kind": "function"}
        values = {
            "id": str(uuid4()),
            "run_id": run_id,
            "kind": "step",
            "step": step,
            "visit": 1,
            "status": "pending",
            "created_at": created,
            **columns,
            "settings": {**settings, **columns.get("settings", {})},
        }
        self.connection.execute(sa.insert(step_runs).values(**values))
        return str(values["id"])

    def completed(self, run_id: str, step: str, position: int, output: Any = None, **more: Any) -> str:
        """A visit that completed."""
        done = {"status": "completed", "position": position, "output": output or {}, "attempts": 1}
        return self.step(run_id, step, **{"sees": position - 1, "finished_at": NOW, **done, **more})

    def open_decision(self, run_id: str, step: str, kind: str = "approval", **columns: Any) -> str:
        """A visit that waits for a person."""
        targets = {"ok": "settle", "error": "decline"} if kind == "approval" else {"ok": None, "error": None}
        said = {"kind": kind, "prompt": "Really?", "permission": "pay", "output": None, **targets}
        decision = {**said, **columns.pop("decision", {})}
        return self.step(run_id, step, status="paused", decision=decision, **columns)

    def dispatch(self, run_id: str, step_run_id: str, **columns: Any) -> str:
        """Work that is due now and that nobody has taken yet."""
        values = {
            "id": str(uuid4()),
            "kind": "step",
            "run_id": run_id,
            "step_run_id": step_run_id,
            "payload": {},
            "queue": "default",
            "due_at": NOW,
            "relay_at": NOW,
            "created_at": NOW,
            **columns,
        }
        self.connection.execute(sa.insert(dispatches).values(**values))
        return str(values["id"])

    def claim(self, run_id: str, step_run_id: str, *, expires: float = 20, **columns: Any) -> str:
        """Work that a worker holds."""
        held = {"claim_id": str(uuid4()), "claimed_by": "worker-1", "claimed_at": at(-10), "due_at": at(expires)}
        return self.dispatch(run_id, step_run_id, **held, **columns)

    def attempt(self, step_run_id: str, number: int, status: str = "failed", **columns: Any) -> None:
        """An attempt that ended."""
        values = {"worker": "worker-1", "error": BOOM if status == "failed" else None}
        times = {"started_at": at(-20 + number), "finished_at": at(-19 + number)}
        row = {"step_run_id": step_run_id, "number": number, "status": status, **values, **times, **columns}
        self.connection.execute(sa.insert(attempts).values(**row))

    def event(self, run_id: str | None, type: str, **columns: Any) -> None:
        """A line of the audit."""
        self.connection.execute(sa.insert(audit_events).values(run_id=run_id, type=type, at=NOW, **columns))


@contextmanager
def counted(connection: sa.Connection) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    sa.event.listen(connection, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        sa.event.remove(connection, "before_cursor_execute", note)
