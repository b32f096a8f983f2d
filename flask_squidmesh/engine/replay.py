"""What a replay would repeat although it cannot be taken back, and what it may copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..workflow.spec import WorkflowSpec
from .facts import StepFact


def unsafe_steps(step_runs: Sequence[StepFact]) -> tuple[dict[str, Any], ...]:
    """The steps that stand in the way of a replay, each once, in the order they were first entered.

    Each is {step, irreversible, compensatable, status, reason}; reason is completed, or may_have_taken_effect for a
    step that began and did not complete. That a step was compensated since does not make it safe.
    """
    blocking: dict[str, dict[str, Any]] = {}
    for step_run in step_runs:
        if step_run.kind == "step" and _cannot_be_undone(step_run.settings) and _may_have_taken_effect(step_run):
            known = blocking.get(step_run.step)
            if known is None or known["status"] != "completed":
                blocking[step_run.step] = _described(step_run)
    return tuple(blocking.values())


def _cannot_be_undone(settings: Mapping[str, Any]) -> bool:
    return bool(settings.get("irreversible")) or not settings.get("compensatable", True)


def _may_have_taken_effect(step_run: StepFact) -> bool:
    """An irreversible step that failed is known to have had no effect; otherwise it would have been interrupted."""
    if step_run.status == "failed" and step_run.irreversible:
        return False
    return step_run.status == "completed" or step_run.attempts > 0


def _described(step_run: StepFact) -> dict[str, Any]:
    irreversible = step_run.irreversible
    return {
        "step": step_run.step,
        "irreversible": irreversible,
        "compensatable": not irreversible and bool(step_run.settings.get("compensatable", True)),
        "status": step_run.status,
        "reason": "completed" if step_run.status == "completed" else "may_have_taken_effect",
    }


def copied_steps(spec: WorkflowSpec, step_runs: Sequence[StepFact], from_step: str) -> list[StepFact] | None:
    """The completed visits before the last visit to a step, or its ancestors' in dependency style.

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
