"""Notes of how far queues have come."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from ..clock import Clock
from ..storage.database import Database
from ..storage.queues import note_taken
from ..storage.work_queue import Work

NOTE_EVERY: Final = timedelta(seconds=5)


class QueueProgress:
    """What this process has noted of each queue, so that it writes once in a few seconds however much it takes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._noted: dict[str, datetime] = {}

    def taken(self, connection: sa.Connection, work: Work) -> None:
        """The work was claimed in this transaction."""
        if self.is_to_be_noted(work):
            self._noted[work.queue] = self._clock.now()
            note_taken(connection, self._database, work.queue, work.due_at)

    def is_to_be_noted(self, work: Work) -> bool:
        """Whether `taken` would write something for this work."""
        last = self._noted.get(work.queue)
        return work.came_in_turn and (last is None or abs(self._clock.now() - last) >= NOTE_EVERY)
