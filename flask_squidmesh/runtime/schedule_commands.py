"""What people do with schedules: pause and resume them, and start their run now."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..engine.approvals import identity
from ..engine.facts import Decider
from ..errors import ConflictError, TransitionError
from ..storage import fact_rows
from ..storage.summaries import new_id
from ..storage.tables import audit_events
from .command_arguments import decider_of
from .run_starter import StartedRun, in_transaction, tell
from .scheduler import activated, cron_key, cron_trigger, locked_schedule, remember, wanted_start

if TYPE_CHECKING:
    from .runtime import Runtime


def pause(runtime: Runtime, workflow: Any, trigger: str, *, actor: Any, comment: str | None = None) -> None:
    """Have the schedule start nothing until it is resumed."""
    _set(runtime, workflow, trigger, paused=True, actor=actor, comment=comment)


def resume(runtime: Runtime, workflow: Any, trigger: str, *, actor: Any, comment: str | None = None) -> None:
    """Have the schedule start runs again, from its next window on; those that passed meanwhile are left out."""
    _set(runtime, workflow, trigger, paused=False, actor=actor, comment=comment)


def run_now(
    runtime: Runtime, workflow: Any, trigger: str, *, actor: Any, comment: str | None = None, key: str | None = None
) -> str:
    """Start the schedule's run once more, now, paused or not, and return its id.

    key: a UUID; the second time with the same one nothing is started and the first run's id is returned.
    """
    runtime.ensure_configured()
    decider = decider_of(actor, comment, None, actor_required=True, most=runtime.settings.max_payload_bytes)
    spec, chosen = cron_trigger(runtime, workflow, trigger)
    signal_id = f"now:{key or new_id()}"
    once = cron_key(chosen, signal_id)
    wanted = replace(wanted_start(runtime, spec, chosen, None, signal_id), actor=decider.actor, key=once)

    def write(connection: sa.Connection) -> StartedRun:
        row = locked_schedule(runtime, connection, spec, chosen.name)
        started = activated(runtime, connection, row, wanted)
        if not started.new:
            _check_same(connection, started.run_id, decider)
        else:
            _note(runtime, connection, "schedule_run", spec.name, trigger, decider, started.run_id)
        return started

    started: StartedRun = in_transaction(runtime, None, write, partial(tell, runtime))
    return started.run_id


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


def _set(runtime: Runtime, workflow: Any, trigger: str, *, paused: bool, actor: Any, comment: str | None) -> None:
    runtime.ensure_configured()
    decider = decider_of(actor, comment, None, actor_required=True, most=runtime.settings.max_payload_bytes)
    spec, chosen = cron_trigger(runtime, workflow, trigger)
    now = runtime.clock.now()
    with runtime.database.write() as connection:
        row = locked_schedule(runtime, connection, spec, chosen.name)
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
        _note(runtime, connection, event, spec.name, trigger, decider)


def _note(
    runtime: Runtime,
    connection: sa.Connection,
    event: str,
    workflow: str,
    trigger: str,
    decider: Any,
    run_id: str | None = None,
) -> None:
    said = {"workflow": workflow, "trigger": trigger}
    at = runtime.clock.now()
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
