"""Handing over again what no worker has taken."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..store.tables import dispatches, step_runs
from .dispatching import Intent, hand_over

if TYPE_CHECKING:
    from .runtime import Runtime


FIRST_INTERVAL = timedelta(seconds=60)
LONGEST_INTERVAL = timedelta(hours=1)
BATCH = 100


def relay(runtime: Runtime) -> int:
    """Hand over dispatches that are overdue, each with a growing interval, and return how many there were.

    Two relays at once are harmless: each takes the rows that the other does not, and a delivery too many does nothing.
    """
    assert runtime.config
    with runtime.database.write() as connection:
        query = (
            sa.select(
                dispatches.c.id, dispatches.c.run_id, dispatches.c.kind, dispatches.c.hand_overs, step_runs.c.step
            )
            .join(step_runs, step_runs.c.id == dispatches.c.step_run_id)
            .where(dispatches.c.relay_at <= runtime.database.now())
            .order_by(dispatches.c.relay_at)
            .limit(BATCH)
            .with_for_update(of=dispatches, skip_locked=True)
        )
        overdue = connection.execute(query).all()
        for row in overdue:
            interval = min(FIRST_INTERVAL * 2 ** min(row.hand_overs, 10), LONGEST_INTERVAL)
            connection.execute(
                sa.update(dispatches)
                .where(dispatches.c.id == row.id)
                .values(hand_overs=row.hand_overs + 1, relay_at=runtime.clock.now() + interval)
            )
    if overdue:
        hand_over(runtime, [Intent(run_id=row.run_id, kind=row.kind, step=row.step, due_at=None) for row in overdue])
    return len(overdue)
