"""Handing over again what no worker has taken, and what a dead worker held."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..storage import queues, work_queue
from ..storage.tables import dispatches
from ..storage.work_queue import Work
from .claimer import apart, give_up_lost, may_take_over, offer_held, one_a_run
from .dispatcher import Intent
from .recorder import Recorded, after_commit

if TYPE_CHECKING:
    from .runtime import Runtime


FIRST_INTERVAL = timedelta(seconds=60)
LONGEST_INTERVAL = timedelta(hours=1)
BATCH = 100


def relay(runtime: Runtime) -> int:
    """Hand over again what a queue has lost, and what dead workers held; return how many there were.

    What merely waits in a long queue is left there. The intervals between repeats grow.

    Two relays at once are harmless: each takes the rows that the other does not, and a delivery too many does nothing.
    """
    runtime.ensure_configured()
    return take_from_dead_workers(runtime) + _hand_over_held(runtime) + _hand_over_again(runtime)


def take_from_dead_workers(runtime: Runtime) -> int:
    """Settle attempts whose claim has expired and have their steps delivered again, by a process that performs them."""
    if not may_take_over(runtime):
        return 0
    settled: list[Recorded] = []
    freed: list[Work] = []
    with runtime.database.write() as connection:
        lost = work_queue.lost_work(connection, runtime.database, limit=BATCH)
        for work in one_a_run(lost):
            with apart(runtime, connection, work, settled):
                if give_up_lost(runtime, connection, work, settled):
                    work_queue.free(connection, work, work.claimed_at or runtime.clock.now(), runtime.clock.now())
                    freed.append(work)
    for recorded in settled:
        after_commit(runtime, recorded)
    runtime.dispatcher.hand_over(_at_once(freed))
    return len(freed)


def _hand_over_held(runtime: Runtime) -> int:
    """What a process of an older or newer version put back is for one of this version to do."""
    with runtime.database.write() as connection:
        offered = offer_held(runtime, connection, limit=BATCH)
    runtime.dispatcher.hand_over(_at_once(offered))
    return len(offered)


def _at_once(works: Iterable[Work]) -> list[Intent]:
    return [Intent(run_id=work.run.id, kind=work.visit.kind, step=work.visit.step, due_at=None) for work in works]


def _hand_over_again(runtime: Runtime) -> int:
    with runtime.database.write() as connection:
        overdue = queues.to_hand_over_again(connection, runtime.database, limit=BATCH)
        for row in overdue:
            interval = min(FIRST_INTERVAL * 2 ** min(row.hand_overs, 10), LONGEST_INTERVAL)
            connection.execute(
                sa.update(dispatches)
                .where(dispatches.c.id == row.id)
                .values(
                    hand_overs=row.hand_overs + 1,
                    hand_over_error=None,
                    relay_at=runtime.database.now(interval),
                )
            )
    if overdue:
        wanted = [Intent(run_id=row.run_id, kind=row.kind, step=row.step, due_at=None) for row in overdue]
        runtime.dispatcher.hand_over(wanted, repeated=True)
    return len(overdue)
