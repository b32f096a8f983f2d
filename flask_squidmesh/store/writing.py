"""Changes as SQL: on PostgreSQL all of them are one statement, so that a step costs two round trips and a commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import UpdateBase

from ..engine.changes import Changes, NewStepRun
from .auditing import actor_key
from .identity import new_id
from .tables import attempts, audit_events, dispatches, runs, step_runs

INSERTS: Final[Mapping[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
RELAY_GRACE = timedelta(seconds=60)


class ClaimLostError(Exception):
    """The claim under which the changes were made is gone; none of them may be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A claim that the changes were made under: which dispatch, which claim, for which step run, until when.

    expires_at: the time, as SQL, at which the claim expires where the deliverer goes on with the next step.
    """

    dispatch_id: str
    claim_id: str
    step_run_id: str
    expires_at: sa.ColumnElement[datetime]


def apply(
    connection: sa.Connection,
    run_id: str,
    changes: Changes,
    *,
    now: datetime,
    queue: str,
    held: Held | None = None,
) -> None:
    """Write the changes of one decision. Raises ClaimLostError, and then the caller must roll back."""
    fence = _fence(changes, held, now) if held else None
    rest = [
        *_run(run_id, changes, now),
        *_entered(run_id, changes, now),
        *_updated(changes),
        *_attempts(changes),
        *_audit(run_id, changes, now),
        *_dispatches(run_id, changes, held, now, queue),
    ]
    write = _as_one if connection.dialect.name == "postgresql" else _one_by_one
    if not write(connection, fence, rest):
        raise ClaimLostError


def _as_one(connection: sa.Connection, fence: UpdateBase | None, rest: list[UpdateBase]) -> bool:
    parts = [_part(statement, f"part_{number}") for number, statement in enumerate(rest)]
    if fence is None:
        connection.execute(sa.select(sa.literal(1)).add_cte(*parts))
        return True
    held = _part(fence, "fence")
    return connection.scalar(sa.select(sa.func.count()).select_from(held).add_cte(*parts)) == 1


def _part(statement: Any, name: str) -> sa.CTE:
    part: sa.CTE = statement.returning(sa.literal(1).label("one")).cte(name)
    return part


def _one_by_one(connection: sa.Connection, fence: UpdateBase | None, rest: list[UpdateBase]) -> bool:
    for statement in rest:
        connection.execute(statement)
    return fence is None or connection.execute(fence).rowcount == 1


def _fence(changes: Changes, held: Held, now: datetime) -> UpdateBase:
    mine = sa.and_(dispatches.c.id == held.dispatch_id, dispatches.c.claim_id == held.claim_id)
    onward = next((row for row in changes.entered if row.claimed), None)
    if onward is not None:
        return (
            sa.update(dispatches)
            .where(mine)
            .values(step_run_id=onward.id, claimed_at=now, due_at=held.expires_at, hand_over_error=None)
        )
    if held.step_run_id in changes.released:
        due = changes.released[held.step_run_id]
        return (
            sa.update(dispatches)
            .where(mine)
            .values(claim_id=None, claimed_by=None, claimed_at=None, due_at=due, relay_at=due + RELAY_GRACE)
        )
    return sa.delete(dispatches).where(mine)


def _run(run_id: str, changes: Changes, now: datetime) -> list[UpdateBase]:
    moved = {"revision": runs.c.revision + 1, "updated_at": now}
    return [sa.update(runs).where(runs.c.id == run_id).values(**moved, **changes.run)]


def _entered(run_id: str, changes: Changes, now: datetime) -> list[UpdateBase]:
    return _insert(step_runs, [_step_row(run_id, row, now) for row in changes.entered])


def _step_row(run_id: str, row: NewStepRun, now: datetime) -> dict[str, Any]:
    return {
        "id": row.id,
        "run_id": run_id,
        "kind": row.kind,
        "step": row.step,
        "visit": row.visit,
        "status": "running" if row.claimed else row.status,
        "sees": row.sees,
        "missing": row.missing,
        "attempts": 1 if row.claimed else 0,
        "abandoned": 0,
        "settings": row.settings,
        "failure": row.failure,
        "decision": row.decision,
        "decide_by": row.decide_by,
        "due_at": row.due_at,
        "created_at": now,
        "started_at": now if row.claimed or row.status == "paused" else None,
    }


def _updated(changes: Changes) -> list[UpdateBase]:
    return [sa.update(step_runs).where(step_runs.c.id == key).values(**row) for key, row in changes.updated.items()]


def _attempts(changes: Changes) -> list[UpdateBase]:
    return _insert(
        attempts,
        [
            {
                "step_run_id": row.step_run_id,
                "number": row.number,
                "status": row.status,
                "worker": row.worker,
                "error": row.error,
                "started_at": row.started_at,
                "finished_at": row.finished_at,
            }
            for row in changes.attempts
        ],
    )


def _audit(run_id: str, changes: Changes, now: datetime) -> list[UpdateBase]:
    return _insert(
        audit_events,
        [
            {
                "run_id": run_id,
                "type": row.type,
                "step": row.step,
                "visit": row.visit,
                "actor": row.actor,
                "actor_id": actor_key(row.actor),
                "comment": row.comment,
                "metadata": row.metadata,
                "at": now,
            }
            for row in changes.audit
        ],
    )


def _dispatches(run_id: str, changes: Changes, held: Held | None, now: datetime, queue: str) -> list[UpdateBase]:
    ended = [key for key in changes.ended if held is None or key != held.step_run_id]
    new = [
        dispatch_row(run_id, row.id, row.kind, row.due_at or now, queue, now)
        for row in changes.entered
        if row.delivered and not row.claimed
    ] + [dispatch_row(run_id, row.step_run_id, row.kind, row.due_at, queue, now) for row in changes.dispatched]
    gone = [sa.delete(dispatches).where(dispatches.c.step_run_id.in_(ended))] if ended else []
    return [*gone, *_insert(dispatches, new)]


def dispatch_row(
    run_id: str | None,
    step_run_id: str | None,
    kind: str,
    due_at: datetime,
    queue: str,
    now: datetime,
    payload: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A new dispatch as a row."""
    return {
        "id": new_id(),
        "kind": kind,
        "run_id": run_id,
        "step_run_id": step_run_id,
        "payload": payload,
        "queue": queue,
        "due_at": due_at,
        "relay_at": due_at + RELAY_GRACE,
        "hand_overs": 0,
        "created_at": now,
    }


def _insert(table: Any, rows: list[dict[str, Any]]) -> list[UpdateBase]:
    """One row is inserted by values(row), not values([row]): only the first is kept in the statement cache."""
    if not rows:
        return []
    return [sa.insert(table).values(rows[0] if len(rows) == 1 else rows)]
