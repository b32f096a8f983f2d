"""What remains of a run that was brought to another definition.

A run's counters belong to the definition that it follows. When another one is deployed, what remains to be done is
worked out from that one and from the step runs alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..definition.spec import StepSpec, VisitSettings
from .adoption import waits_for_others
from .facts import StepFact
from .successors import Successors
from .tally import Tally
from .transitions import STOPPING
from .waits import UnresolvedError


class Reconciliation:
    """Does what the new definition of a run calls for.

    rows: all step runs of the run, by their names in that definition.
    """

    def __init__(self, tally: Tally, successors: Successors, rows: Sequence[StepFact]) -> None:
        self._tally, self._successors, self._rows = tally, successors, rows
        self._spec = tally.spec

    def reconcile(self) -> None:
        """Enter, open, convert and drop visits, given the rows as the decision has left them so far."""
        if self._tally.status in STOPPING:
            return
        for row in filter(waits_for_others, self._present()):
            self._convert(row)
        if self._spec.style == "dependency":
            self._reconcile_dependencies()
        else:
            self._drop([*filter(waits_for_others, self._present())])
        for row in self._present():
            self._convert(row)
        self._recount()

    def _present(self) -> list[StepFact]:
        """Return the visits as the decision has left them so far."""
        return self._tally.as_left(self._rows)

    def _reconcile_dependencies(self) -> None:
        present = self._present()
        self._drop([row for row in present if waits_for_others(row) and row.step not in self._spec.steps])
        last = {row.step: row for row in sorted(present, key=lambda row: row.visit)}
        done = {name for name, row in last.items() if row.status == "completed"}
        for name, step in self._spec.steps.items():
            waits_for = len({*step.after} - done)
            row = last.get(name)
            if row is not None:
                self._reconcile_visit(row, waits_for)
            elif not step.after or waits_for < len(step.after):
                self._successors.enter(name, missing=waits_for)
        self._tally.set_run(remaining=len(self._spec.steps.keys() - done))

    def _reconcile_visit(self, row: StepFact, waits_for: int) -> None:
        """Have a visit that has not begun wait for the steps that the definition says."""
        if row.status == "cancelled":
            self._tally.move_step(
                row,
                "pending",
                missing=waits_for,
                finished_at=None,
                decide_by=None,
                settings=self._spec.visit_settings[row.step],
            )
            if not waits_for:
                self._successors.open_join(row)
        elif row.status != "pending":
            return
        elif row.missing and not waits_for:
            self._successors.open_join(row)
        elif row.missing:
            self._tally.changes.update(row.id, missing=waits_for)
        elif waits_for and not row.attempts and row.due_at is None:
            self._tally.move_step(row, "pending", missing=waits_for)
            self._tally.changes.ended.append(row.id)
            self._leave_time(row)

    def _drop(self, rows: Sequence[StepFact]) -> None:
        """Drop visits that have not begun and that the definition does not call for."""
        for row in rows:
            self._tally.close(row, "cancelled", missing=0)

    def _convert(self, row: StepFact) -> None:
        """Make a visit that is still to be performed the kind that its step is now; open decisions stay as they are."""
        step = self._spec.steps.get(row.step)
        if step is None or row.status != "pending" or row.settings.kind == step.kind:
            return
        self._tally.move_step(row, "pending", settings=_settings(step, row))
        if row.missing:
            return
        if step.opens_wait or step.kind == "wait":
            self._leave_time(row)
        if self._spec.style == "flow":
            self._tally.set_run(max_attempts=step.retry.max_attempts)
        if step.opens_wait:
            self._ask_instead(row, step)
        elif step.kind == "wait":
            self._wait_instead(row, step)

    def _ask_instead(self, row: StepFact, step: StepSpec) -> None:
        self._leave_queue(row)
        self._successors.ask(row, step)

    def _wait_instead(self, row: StepFact, step: StepSpec) -> None:
        """Have the visit wait; if it was attempted before, that is no longer a retry."""
        try:
            due = self._successors.over_at(step)
        except UnresolvedError as unfit:
            self._leave_queue(row)
            self._successors.stand_still(row, str(unfit))
            return
        self._tally.changes.update(row.id, due_at=None if row.attempts else due, error=None)
        self._tally.changes.released[row.id] = due
        self._tally.set_run(error=None)
        if self._spec.style == "flow":
            self._tally.set_run(due_at=due)

    def _leave_time(self, row: StepFact) -> None:
        if row.decide_by is not None:
            self._tally.changes.update(row.id, decide_by=None)
            self._tally.forget_reminders(row)

    def _leave_queue(self, row: StepFact) -> None:
        self._tally.changes.released.pop(row.id, None)
        self._tally.changes.ended.append(row.id)
        self._tally.set_run(error=None)

    def _recount(self) -> None:
        going = [row for row in self._present() if row.goes_on]
        self._tally.open_steps = len(going)
        self._tally.retrying_steps = sum(row.waits_for_retry for row in going)
        self._tally.awaiting_steps = sum(row.awaits_event for row in going)
        if self._spec.style == "flow":
            self._tally.set_run(remaining=0)
        elif not (self._tally.open_steps or self._tally.needs_count or self._tally.changes.run["remaining"]):
            self._successors.finish()


def _settings(step: StepSpec, row: StepFact) -> VisitSettings:
    """Return the step's settings now; if it was attempted, whether its effect can be undone stays as it was."""
    before = row.settings
    settings = step.visit_settings._replace(entered_as=before.entered_as)
    if not row.attempts:
        return settings
    return settings._replace(
        irreversible=settings.irreversible or before.irreversible,
        compensatable=settings.compensatable and before.compensatable,
    )
