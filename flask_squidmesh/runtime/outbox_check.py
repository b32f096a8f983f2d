"""Whether what is to be told is told: what stands in the outbox, and who is there to deliver it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from ..storage.outbox_entries import IS_OPEN
from ..storage.tables import Process, outbox
from ..subscriptions import Subscriptions

LATE: Final = timedelta(minutes=5)
FAILING: Final = timedelta(hours=1)


def outbox_faults(
    connection: sa.Connection,
    subscriptions: Subscriptions,
    now: datetime,
    *,
    worker_silence: timedelta,
    relay_silence: timedelta,
) -> Iterator[str]:
    """What is wrong with telling, one sentence each. worker_silence, relay_silence: after how long without a
    beat one counts as gone.

    Nothing is asked where there are neither subscriptions nor entries.
    """
    counted = sa.select(
        outbox.c.subscription,
        sa.func.count().label("number"),
        sa.func.min(outbox.c.due_at, type_=outbox.c.due_at.type).label("due_at"),
        sa.func.min(sa.case((outbox.c.tries > 0, outbox.c.happened_at)), type_=outbox.c.due_at.type).label("since"),
        sa.func.max(outbox.c.error).label("error"),
    )
    waiting = connection.execute(counted.where(IS_OPEN).group_by(outbox.c.subscription)).all()
    if subscriptions:
        yield from _nobody(connection, subscriptions, now, worker_silence, relay_silence)
    for name, number, due_at, since, error in waiting:
        if subscriptions.get(name) is None:
            yield (
                f"{_notices(number)} for {name!r}, which this app does not subscribe any more. Give its successor that "
                "name with name=, or let them be given up after a day."
            )
        elif since is not None and since < now - FAILING:
            yield f"{name!r} has failed since {since:%Y-%m-%d %H:%M} UTC, with {_notices(number)} waiting: {error}"
        elif due_at < now - LATE:
            yield f"{_notices(number)} for {name!r} late since {due_at:%Y-%m-%d %H:%M} UTC. More workers may be needed."
    lost = connection.scalar(sa.select(sa.func.count()).select_from(outbox).where(outbox.c.outcome == "failed"))
    if lost:
        yield f"{_notices(lost)} could not be delivered. The page System lists them and has them tried again."


def _nobody(
    connection: sa.Connection,
    subscriptions: Subscriptions,
    now: datetime,
    worker_silence: timedelta,
    relay_silence: timedelta,
) -> Iterator[str]:
    latest = sa.func.max(Process.seen_at, type_=Process.seen_at.type)
    seen = {row[0]: row[1] for row in connection.execute(sa.select(Process.kind, latest).group_by(Process.kind))}
    worker, relay = seen.get("worker"), seen.get("relay")
    if worker is not None and now - worker <= worker_silence:
        return
    own = [each.name for each in subscriptions if each.own_code]
    if relay is None or now - relay > relay_silence:
        yield (
            "Nobody is there to tell: keep a worker running, or run `flask squidmesh relay` every minute, which tells "
            "by channels alone."
        )
    elif own:
        yield f"No worker is there to call {', '.join(own)}: a relay tells by channels alone. Keep a worker running."


def _notices(number: int) -> str:
    return f"{number} {'notice' if number == 1 else 'notices'}"
