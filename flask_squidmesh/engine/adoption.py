"""Bringing a run to the definition that is deployed, with the names that its steps have there."""

from __future__ import annotations

from collections.abc import Sequence

from ..definition.spec import VisitSettings, WorkflowSpec
from .facts import Adoption, RunFact, StepFact
from .kept_decisions import DecisionKept
from .tally import Tally
from .transitions import STOPPING


def name_in(spec: WorkflowSpec, step: str, settings: VisitSettings) -> str | None:
    """The definition's name for the step of a visit; None where it declares no such step.

    A definition knows the names that its steps had; of one that came later, and is rolled back, the visit knows them.
    """
    for name in (step, settings.entered_as or step, *settings.aliases):
        if name in spec.step_names:
            return spec.step_names[name]
    return None


def names_of(spec: WorkflowSpec, step: str) -> frozenset[str]:
    """Every name that the step of this name has or had."""
    name = spec.step_names.get(step)
    return frozenset({step}) if name is None else frozenset({step, name, *spec.steps[name].aliases})


def entered_as(step: str, settings: VisitSettings) -> str:
    """What the visit's step was called when the visit was made."""
    return settings.entered_as or step


def renamed(spec: WorkflowSpec, row: StepFact) -> StepFact:
    """The row with its step, and the steps that a decision leads to, called as the definition calls them."""
    name = name_in(spec, row.step, row.settings)
    if name is not None and name != row.step:
        row = row._replace(step=name, settings=row.settings._replace(entered_as=entered_as(row.step, row.settings)))
    return row._replace(decision=leading(spec, row.decision)) if row.decision else row


def leading(spec: WorkflowSpec, decision: DecisionKept) -> DecisionKept:
    """The decision with the steps that it leads to, called as the definition calls them."""
    named = decision.copy()
    if (ok := spec.step_names.get(decision.get("ok") or "")) is not None:
        named["ok"] = ok
    if (error := spec.step_names.get(decision.get("error") or "")) is not None:
        named["error"] = error
    return named


OPEN = ("pending", "running", "paused")


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


def adopt(tally: Tally, adoption: Adoption) -> Sequence[StepFact]:
    """Have the run go by the definition that decides; `Reconciliation` says what follows, once all else is decided.

    A run that is at a step which its flow does not declare stays with the definition that does. Answer its step runs,
    by the names of today.
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
    """The rows by the names of today; one stays as it is where a visit of that name and number is there already."""
    taken = {(row.kind, row.step, row.visit) for row in rows}
    found = []
    for row in rows:
        new = renamed(tally.spec, row)
        if new.step != row.step and (new.kind, new.step, new.visit) in taken:
            new = row
        if new.step != row.step:
            tally.changes.update(row.id, step=new.step, settings=new.settings)
        if new.decision != row.decision:
            tally.changes.update(row.id, decision=new.decision)
        found.append(new)
    return found
