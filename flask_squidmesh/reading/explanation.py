"""Why a run is where it is, and what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from ..engine.actions import Refusal, action_facts, judge
from ..engine.status import TERMINAL
from ..errors import PayloadError
from ..store.scope import Scope
from ..workflow.payloads import validate_again
from ..workflow.registry import Registry
from .reasons import Reason, Situation, reason_of
from .records import Record, Row, read_record, run_fact, step_facts
from .steps import attempts_of
from .views import Explanation
from .words import STUCK_AFTER


def explain(
    connection: sa.Connection,
    registry: Registry,
    scope: Scope,
    run_id: UUID | str,
    *,
    now: datetime,
    claim_timeout: float = 30.0,
    delayed_after: float = STUCK_AFTER,
) -> Explanation:
    """The reason for the run's state, with the evidence, and the control calls that would succeed now.

    claim_timeout: seconds after which a claim that was not renewed is lost. delayed_after: seconds after which work
    that nobody took counts as delayed. Four queries. Raises RunNotFoundError.
    """
    record = read_record(connection, registry, scope, run_id)
    return explanation_of(record, now=now, claim_timeout=claim_timeout, delayed_after=delayed_after)


def explanation_of(
    record: Record, *, now: datetime, claim_timeout: float, delayed_after: float = STUCK_AFTER
) -> Explanation:
    """The explanation of the run that was read."""
    situation = Situation(record=record, now=now, claim_timeout=claim_timeout, delayed_after=delayed_after)
    reason = reason_of(situation)
    facts = step_facts(record.step_runs)
    patient_until = now - timedelta(seconds=claim_timeout)
    known = replace(
        action_facts(run_fact(record.run), facts, record.spec, patient_until), payload_unfit=_payload_unfit(record, now)
    )
    next_actions, refusals = judge(known)
    details = {**reason.details, **(_replay(refusals) if record.run["status"] in TERMINAL else {})}
    return Explanation(
        run_id=record.run["id"],
        status=record.run["status"],
        reason=reason.word,
        step=reason.step,
        details={name: value for name, value in details.items() if value is not None},
        next_actions=next_actions,
        refusals=refusals,
        evidence=_evidence(record, reason),
    )


def _payload_unfit(record: Record, now: datetime) -> Mapping[str, Any] | None:
    """Why the payload of a run that has ended cannot start another one."""
    trigger = record.spec.triggers.get(record.run["trigger"]) if record.spec else None
    if record.run["status"] not in TERMINAL or trigger is None:
        return None
    try:
        validate_again(trigger, record.run["payload"], now=now)
    except PayloadError as error:
        found = {name: getattr(error, name) for name in ("missing_fields", "unknown_fields", "invalid_types")}
        return {name: value for name, value in found.items() if value}
    return None


def _replay(refusals: Sequence[Refusal]) -> dict[str, Any]:
    refusal = next((each for each in refusals if each.call == "replay_run"), None)
    if refusal is None:
        return {"replay": {"allowed": True}}
    if refusal.reason == "workflow_unavailable":
        return {"workflow_definition": "unavailable"}
    return {"replay": {"allowed": False, "reason": refusal.reason, **refusal.details}}


_RUN_EVIDENCE = ("id", "status", "workflow", "current_step", "created_at", "updated_at")
_STEP_EVIDENCE = ("id", "kind", "step", "visit", "status", "due_at", "decide_by", "created_at", "started_at")
_DISPATCH_EVIDENCE = ("due_at", "queue", "hand_overs", "hand_over_error", "held", "claimed_by", "claimed_at")


def _evidence(record: Record, reason: Reason) -> dict[str, Any]:
    evidence: dict[str, Any] = {"run": {**_picked(record.run, _RUN_EVIDENCE), "last_error": record.run["error"]}}
    if reason.step_run is not None:
        evidence["step_run"] = _step_run(reason.step_run)
        attempts = attempts_of(record, reason.step_run)
        if attempts:
            evidence["attempt"] = attempts[-1].to_dict()
        dispatch = record.dispatches.get(reason.step_run["id"])
        if dispatch is not None:
            evidence["dispatch"] = _picked(dispatch, _DISPATCH_EVIDENCE)
    if reason.steps:
        evidence["steps"] = list(reason.steps)
    definition = _definition(record)
    return {**evidence, "workflow_definition": definition} if definition else evidence


def _step_run(row: Row) -> dict[str, Any]:
    open_decision = {"decision": dict(row["decision"])} if row["status"] == "paused" and row["decision"] else {}
    return {**_picked(row, _STEP_EVIDENCE), "last_error": row["error"], **open_decision}


def _definition(record: Record) -> Mapping[str, Any] | None:
    """Whether the workflow is still the one the run was started with; None where it is."""
    if record.spec is None:
        return {"available": False}
    if record.spec.fingerprint != record.run["fingerprint"]:
        return {"available": True, "changed": True}
    return None


def _picked(row: Row, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in names if row[name] is not None}
