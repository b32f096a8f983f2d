"""Notices that could not be delivered, as they stand after a day of trying."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from flask_squidmesh.runtime.runtime import Runtime
from flask_squidmesh.storage import tables
from flask_squidmesh.storage.summaries import new_id


def give_up(runtime: Runtime, run_id: str, /, **said: Any) -> str:
    """Write one for the run, and return its id. said: columns that are to be otherwise."""
    now = runtime.clock.now()
    with runtime.database.write() as connection:
        run = connection.execute(sa.select(tables.runs).where(tables.runs.c.id == run_id)).one()
        row = {
            "id": new_id(),
            "kind": "run.failed",
            "subscription": "mail",
            "receiver": "ann@example.org",
            "is_addressed": True,
            "subject": run_id,
            "number": run.revision,
            "run_id": run_id,
            "tenant": run.tenant,
            "workflow": run.workflow,
            "tries": 40,
            "error": "The mail server answered 451.",
            "happened_at": now,
            "due_at": now,
            "give_up_at": now,
            "ended_at": now,
            "outcome": "failed",
            **said,
        }
        connection.execute(sa.insert(tables.outbox).values(row))
    return str(row["id"])
