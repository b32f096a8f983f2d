"""Cron triggers: what is declared, when it is due, and starting its run once a window."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ..clock import Clock
from ..definition import cron
from ..definition.cron import last_due, metadata, next_due
from ..definition.payloads import validate
from ..definition.spec import TriggerSpec, WorkflowSpec
from ..definition.tenants import NO_TENANT
from ..definition.workflow import Registry, Workflow
from ..errors import SquidMeshError, UnknownTriggerError
from ..storage import tables, work_queue
from ..storage.database import Database
from ..storage.outages import passes
from ..storage.scope import Scope
from .run_starter import CRON_KEY, NewRunRequest, RunStarter, StartedRun, trigger_of
from .schedule_records import ScheduleRecord, believed, locked_schedule, remember, schedule_records

PUT_OFF = timedelta(seconds=60)

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


def _view(spec: WorkflowSpec, trigger: TriggerSpec, record: ScheduleRecord, now: datetime) -> ScheduleView:
    assert trigger.expression is not None
    assert trigger.timezone is not None
    return ScheduleView(
        workflow=spec.name,
        trigger=trigger.name,
        expression=trigger.expression,
        timezone=trigger.timezone,
        last_due=last_due(trigger.expression, trigger.timezone, now),
        next_due=next_due(trigger.expression, trigger.timezone, now),
        fired_at=record.fired_at,
        last_run_id=record.last_run_id,
        paused_at=record.paused_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Activation:
    """What a scheduler or a person asks for: a window, or a signal that names the activation, or neither.

    queue: through which it came; None for the app's own.
    """

    spec: WorkflowSpec
    trigger: TriggerSpec
    window: datetime | None
    signal_id: str | None
    queue: str | None = None


class Scheduler:
    """Starts the runs of cron triggers, each window once, whoever asks: a worker, a queue or a person."""

    def __init__(self, *, database: Database, clock: Clock, registry: Registry, starter: RunStarter) -> None:
        self._database, self._clock, self._registry, self._starter = database, clock, registry, starter

    def schedules(self, scope: Scope) -> list[ScheduleView]:
        """Every cron trigger of the registered workflows, as far as the scope has runs of no tenant and of theirs."""
        with self._database.read() as connection:
            kept = schedule_records(connection, self.declared())
        now = self._clock.now()
        return [
            _view(spec, trigger, kept[spec.name, trigger.name], now)
            for spec, trigger in self.declared()
            if scope.admits(NO_TENANT, spec.name)
        ]

    def ahead_of_time(self, connection: sa.Connection) -> list[tuple[str, str, datetime]]:
        """Declared schedules that remember a time which has yet to come: workflow, trigger, and that time."""
        kept, now = schedule_records(connection, self.declared()), self._clock.now()
        times = [(of, time) for of, record in kept.items() for time in (record.fired_window, record.resumed_at) if time]
        return [(*of, time) for of, time in times if believed(time, now) is None]

    def declared(self) -> list[tuple[WorkflowSpec, TriggerSpec]]:
        """The registered workflows' cron triggers."""
        return [(spec, each) for spec in self._registry for each in spec.triggers.values() if each.kind == "cron"]

    def cron_trigger(self, workflow: type[Workflow] | str, trigger: str) -> tuple[WorkflowSpec, TriggerSpec]:
        """The workflow and its cron trigger. Raises UnknownWorkflowError, and UnknownTriggerError for any other
        trigger.
        """
        spec = self._registry.get(workflow)
        chosen = trigger_of(spec, trigger)
        if chosen.kind != "cron":
            raise UnknownTriggerError(f"Trigger {trigger} of workflow {spec.name} is no cron trigger; use start_run.")
        return spec, chosen

    def fire(
        self,
        workflow: str,
        trigger: str,
        *,
        intended_window: datetime | None = None,
        signal_id: str | None = None,
    ) -> str | None:
        """Start the trigger's run for its window and return its id.

        intended_window: the time the schedule meant; None for the last one that was due. signal_id: names the
        activation instead of the window. The second time for a window the first run's id, or None where the trigger
        says skip.
        """
        return self.activate(workflow, trigger, intended_window=intended_window, signal_id=signal_id)[0]

    def activate(
        self,
        workflow: str,
        trigger: str,
        *,
        intended_window: datetime | None = None,
        signal_id: str | None = None,
        even_paused: bool = True,
    ) -> tuple[str | None, bool]:
        """As `fire`, and whether the run is new. even_paused: False for what a queue delivers, not a person."""
        spec, chosen = self.cron_trigger(workflow, trigger)
        asked = _Activation(spec=spec, trigger=chosen, window=intended_window, signal_id=signal_id)

        def write(connection: sa.Connection) -> StartedRun | None:
            record = locked_schedule(connection, spec, chosen.name)
            return self._activated(connection, record, asked, even_paused=even_paused)

        started = self._database.in_transaction(None, write, self._tell)
        if started is None or (not started.new and chosen.idempotency == "skip"):
            return None, False
        return started.run_id, started.new

    def activate_next(self, queue: str) -> bool:
        """Start the run of the queue's next due activation; False where none is due.

        The activation goes with the run's own transaction. One that this process cannot start is put off, not lost.
        """
        with self._database.write() as connection:
            due = work_queue.due_activation(connection, self._database, queue)
            if due is None:
                return False
            try:
                with connection.begin_nested():
                    started = self._delivered(connection, due.payload, queue)
            except Exception as error:
                if passes(error):
                    raise
                reason = str(error) if isinstance(error, SquidMeshError) else f"It raised {type(error).__name__}."
                logger.warning("squidmesh: a cron activation is put off: %s", reason)
                work_queue.put_off(connection, due.id, reason, self._clock.now() + PUT_OFF)
                return True
            connection.execute(sa.delete(tables.dispatches).where(tables.dispatches.c.id == due.id))
        self._tell(started)
        return True

    def _delivered(self, connection: sa.Connection, payload: Mapping[str, Any], queue: str) -> StartedRun | None:
        spec, chosen = self.cron_trigger(payload["workflow"], payload["trigger"])
        text = payload.get("intended_window")
        intended = datetime.fromisoformat(text) if text else None
        signal_id = payload.get("signal_id")
        asked = _Activation(spec=spec, trigger=chosen, window=intended, signal_id=signal_id, queue=queue)
        record = locked_schedule(connection, spec, chosen.name)
        return self._activated(connection, record, asked, even_paused=False)

    def _activated(
        self, connection: sa.Connection, record: ScheduleRecord, asked: _Activation, *, even_paused: bool
    ) -> StartedRun | None:
        """None while the schedule is paused, and for a window that passed before it was resumed, unless even then.

        Where no window is given, the last that was due counts, but none from before the schedule was moved to its
        present expression: then it is the one that was started last.
        """
        now = self._clock.now()
        window = asked.window or (None if asked.signal_id else _moved_from(record, asked.trigger, now))
        wanted = self.wanted_start(asked.spec, asked.trigger, window, asked.signal_id)
        meant, resumed_at = _window_asked_for(wanted, window), believed(record.resumed_at, now)
        passed = meant is not None and resumed_at is not None and meant <= resumed_at
        if not even_paused and (passed or record.paused_at is not None):
            return None
        return self.activated(connection, record, wanted._replace(queue=asked.queue))

    def fire_due(self, since: datetime) -> list[str]:
        """Start the run of every schedule whose window has come, once for all workers, and return the new runs' ids.

        since: windows before then are left alone where nothing is on record of a schedule, so that a first deploy
        starts nothing old; so are those from before a schedule was moved to its present expression. After a pause of
        all workers only the last window is made up for.
        """
        with self._database.read() as connection:
            kept = schedule_records(connection, self.declared())
        fired = (self._fire_due_alone(of, kept[of[0].name, of[1].name], since) for of in self.declared())
        return [run_id for run_id in fired if run_id is not None]

    def _fire_due_alone(
        self, of: tuple[WorkflowSpec, TriggerSpec], record: ScheduleRecord, since: datetime
    ) -> str | None:
        """As `_fire_due`; what one schedule raises keeps no other from its window."""
        spec, chosen = of
        try:
            return self._fire_due(spec, chosen, record, since)
        except Exception as error:
            logger.warning(
                "squidmesh: schedule %s of %s could not be fired (%s)", chosen.name, spec.name, type(error).__name__
            )
            return None

    def _fire_due(self, spec: WorkflowSpec, chosen: TriggerSpec, record: ScheduleRecord, since: datetime) -> str | None:
        assert chosen.expression is not None
        assert chosen.timezone is not None
        now = self._clock.now()
        due = last_due(chosen.expression, chosen.timezone, now)
        if _seen(record, chosen, since, now) == record and not _is_due(record, chosen, due, now):
            return None
        with self._database.write() as connection:
            found = locked_schedule(connection, spec, chosen.name)
            record = _seen(found, chosen, since, now)
            if record != found:
                remember(connection, spec, chosen.name, {"expressions": record.expressions})
            if due is None or record.paused_at is not None or not _is_due(record, chosen, due, now):
                return None
            wanted = self.wanted_start(spec, chosen, due, None)
            started = self.activated(connection, record, wanted)
            if not started.new:
                self._remember(connection, record, wanted, started.run_id)
        self._starter.tell(started)
        return started.run_id if started.new else None

    def wanted_start(
        self, spec: WorkflowSpec, chosen: TriggerSpec, intended: datetime | None, signal_id: str | None
    ) -> NewRunRequest:
        """The start that an activation asks for."""
        assert chosen.expression is not None
        assert chosen.timezone is not None
        now = self._clock.now()
        window = intended or last_due(chosen.expression, chosen.timezone, now) or now
        window = window if window.tzinfo else window.replace(tzinfo=UTC)
        identity = signal_id or window.astimezone(UTC).isoformat()
        return NewRunRequest(
            spec=spec,
            trigger=chosen.name,
            payload=validate(chosen, None, window=window, now=now),
            key=None if chosen.idempotency == "none" else cron_key(chosen, identity),
            actor=f"schedule {chosen.name}",
            schedule=metadata(spec.name, chosen, window=window, now=now, signal_id=signal_id),
        )

    def activated(self, connection: sa.Connection, record: ScheduleRecord, wanted: NewRunRequest) -> StartedRun:
        """Write the run, of the schedule's tenant, and remember it with its schedule, which is locked."""
        started = self._starter.written(connection, wanted._replace(tenant=record.tenant))
        if started.new:
            self._remember(connection, record, wanted, started.run_id)
        return started

    def _remember(self, connection: sa.Connection, record: ScheduleRecord, wanted: NewRunRequest, run_id: str) -> None:
        now = self._clock.now()
        values: dict[str, Any] = {"fired_at": now, "last_run_id": run_id}
        window = _window_asked_for(wanted)
        if window is not None and (believed(record.fired_window, now) or window) <= window <= now:
            values["fired_window"] = window
            trigger = wanted.spec.triggers[wanted.trigger]
            if not record.expressions:
                values["expressions"] = cron.seen({}, trigger, began=window, now=now)
        remember(connection, wanted.spec, wanted.trigger, values)

    def _tell(self, started: StartedRun | None) -> None:
        if started is not None:
            self._starter.tell(started)


