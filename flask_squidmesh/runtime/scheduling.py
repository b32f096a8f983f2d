"""Cron triggers: what is declared, when it is due, and starting its run once a window."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..errors import SquidMeshError, UnknownTriggerError
from ..store import claiming, tables
from ..store.scope import Scope
from ..store.shapes import INSERTS
from ..workflow.payloads import validate
from ..workflow.schedule import last_due, metadata, next_due
from ..workflow.spec import TriggerSpec, WorkflowSpec
from ..workflow.tenants import NO_TENANT
from .new_runs import CRON_KEY, Start, Started, in_transaction, tell, written
from .starting import trigger_of

if TYPE_CHECKING:
    from .runtime import Runtime


PUT_OFF = timedelta(seconds=60)
CLOCKS_DIFFER = timedelta(seconds=60)

logger = logging.getLogger("flask_squidmesh")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """One declared cron trigger: when it was and will be due, and what it last did."""

    workflow: str
    trigger: str
    expression: str
    timezone: str
    last_due: datetime | None
    next_due: datetime | None
    fired_at: datetime | None
    last_run_id: str | None
    paused_at: datetime | None


def schedules(runtime: Runtime, scope: Scope) -> list[ScheduleView]:
    """Every cron trigger of the registered workflows, as far as the scope has runs of no tenant and of theirs."""
    with runtime.database.read() as connection:
        row = tables.schedules.c
        remembered = sa.select(tables.schedules).where(row.tenant == NO_TENANT, *scope.within(row))
        rows = {(row.workflow, row.trigger): row for row in connection.execute(remembered)}
    now = runtime.clock.now()
    return [
        _view(spec, trigger, rows.get((spec.name, trigger.name)), now)
        for spec, trigger in declared(runtime)
        if scope.admits(NO_TENANT, spec.name)
    ]


def ahead_of_time(runtime: Runtime, connection: sa.Connection) -> list[tuple[str, str, datetime]]:
    """Declared schedules that remember a time which has yet to come: workflow, trigger, and that time."""
    of = {(spec.name, trigger.name) for spec, trigger in declared(runtime)}
    rows = [row for row in connection.execute(sa.select(tables.schedules)) if (row.workflow, row.trigger) in of]
    times = [(row, time) for row in rows for time in (row.fired_window, row.resumed_at) if time is not None]
    return [(row.workflow, row.trigger, time) for row, time in times if _believed(runtime, time) is None]


def declared(runtime: Runtime) -> list[tuple[WorkflowSpec, TriggerSpec]]:
    """The registered workflows' cron triggers."""
    return [(spec, each) for spec in runtime.registry for each in spec.triggers.values() if each.kind == "cron"]


def _view(spec: WorkflowSpec, trigger: TriggerSpec, row: Any, now: datetime) -> ScheduleView:
    assert trigger.expression is not None
    assert trigger.timezone is not None
    return ScheduleView(
        workflow=spec.name,
        trigger=trigger.name,
        expression=trigger.expression,
        timezone=trigger.timezone,
        last_due=last_due(trigger.expression, trigger.timezone, now),
        next_due=next_due(trigger.expression, trigger.timezone, now),
        fired_at=row.fired_at if row else None,
        last_run_id=row.last_run_id if row else None,
        paused_at=row.paused_at if row else None,
    )


def fire(
    runtime: Runtime,
    workflow: str,
    trigger: str,
    *,
    intended_window: datetime | None = None,
    signal_id: str | None = None,
) -> str | None:
    """Start the trigger's run for its window and return its id.

    intended_window: the time the schedule meant; None for the last one that was due. signal_id: names the activation
    instead of the window. The second time for a window the first run's id, or None where the trigger says skip.
    """
    return activate(runtime, workflow, trigger, intended_window=intended_window, signal_id=signal_id)[0]


def activate(
    runtime: Runtime,
    workflow: str,
    trigger: str,
    *,
    intended_window: datetime | None = None,
    signal_id: str | None = None,
    even_paused: bool = True,
) -> tuple[str | None, bool]:
    """As `fire`, and whether the run is new. even_paused: False for what a queue delivers, not a person."""
    runtime.ensure_configured()
    spec, chosen = cron_trigger(runtime, workflow, trigger)
    wanted = wanted_start(runtime, spec, chosen, intended_window, signal_id)
    asked_for = _window_asked_for(wanted, intended_window)

    def write(connection: sa.Connection) -> Started | None:
        if even_paused:
            return activated(runtime, connection, locked_schedule(runtime, connection, spec, trigger), wanted)
        return _activated_unless_left_out(runtime, connection, wanted, asked_for)

    started = in_transaction(runtime, None, write, partial(_tell, runtime))
    if started is None or (not started.new and chosen.idempotency == "skip"):
        return None, False
    return started.run_id, started.new


