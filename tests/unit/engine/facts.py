"""Runs and step runs as deciding is told of them."""

from __future__ import annotations

from typing import Any

from flask_squidmesh.definition.spec import VisitSettings
from flask_squidmesh.engine.facts import RunFact, StepFact


def run(**columns: Any) -> RunFact:
    """A running run of workflow "w"; columns: what differs."""
    usual: dict[str, Any] = dict.fromkeys(("current_step", "needs", "needs_due_at", "needs_since", "compensation"))
    usual |= dict.fromkeys(("error", "acknowledged_at", "started_at", "actor"))
    usual |= dict.fromkeys(("position", "remaining", "open_steps", "retrying_steps", "revision", "needs_count"), 0)
    return RunFact(**{**usual, "id": "r", "workflow": "w", "trigger": "t", "status": "running", **columns})


def visit(step: str = "a", **columns: Any) -> StepFact:
    """A visit of step "a" that runs its first attempt; columns: what differs."""
    usual: dict[str, Any] = dict.fromkeys(("position", "failure", "decision", "due_at", "decide_by", "started_at"))
    usual |= {"id": f"id-{step}", "run_id": "r", "kind": "step", "step": step, "visit": 1, "status": "running"}
    return StepFact(
        **{**usual, "sees": 0, "missing": 0, "attempts": 1, "abandoned": 0, "settings": VisitSettings(), **columns}
    )
