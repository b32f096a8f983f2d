"""Bringing a run to the deployed definition, and its rows to the step names used there."""

from __future__ import annotations

from collections.abc import Sequence

from ..definition.spec import VisitSettings, WorkflowSpec
from .facts import Adoption, RunFact, StepFact
from .kept_decisions import LISTED
from .tally import Tally
from .transitions import STOPPING
from .waits import retargeted


def name_in(spec: WorkflowSpec, step: str, settings: VisitSettings) -> str | None:
    """Return the definition's name for the step of a visit; None if it declares no such step.

    A definition knows the former names of its steps. If a later one was rolled back, the visit knows the former names.
    """
    for name in (step, settings.entered_as or step, *settings.aliases):
        if name in spec.step_names:
            return spec.step_names[name]
    return None


def names_of(spec: WorkflowSpec, step: str) -> frozenset[str]:
    """Return every name that this step has or had."""
    name = spec.step_names.get(step)
    return frozenset({step}) if name is None else frozenset({step, name, *spec.steps[name].aliases})


def entered_as(step: str, settings: VisitSettings) -> str:
    """Return the name that the step had when the visit was made."""
    return settings.entered_as or step


def renamed(spec: WorkflowSpec, row: StepFact) -> StepFact:
    """Return the row with the definition's names for its step and for the steps that its decision leads to."""
    name = name_in(spec, row.step, row.settings)
    if name is not None and name != row.step:
        row = row._replace(step=name, settings=row.settings._replace(entered_as=entered_as(row.step, row.settings)))
    return row._replace(decision=retargeted(row.decision, spec.step_names)) if row.decision else row


OPEN = ("pending", "running", "paused")


def is_open(row: StepFact) -> bool:
    """Whether the row is a visit that has not ended."""
    return row.kind == "step" and row.status in OPEN


def waits_for_others(row: StepFact) -> bool:
    """Whether the row is a visit that waits for other steps to complete."""
    return row.kind == "step" and row.status == "pending" and row.missing > 0


def unfit(spec: WorkflowSpec, run: RunFact, rows: Sequence[StepFact]) -> str | None:
    """Return why a run cannot follow the definition after a change from `flow` to `after=` or back; None if it can.

    With a flow, a run is at no more than one step; with `after=`, it has visited no step twice and none has failed.
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


def adopt(tally: Tally, adoption: Adoption) -> Sequence[StepFact]:
    """Have the run follow the definition that decides, and return its step runs by their names there.

    `Reconciliation` does what the definition calls for, after all else is decided. A run that is at a step which the
    flow does not declare keeps following the definition that declares it.
    """
    spec, run = tally.spec, tally.run
    rows = _named_as_today(tally, adoption.rows)
    last = {row.step: row for row in sorted(rows, key=lambda row: row.visit) if row.kind == "step"}
    tally.context = tally.context._replace(
        visits={name: row.visit for name, row in last.items()},
        lasting=frozenset(name for name, row in last.items() if row.lasts),
    )
    if run.current_step is not None:
        tally.set_run(current_step=spec.step_names.get(run.current_step, run.current_step))
    opened = [row.step for row in rows if is_open(row) and not waits_for_others(row)]
    known = spec.style == "dependency" or spec.steps.keys() >= {*opened}
    if known and run.follows != spec.fingerprint:
        tally.set_run(follows=spec.fingerprint, follows_since=adoption.loaded_at, redefined=run.redefined + 1)
    return rows


def _named_as_today(tally: Tally, rows: Sequence[StepFact]) -> list[StepFact]:
    """Return the rows by the definition's names; a row keeps its own where the new one is taken by the same visit."""
    taken = {(row.kind, row.step, row.visit) for row in rows}
    found = []
    for row in rows:
        new = renamed(tally.spec, row)
        if new.step != row.step and (new.kind, new.step, new.visit) in taken:
            new = row
        if new.step != row.step:
            tally.changes.update(row.id, step=new.step, settings=new.settings)
            if new.status == "paused" and new.asks in LISTED:
                tally.changes.renamed[row.id] = new.step
        if new.decision != row.decision:
            tally.changes.update(row.id, decision=new.decision)
        found.append(new)
    return found
