"""Reasons of runs that wait for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...engine.status import TERMINAL
from ..deadlines import deadline
from ..records import Row
from ..steps import approvers
from .situation import Reason, Situation, about


def interrupted(situation: Situation) -> Reason | None:
    """An attempt ended and nobody knows whether its effect happened."""
    row = situation.urgent_decision
    stands_still = situation.status in TERMINAL | {"paused", "cancelling"}
    if row is None or row["decision"]["kind"] != "interrupted" or not stands_still:
        return None
    attempts = situation.record.attempts.get(row["id"], ())
    details = {
        "irreversible": bool(row["settings"].get("irreversible")),
        "attempts": row["attempts"],
        "worker": attempts[-1]["worker"] if attempts else None,
        "last_error": row["error"],
    }
    return about(row, "interrupted", details)


def incident(situation: Situation) -> Reason | None:
    """A step could not begin, because its input cannot be made."""
    row = situation.urgent_decision
    if row is None or row["decision"]["kind"] != "incident" or situation.status != "paused":
        return None
    error = row["error"] or {}
    details = {
        "irreversible": bool(row["settings"].get("irreversible")),
        "attempts": row["attempts"],
        "input_errors": (error.get("details") or {}).get("validation_errors"),
        "last_error": error,
    }
    return about(row, "incident", details)


def paused(situation: Situation) -> Reason | None:
    """A pause or an approval is open, or should be."""
    if situation.status != "paused":
        return None
    row = situation.urgent_decision
    if row is None:
        return _undecidable(situation)
    decision, spec = row["decision"], situation.record.spec
    if spec is None:
        details = {**_targets(decision), "workflow_definition": "unavailable"}
        return about(row, "paused_with_unavailable_workflow", details)
    if not {decision.get("ok"), decision.get("error")} - {None} <= spec.steps.keys():
        return about(row, "paused_with_invalid_resume_target", _targets(decision))
    word = "paused_for_approval" if decision["kind"] == "approval" else "paused_for_manual_action"
    return about(row, word, {**_targets(decision), **_asked(situation, row)})


def _undecidable(situation: Situation) -> Reason:
    step = situation.record.run["current_step"]
    return Reason(
        word="paused_with_missing_resume_metadata",
        step=step,
        details={"resume": "missing"},
        step_run=situation.last_visit(step),
    )


def _targets(decision: Mapping[str, Any]) -> dict[str, Any]:
    """Where the decision leads; null is the end of the run."""
    if decision["kind"] == "approval":
        return {"approval_targets": {"ok": decision.get("ok"), "error": decision.get("error")}}
    return {"resume_target": decision.get("ok")}


def _asked(situation: Situation, row: Row) -> dict[str, Any]:
    decision, decide_by = row["decision"], row["decide_by"]
    asked = {"prompt": decision.get("prompt"), "permission": decision.get("permission"), **approvers(decision)}
    since = row["started_at"] or row["created_at"]
    return {**asked, "decide_by": decide_by, "deadline": deadline(since, decide_by, situation.now)}
