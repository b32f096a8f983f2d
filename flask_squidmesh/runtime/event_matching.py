"""Bringing events and those together that wait for them.

Opening a wait and sending an event each write internal work, so that whichever commits last finds the other. What is
taken is decided by the insert of one row, in a transaction of its own under the lock of the one run that takes it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

import sqlalchemy as sa

from ..clock import Clock
from ..definition.payloads import why_unfit
from ..definition.spec import WorkflowSpec, end_at
from ..definition.workflow import Registry
from ..engine.adoption import names_of, renamed, unfit
from ..engine.facts import EventCancels, EventMisfit, EventTaken, Fact, RunFact, StepFact
from ..engine.kept_decisions import EVENT
from ..engine.transitions import STOPPING
from ..engine.waits import condition_keys, routes_behind
from ..errors import PayloadError, UnknownWorkflowError
from ..storage import events, fact_rows, internal_dispatches
from ..storage.database import Database
from ..storage.events import EventRow, Waiting
from ..storage.internal_dispatches import InternalDispatch
from ..storage.tables import step_runs
from .decision_states import DecisionStates
from .outcomes import let_ctrl_c_through, log_error
from .recorder import Recorded, Recorder, decided
from .run_starter import RunStarter

AT_ONCE: Final = 100
"""How many waits are looked after by whoever brings an event; the others are left to all workers."""

AGAIN: Final = timedelta(seconds=1)
LATER: Final = timedelta(seconds=60)
"""When to look again at what this process cannot do: another version may be deployed by then."""


class Look(NamedTuple):
    """What came of a look for events. event: the one that was taken; none of those that came may have been fit."""

    found: Literal["took", "nothing", "locked"]
    event: str | None = None


class _TakenEvent(NamedTuple):
    """What was recorded. event: the one that was taken; None where it only was not fit."""

    recorded: Recorded
    event: str | None


class Brought(NamedTuple):
    """What came of bringing an event. done: whether nothing of it is left to do. runs: those that it has moved."""

    done: bool
    runs: Sequence[str] = ()


logger = logging.getLogger("flask_squidmesh")


class EventMatcher:
    """Has waits take events, and events start and cancel runs."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        registry: Registry,
        recorder: Recorder,
        starter: RunStarter,
        states: DecisionStates,
    ) -> None:
        self._database, self._clock, self._registry = database, clock, registry
        self._recorder, self._starter, self._states = recorder, starter, states

    def perform(self, work: InternalDispatch) -> bool:
        """Do work that is due, and answer whether it is done."""
        if work.payload is not None:
            return self.bring(str(work.payload["event"]), work.id).done
        assert work.run_id is not None, "it is of a run where it is of no event"
        return self._look(work.run_id, work.step_run_id).found != "locked"

    def look_at_once(self, run_id: str, waits: Sequence[str], *, cancels: bool) -> None:
        """Look for events that came before, once waits have opened. What fails is done when it is due.

        waits: their step runs. cancels: whether the run is one that an event cancels.
        """
        for step_run_id in (*waits, *([None] if cancels else [])):
            try:
                self._look(run_id, step_run_id)
            except BaseException as error:  # what has been committed is to be told of all the same
                let_ctrl_c_through(error)
                log_error(logger, error, "squidmesh: run %s: events were not looked for; that is done again", run_id)

    def bring(self, id: str, dispatch_id: str) -> Brought:
        """Bring an event to all that wait for it."""
        with self._database.write() as connection:
            event = events.seen(connection, id, self._clock.now())
            found = events.waiting(connection, event) if event else []
            cancelled = events.to_cancel(connection, event) if event else []
        triggers = self._registry.event_triggers(event.name) if event else []
        if len(found) == 1 and not cancelled and not triggers:
            [only] = found
            look = self._look(only.run_id, only.step_run_id, brings=dispatch_id)
            if look.found == "took":
                return Brought(True, [only.run_id] if look.event == id else [])
        moved = self._bring_to_all([each for each in found if each.accept == "all"], id)
        if event is not None:
            moved += [run_id for spec, each in triggers if (run_id := self._start(spec, each.name, event))]
        looks = {run_id: self._look(run_id, None) for run_id in cancelled}
        moved += [run_id for run_id, look in looks.items() if look.event == id]
        decided_alone, first = self._bring_to_first([each for each in found if each.accept == "first"], id)
        done = decided_alone and all(look.found != "locked" for look in looks.values())
        with self._database.write() as connection:
            if done:
                internal_dispatches.forget(connection, dispatch_id)
            else:
                internal_dispatches.put_off(connection, dispatch_id, None, self._clock.now() + AGAIN)
        return Brought(done, [*moved, *first])

    def _bring_to_all(self, found: Sequence[Waiting], id: str) -> list[str]:
        """Have each wait look for events, those whose run somebody else is at when that is free; answer who took it."""
        looks = [(each, self._look(each.run_id, each.step_run_id)) for each in found[:AT_ONCE]]
        left = [each for each, look in looks if look.found == "locked"] + [*found[AT_ONCE:]]
        if left:
            with self._database.write() as connection:
                events.request_takes(connection, left, self._clock.now())
        return [each.run_id for each, look in looks if look.event == id]

    def _bring_to_first(self, found: Sequence[Waiting], id: str) -> tuple[bool, list[str]]:
        """Have the wait take it that has waited longest; answer whether that is decided, and who took it."""
        for each in found:
            with self._database.read() as connection:
                if events.is_taken_alone(connection, id):
                    return True, []
            look = self._look(each.run_id, each.step_run_id)
            if look.found == "locked":
                return False, []
            if look.event == id:
                return True, [each.run_id]
        return True, []

    def _start(self, spec: WorkflowSpec, trigger: str, event: EventRow) -> str | None:
        """Start the run of a trigger, once for each event, and answer its id."""
        try:
            wanted = self._starter.wanted_by_event(spec, trigger, event)
        except PayloadError as unfit_payload:
            logger.warning("squidmesh: event %s started no run of %s: %s", event.name, spec.name, unfit_payload)
            with self._database.write() as connection:
                fact_rows.note_again(
                    connection,
                    "event_refused",
                    actor=None,
                    at=self._clock.now(),
                    run_id=None,
                    tenant=event.tenant,
                    what={"workflow": spec.name, "trigger": trigger, "event": event.id},
                    data={**event.said, "why": str(unfit_payload)},
                )
            return None
        with self._database.write() as connection:
            started = self._starter.written(connection, wanted)
            if started.new:
                run_id = started.run_id
                at = self._clock.now()
                events.take(connection, event, taken_by=run_id, kind="start", run_id=run_id, at=at)
        self._starter.tell(started)
        return started.run_id

    def _look(self, run_id: str, step_run_id: str | None, *, brings: str | None = None) -> Look:
        """Have a wait take an event, if one has come that it takes; without a step run, the run be cancelled by one.

        brings: the work of bringing the event, which is done with that.
        """
        with self._database.write() as connection:
            run = fact_rows.run_fact(connection, run_id, lock=True, unless_locked=True)
            if run is None:
                return Look("locked" if fact_rows.run_fact(connection, run_id) else "nothing")
            rows = fact_rows.step_facts(connection, step_runs.c.run_id == run_id)
            if step_run_id is None:
                taken = self._cancel(connection, run, rows)
            else:
                taken = self._take(connection, run, rows, step_run_id)
            if taken is not None and brings is not None:
                internal_dispatches.forget(connection, brings)
        if taken is None:
            return Look("nothing")
        self._recorder.after_commit(taken.recorded)
        return Look("took", taken.event)

    def _take(
        self, connection: sa.Connection, run: RunFact, rows: Sequence[StepFact], step_run_id: str
    ) -> _TakenEvent | None:
        visit = next((row for row in rows if row.id == step_run_id), None)
        if visit is None or visit.status != "paused" or visit.asks != EVENT:
            internal_dispatches.forget_match(connection, run.id, step_run_id)
            return None
        spec, why = self._spec_of(run, rows, visit)
        if spec is None:
            internal_dispatches.put_off_match(connection, run.id, step_run_id, why, self._clock.now() + LATER)
            return None
        # Before events are looked at: whoever brings one from here on waits for this transaction, and has it look anew.
        internal_dispatches.forget_match(connection, run.id, step_run_id)
        return self._taken(connection, spec, run, rows, renamed(spec, visit))

    def _spec_of(self, run: RunFact, rows: Sequence[StepFact], visit: StepFact) -> tuple[WorkflowSpec | None, str]:
        """The definition that says what follows the wait; None and why not, where this process has none that does."""
        try:
            spec = self._registry.get(run.workflow)
        except UnknownWorkflowError as unknown:
            return None, str(unknown)
        if (why := unfit(spec, run, rows)) is not None:
            return None, why
        if visit.decision is not None:
            targets = [route.target for route in routes_behind(renamed(spec, visit).decision or visit.decision, None)]
            gone = [target for target in targets if end_at(target) is None and target not in spec.steps]
            if gone:
                return None, f"Workflow {spec.name} does not declare step {gone[0]} any more."
        return spec, ""

    def _taken(
        self, connection: sa.Connection, spec: WorkflowSpec, run: RunFact, rows: Sequence[StepFact], visit: StepFact
    ) -> _TakenEvent | None:
        decision = visit.decision
        assert decision is not None, "it is open"
        event, misfit = self._first_fitting(connection, spec, run, visit)
        if event is not None:
            fact: Fact = EventTaken(visit, event.payload, event.said)
            key = decision.get("output")
            output = {key: event.payload} if key else event.payload
            following = {route.target for route in routes_behind(decision, None)}
            others = fact_rows.decisions([renamed(spec, row) for row in rows])
            keys = condition_keys(decision)
            state = self._states.following(
                connection, spec, run, rows, following=following, others=others, output=output, keys=keys
            )
        elif misfit is not None:
            fact, state = misfit, self._states.of_rows(spec, run, rows)
        else:
            return None
        recorded = self._recorder.write(connection, state, decided(connection, state, fact), known=rows)
        return _TakenEvent(recorded, event and event.id)

    def _first_fitting(
        self, connection: sa.Connection, spec: WorkflowSpec, run: RunFact, visit: StepFact
    ) -> tuple[EventRow | None, EventMisfit | None]:
        """The oldest event that fits, taken; else the last that did not fit, where the wait does not show it yet."""
        decision, step = visit.decision, spec.steps.get(visit.step)
        assert decision is not None, "it is open"
        awaits, misfit = decision["awaits"], None
        model = step.awaits.model if step is not None and step.awaits is not None else None
        for event in self._offered(connection, spec, run, visit):
            why = why_unfit(model, event.payload)
            if why is not None:
                misfit = EventMisfit(visit, event.event_id, why)
            elif events.take(
                connection,
                event,
                taken_by=visit.id,
                kind="wait",
                run_id=run.id,
                at=self._clock.now(),
                step=visit.step,
                visit=visit.visit,
                sole=awaits["accept"] == "first",
            ):
                return event, None
        shown = decision.get("misfit")
        return None, misfit if misfit is None or shown is None or shown["event_id"] != misfit.event_id else None

    def _offered(
        self, connection: sa.Connection, spec: WorkflowSpec, run: RunFact, visit: StepFact
    ) -> Collection[EventRow]:
        assert visit.decision is not None, "it is open"
        awaits = visit.decision["awaits"]
        began, replayed = events.origin(connection, run.id)
        since = datetime.fromisoformat(awaits["since"]) if awaits["since"] else began
        of_step = (run.id, names_of(spec, visit.step))
        return events.offered(connection, run.tenant, awaits, since=since, replayed=replayed, of_step=of_step)

    def _cancel(self, connection: sa.Connection, run: RunFact, rows: Sequence[StepFact]) -> _TakenEvent | None:
        spec, why = None, ""
        try:
            spec = self._registry.get(run.workflow)
        except UnknownWorkflowError as unknown:
            why = str(unknown)
        if spec is None and run.status not in STOPPING:
            internal_dispatches.put_off_match(connection, run.id, None, why, self._clock.now() + LATER)
            return None
        internal_dispatches.forget_match(connection, run.id, None)
        event = events.cancelling(connection, run.id) if run.status not in STOPPING else None
        if spec is None or event is None:
            return None
        if not events.take(connection, event, taken_by=run.id, kind="cancel", run_id=run.id, at=self._clock.now()):
            return None
        state = self._states.of_rows(spec, run, rows)
        compensate = spec.cancel_on is not None and spec.cancel_on.compensate
        changes = decided(connection, state, EventCancels(compensate, event.said))
        return _TakenEvent(self._recorder.write(connection, state, changes, known=rows), event.id)
