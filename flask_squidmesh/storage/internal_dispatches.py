"""Internal work: dispatches in no queue, which every worker and every relay performs when they are due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from ..definition.values import JsonObject
from .database import Database
from .tables import dispatches
from .write_batch import NO_QUEUE, RELAY_GRACE


class InternalDispatch(NamedTuple):
    """One piece of internal work. kind: `timer`, of the wait at a step run, `reminder`, of the step run that has the
    same id, or `deadline`, of a run."""

    id: str
    kind: str
    run_id: str
    step_run_id: str | None
    payload: JsonObject | None


_COLUMNS = [dispatches.c[name] for name in InternalDispatch._fields]


def due(connection: sa.Connection, database: Database, *, limit: int) -> Sequence[InternalDispatch]:
    """What is due, oldest first. It is locked by `still_due`, once the run is locked."""
    query = (
        sa.select(*_COLUMNS)
        .where(dispatches.c.queue == NO_QUEUE, dispatches.c.due_at <= database.now())
        .order_by(dispatches.c.due_at)
        .limit(limit)
    )
    return [*map(InternalDispatch._make, connection.execute(query))]


def still_due(connection: sa.Connection, database: Database, work: InternalDispatch) -> bool:
    """Whether nobody has done it meanwhile; it is locked then. Lock the run before."""
    query = (
        sa.select(dispatches.c.id)
        .where(dispatches.c.id == work.id, dispatches.c.due_at <= database.now())
        .with_for_update()
    )
    return connection.scalar(query) is not None


def forget(connection: sa.Connection, work: InternalDispatch) -> None:
    """Delete it, as it is done or there is nothing to do."""
    connection.execute(sa.delete(dispatches).where(dispatches.c.id == work.id))


def go_on(connection: sa.Connection, work: InternalDispatch, payload: Mapping[str, object], due_at: datetime) -> None:
    """Do what comes next of it when that is due."""
    values = {"payload": payload, "due_at": due_at, "relay_at": due_at + RELAY_GRACE}
    connection.execute(sa.update(dispatches).where(dispatches.c.id == work.id).values(values))


def put_off(connection: sa.Connection, work: InternalDispatch, reason: str | None, until: datetime) -> None:
    """Do it later. reason: why not now, where something stands in the way."""
    connection.execute(
        sa.update(dispatches)
        .where(dispatches.c.id == work.id)
        .values(held=reason, due_at=until, relay_at=until + RELAY_GRACE)
    )
