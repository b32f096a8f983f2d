"""Schedules: what is declared, when it is due, and starting its run once a window, as its overlap and catch_up say."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from ..clock import Clock
from ..definition import cron
from ..definition.cron import last_due, metadata, next_due
from ..definition.payloads import validate
from ..definition.spec import CatchUp, Overlap, TriggerSpec, WorkflowSpec
from ..definition.tenants import NO_TENANT
from ..definition.workflow import Registry, Workflow
from ..engine.transitions import STOPPING
from ..engine.windows import LeftOutWindows, QueuedWindow, due_windows, is_settled
from ..errors import SquidMeshError, TransitionError, UnknownTriggerError
from ..storage import tables, work_queue
from ..storage.database import Database
from ..storage.outages import passes
from ..storage.scope import Scope
from .overlapping_windows import OpenRun, hold_back, keep_queued, leave_out, open_runs
from .run_starter import CRON_KEY, NewRunRequest, RunStarter, StartedRun, trigger_of
from .schedule_records import ScheduleRecord, believed, locked_schedule, remember, schedule_records

PUT_OFF = timedelta(seconds=60)
CANCELLED_BY = "The next window of its schedule has come."

logger = logging.getLogger("flask_squidmesh")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """One declared schedule: when it was and will be due, and what it last did.

    queued: the windows that wait until a run of it has ended. left_out: the latest that were not started, and why.
    """

    workflow: str
    trigger: str
    expression: str
    timezone: str
    last_due: datetime | None
    next_due: datetime | None
    fired_at: datetime | None
    last_run_id: str | None
    paused_at: datetime | None
    overlap: Overlap
    catch_up: CatchUp
    queued: list[datetime]
    left_out: list[LeftOutWindows]


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
        overlap=trigger.overlap,
        catch_up=trigger.catch_up,
        queued=[each.window for each in record.queued],
        left_out=list(record.left_out),
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
    """Starts the runs of schedules, each window once, whoever asks: a worker, a queue or a person.

    cancel_run: how a run is cancelled whose schedule says so, given its id, by whom and why.
    """

    def __init__(self, *, database: Database, clock: Clock, registry: Registry, starter: RunStarter) -> None:
        self._database, self._clock, self._registry, self._starter = database, clock, registry, starter
        self.cancel_run: Callable[[str, str, str], object] | None = None

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
        says skip. It is started also while the schedule is paused, and beside a run that has not ended.
        """
        return self.activate(workflow, trigger, intended_window=intended_window, signal_id=signal_id)[0]

    def activate(
        self,
        workflow: str,
        trigger: str,
        *,
        intended_window: datetime | None = None,
        signal_id: str | None = None,
        by_hand: bool = True,
    ) -> tuple[str | None, bool]:
        """As `fire`, and whether the run is new. by_hand: False for what a queue delivers, not a person."""
        spec, chosen = self.cron_trigger(workflow, trigger)
        asked = _Activation(spec=spec, trigger=chosen, window=intended_window, signal_id=signal_id)

        def write(connection: sa.Connection) -> StartedRun | None:
            record = locked_schedule(connection, spec, chosen.name)
            return self._activated(connection, record, asked, by_hand=by_hand)

        started = self._database.in_transaction(None, write, self._tell)
        if not by_hand:
            self._alone((spec, chosen), partial(self._go_on, spec, chosen))
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
        of = self.cron_trigger(str(due.payload["workflow"]), str(due.payload["trigger"]))
        self._alone(of, partial(self._go_on, *of))
        return True

    def _delivered(self, connection: sa.Connection, payload: Mapping[str, Any], queue: str) -> StartedRun | None:
        spec, chosen = self.cron_trigger(payload["workflow"], payload["trigger"])
        text = payload.get("intended_window")
        intended = datetime.fromisoformat(text) if text else None
        signal_id = payload.get("signal_id")
        asked = _Activation(spec=spec, trigger=chosen, window=intended, signal_id=signal_id, queue=queue)
        record = locked_schedule(connection, spec, chosen.name)
        return self._activated(connection, record, asked, by_hand=False)

    def _activated(
        self, connection: sa.Connection, record: ScheduleRecord, asked: _Activation, *, by_hand: bool
    ) -> StartedRun | None:
        """None while the schedule is paused, for a window that passed before it was resumed, and for one that meets a
        run which has not ended, unless a person asks.

        Where no window is given, the last that was due counts, but none from before the schedule was moved to its
        present expression: then it is the one that was started last.
        """
        now = self._clock.now()
        window = asked.window or (None if asked.signal_id else _moved_from(record, asked.trigger, now))
        wanted = self.wanted_start(asked.spec, asked.trigger, window, asked.signal_id)
        meant, resumed_at = _window_asked_for(wanted, window), believed(record.resumed_at, now)
        passed = meant is not None and resumed_at is not None and meant <= resumed_at
        if by_hand:
            return self.activated(connection, record, wanted._replace(queue=asked.queue))
        if passed or record.paused_at is not None:
            return None
        return self._taken(connection, record, wanted._replace(queue=asked.queue))

    def _taken(self, connection: sa.Connection, record: ScheduleRecord, wanted: NewRunRequest) -> StartedRun | None:
        """The run of a window whose time has come; None where it is queued or left out, as the trigger's overlap says.

        That is on record before anything else is done, so that a process which dies in between loses no window.
        """
        spec, trigger = wanted.spec, wanted.spec.triggers[wanted.trigger]
        if trigger.overlap == "allow":
            return self.activated(connection, record, wanted)
        if self._starter.found(connection, wanted._replace(tenant=record.tenant)) is not None:
            return self.activated(connection, record, wanted)
        former = open_runs(connection, spec, trigger.name, record.tenant)
        window = _queued(wanted, self._clock.now())
        settled = is_settled(window, record.queued, record.left_out)
        if not settled and not former and not record.queued:
            return self.activated(connection, record, wanted)
        if not settled:
            hold_back(connection, spec, trigger, record, window, former[0].id if former else None)
        if passes := self._passes(record, wanted):
            remember(connection, spec, trigger.name, passes)
        return None

    def fire_due(self, since: datetime) -> list[str]:
        """Start the run of every schedule whose window has come, once for all workers, and return the new runs' ids.

        since: windows before then are left alone where nothing is on record of a schedule, so that a first deploy
        starts nothing old; so are those from before a schedule was moved to its present expression. What passed
        while no worker was up is made up for as the trigger's catch_up says. Windows that are queued are started once
        the run that they wait for has ended.
        """
        with self._database.read() as connection:
            kept = schedule_records(connection, self.declared())
        return [
            run_id
            for of in self.declared()
            for run_id in self._alone(of, partial(self._fire_due, *of, kept[of[0].name, of[1].name], since))
        ]

    def start_queued(self) -> list[str]:
        """Start windows that wait until a run has ended, where it has, and return the new runs' ids."""
        with self._database.read() as connection:
            kept = schedule_records(connection, self.declared())
        return [
            run_id
            for of in self.declared()
            if kept[of[0].name, of[1].name].queued
            for run_id in self._alone(of, partial(self._start_queued, *of))
        ]

    def _alone(self, of: tuple[WorkflowSpec, TriggerSpec], start: Callable[[], Sequence[str]]) -> Sequence[str]:
        """The runs that one schedule starts; what it raises keeps no other from its window."""
        spec, chosen = of
        try:
            return start()
        except Exception as error:
            logger.warning(
                "squidmesh: schedule %s of %s could not be fired (%s)", chosen.name, spec.name, type(error).__name__
            )
            return []

    def _fire_due(self, spec: WorkflowSpec, chosen: TriggerSpec, record: ScheduleRecord, since: datetime) -> list[str]:
        assert chosen.expression is not None
        assert chosen.timezone is not None
        now = self._clock.now()
        due = last_due(chosen.expression, chosen.timezone, now)
        fired = self._start_queued(spec, chosen) if record.queued else []
        if _seen(record, chosen, since, now) == record and not _is_due(record, chosen, due, now):
            return fired
        are_left = True
        while are_left:
            started, are_left = self._fire_window(spec, chosen, since)
            fired += [started.run_id] if started is not None and started.new else []
        return [*fired, *self._go_on(spec, chosen)]

    def _fire_window(self, spec: WorkflowSpec, chosen: TriggerSpec, since: datetime) -> tuple[StartedRun | None, bool]:
        """Start the first window that is due, in a transaction of its own; and whether more of them are."""
        now = self._clock.now()
        with self._database.write() as connection:
            found = locked_schedule(connection, spec, chosen.name)
            record = _seen(found, chosen, since, now)
            if record != found:
                remember(connection, spec, chosen.name, {"expressions": record.expressions})
            if record.paused_at is not None:
                return None, False
            windows = due_windows(chosen, record.passed(chosen, now), now)
            if windows.missed is not None:
                record = leave_out(connection, spec, chosen.name, record, [windows.missed])
                remember(connection, spec, chosen.name, {"fired_window": windows.missed.last})
            if not windows.due:
                return None, False
            wanted = self.wanted_start(spec, chosen, windows.due[0], None)
            started = self._taken(connection, record, wanted)
            if started is not None and not started.new:
                self._remember(connection, record, wanted, started.run_id)
        self._tell(started)
        return started, len(windows.due) > 1

    def _go_on(self, spec: WorkflowSpec, chosen: TriggerSpec) -> list[str]:
        """Start what a window has just queued, or cancel what it waits for."""
        return self._start_queued(spec, chosen) if chosen.overlap in ("queue", "cancel") else []

    def _start_queued(self, spec: WorkflowSpec, chosen: TriggerSpec) -> list[str]:
        """Start what is queued, in order, as far as the runs that it waits for have ended or can be cancelled."""
        fired: list[str] = []
        while True:
            started, former = self._start_first_queued(spec, chosen)
            if started is not None:
                fired += [started.run_id] if started.new else []
            elif not self._cancelled(chosen, former):
                return fired

    def _start_first_queued(
        self, spec: WorkflowSpec, chosen: TriggerSpec
    ) -> tuple[StartedRun | None, Sequence[OpenRun]]:
        """The run of the window that was queued first, or what it waits for; neither where none is queued."""
        with self._database.write() as connection:
            record = locked_schedule(connection, spec, chosen.name)
            if not record.queued or record.paused_at is not None:
                return None, ()
            first = record.queued[0]
            former = open_runs(connection, spec, chosen.name, record.tenant) if chosen.overlap != "allow" else []
            if chosen.overlap == "cancel":
                former = [run for run in former if run.created_at <= first.at]
            if former:
                return None, former
            wanted = self.wanted_start(spec, chosen, first.window, first.signal_id)._replace(queue=first.queue)
            started = self.activated(connection, record, wanted)
            keep_queued(connection, spec, chosen.name, record.queued[1:])
        self._tell(started)
        return started, ()

    def _cancelled(self, chosen: TriggerSpec, former: Sequence[OpenRun]) -> bool:
        """Cancel the runs that a window waits for, where it may; whether any was."""
        done, wanted = 0, [run.id for run in former if run.status not in STOPPING and chosen.overlap == "cancel"]
        for run_id in wanted:
            assert self.cancel_run is not None
            with suppress(TransitionError):  # it has ended meanwhile
                self.cancel_run(run_id, f"schedule {chosen.name}", CANCELLED_BY)
                done += 1
        return done > 0

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
        fired = {"fired_at": self._clock.now(), "last_run_id": run_id}
        remember(connection, wanted.spec, wanted.trigger, {**fired, **self._passes(record, wanted)})

    def _passes(self, record: ScheduleRecord, wanted: NewRunRequest) -> dict[str, Any]:
        """The columns that say up to which window the schedule has come."""
        now = self._clock.now()
        values: dict[str, Any] = {}
        window = _window_asked_for(wanted)
        if window is not None and (believed(record.fired_window, now) or window) <= window <= now:
            values["fired_window"] = window
            trigger = wanted.spec.triggers[wanted.trigger]
            if not record.expressions:
                values["expressions"] = cron.seen({}, trigger, began=window, now=now)
        return values

    def _tell(self, started: StartedRun | None) -> None:
        if started is not None:
            self._starter.tell(started)


def _queued(wanted: NewRunRequest, now: datetime) -> QueuedWindow:
    """The activation as it is kept while it waits."""
    assert wanted.schedule is not None
    window, signal_id = datetime.fromisoformat(str(wanted.schedule["intended_window"])), wanted.schedule["signal_id"]
    return QueuedWindow(
        window=window, at=now, signal_id=None if signal_id is None else str(signal_id), queue=wanted.queue
    )


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
