"""Moves of runs and step runs, checked against the table of transitions before they are written."""

from __future__ import annotations

from datetime import datetime

from ..definition.spec import WorkflowSpec
from .changes import RunColumns
from .facts import RunFact, StepFact
from .transitions import ImpossibleMoveError, RunStatus, StepStatus, may_move, step_may_move


def check_move(run: RunFact, current: RunStatus, to: RunStatus) -> None:
    """Raise ImpossibleMoveError unless the run may go from one status to the other."""
    if not may_move(current, to):
        raise ImpossibleMoveError(f"Run {run.id}", current, to)


def check_step_move(row: StepFact, current: StepStatus, to: StepStatus) -> None:
    """Raise ImpossibleMoveError unless the step run may go from one status to the other."""
    if not step_may_move(row.kind, current, to):
        raise ImpossibleMoveError(f"Run {row.run_id}: {row.kind} {row.step}#{row.visit}", current, to)


def claimed(spec: WorkflowSpec, run: RunFact, visit: StepFact, now: datetime) -> tuple[StepFact, RunColumns]:
    """Return the step run as its next attempt begins, and the columns of the run that change with it.

    This one change of a run is not decided in `decide`: nothing else follows from it, and every claim makes it.
    """
    check_step_move(visit, visit.status, "running")
    begun = visit._replace(status="running", attempts=visit.attempts + 1, due_at=None)
    moved: RunColumns = {}
    if visit.kind == "step":
        if spec.style == "flow":
            moved = {"due_at": None, "attempt": begun.attempts}
        if visit.waits_for_retry:
            moved["retrying_steps"] = run.retrying_steps - 1
        if run.status in ("pending", "retrying"):
            check_move(run, run.status, "running")
            moved["status"] = "running"
    if run.started_at is None:
        moved["started_at"] = now
    return begun, moved
