"""Cron triggers: what is declared, when it is due, and starting its run once a window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..errors import UnknownTriggerError
from ..store import tables
from ..workflow.payloads import validate
from ..workflow.schedule import last_due, next_due
from ..workflow.spec import TriggerSpec, WorkflowSpec
from .starting import Start, begin, trigger_of

if TYPE_CHECKING:
    from .runtime import Runtime


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


def schedules(runtime: Runtime) -> list[ScheduleView]:
    """Every cron trigger of the registered workflows."""
    with runtime.database.read() as connection:
        rows = {(row.workflow, row.trigger): row for row in connection.execute(sa.select(tables.schedules))}
    now = runtime.clock.now()
    return [_view(spec, trigger, rows.get((spec.name, trigger.name)), now) for spec, trigger in declared(runtime)]


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
) -> tuple[str | None, bool]:
    """As `fire`, and whether the run is new."""
    assert runtime.config
    spec = runtime.registry.get(workflow)
    chosen = trigger_of(spec, trigger)
    if chosen.kind != "cron" or chosen.expression is None or chosen.timezone is None:
        raise UnknownTriggerError(f"Trigger {trigger} of workflow {spec.name} is no cron trigger; use start_run.")
    now = runtime.clock.now()
    window = intended_window or last_due(chosen.expression, chosen.timezone, now) or now
    window = window if window.tzinfo else window.replace(tzinfo=UTC)
    identity = signal_id or window.astimezone(UTC).isoformat()
    started = begin(
        runtime,
        Start(
            spec=spec,
            trigger=chosen,
            payload=validate(chosen, None, window=window, now=now),
            key=None if chosen.idempotency == "none" else f"cron:{chosen.name}:{identity}",
            actor=f"schedule {chosen.name}",
            schedule=_metadata(spec, chosen, window, signal_id, now),
        ),
    )
    if started.new:
        _remember(runtime, spec.name, chosen.name, started.run_id, now)
    skipped = not started.new and chosen.idempotency == "skip"
    return (None if skipped else started.run_id), started.new


def _metadata(
    spec: WorkflowSpec, trigger: TriggerSpec, window: datetime, signal_id: str | None, now: datetime
) -> dict[str, Any]:
    return {
        "workflow": spec.name,
        "trigger": trigger.name,
        "expression": trigger.expression,
        "timezone": trigger.timezone,
        "intended_window": window.isoformat(),
        "received_at": now.isoformat(),
        "signal_id": signal_id,
        "idempotency": trigger.idempotency,
    }


def _remember(runtime: Runtime, workflow: str, trigger: str, run_id: str, now: datetime) -> None:
    mine = sa.and_(tables.schedules.c.workflow == workflow, tables.schedules.c.trigger == trigger)
    values = {"fired_at": now, "last_run_id": run_id}
    with runtime.database.write() as connection:
        if connection.execute(sa.update(tables.schedules).where(mine).values(**values)).rowcount == 0:
            connection.execute(sa.insert(tables.schedules).values(workflow=workflow, trigger=trigger, **values))
