"""Which steps a replay would repeat although their effects cannot be taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
