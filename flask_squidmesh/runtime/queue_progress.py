"""Noting now and then how far a queue has come, without a commit of its own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from ..store.claiming import Work
from ..store.queues import note_taken

if TYPE_CHECKING:
    from .runtime import Runtime

NOTE_EVERY: Final = timedelta(seconds=5)


class QueueProgress:
    """What this process has noted of each queue, so that it writes once in a few seconds however much it takes."""

    def __init__(self) -> None:
        self._noted: dict[str, datetime] = {}

    def taken(self, runtime: Runtime, connection: sa.Connection, work: Work) -> None:
        """The work was claimed in this transaction."""
        if self.is_to_be_noted(runtime, work):
            self._noted[work.queue] = runtime.clock.now()
            note_taken(connection, runtime.database, work.queue, work.due_at)

    def is_to_be_noted(self, runtime: Runtime, work: Work) -> bool:
        """Whether `taken` would write something for this work."""
        last = self._noted.get(work.queue)
        return work.came_in_turn and (last is None or abs(runtime.clock.now() - last) >= NOTE_EVERY)
