"""Telling that work is due and nobody takes it, or not in time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from ..clock import Clock
from ..notices import NoticeKind
from ..storage import outbox_entries
from ..storage.database import Database
from ..storage.tables import Process, dispatches
from ..storage.write_batch import NO_QUEUE
from .outbox import Outbox

SILENCE: Final = timedelta(minutes=1)
"""After which a worker that was not seen counts as gone, and work that nobody takes as waiting in vain."""
LATE: Final = timedelta(minutes=5)
AGAIN: Final = timedelta(hours=1)


class QueueWatch:
    """Looks at all queues where somebody wants to be told of them."""

    def __init__(self, *, database: Database, clock: Clock, outbox: Outbox) -> None:
        self._database, self._clock, self._outbox = database, clock, outbox

    def look(self) -> None:
        """Write down what is to be told: of a queue without a worker once, of one that is late once an hour."""
        subscriptions = self._outbox.subscriptions
        if not any(subscriptions.to(kind, None) for kind in _KINDS):
            return
        now = self._clock.now()
        with self._database.read() as connection:
            waiting, served = _waiting(connection, now), _served(connection, now)
        told = [found for queue, since in waiting.items() if (found := _judged(queue, since, queue in served, now))]
        if not told:
            return
        with self._database.write() as connection:
            for kind, queue, number in told:
                outbox_entries.add_beside_runs(
                    connection,
                    subscriptions,
                    kind,
                    subject=queue,
                    number=number,
                    now=now,
                    data={"queue": queue, "waiting_since": waiting[queue].isoformat()},
                )
        self._outbox.wake_signal.set()


_KINDS: Final[tuple[NoticeKind, ...]] = ("system.no_worker", "system.queue_late")


def _judged(queue: str, since: datetime, served: bool, now: datetime) -> tuple[NoticeKind, str, int] | None:
    """What is to be told of a queue, with what tells this time from others."""
    if not served:
        return "system.no_worker", queue, int(since.timestamp())
    if now - since > LATE:
        return "system.queue_late", queue, int(now.timestamp() // AGAIN.total_seconds())
    return None


def _waiting(connection: sa.Connection, now: datetime) -> dict[str, datetime]:
    """The queues whose work waits for longer than it should, with the time since when."""
    oldest = sa.func.min(dispatches.c.due_at, type_=dispatches.c.due_at.type)
    query = sa.select(dispatches.c.queue, oldest).where(
        dispatches.c.queue != NO_QUEUE, dispatches.c.claim_id.is_(None), dispatches.c.due_at < now - SILENCE
    )
    return {row[0]: row[1] for row in connection.execute(query.group_by(dispatches.c.queue))}


def _served(connection: sa.Connection, now: datetime) -> set[str]:
    """The queues that a live worker takes from."""
    query = sa.select(Process.queue).where(Process.kind == "worker", Process.seen_at >= now - SILENCE)
    return set(connection.scalars(query.distinct()))
