"""Internal work: dispatches in no queue, which every worker and every relay performs when they are due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from ..definition.values import JsonObject
from .database import Database
from .tables import dispatches
from .write_batch import MATCH, NO_QUEUE, RELAY_GRACE


class InternalDispatch(NamedTuple):
    """One piece of internal work. kind: `timer`, of the wait at a step run, `reminder`, of the step run that has the
    same id, `beginning`, of a run that begins later, `deadline`, of a run, or `match`, of a wait for an event, of a run
    that an event cancels, or, by its payload, of an event.
    """

    id: str
    kind: str
    run_id: str | None
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


def forget(connection: sa.Connection, id: str) -> None:
    """Delete it, as it is done or there is nothing to do."""
    connection.execute(sa.delete(dispatches).where(dispatches.c.id == id))


def go_on(connection: sa.Connection, work: InternalDispatch, payload: Mapping[str, object], due_at: datetime) -> None:
    """Do what comes next of it when that is due."""
    values = {"payload": payload, "due_at": due_at, "relay_at": due_at + RELAY_GRACE}
    connection.execute(sa.update(dispatches).where(dispatches.c.id == work.id).values(values))


def put_off(connection: sa.Connection, id: str, reason: str | None, until: datetime) -> None:
    """Do it later. reason: why not now, where something stands in the way."""
    connection.execute(sa.update(dispatches).where(dispatches.c.id == id).values(_later(reason, until)))


def forget_match(connection: sa.Connection, run_id: str, step_run_id: str | None) -> None:
    """Delete what says that the wait, or without a step run the run, has to look for events."""
    connection.execute(sa.delete(dispatches).where(*_match_of(run_id, step_run_id)))


def put_off_match(
    connection: sa.Connection, run_id: str, step_run_id: str | None, reason: str, until: datetime
) -> None:
    """Have it looked for later."""
    connection.execute(sa.update(dispatches).where(*_match_of(run_id, step_run_id)).values(_later(reason, until)))


def _match_of(run_id: str, step_run_id: str | None) -> Sequence[sa.ColumnElement[bool]]:
    kind = dispatches.c.kind == MATCH
    if step_run_id is not None:
        return dispatches.c.step_run_id == step_run_id, kind
    return dispatches.c.run_id == run_id, kind, dispatches.c.step_run_id.is_(None)


def _later(reason: str | None, until: datetime) -> dict[str, object]:
    return {"held": reason, "due_at": until, "relay_at": until + RELAY_GRACE}