def _moved_from(record: ScheduleRecord, trigger: TriggerSpec, now: datetime) -> datetime | None:
    """The window that was started last, where none has been due since the schedule was moved."""
    assert trigger.expression is not None
    assert trigger.timezone is not None
    moved = cron.since(record.expressions, trigger)
    due = last_due(trigger.expression, trigger.timezone, now)
    return record.fired_window if moved is not None and due is not None and due < moved else None


def _seen(record: ScheduleRecord, trigger: TriggerSpec, since: datetime, now: datetime) -> ScheduleRecord:
    """What is remembered once this process has shown the trigger as it knows it."""
    began = min(since, believed(record.fired_window, now) or since)
    return replace(record, expressions=cron.seen(record.expressions, trigger, began=began, now=now))


def _is_due(record: ScheduleRecord, trigger: TriggerSpec, due: datetime | None, now: datetime) -> bool:
    passed = record.passed(trigger, now)
    return due is not None and (passed is None or due > passed)


def cron_key(trigger: TriggerSpec, activation: str) -> str:
    """The start key of an activation, which is named by its window or its signal id."""
    return f"{CRON_KEY}{trigger.name}:{activation}"


def _window_asked_for(wanted: NewRunRequest, intended: datetime | None = None) -> datetime | None:
    """The window that the activation is for; None where a signal names it and no window was given."""
    assert wanted.schedule is not None
    if wanted.schedule["signal_id"] is not None and intended is None:
        return None
    return datetime.fromisoformat(str(wanted.schedule["intended_window"]))
