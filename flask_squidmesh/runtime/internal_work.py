"""Doing internal work when it is due: timers of waits, beginnings and deadlines of runs, the matching of events.

It runs no step.

Each piece is a transaction of its own under its run's lock, so that of a deadline and a person who decides at the same
moment one comes first, and the other finds the wait ended.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Final, cast

import sqlalchemy as sa

from ..clock import Clock
from ..definition.spec import WorkflowSpec, end_at
from ..definition.workflow import Registry
from ..engine.adoption import is_open, renamed, unfit
from ..engine.facts import Fact, RunDeadlinePassed, RunFact, ScheduledRunDue, StepFact, StepReminderDue, TimerDue
from ..engine.kept_decisions import ReminderKept
from ..engine.transitions import STOPPING
from ..engine.waits import next_timer
from ..errors import UnknownWorkflowError
from ..storage import fact_rows, internal_dispatches
from ..storage.database import Database
from ..storage.internal_dispatches import InternalDispatch
from ..storage.tables import step_runs
from ..storage.write_batch import BEGINNING, MATCH
from .decision_states import DecisionStates
from .event_matching import LATER, EventMatcher
from .outcomes import log_error, storable
from .recorder import Recorded, Recorder, decided

BATCH: Final = 100

logger = logging.getLogger("flask_squidmesh")


class InternalWork:
    """Performs what is due of timers, beginnings, deadlines and events."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        registry: Registry,
        recorder: Recorder,
        states: DecisionStates,
        matcher: EventMatcher,
    ) -> None:
        self._database, self._clock, self._registry = database, clock, registry
        self._recorder, self._states, self._matcher = recorder, states, matcher
        self._by_kind = {
            BEGINNING: self._begin,
            "deadline": self._end_run,
            "reminder": self._remind,
            "timer": self._go_off,
        }

    def perform_due(self) -> int:
        """Do what is due, and return how much that was. What somebody else is at is left to them."""
        done = 0
        with self._database.read() as connection:
            found = internal_dispatches.due(connection, self._database, limit=BATCH)
        for work in found:
            try:
                done += self._matcher.perform(work) if work.kind == MATCH else self._perform(work)
            except sa.exc.SQLAlchemyError:
                raise
            except Exception as error:
                log_error(logger, error, "squidmesh: run %s: its %s could not be seen to", work.run_id, work.kind)
                self._set_aside(work, error)
        return done

    def _perform(self, work: InternalDispatch) -> bool:
        recorded: Recorded | None = None
        assert work.run_id is not None, "it is of a run"
        with self._database.write() as connection:
            run = fact_rows.run_fact(connection, work.run_id, lock=True, unless_locked=True)
            if run is None or not internal_dispatches.still_due(connection, self._database, work):
                return False
            rows = fact_rows.step_facts(connection, step_runs.c.run_id == run.id)
            try:
                spec = self._registry.get(run.workflow)
            except UnknownWorkflowError as unknown:
                self._put_off(connection, work, str(unknown))
                return False
            perform = self._by_kind[work.kind]
            recorded = perform(connection, work, spec, run, rows)
        if recorded is not None:
            self._recorder.after_commit(recorded)
        return recorded is not None

    def _begin(
        self, connection: sa.Connection, work: InternalDispatch, spec: WorkflowSpec, run: RunFact, rows: list[StepFact]
    ) -> Recorded | None:
        if not run.is_scheduled:
            internal_dispatches.forget(connection, work.id)
            return None
        state, why = self._states.of_beginning(connection, spec, run)
        if why is not None:
            self._put_off(connection, work, why)
            return None
        changes = decided(connection, state, ScheduledRunDue(self._states.loaded_at))
        return self._recorder.write(connection, state, changes, known=rows)

    def _end_run(
        self, connection: sa.Connection, work: InternalDispatch, spec: WorkflowSpec, run: RunFact, rows: list[StepFact]
    ) -> Recorded | None:
        internal_dispatches.forget(connection, work.id)
        if run.status in STOPPING:
            return None
        said = work.payload or {}
        fact = RunDeadlinePassed(cancel=said.get("cancel") is True, compensate=said.get("compensate") is True)
        return self._recorded(connection, spec, run, rows, fact)

    def _remind(
        self, connection: sa.Connection, work: InternalDispatch, spec: WorkflowSpec, run: RunFact, rows: list[StepFact]
    ) -> Recorded | None:
        visit = next((renamed(spec, row) for row in rows if row.id == work.id and is_open(row)), None)
        if visit is None or run.status in STOPPING:
            internal_dispatches.forget(connection, work.id)
            return None
        first, *rest = cast(list[ReminderKept], (work.payload or {})["reminders"])
        if rest:
            internal_dispatches.go_on(connection, work, {"reminders": rest}, datetime.fromisoformat(rest[0]["at"]))
        else:
            internal_dispatches.forget(connection, work.id)
        return self._recorded(connection, spec, run, rows, StepReminderDue(visit, first["kind"] == "overdue"))

    def _go_off(
        self, connection: sa.Connection, work: InternalDispatch, spec: WorkflowSpec, run: RunFact, rows: list[StepFact]
    ) -> Recorded | None:
        visit = next((renamed(spec, row) for row in rows if row.id == work.step_run_id), None)
        due = next_timer(visit.decision) if visit is not None and visit.decision is not None else None
        if visit is None or visit.decision is None or visit.status != "paused" or due is None:
            internal_dispatches.forget(connection, work.id)
            return None
        if due > self._clock.now():
            internal_dispatches.put_off(connection, work.id, None, due)
            return None
        if visit.decision["timers"][0]["kind"] != "time_out":
            return self._recorded(connection, spec, run, rows, TimerDue(visit))
        if (why := unfit(spec, run, rows)) is not None:
            self._put_off(connection, work, why)
            return None
        target = visit.decision.get("timeout")
        if target is not None and end_at(target) is None and target not in spec.steps:
            self._put_off(connection, work, f"Workflow {spec.name} does not declare step {target} any more.")
            return None
        others = [row for row in fact_rows.decisions([renamed(spec, row) for row in rows]) if row.id != visit.id]
        state = self._states.following(
            connection,
            spec,
            run,
            rows,
            following={target} if target is not None else set(),
            others=others,
            output={},
            keys=frozenset(),
        )
        changes = decided(connection, state, TimerDue(visit))
        return self._recorder.write(connection, state, changes, known=rows)

    def _recorded(
        self, connection: sa.Connection, spec: WorkflowSpec, run: RunFact, rows: list[StepFact], fact: Fact
    ) -> Recorded:
        state = self._states.of_rows(spec, run, rows)
        return self._recorder.write(connection, state, decided(connection, state, fact), known=rows)

    def _set_aside(self, work: InternalDispatch, error: Exception) -> None:
        """Let what fails, whatever the reason, keep nobody from the rest."""
        with self._database.write() as connection:
            if internal_dispatches.still_due(connection, self._database, work):
                self._put_off(connection, work, storable(f"{type(error).__name__}: {error}"))

    def _put_off(self, connection: sa.Connection, work: InternalDispatch, reason: str) -> None:
        internal_dispatches.put_off(connection, work.id, reason, self._clock.now() + LATER)
