"""Why a run is where it is, and what can be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from ..definition.payloads import validate_again
from ..definition.workflow import Registry
from ..engine.command_effects import PayloadUnfit, RunStatus, UnsafeReplay
from ..engine.command_rules import Refusal, action_facts, judge
from ..engine.kept_decisions import EVENT
from ..engine.transitions import TERMINAL
from ..errors import PayloadError
from ..storage.scope import Scope
from .operator_status import STUCK_AFTER
from .reason_facts import Definition, DispatchEvidence, Evidence, ReasonFacts, Replay, RunEvidence, StepRunEvidence
from .reasons import Reason, Situation, reason_of
from .results import Explanation
from .run_record import Row, RunRecord, read_record, run_fact, step_facts
from .step_results import attempts_of


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
    record: RunRecord, *, now: datetime, claim_timeout: float, delayed_after: float = STUCK_AFTER
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
    ended = record.run["status"] in TERMINAL
    return Explanation(
        run_id=record.run["id"],
        status=record.run["status"],
        reason=reason.word,
        step=reason.step,
        details=_with_replay(reason.facts, refusals) if ended else reason.facts,
        next_actions=next_actions,
        refusals=refusals,
        evidence=_evidence(record, reason),
    )


def _payload_unfit(record: RunRecord, now: datetime) -> PayloadUnfit | None:
    """Why the payload of a run that has ended cannot start another one."""
    trigger = record.spec.triggers.get(record.run["trigger"]) if record.spec else None
    if record.run["status"] not in TERMINAL or trigger is None:
        return None
    try:
        validate_again(trigger, record.run["payload"], now=now)
    except PayloadError as error:
        return PayloadUnfit(
            missing_fields=tuple(error.missing_fields) or None,
            unknown_fields=tuple(error.unknown_fields) or None,
            invalid_types=dict(error.invalid_types) or None,
        )
    return None


def _with_replay(facts: ReasonFacts, refusals: Sequence[Refusal]) -> ReasonFacts:
    refusal = next((each for each in refusals if each.call == "replay_run"), None)
    if refusal is None:
        return replace(facts, replay=Replay(allowed=True))
    if refusal.reason == "workflow_unavailable":
        return replace(facts, workflow_definition="unavailable")
    return replace(facts, replay=_refused_replay(refusal))


def _refused_replay(refusal: Refusal) -> Replay:
    refused = Replay(allowed=False, reason=refusal.reason)
    match refusal.details:
        case UnsafeReplay() as unsafe:
            return replace(refused, blocked_by=unsafe.blocked_by, required_override=unsafe.required_override)
        case PayloadUnfit() as unfit:
            return replace(
                refused,
                missing_fields=unfit.missing_fields,
                unknown_fields=unfit.unknown_fields,
                invalid_types=unfit.invalid_types,
            )
        case RunStatus() as ended:
            return replace(refused, status=ended.status)
        case _:
            return refused


def _evidence(record: RunRecord, reason: Reason) -> Evidence:
    row = reason.step_run
    attempts = attempts_of(record, row) if row is not None else ()
    dispatch = record.dispatches.get(row["id"]) if row is not None else None
    return Evidence(
        run=_run(record.run),
        step_run=_step_run(row) if row is not None else None,
        attempt=attempts[-1].to_dict() if attempts else None,
        dispatch=_dispatch(dispatch) if dispatch is not None else None,
        steps=reason.steps,
        workflow_definition=_definition(record),
    )


def _run(row: Row) -> RunEvidence:
    return RunEvidence(
        id=row["id"],
        status=row["status"],
        workflow=row["workflow"],
        current_step=row["current_step"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        last_error=row["error"],
    )


def _step_run(row: Row) -> StepRunEvidence:
    is_open = row["status"] == "paused" and row["decision"] and row["decision"]["kind"] != EVENT
    return StepRunEvidence(
        id=row["id"],
        kind=row["kind"],
        step=row["step"],
        visit=row["visit"],
        status=row["status"],
        due_at=row["due_at"],
        decide_by=row["decide_by"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        last_error=row["error"],
        decision=dict(row["decision"]) if is_open else None,
    )


def _dispatch(row: Row) -> DispatchEvidence:
    return DispatchEvidence(
        due_at=row["due_at"],
        queue=row["queue"],
        hand_overs=row["hand_overs"],
        hand_over_error=row["hand_over_error"],
        held=row["held"],
        claimed_by=row["claimed_by"],
        claimed_at=row["claimed_at"],
    )


def _definition(record: RunRecord) -> Definition | None:
    """Whether the workflow is still the one the run was started with; None where it is."""
    if record.spec is None:
        return Definition(available=False)
    return Definition(available=True, changed=True) if record.spec.fingerprint != record.run["fingerprint"] else None
