"""Due work of a run that follows another definition: the run is brought to the one that is deployed, if it may be."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from ..clock import Clock
from ..definition.spec import WorkflowSpec
from ..engine.adoption import OPEN, name_in, renamed, unfit
from ..engine.changes import Changes
from ..engine.facts import DefinitionChanged, FollowUpDue, StepFact, fact_after, step_after
from ..engine.transitions import STOPPING
from ..errors import ErrorRecord
from ..storage import fact_rows, work_queue
from ..storage.tables import dispatches, step_runs
from ..storage.work_queue import Work
from .definition_change import Adopter
from .recorder import Recorded, Recorder, decided

SHORTEST_HOLD = timedelta(seconds=60)
LONGEST_HOLD = timedelta(hours=1)
LEFT_TO_NEWER = timedelta(minutes=10)


def fits(spec: WorkflowSpec, work: Work) -> bool:
    """Whether the work is what the definition says of it, so that it only has to be claimed."""
    visit = work.visit
    step = spec.steps.get(visit.step)
    if step is None or work.run.follows != spec.fingerprint:
        return False
    return visit.kind == "compensation" or (visit.status in OPEN and visit.settings.kind == step.kind)


def knows(spec: WorkflowSpec, work: Work) -> bool:
    """Whether the definition declares the step."""
    return name_in(spec, work.visit.step, work.visit.settings) is not None


def has_ended(work: Work) -> bool:
    """Whether the step has been performed, and only what follows has still to be decided."""
    return work.visit.kind == "step" and work.visit.status not in OPEN


class WorkAdopter:
    """Takes up due work of runs that follow another definition, or puts it back for other processes."""

    def __init__(self, *, clock: Clock, adopter: Adopter, recorder: Recorder) -> None:
        self._clock, self._adopter, self._recorder = clock, adopter, recorder

    def put_back(self, connection: sa.Connection, work: Work, reason: str | None = None) -> None:
        """Have the work looked at again later, so that others come first. reason: else that the step is not known."""
        now = self._clock.now()
        hold = min(max(SHORTEST_HOLD, (now - work.created_at) / 2), LONGEST_HOLD)
        unknown = f"This process knows no step {work.visit.step} of workflow {work.run.workflow}."
        work_queue.hold(connection, work, reason or unknown, now + hold)

    def adopted(
        self, connection: sa.Connection, spec: WorkflowSpec, work: Work, settled: list[Recorded]
    ) -> Work | None:
        """The work as it is once the run follows the definition; None where it is not to be claimed now.

        settled: gets what was written, to be told after the commit.
        """
        if work.run.follows == spec.fingerprint and not knows(spec, work) and not has_ended(work):
            self.put_back(connection, work)
            return None
        rows = fact_rows.step_facts(connection, step_runs.c.run_id == work.run.id)
        newer = self._adopter.older(connection, spec, work.run)
        if newer is not None and not _was_left(connection, work, newer):
            work_queue.hold(connection, work, newer, self._clock.now() + LEFT_TO_NEWER)
            return None
        reason = unfit(spec, work.run, rows)
        if reason or (spec.style == "flow" and not knows(spec, work)):
            self.put_back(connection, work, reason)
            return None
        visit = renamed(spec, work.visit)
        fact = FollowUpDue(visit, _error_of(connection, visit)) if has_ended(work) else DefinitionChanged()
        state = self._adopter.adopting(connection, spec, work.run, rows, work.payload, {}, regardless=newer is not None)
        changes = decided(connection, state, fact)
        known = [renamed(spec, row) for row in rows]
        settled.append(self._recorder.write(connection, state, changes, known=known))
        return self._still_due(connection, spec, work, visit, changes)

    def _still_due(
        self, connection: sa.Connection, spec: WorkflowSpec, work: Work, visit: StepFact, changes: Changes
    ) -> Work | None:
        if changes.run.get("status", work.run.status) in STOPPING and visit.kind == "step":
            return None
        if visit.id in changes.ended or visit.id in changes.released:
            return None
        visit = step_after(visit, changes.updated.get(visit.id, {}))
        work = work._replace(run=fact_after(work.run, changes.run, work.run.revision + 1), visit=visit)
        if visit.step not in spec.steps:
            self.put_back(connection, work)
            return None
        return work


def _was_left(connection: sa.Connection, work: Work, reason: str) -> bool:
    """Whether the work was left to others before for this reason, and none of them has taken it up."""
    held = connection.scalar(sa.select(dispatches.c.held).where(dispatches.c.id == work.dispatch_id))
    return bool(held == reason)


def _error_of(connection: sa.Connection, visit: StepFact) -> ErrorRecord | None:
    query = sa.select(step_runs.c.error).where(step_runs.c.id == visit.id)
    error: ErrorRecord | None = connection.scalar(query)
    return error
