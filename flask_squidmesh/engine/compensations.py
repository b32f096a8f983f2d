"""Undoing completed steps: which visits, in which order, and how far the run has come with it."""

from __future__ import annotations

from collections.abc import Sequence

from ..definition.spec import VisitSettings
from .changes import NewStepRun
from .facts import StepFact
from .tally import Tally


class Compensations:
    """Plans the compensations of a run, and starts one after the other."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._rows = tally.context.compensations

    def plan(self, completed: Sequence[StepFact]) -> None:
        """Plan a compensation for each completed step that has one, the last to complete first."""
        tally = self._tally
        done = {(row.step, row.visit) for row in self._rows}
        steps = [row for row in completed if row.compensate and (row.step, row.visit) not in done]
        steps.sort(key=lambda row: row.position or 0, reverse=True)
        for order, row in enumerate(steps):
            self._add(row, order=order, delivered=order == 0)
        if steps:
            tally.set_run(compensation="running")
        elif tally.compensation == "requested":
            tally.set_run(compensation=None)

    def plan_late(self, visit: StepFact) -> None:
        """Plan the compensation of a step that completed only after the run had ended."""
        tally = self._tally
        if not visit.compensate or (tally.status != "failed" and not tally.run.compensation):
            return
        pending = [row for row in self._rows if row.status in ("pending", "running")]
        orders = [row.settings.order for row in self._rows]
        self._add(visit, order=max(orders, default=-1) + 1, delivered=not pending)
        tally.set_run(compensation="running")

    def go_on(self, ended: StepFact, *, failed: bool) -> None:
        """Start the next compensation, or record how they ended. failed: whether the one that has just ended failed."""
        tally = self._tally
        others = [row for row in self._rows if row.id != ended.id]
        waiting = [row for row in _in_order(others) if row.status == "pending"]
        if waiting:
            tally.dispatch(waiting[0])
        elif failed or any(row.status == "failed" for row in others):
            tally.set_run(compensation="failed")
            tally.need("compensation_failed")
            lost = [*(row for row in others if row.status == "failed"), *([ended] if failed else ())]
            tally.tell("compensation.failed", data={"steps": [row.step for row in _in_order(lost)]})
        else:
            tally.set_run(compensation="completed")

    def try_again(self) -> None:
        """Attempt the failed compensations again."""
        failed = [row for row in _in_order(self._rows) if row.status == "failed"]
        for row in failed:
            self._tally.move_step(row, "pending", error=None, finished_at=None, abandoned=0)
        self._tally.set_run(compensation="running")
        self._tally.dispatch(failed[0])

    def _add(self, row: StepFact, *, order: int, delivered: bool) -> None:
        tally = self._tally
        tally.changes.entered.append(
            NewStepRun(
                id=tally.new_id(),
                kind="compensation",
                step=row.step,
                visit=row.visit,
                status="pending",
                sees=tally.position,
                settings=VisitSettings(
                    kind="compensation",
                    retry=row.settings.compensate_retry,
                    compensate=row.compensate,
                    of=row.id,
                    order=order,
                ),
                failure=tally.changes.run.get("error", tally.run.error),
                delivered=delivered,
            )
        )


def _in_order(rows: Sequence[StepFact]) -> list[StepFact]:
    """Return the compensations in the order they run."""
    return sorted(rows, key=lambda row: row.settings.order)