def _tell(runtime: Runtime, started: Started | None) -> None:
    if started is not None:
        tell(runtime, started)


def activate_next(runtime: Runtime, queue: str) -> bool:
    """Start the run of the queue's next due activation; False where none is due.

    The activation goes with the run's own transaction. One that this process cannot start is put off, not lost.
    """
    with runtime.database.write() as connection:
        due = claiming.due_activation(connection, runtime.database, queue)
        if due is None:
            return False
        try:
            with connection.begin_nested():
                started = _delivered(runtime, connection, due.payload)
        except (sa.exc.OperationalError, sa.exc.InterfaceError):
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, SquidMeshError) else f"It raised {type(error).__name__}."
            logger.warning("squidmesh: a cron activation is put off: %s", reason)
            claiming.put_off(connection, due.id, reason, runtime.clock.now() + PUT_OFF)
            return True
        connection.execute(sa.delete(tables.dispatches).where(tables.dispatches.c.id == due.id))
    _tell(runtime, started)
    return True


def _delivered(runtime: Runtime, connection: sa.Connection, payload: Mapping[str, Any]) -> Started | None:
    spec, chosen = cron_trigger(runtime, payload["workflow"], payload["trigger"])
    text = payload.get("intended_window")
    intended = datetime.fromisoformat(text) if text else None
    wanted = wanted_start(runtime, spec, chosen, intended, payload.get("signal_id"))
    return _activated_unless_left_out(runtime, connection, wanted, _window_asked_for(wanted, intended))


def _activated_unless_left_out(
    runtime: Runtime, connection: sa.Connection, wanted: Start, window: datetime | None
) -> Started | None:
    """None while the schedule is paused, and for a window that passed before it was resumed."""
    row = locked_schedule(runtime, connection, wanted.spec, wanted.trigger)
    resumed_at = _believed(runtime, row.resumed_at)
    passed = window is not None and resumed_at is not None and window <= resumed_at
    return None if passed or row.paused_at is not None else activated(runtime, connection, row, wanted)


def fire_due(runtime: Runtime, since: datetime) -> list[str]:
    """Start the run of every schedule whose window has come, once for all workers, and return the new runs' ids.

    since: windows before then are left alone where a schedule has never fired, so that a first deploy starts nothing
    old. After a pause of all workers only the last window is made up for.
    """
    fired = (_fire_due_alone(runtime, spec, chosen, since) for spec, chosen in declared(runtime))
    return [run_id for run_id in fired if run_id is not None]


def _fire_due_alone(runtime: Runtime, spec: WorkflowSpec, chosen: TriggerSpec, since: datetime) -> str | None:
    """As `_fire_due`; what one schedule raises keeps no other from its window."""
    try:
        return _fire_due(runtime, spec, chosen, since)
    except Exception as error:
        logger.warning(
            "squidmesh: schedule %s of %s could not be fired (%s)", chosen.name, spec.name, type(error).__name__
        )
        return None


def _fire_due(runtime: Runtime, spec: WorkflowSpec, chosen: TriggerSpec, since: datetime) -> str | None:
    assert chosen.expression is not None
    assert chosen.timezone is not None
    due = last_due(chosen.expression, chosen.timezone, runtime.clock.now())
    if due is None or (due <= since and not _has_fired(runtime, spec, chosen)):
        return None
    with runtime.database.write() as connection:
        row = locked_schedule(runtime, connection, spec, chosen.name)
        passed = max(filter(None, (_believed(runtime, row.fired_window) or since, _believed(runtime, row.resumed_at))))
        if row.paused_at is not None or due <= passed:
            return None
        wanted = wanted_start(runtime, spec, chosen, due, None)
        started = activated(runtime, connection, row, wanted)
        if not started.new:
            _remember(runtime, connection, row, wanted, started.run_id)
    tell(runtime, started)
    return started.run_id if started.new else None


