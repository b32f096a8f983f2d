"""Reasons of runs that ended, are being undone or are being cancelled."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from ..reason_facts import Cancelling, Compensating, CompensationFailed, Ended, Failed, UndoFailure
from ..records import Row
from .deliveries import trouble_of
from .situation import Reason, Situation, about


def compensating(situation: Situation) -> Reason | None:
    """Completed steps are being undone."""
    if situation.record.run["compensation"] != "running":
        return None
    rows = situation.record.compensations
    row = next((row for row in rows if row["status"] in ("running", "pending")), None)
    trouble = trouble_of(situation, row)
    facts = Compensating(**_compensations(situation), **trouble)
    return Reason(word="compensating", step=row["step"] if row else None, facts=facts, step_run=row)


def compensation_failed(situation: Situation) -> Reason | None:
    """Some completed steps could not be undone."""
    if situation.record.run["compensation"] != "failed":
        return None
    failed = [row for row in situation.record.compensations if row["status"] == "failed"]
    errors = tuple(UndoFailure(step=row["step"], error=row["error"]) for row in failed)
    facts = CompensationFailed(**_compensations(situation), compensation_failures=errors)
    first = failed[0] if failed else None
    return Reason(word="compensation_failed", step=first["step"] if first else None, facts=facts, step_run=first)


def _compensations(situation: Situation) -> dict[str, Any]:
    run = situation.record.run
    statuses = {row["step"]: row["status"] for row in situation.record.compensations}
    return {"failed_step": run["current_step"], "last_error": run["error"], "compensations": statuses}


def finished(situation: Situation) -> Reason | None:
    """The run completed or was cancelled."""
    if situation.status not in ("completed", "cancelled"):
        return None
    return Reason(word=situation.status, facts=Ended(undone=_undone(situation)))


def _undone(situation: Situation) -> tuple[str, ...] | None:
    return tuple(row["step"] for row in situation.record.compensations if row["status"] == "completed") or None


def failed(situation: Situation) -> Reason | None:
    """The run failed."""
    if situation.status != "failed":
        return None
    run = situation.record.run
    row = situation.last_visit(run["current_step"])
    facts = Failed(last_error=run["error"], undone=_undone(situation))
    if row is not None and _exhausted(row):
        most = row["settings"]["max_attempts"]
        return about(row, "retry_exhausted", replace(facts, max_attempts=most, latest_attempt_number=row["attempts"]))
    return Reason(word="step_failed", step=run["current_step"], facts=facts, step_run=row)


def _exhausted(row: Row) -> bool:
    """Whether the step's retries came to their end, and not a failure that is never retried."""
    most = row["settings"].get("max_attempts", 1)
    return most > 1 and row["attempts"] >= most and (row["error"] or {}).get("retryable") is not False


def cancelling(situation: Situation) -> Reason | None:
    """The run was cancelled and an attempt has still to end."""
    if situation.status != "cancelling":
        return None
    running = [row for row in situation.record.visits if row["status"] == "running"]
    first = running[0] if running else None
    cancelled_at = situation.record.run["cancelled_at"]
    patience = timedelta(seconds=situation.claim_timeout)
    facts = Cancelling(
        waiting_on=tuple(row["step"] for row in running),
        cancelled_at=cancelled_at,
        give_up_at=cancelled_at + patience if cancelled_at and running else None,
        **trouble_of(situation, first),
    )
    return Reason(word="cancelling", step=first["step"] if first else None, facts=facts, step_run=first)
