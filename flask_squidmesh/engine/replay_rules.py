"""What a replay would repeat although it cannot be taken back, and what it may copy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from ..definition.spec import VisitSettings, WorkflowSpec
from .approvals import wanted
from .command_effects import Blocking
from .facts import StepFact

MANUAL: Final = ("approval", "decision", "pause")


def unsafe_steps(step_runs: Sequence[StepFact]) -> tuple[Blocking, ...]:
    """Return the steps that stand in the way of a replay, each once, in the order they were first entered.

    That a step was compensated since does not make it safe.
    """
    blocking: dict[str, Blocking] = {}
    for step_run in step_runs:
        if step_run.kind == "step" and _cannot_be_undone(step_run.settings) and _may_have_taken_effect(step_run):
            known = blocking.get(step_run.step)
            if known is None or known.status != "completed":
                blocking[step_run.step] = _described(step_run)
    return tuple(blocking.values())


def _cannot_be_undone(settings: VisitSettings) -> bool:
    return settings.irreversible or not settings.compensatable


def _may_have_taken_effect(step_run: StepFact) -> bool:
    """An irreversible step that failed is known to have had no effect; otherwise it would have been interrupted."""
    if step_run.status == "failed" and step_run.irreversible:
        return False
    return step_run.status == "completed" or step_run.attempts > 0


def _described(step_run: StepFact) -> Blocking:
    irreversible = step_run.irreversible
    return Blocking(
        step=step_run.step,
        irreversible=irreversible,
        compensatable=not irreversible and step_run.settings.compensatable,
        status=step_run.status,
        reason="completed" if step_run.status == "completed" else "may_have_taken_effect",
    )


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a replay begins: at a step, with these visits copied. asked: decisions that it asks again although the step
    lies behind them. taken_over: decisions among the copied visits."""

    step: str
    copied: Sequence[StepFact]
    asked: Sequence[str] = ()
    taken_over: Sequence[str] = ()


def asking_again(
    spec: WorkflowSpec, copied: Sequence[StepFact], from_step: str, undecided: Collection[str]
) -> Resumption:
    """Have a replay begin at a decision where it may not be passed over; what was approved is approved for its own run.

    A decision that takes more than one person is always asked again, for nobody can take it alone; of those in
    `undecided`, which whoever replays may not take, the last one is.
    """
    decisions = _decisions_among(spec, copied)
    shared = [row for row in decisions if _takes_several(spec, row)]
    theirs = [row for row in decisions if row.step in undecided and row not in shared]
    if spec.style == "dependency":
        again = {row.step for row in (*shared, *theirs)}
        kept = [row for row in copied if row.step not in again and not again & spec.ancestors[row.step]]
        begin, asked = from_step, [row.step for row in decisions if row.step in again]
    else:
        first = min([*shared[:1], *theirs[-1:]], key=lambda row: row.position or 0, default=None)
        kept = [row for row in copied if first is None or (row.position or 0) <= first.sees]
        begin, asked = (from_step, []) if first is None else (first.step, [first.step])
    taken_over = [row.step for row in _decisions_among(spec, kept)]
    return Resumption(step=begin, copied=kept, asked=asked, taken_over=taken_over)


def _decisions_among(spec: WorkflowSpec, copied: Sequence[StepFact]) -> list[StepFact]:
    """Return the last visit to each decision that the workflow still declares, in the order they were taken."""
    taken = sorted((row for row in copied if row.settings.kind in MANUAL), key=lambda row: row.position or 0)
    last = {row.step: row for row in taken if row.step in spec.steps and spec.steps[row.step].manual}
    return sorted(last.values(), key=lambda row: row.position or 0)


def _takes_several(spec: WorkflowSpec, row: StepFact) -> bool:
    """Whether it took, or takes by the definition of now, several people or somebody other than who started the run."""
    step, decision = spec.steps[row.step], row.decision
    took_several = decision is not None and bool(
        wanted(decision) > 1 or decision.get("not_starter") or decision.get("not_by")
    )
    return took_several or step.approvals > 1 or step.not_starter or bool(step.not_by)


def copied_steps(spec: WorkflowSpec, step_runs: Sequence[StepFact], from_step: str) -> list[StepFact] | None:
    """Return the completed visits before the last visit to a step, or its ancestors' in dependency style.

    None where the run never entered the step.
    """
    entered = [row for row in step_runs if row.kind == "step" and row.step == from_step]
    if not entered:
        return None
    last = max(entered, key=lambda row: row.visit)
    completed = [row for row in step_runs if row.kind == "step" and row.status == "completed" and row.position]
    if spec.style == "dependency":
        return [row for row in completed if row.step in spec.ancestors[from_step]]
    return [row for row in completed if row.position is not None and row.position <= last.sees]
