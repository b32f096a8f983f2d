"""Bringing a run to the definition that is deployed, with the names that its steps have there.

What a run's rows and counts say holds for the definition that it follows. Where another is deployed, what remains to be
done is worked out anew from that one and from the rows, whatever the counts say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..definition.spec import StepSpec, WorkflowSpec
from .facts import RunFact, StepFact, entered, settings_of
from .successors import Compensating
from .transitions import STOPPING


def name_in(spec: WorkflowSpec, step: str, settings: Mapping[str, Any]) -> str | None:
    """The definition's name for the step of a visit; None where it declares no such step.

    A definition knows the names that its steps had; of one that came later, and is rolled back, the visit knows them.
    """
    for name in (step, settings.get("entered_as"), *settings.get("aliases", ())):
        if name in spec.step_names:
            return spec.step_names[name]
    return None


def names_of(spec: WorkflowSpec, step: str) -> frozenset[str]:
    """Every name that the step of this name has or had."""
    name = spec.step_names.get(step)
    return frozenset({step}) if name is None else frozenset({step, name, *spec.steps[name].aliases})


def entered_as(step: str, settings: Mapping[str, Any]) -> str:
    """What the visit's step was called when the visit was made."""
    name: str = settings.get("entered_as", step)
    return name


def renamed(spec: WorkflowSpec, row: StepFact) -> StepFact:
    """The row with its step, and the steps that a decision leads to, called as the definition calls them."""
    name = name_in(spec, row.step, row.settings)
    if name is not None and name != row.step:
        row = row._replace(step=name, settings={**row.settings, "entered_as": entered_as(row.step, row.settings)})
    return row._replace(decision=leading(spec, row.decision)) if row.decision else row


def leading(spec: WorkflowSpec, decision: Mapping[str, Any]) -> dict[str, Any]:
    """The decision with the steps that it leads to, called as the definition calls them."""
    targets = {route: spec.step_names.get(decision.get(route) or "") for route in ("ok", "error")}
    return {**decision, **{route: name for route, name in targets.items() if name is not None}}


OPEN = ("pending", "running", "paused")
LASTING = ("irreversible", "compensatable")


def is_open(row: StepFact) -> bool:
    """Whether the row is a visit that has not ended."""
    return row.kind == "step" and row.status in OPEN


def waits_for_others(row: StepFact) -> bool:
    """Whether the row is a visit that waits for the steps that it depends on."""
    return row.kind == "step" and row.status == "pending" and row.missing > 0


def unfit(spec: WorkflowSpec, run: RunFact, rows: Sequence[StepFact]) -> str | None:
    """Why a run cannot go by the definition, because `flow` became `after=` or the other way round; None where it can.

    A run with a flow is at one step; one whose steps wait for others has been at each of its steps once.
    """
    if run.follows == spec.fingerprint or run.status in STOPPING:
        return None
    steps = [row for row in rows if row.kind == "step"]
    if spec.style == "flow" and run.remaining > 0:
        if sum(is_open(row) and not waits_for_others(row) for row in steps) <= 1:
            return None
        return f"Workflow {spec.name} has a flow now, and the run is at several steps at once."
    if spec.style == "dependency" and run.remaining == 0:
        if all(row.visit == 1 and row.status != "failed" for row in steps):
            return None
        return f"The steps of workflow {spec.name} wait for each other now, and the run came by a flow."
    return None


