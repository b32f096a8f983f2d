"""Runs of a tenant in every state that a person can meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from flask import Flask

from flask_squidmesh import Scope, Workflow
from flask_squidmesh.runtime import bulk_jobs
from flask_squidmesh.storage import fact_rows, tables
from flask_squidmesh.storage.summaries import new_id
from flask_squidmesh.testing import drain
from tests.two_tenants.workflows import Bundle, Call, Delivery, Invoice, Parcel, Payment, Reminder, Return, Transfer
from tests.undelivered import give_up

WORDS: Final = {"acme": "Acorn", "globex": "Zirkon"}
HOST: Final = "host:1:a"
ACTORS: Final = {"acme": "anna", "globex": "otto"}


@dataclass(frozen=True, slots=True)
class Filled:
    """What was made for a tenant. runs: ids by what they show. job: a bulk action. undelivered: what nobody could be
    told. events: what came for it. texts: what nobody else may read."""

    runs: dict[str, str]
    job: str
    undelivered: tuple[str, ...]
    events: tuple[str, ...]
    texts: tuple[str, ...]


def fill(app: Flask, tenant: str, *, times: int = 1) -> Filled:
    """Make the tenant's runs. times: how many of each."""
    made = [_once(app, tenant, number) for number in range(times)]
    runs = {f"{name}{number or ''}": id for number, each in enumerate(made) for name, id in each.runs.items()}
    ids = {id for each in made for id in (*each.runs.values(), each.job, *each.undelivered, *each.events)}
    texts = (WORDS[tenant].lower(), f"{ACTORS[tenant]} of", *sorted(ids))
    return Filled(runs, made[0].job, made[0].undelivered, made[0].events, texts)


def _once(app: Flask, tenant: str, number: int) -> Filled:
    runtime, mesh = app.extensions["squidmesh"], app.extensions["mesh"]
    word = WORDS[tenant]
    who = {"id": ACTORS[tenant], "label": f"{ACTORS[tenant].title()} of {tenant.title()}"}

    def start(workflow: type[Workflow], order: int) -> str:
        payload = {"number": f"{number}{order}", "customer": f"{word} Ltd", "amount": 100 + order}
        run: Any = mesh.start_run(workflow, payload, actor=who, tenant=tenant, idempotency_key=f"k-{number}{order}")
        drain()
        id: str = run.id
        return id

    with app.app_context():
        runs = {
            "decision": start(Invoice, 1),
            "approved": start(Invoice, 2),
            "rejected": start(Invoice, 3),
            "paused": start(Parcel, 4),
            "failed": start(Delivery, 5),
            "not_undone": start(Return, 6),
            "interrupted": start(Transfer, 7),
            "retrying": start(Call, 8),
            "waiting": start(Reminder, 9),
            "cancelled": start(Reminder, 10),
            "stuck": start(Reminder, 11),
            "parent": start(Bundle, 12),
            "replayed": start(Delivery, 13),
            "working": start(Reminder, 14),
            "awaiting": start(Payment, 15),
            "paid": start(Payment, 16),
        }
        events = tuple(
            mesh.send_event("payment.settled", key=key, payload={"by": f"{word} Bank"}, tenant=tenant, actor=who).id
            for key in (f"{number}16", f"{word}-17-{number}")
        )
        drain()
        mesh.approve_run(runs["approved"], actor=who, comment=f"{word} pays well")
        mesh.reject_run(runs["rejected"], actor=who, comment=f"{word} owes us")
        mesh.cancel_run(runs["cancelled"], actor=who, comment=f"{word} asked for it")
        drain()
        [runs["child"]] = mesh.inspect_run(runs["parent"]).children
        runs["replay"] = mesh.replay_run(runs["replayed"], actor=who).id
        drain()
        items = [
            bulk_jobs.BulkItem(run_id=runs["paused"], token=mesh.inspect_run(runs["paused"]).decision, step="look")
        ]
        scope = Scope(tenants=[tenant])
        job = runtime.bulk.begin("resume", items, scope=scope, actor=who, comment=f"{word} waits")
        runtime.bulk.cancel(job, actor=who)
        runtime.heartbeats.record("worker", HOST, queue=runtime.settings.queue, threads=4)
        with runtime.database.write() as connection:
            taken = sa.update(tables.dispatches).where(tables.dispatches.c.run_id == runs["working"])
            connection.execute(taken.values(claim_id=new_id(), claimed_by=HOST, claimed_at=runtime.clock.now()))
            held = sa.update(tables.dispatches).where(tables.dispatches.c.run_id == runs["stuck"])
            connection.execute(held.values(held=f"{word} is held back"))
            said = {"action": "cancel", "reason": f"Not for {word}"}
            now = runtime.clock.now()
            fact_rows.note(connection, "refused", actor=who, at=now, run_id=runs["decision"], data=said)
        undelivered = give_up(
            runtime,
            runs["failed"],
            receiver=f"{word}@example.org",
            error=f"{word} is full",
            subscription=f"{word} mail",
        )
        of_event = give_up(
            runtime,
            runs["failed"],
            kind="event.unmatched",
            run_id=None,
            workflow=None,
            subject=events[1],
            number=number,
            data={"event": "payment.settled", "key": f"{word}-17"},
            receiver=f"{word}@example.org",
            error=f"{word} is full",
        )
    return Filled(runs, job, (undelivered, of_event), events, ())
