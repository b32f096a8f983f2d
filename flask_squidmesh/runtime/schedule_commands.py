"""What people do with schedules: pause and resume them, and start their run now."""

from __future__ import annotations

import sqlalchemy as sa

from ..clock import Clock
from ..definition.workflow import Workflow
from ..engine.facts import Decider
from ..engine.windows import paused_windows
from ..errors import ConflictError, TransitionError
from ..people import identity
from ..storage import fact_rows
from ..storage.database import Database
from ..storage.summaries import new_id
from ..storage.tables import audit_events
from .command_arguments import decider_of
from .overlapping_windows import leave_out
from .run_starter import RunStarter, StartedRun
from .schedule_records import locked_schedule, remember
from .scheduler import Scheduler, cron_key


class ScheduleCommands:
    """What people do with schedules. most: bytes of JSON that what they say may take."""

    def __init__(
        self, *, database: Database, clock: Clock, scheduler: Scheduler, starter: RunStarter, most: int
    ) -> None:
        self._database, self._clock, self._scheduler, self._starter = database, clock, scheduler, starter
        self._most = most

    def pause(self, workflow: type[Workflow] | str, trigger: str, *, actor: object, comment: str | None = None) -> None:
        """Have the schedule start nothing until it is resumed."""
        self._set(workflow, trigger, paused=True, actor=actor, comment=comment)

    def resume(
        self, workflow: type[Workflow] | str, trigger: str, *, actor: object, comment: str | None = None
    ) -> None:
        """Have the schedule start runs again, from its next window on; those that passed meanwhile are left out."""
        self._set(workflow, trigger, paused=False, actor=actor, comment=comment)

    def run_now(
        self,
        workflow: type[Workflow] | str,
        trigger: str,
        *,
        actor: object,
        comment: str | None = None,
        key: str | None = None,
    ) -> str:
        """Start the schedule's run once more, now, paused or not, and return its id.

        key: a UUID; the second time with the same one nothing is started and the first run's id is returned.
        """
        decider = decider_of(actor, comment, None, actor_required=True, most=self._most)
        spec, chosen = self._scheduler.cron_trigger(workflow, trigger)
        signal_id = f"now:{key or new_id()}"
        once = cron_key(chosen, signal_id)
        wanted = self._scheduler.wanted_start(spec, chosen, None, signal_id)._replace(actor=decider.actor, key=once)

        def write(connection: sa.Connection) -> StartedRun:
            row = locked_schedule(connection, spec, chosen.name)
            started = self._scheduler.activated(connection, row, wanted)
            if not started.new:
                _check_same(connection, started.run_id, decider)
            else:
                self._note(connection, "schedule_run", spec.name, trigger, decider, started.run_id)
            return started

        started: StartedRun = self._database.in_transaction(None, write, self._starter.tell)
        return started.run_id

    def _set(
        self, workflow: type[Workflow] | str, trigger: str, *, paused: bool, actor: object, comment: str | None
    ) -> None:
        decider = decider_of(actor, comment, None, actor_required=True, most=self._most)
        spec, chosen = self._scheduler.cron_trigger(workflow, trigger)
        now = self._clock.now()
        with self._database.write() as connection:
            row = locked_schedule(connection, spec, chosen.name)
            if (row.paused_at is not None) == paused:
                raise TransitionError(
                    f"The schedule {trigger} of {spec.name} is {'paused already' if paused else 'not paused'}. "
                    "Nothing was done.",
                    status="paused" if paused else "on",
                    allowed=("resume_schedule",) if paused else ("pause_schedule",),
                )
            values = {"paused_at": now} if paused else {"paused_at": None, "resumed_at": now}
            remember(connection, spec, chosen.name, values)
            event = "schedule_paused" if paused else "schedule_resumed"
            self._note(connection, event, spec.name, trigger, decider)
            if not paused and (passed := paused_windows(chosen, row.passed(chosen, now), row.paused_at, now)):
                leave_out(connection, spec, chosen.name, row, [passed])

    def _note(
        self,
        connection: sa.Connection,
        event: str,
        workflow: str,
        trigger: str,
        decider: Decider,
        run_id: str | None = None,
    ) -> None:
        said = {"workflow": workflow, "trigger": trigger}
        at = self._clock.now()
        fact_rows.note(
            connection,
            event,
            actor=decider.actor,
            at=at,
            run_id=run_id,
            workflow=workflow,
            comment=decider.comment,
            data=said,
        )


def _check_same(connection: sa.Connection, run_id: str, decider: Decider) -> None:
    """Raise ConflictError where it was somebody else, or with other words, who had the run started by this key."""
    event = audit_events.c
    query = sa.select(event.actor, event.comment).where(event.run_id == run_id, event.type == "schedule_run")
    before = connection.execute(query).first()
    if before and (identity(before.actor), before.comment) != (identity(decider.actor), decider.comment):
        raise ConflictError(
            "The key was used by somebody else or with another comment; nothing was done. Use a new key.",
            current=run_id,
        )