class Adopting(Compensating):
    """Works out what remains of a run from its rows and the definition alone."""

    _adopted: Sequence[StepFact] | None = None

    def adopt(self, rows: Sequence[StepFact], loaded_at: datetime) -> None:
        """Have the run go by this definition; what follows from that is said by `reconcile`, once all else is decided.

        A run that is at a step which its flow does not declare stays with the definition that does.

        rows: all step runs of the run. loaded_at: when the process was started that knows this definition.
        """
        self._adopted = self._rename(rows)
        last = {row.step: row for row in sorted(self._adopted, key=lambda row: row.visit) if row.kind == "step"}
        lasting = frozenset(name for name, row in last.items() if row.lasts)
        self.around = replace(self.around, visits={name: row.visit for name, row in last.items()}, lasting=lasting)
        if self.run.current_step is not None:
            self.changes.run["current_step"] = self.spec.step_names.get(self.run.current_step, self.run.current_step)
        opened = [row.step for row in self._adopted if is_open(row) and not waits_for_others(row)]
        known = self.spec.style == "dependency" or self.spec.steps.keys() >= {*opened}
        if known and self.run.follows != self.spec.fingerprint:
            self.changes.run.update(
                follows=self.spec.fingerprint, follows_since=loaded_at, redefined=self.run.redefined + 1
            )

    def reconcile(self) -> None:
        """Do what the definition calls for, given the rows as this decision leaves them."""
        if self._adopted is None or self.status in STOPPING:
            return
        for row in filter(waits_for_others, self._present()):
            self._convert(row)
        if self.spec.style == "dependency":
            self._reconcile_dependencies()
        else:
            self._drop([*filter(waits_for_others, self._present())])
        for row in self._present():
            self._convert(row)
        self._recount()
        self._settle()

    def _release_dependents(self, step: str) -> None:
        if self._adopted is None:
            super()._release_dependents(step)

    def _rename(self, rows: Sequence[StepFact]) -> list[StepFact]:
        """The rows by the names of today; one stays as it is where a visit of that name and number is there already."""
        taken = {(row.kind, row.step, row.visit) for row in rows}
        found = []
        for row in rows:
            new = renamed(self.spec, row)
            if new.step != row.step and (new.kind, new.step, new.visit) in taken:
                new = row
            if new.step != row.step:
                self.changes.update(row.id, step=new.step, settings=new.settings)
            if new.decision != row.decision:
                self.changes.update(row.id, decision=new.decision)
            found.append(new)
        return found

    def _present(self) -> list[StepFact]:
        """The visits as this decision leaves them."""
        known = [row for row in self._adopted or () if row.kind == "step"]
        made = [entered(self.run.id, row) for row in self.changes.entered if row.kind == "step"]
        return [_with(row, self.changes.updated.get(row.id, {})) for row in known] + made

    def _reconcile_dependencies(self) -> None:
        present = self._present()
        self._drop([row for row in present if waits_for_others(row) and row.step not in self.spec.steps])
        last = {row.step: row for row in sorted(present, key=lambda row: row.visit)}
        done = {name for name, row in last.items() if row.status == "completed"}
        for name, step in self.spec.steps.items():
            waits_for = len({*step.after} - done)
            row = last.get(name)
            if row is not None:
                self._reconcile_visit(row, waits_for)
            elif not step.after or waits_for < len(step.after):
                self._enter(name, missing=waits_for)
        self.changes.run["remaining"] = len(self.spec.steps.keys() - done)

    def _reconcile_visit(self, row: StepFact, waits_for: int) -> None:
        """Have a visit that has not begun wait for as many steps as the definition says."""
        if row.status == "cancelled":
            self._move_step(
                row,
                "pending",
                missing=waits_for,
                finished_at=None,
                settings={**settings_of(self.spec.steps[row.step])},
            )
            if not waits_for:
                self._open_join(row)
        elif row.status != "pending":
            return
        elif row.missing and not waits_for:
            self._open_join(row)
        elif row.missing:
            self.changes.update(row.id, missing=waits_for)
        elif waits_for and not row.attempts and row.due_at is None:
            self._move_step(row, "pending", missing=waits_for)
            self.changes.ended.append(row.id)

    def _drop(self, rows: Sequence[StepFact]) -> None:
        """Leave out visits that have not begun and that the definition does not call for."""
        for row in rows:
            self._close(row, "cancelled", missing=0)

    def _convert(self, row: StepFact) -> None:
        """Have a visit that has still to be performed be what its step is today; an open decision stays as it is."""
        step = self.spec.steps.get(row.step)
        if step is None or row.status != "pending" or row.settings.get("kind") == step.kind:
            return
        self._move_step(row, "pending", settings=_settings(step, row))
        if row.missing:
            return
        if self.spec.style == "flow":
            self.changes.run["max_attempts"] = step.retry.max_attempts
        if step.manual:
            self._ask_instead(row, step)
        elif step.duration:
            self._wait_instead(row, self.now + step.duration)

    def _ask_instead(self, row: StepFact, step: StepSpec) -> None:
        decision, decide_by = self._decision(step)
        self._move_step(row, "paused", decision=decision, decide_by=decide_by, due_at=None, error=None)
        self.changes.update(row.id, started_at=row.started_at or self.now)
        self.changes.released.pop(row.id, None)
        self.changes.ended.append(row.id)
        self.changes.run["error"] = None
        self._ask(row.step, row.visit, decision, decide_by)

    def _wait_instead(self, row: StepFact, due: datetime) -> None:
        """One that has been attempted waits without being a retry."""
        self.changes.update(row.id, due_at=None if row.attempts else due, error=None)
        self.changes.released[row.id] = due
        self.changes.run["error"] = None
        if self.spec.style == "flow":
            self.changes.run["due_at"] = due

    def _recount(self) -> None:
        going = [row for row in self._present() if row.status == "running" or _is_due_sometime(row)]
        self._open = len(going)
        self._retrying = sum(row.waits_for_retry for row in going)
        if self.spec.style == "flow":
            self.changes.run["remaining"] = 0
        elif not (self._open or self._needs or self.changes.run["remaining"]):
            self._finish()


def _is_due_sometime(row: StepFact) -> bool:
    return row.status == "pending" and not row.missing


def _with(row: StepFact, columns: Mapping[str, Any]) -> StepFact:
    return row._replace(**{name: value for name, value in columns.items() if name in StepFact._fields})


def _settings(step: StepSpec, row: StepFact) -> dict[str, Any]:
    """Those of the step today; where it was attempted, what it may have done stays what it was."""
    kept = {name: row.settings[name] for name in LASTING if row.attempts and name in row.settings}
    named = {"entered_as": row.settings["entered_as"]} if "entered_as" in row.settings else {}
    return {**settings_of(step), **kept, **named}
