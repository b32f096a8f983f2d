"""Undoing what was completed, newest completion first, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from .changes import NewStepRun
from .entering import Entering
from .facts import StepFact
from .status import TERMINAL


class Compensating(Entering):
    """Plans compensations and goes from one to the next."""

    @property
    def halted(self) -> bool:
        """Whether this decision ended the run unfinished, so that its open step runs have to be stopped."""
        return self.status in ("failed", "cancelled") and self.run.status not in TERMINAL

    @property
    def compensates(self) -> bool:
        """Whether completed steps are to be undone now."""
        if not self.halted:
            return False
        requested: str | None = self.changes.run.get("compensation", self.run.compensation)
        return self.status == "failed" or requested == "requested"

    def compensate(self, completed: Sequence[StepFact]) -> None:
        """Undo completed steps, newest completion first, one after the other."""
        done = {(row.step, row.visit) for row in self.around.compensations}
        steps = [row for row in completed if row.compensate and (row.step, row.visit) not in done]
        steps.sort(key=lambda row: row.position or 0, reverse=True)
        for order, row in enumerate(steps):
            self._plan_compensation(row, order=order, delivered=order == 0)
        if steps:
            self.changes.run["compensation"] = "running"
        elif self.changes.run.get("compensation", self.run.compensation) == "requested":
            self.changes.run["compensation"] = None

    def _plan_compensation(self, row: StepFact, *, order: int, delivered: bool) -> None:
        self.changes.entered.append(
            NewStepRun(
                id=self.new_id(),
                kind="compensation",
                step=row.step,
                visit=row.visit,
                status="pending",
                sees=self.changes.run.get("position", self.run.position),
                settings={
                    **(row.settings.get("compensate_retry") or {}),
                    "kind": "compensation",
                    "compensate": row.compensate,
                    "of": row.id,
                    "order": order,
                },
                failure=self._error,
                delivered=delivered,
            )
        )

    def _next_compensation(self, visit: StepFact, *, failed: bool) -> None:
        others = [row for row in self.around.compensations if row.id != visit.id]
        waiting = [row for row in in_order(others) if row.status == "pending"]
        if waiting:
            self._dispatch(waiting[0])
        elif failed or any(row.status == "failed" for row in others):
            self.changes.run["compensation"] = "failed"
            self._need("compensation_failed")
        else:
            self.changes.run["compensation"] = "completed"

    def _completed_late(self, visit: StepFact) -> None:
        """A step that was executing when the run ended: its effect counts, so it is undone with the others."""
        if not visit.compensate or (self.status != "failed" and not self.run.compensation):
            return
        pending = [row for row in self.around.compensations if row.status in ("pending", "running")]
        orders = [int(row.settings.get("order", 0)) for row in self.around.compensations]
        self._plan_compensation(visit, order=max(orders, default=-1) + 1, delivered=not pending)
        self.changes.run["compensation"] = "running"


def in_order(rows: Sequence[StepFact]) -> list[StepFact]:
    """Compensations in the order they run."""
    return sorted(rows, key=lambda row: int(row.settings.get("order", 0)))