def _has_fired(runtime: Runtime, spec: WorkflowSpec, chosen: TriggerSpec) -> bool:
    query = sa.select(tables.schedules.c.fired_window).where(of_schedule(spec, chosen.name))
    with runtime.database.read() as connection:
        return connection.scalar(query) is not None


def locked_schedule(runtime: Runtime, connection: sa.Connection, spec: WorkflowSpec, trigger: str) -> sa.Row[Any]:
    """The schedule's row, made where there is none; its lock lets one worker at a time fire it.

    Every activation takes it before its start key: two orders would be a deadlock.
    """
    statement = INSERTS[runtime.database.dialect](tables.schedules).values(workflow=spec.name, trigger=trigger)
    connection.execute(statement.on_conflict_do_nothing())
    return connection.execute(sa.select(tables.schedules).where(of_schedule(spec, trigger)).with_for_update()).one()


def of_schedule(spec: WorkflowSpec, trigger: str) -> sa.ColumnElement[bool]:
    """The condition on the row of the declared schedule, which is no tenant's."""
    row = tables.schedules.c
    return sa.and_(row.workflow == spec.name, row.trigger == trigger, row.tenant == NO_TENANT)


def cron_trigger(runtime: Runtime, workflow: Any, trigger: str) -> tuple[WorkflowSpec, TriggerSpec]:
    """The workflow and its cron trigger. Raises UnknownWorkflowError, and UnknownTriggerError for any other trigger."""
    spec = runtime.registry.get(workflow)
    chosen = trigger_of(spec, trigger)
    if chosen.kind != "cron":
        raise UnknownTriggerError(f"Trigger {trigger} of workflow {spec.name} is no cron trigger; use start_run.")
    return spec, chosen


def cron_key(trigger: TriggerSpec, activation: str) -> str:
    """The start key of an activation, which is named by its window or its signal id."""
    return f"{CRON_KEY}{trigger.name}:{activation}"


def wanted_start(
    runtime: Runtime, spec: WorkflowSpec, chosen: TriggerSpec, intended: datetime | None, signal_id: str | None
) -> Start:
    """The start that an activation asks for."""
    assert chosen.expression is not None
    assert chosen.timezone is not None
    now = runtime.clock.now()
    window = intended or last_due(chosen.expression, chosen.timezone, now) or now
    window = window if window.tzinfo else window.replace(tzinfo=UTC)
    identity = signal_id or window.astimezone(UTC).isoformat()
    return Start(
        spec=spec,
        trigger=chosen.name,
        payload=validate(chosen, None, window=window, now=now),
        key=None if chosen.idempotency == "none" else cron_key(chosen, identity),
        actor=f"schedule {chosen.name}",
        schedule=metadata(spec.name, chosen, window=window, now=now, signal_id=signal_id),
    )


def activated(runtime: Runtime, connection: sa.Connection, row: sa.Row[Any], wanted: Start) -> Started:
    """Write the run, of the schedule's tenant, and remember it with its schedule, whose locked row this is."""
    started = written(runtime, connection, replace(wanted, tenant=row.tenant))
    if started.new:
        _remember(runtime, connection, row, wanted, started.run_id)
    return started


def _remember(runtime: Runtime, connection: sa.Connection, row: sa.Row[Any], wanted: Start, run_id: str) -> None:
    now = runtime.clock.now()
    values = {"fired_at": now, "last_run_id": run_id}
    window = _window_asked_for(wanted)
    if window is not None and (_believed(runtime, row.fired_window) or window) <= window <= now:
        values["fired_window"] = window
    connection.execute(sa.update(tables.schedules).where(of_schedule(wanted.spec, wanted.trigger)).values(values))


def _believed(runtime: Runtime, remembered: datetime | None) -> datetime | None:
    """What a schedule remembers, unless a wrong clock wrote it, for it has yet to come: that must silence nothing."""
    return remembered if remembered is not None and remembered <= runtime.clock.now() + CLOCKS_DIFFER else None


def _window_asked_for(wanted: Start, intended: datetime | None = None) -> datetime | None:
    """The window that the activation is for; None where a signal names it and no window was given."""
    assert wanted.schedule is not None
    if wanted.schedule["signal_id"] is not None and intended is None:
        return None
    return datetime.fromisoformat(wanted.schedule["intended_window"])
