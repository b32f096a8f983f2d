"""Handing over again what no worker has taken, and what a dead worker held."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import sqlalchemy as sa

from ..storage import queues, work_queue
from ..storage.database import Database
from ..storage.tables import dispatches
from ..storage.work_queue import Work
from .backoff import doubled
from .claimer import Claimer, one_a_run
from .dispatcher import Dispatcher, Intent
from .internal_work import InternalWork
from .recorder import Recorded, Recorder

FIRST_INTERVAL = timedelta(seconds=60)
LONGEST_INTERVAL = timedelta(hours=1)
BATCH = 100


class Relay:
    """Hands work over again that got lost on its way."""

    def __init__(
        self,
        *,
        database: Database,
        dispatcher: Dispatcher,
        claimer: Claimer,
        recorder: Recorder,
        internal_work: InternalWork,
    ) -> None:
        self._database, self._dispatcher = database, dispatcher
        self._claimer, self._recorder, self._internal_work = claimer, recorder, internal_work

    def once(self) -> int:
        """Hand over again what a queue has lost, and what dead workers held; return how many there were. Do what is due
        of internal work.

        What merely waits in a long queue is left there. The intervals between repeats grow.

        Two relays at once are harmless: each takes the rows that the other does not, and a delivery too many does
        nothing.
        """
        self._internal_work.perform_due()
        return self.take_from_dead_workers() + self._hand_over_held() + self._hand_over_again()

    def take_from_dead_workers(self) -> int:
        """Settle attempts whose claim has expired and have their steps delivered again, by a process that performs
        them.
        """
        if not self._claimer.may_take_over():
            return 0
        settled: list[Recorded] = []
        freed: list[Work] = []
        with self._database.write() as connection:
            lost = work_queue.lost_work(connection, self._database, limit=BATCH)
            for work in one_a_run(lost):
                with self._claimer.in_savepoint(connection, work, settled):
                    if self._claimer.give_up_lost(connection, work, settled):
                        freed.append(work)
        for recorded in settled:
            self._recorder.after_commit(recorded)
        self._dispatcher.hand_over(_at_once(freed))
        return len(freed)

    def _hand_over_held(self) -> int:
        """What a process of an older or newer version put back is for one of this version to do."""
        with self._database.write() as connection:
            offered = self._claimer.offer_held(connection, limit=BATCH)
        self._dispatcher.hand_over(_at_once(offered))
        return len(offered)

    def _hand_over_again(self) -> int:
        with self._database.write() as connection:
            untaken = queues.to_hand_over_again(connection, self._database, limit=BATCH)
            for row in untaken:
                interval = doubled(FIRST_INTERVAL, row.hand_overs, longest=LONGEST_INTERVAL)
                connection.execute(
                    sa.update(dispatches)
                    .where(dispatches.c.id == row.id)
                    .values(
                        hand_overs=row.hand_overs + 1,
                        hand_over_error=None,
                        relay_at=self._database.now(interval),
                    )
                )
        if untaken:
            wanted = [Intent(run_id=row.run_id, kind=row.kind, step=row.step, due_at=None) for row in untaken]
            self._dispatcher.hand_over(wanted, repeated=True)
        return len(untaken)


def _at_once(works: Iterable[Work]) -> list[Intent]:
    return [Intent(run_id=work.run.id, kind=work.visit.kind, step=work.visit.step, due_at=None) for work in works]
