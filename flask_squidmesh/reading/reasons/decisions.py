"""Reasons of runs that wait for a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...engine.approving import given, wanted
from ...engine.status import TERMINAL
from ..deadlines import deadline
from ..reason_facts import Asked, CannotBegin, Interrupted, NothingToResume, Targets
from ..records import Row
from .situation import Reason, Situation, about


def interrupted(situation: Situation) -> Reason | None:
    """An attempt ended and nobody knows whether its effect happened."""
    row = situation.urgent_decision
    stands_still = situation.status in TERMINAL | {"paused", "cancelling"}
    if row is None or row["decision"]["kind"] != "interrupted" or not stands_still:
        return None
    attempts = situation.record.attempts.get(row["id"], ())
    facts = Interrupted(
        irreversible=bool(row["settings"].get("irreversible")),
        attempts=row["attempts"],
        worker=attempts[-1]["worker"] if attempts else None,
        last_error=row["error"],
    )
    return about(row, "interrupted", facts)


def incident(situation: Situation) -> Reason | None:
    """A step could not begin, because its input cannot be made."""
    row = situation.urgent_decision
    if row is None or row["decision"]["kind"] != "incident" or situation.status != "paused":
        return None
    error = row["error"] or {}
    facts = CannotBegin(
        irreversible=bool(row["settings"].get("irreversible")),
        attempts=row["attempts"],
        input_errors=(error.get("details") or {}).get("validation_errors"),
        last_error=error,
    )
    return about(row, "incident", facts)


def paused(situation: Situation) -> Reason | None:
    """A pause or an approval is open, or should be."""
    if situation.status != "paused":
        return None
    row = situation.urgent_decision
    if row is None:
        return _undecidable(situation)
    decision, spec = row["decision"], situation.record.spec
    if spec is None:
        facts = replace(_leading(decision), workflow_definition="unavailable")
        return about(row, "paused_with_unavailable_workflow", facts)
    if not {decision.get("ok"), decision.get("error")} - {None} <= spec.steps.keys():
        return about(row, "paused_with_invalid_resume_target", _leading(decision))
    word = "paused_for_approval" if decision["kind"] == "approval" else "paused_for_manual_action"
    return about(row, word, _asked(situation, row))


def _undecidable(situation: Situation) -> Reason:
    step = situation.record.run["current_step"]
    return Reason(
        word="paused_with_missing_resume_metadata",
        step=step,
        facts=NothingToResume(),
        step_run=situation.last_visit(step),
    )


def _leading(decision: Mapping[str, Any]) -> Asked:
    """Where the decision leads; null is the end of the run."""
    if decision["kind"] == "approval":
        return Asked(approval_targets=Targets(ok=decision.get("ok"), error=decision.get("error")))
    return Asked(resume_target=decision.get("ok"))


def _asked(situation: Situation, row: Row) -> Asked:
    decision, decide_by = row["decision"], row["decide_by"]
    several, since = wanted(decision) > 1, row["started_at"] or row["created_at"]
    return replace(
        _leading(decision),
        prompt=decision.get("prompt"),
        permission=decision.get("permission"),
        approvals=wanted(decision) if several else None,
        given=tuple(given(decision)) if several else None,
        not_starter=bool(decision.get("not_starter")) or None,
        decide_by=decide_by,
        deadline=deadline(since, decide_by, situation.now),
    )
