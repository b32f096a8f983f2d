"""What people do with what could not be delivered: have it tried again, or take note."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from ..clock import Clock
from ..errors import TransitionError
from ..storage import fact_rows, outbox_entries
from ..storage.database import Database
from ..storage.tables import outbox
from .command_arguments import decider_of
from .outbox import Outbox


class NoticeCommands:
    """What people do with notices that were given up. most: bytes of JSON that what they say may take."""

    def __init__(self, *, database: Database, clock: Clock, outbox: Outbox, most: int) -> None:
        self._database, self._clock, self._outbox, self._most = database, clock, outbox, most

    def tell_again(self, entry_id: str, *, actor: object, comment: str | None = None) -> None:
        """Have it tried again for a day, from now on.

        Raises:
            TransitionError: It was not given up, or somebody was faster.
        """
        now = self._clock.now()
        values = {"ended_at": None, "outcome": None, "tries": 0, "due_at": now}
        self._settle(entry_id, "notice_retried", actor, comment, {**values, "give_up_at": now + _DAY})
        self._outbox.wake_signal.set()

    def dismiss(self, entry_id: str, *, actor: object, comment: str | None = None) -> None:
        """Take note that it was not delivered; it is not shown any more.

        Raises:
            TransitionError: It was not given up, or somebody was faster.
        """
        self._settle(entry_id, "notice_dismissed", actor, comment, {"outcome": "dropped"})

    def _settle(self, entry_id: str, event: str, actor: object, comment: str | None, values: dict[str, object]) -> None:
        decider = decider_of(actor, comment, None, actor_required=True, most=self._most)
        with self._database.write() as connection:
            row = connection.execute(
                sa.select(outbox).where(outbox.c.id == entry_id, outbox.c.outcome == "failed").with_for_update()
            ).first()
            if row is None:
                raise TransitionError(
                    "The notice was not given up, or somebody was faster. Nothing was done.", status=""
                )
            connection.execute(sa.update(outbox).where(outbox.c.id == entry_id).values(values))
            said = {"kind": row.kind, "subscription": row.subscription}
            fact_rows.note(
                connection,
                event,
                actor=decider.actor,
                at=self._clock.now(),
                run_id=row.run_id,
                tenant=row.tenant,
                workflow=row.workflow,
                comment=decider.comment,
                data=said,
            )


_DAY: timedelta = outbox_entries.GIVE_UP_AFTER
