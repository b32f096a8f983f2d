"""Steps that were renamed: what a row calls its step, and what the definition calls it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..workflow.spec import WorkflowSpec
from .facts import StepFact


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
