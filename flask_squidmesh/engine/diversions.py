"""What led a run off its way: a rejection, a time-out or an error route, and at which step.

A run that completes behind one, without an `End` that says how, says so as its outcome. It is forgotten when the same
step ends well at a later visit.
"""

from __future__ import annotations

from typing import Final, Literal

from ..definition.spec import StepSpec, WorkflowSpec
from .waits import REJECT

Diversion = Literal["rejected", "timed_out", "error_route"]
OUTCOMES: Final[tuple[Diversion, ...]] = ("rejected", "timed_out", "error_route")
"""The outcomes that the engine gives by itself."""


def diverted(how: Diversion, step: str) -> str:
    """Return the diversion as it is kept with the run."""
    return f"{how}:{step}"


def diverted_by(kept: str | None) -> str | None:
    """Return how the run was led off its way; None where it was not."""
    return kept.partition(":")[0] if kept else None


def is_of(kept: str | None, step: str) -> bool:
    """Whether it was this step that led the run off its way."""
    return kept is not None and kept.partition(":")[2] == step


def outcomes_of(spec: WorkflowSpec) -> frozenset[str]:
    """Return the outcomes that completed runs of the workflow can have, but for none."""
    if spec.style == "dependency":
        return frozenset()
    ends = {end.outcome for end in spec.ends}
    return frozenset(ends.union(*(_possible_at(step) for step in spec.steps.values())))


def _possible_at(step: StepSpec) -> set[str]:
    found: set[str] = set()
    if step.kind == "approval" or any(option.name == REJECT for option in step.options):
        found.add("rejected")
    if step.timeout is not None:
        found.add("timed_out")
    if step.kind == "function" and step.error is not None:
        found.add("error_route")
    return found
