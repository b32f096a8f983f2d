"""How far queues have come, and what of them is to be handed over again.

A queue passes on what was due earlier before what was due later. So work that is older than what was taken last has
been lost, while work that is younger may only be waiting in a long queue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import sqlalchemy as sa

from .database import Database
from .tables import dispatches, queues, step_runs
from .write_batch import NO_QUEUE, RELAY_GRACE
from .write_statements import INSERTS

STANDSTILL: Final = timedelta(minutes=3)
IN_NO_QUEUE: Final = sa.or_(
    dispatches.c.hand_over_error.is_not(None),
    dispatches.c.held.is_not(None),
    dispatches.c.relay_at == dispatches.c.due_at,
)
"""As in the index of this condition: refused by the executor, put back by a process, or left to the relay."""
HANDED_OVER: Final = dispatches.c.queue != NO_QUEUE
"""Whether it is for the executor at all; internal work is not, whatever keeps it from being done."""


class UntakenWork(NamedTuple):
    """A dispatch that nobody has taken. hand_overs: how often it has been handed over again."""

    id: str
    run_id: str
    kind: str
    hand_overs: int
    step: str


def note_taken(connection: sa.Connection, database: Database, queue: str, due_at: datetime) -> None:
    """Remember that a dispatch which was due then has been taken; nothing where another is just noting.

    It is written only where a relay has looked at the queue before.
    """
    free = sa.select(queues.c.queue).where(queues.c.queue == queue).with_for_update(skip_locked=True)
    youngest = sa.case((queues.c.taken_upto > due_at, queues.c.taken_upto), else_=due_at)
    connection.execute(
        sa.update(queues)
        .where(queues.c.queue.in_(free.scalar_subquery()))
        .values(taken_at=database.now(), taken_upto=youngest)
    )


def to_hand_over_again(connection: sa.Connection, database: Database, *, limit: int) -> list[UntakenWork]:
    """Dispatches whose hand-over is to be made again, locked.

    Those that are known to be in no queue come first: the executor refused them or was not asked to hold them for so
    long, or a process put them back or died.
    """
    found: dict[str, UntakenWork] = {}
    for condition in _conditions(connection, database):
        if len(found) < limit:
            rows = connection.execute(_query(condition, limit - len(found)))
            found |= {work.id: work for work in map(UntakenWork._make, rows)}
    return list(found.values())


def _conditions(connection: sa.Connection, database: Database) -> Iterator[sa.ColumnElement[bool]]:
    """One for each index, so that nothing is read that is not handed over."""
    waited = dispatches.c.relay_at <= database.now()
    yield waited & IN_NO_QUEUE & HANDED_OVER
    yield waited & dispatches.c.claim_id.is_not(None)
    for queue in _names(connection):
        passed = _passed(connection, database, queue)
        mine = waited & (dispatches.c.queue == queue)
        yield mine if passed is None else mine & (dispatches.c.relay_at < passed + RELAY_GRACE)


def _query(condition: sa.ColumnElement[bool], limit: int) -> sa.Select[tuple[str, str, str, int, str]]:
    columns = (dispatches.c.id, dispatches.c.run_id, dispatches.c.kind, dispatches.c.hand_overs, step_runs.c.step)
    return (
        sa.select(*columns)
        .join(step_runs, step_runs.c.id == dispatches.c.step_run_id)
        .where(condition)
        .order_by(dispatches.c.relay_at)
        .limit(limit)
        .with_for_update(of=dispatches, skip_locked=True)
    )


def _names(connection: sa.Connection) -> Sequence[str]:
    """The queues that have dispatches: one look into the index for each, however many dispatches there are."""
    names: list[str] = []
    after = sa.select(sa.func.min(dispatches.c.queue)).where(dispatches.c.queue > NO_QUEUE)
    while (name := connection.scalar(after)) is not None:
        names.append(name)
        after = sa.select(sa.func.min(dispatches.c.queue)).where(dispatches.c.queue > name)
    return names


def _passed(connection: sa.Connection, database: Database, queue: str) -> datetime | None:
    """Up to when the queue has passed on what was due; None where it stands still or was never looked at."""
    recently = queues.c.taken_at > database.now(-STANDSTILL)
    row = connection.execute(
        sa.select(queues.c.taken_upto, recently.label("recently")).where(queues.c.queue == queue)
    ).first()
    if row is None:
        insert = INSERTS[connection.dialect.name](queues).values(queue=queue)
        connection.execute(insert.on_conflict_do_nothing())
        return None
    passed: datetime | None = row.taken_upto if row.recently else None
    return passed
