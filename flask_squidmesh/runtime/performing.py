"""One delivery: take the claim, run the step, record what came of it, and go on in place where that is allowed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..engine.facts import Failure
from ..store import auditing, claiming, loading, writing
from ..store.claiming import Claim, Unanswered, Work
from ..store.tables import dispatches
from ..workflow.spec import WorkflowSpec
from .announcing import facts_of, send
from .error_records import error_record, log_error
from .executing import apart, execute
from .outcomes import Blocked, Completed, Failed, Outcome, refused_by
from .patience import until_lost
from .recording import Recorded, after_commit, record, record_in
from .run_state import RunState
from .transactions import perform_in_transaction

if TYPE_CHECKING:
    from .runtime import Runtime

logger = logging.getLogger("flask_squidmesh")

_WORDS = {Completed: "completed", Failed: "failed", Blocked: "blocked"}


def deliver(runtime: Runtime, claim: Claim) -> str:
    """Perform the claimed step and as many after it as may follow in place. Answer the run's status at the end."""
    runtime.solitude.enter(claim)
    try:
        with runtime.in_context():
            return _deliver(runtime, claim)
    finally:
        runtime.solitude.leave(claim)


def _deliver(runtime: Runtime, claim: Claim) -> str:
    spec = runtime.registry.get(claim.run.workflow)
    state = RunState(runtime, spec)
    until = runtime.clock.now() + timedelta(seconds=runtime.settings.delivery_seconds)
    steps_left = runtime.settings.delivery_steps
    status: str = claim.run.status
    onward: Claim | None = claim
    runtime.claims.hold(claim.claim_id)
    try:
        while onward is not None:
            steps_left -= 1
            status, onward = attempt(runtime, spec, onward, state, until=until if steps_left > 0 else None)
    finally:
        runtime.claims.release(claim.claim_id)
    return status


def attempt(
    runtime: Runtime, spec: WorkflowSpec, claim: Claim, state: RunState, *, until: datetime | None
) -> tuple[str, Claim | None]:
    """Run one attempt and record it. Answer the run's status, and the claim on the next step if it goes on.

    until: the time up to which this delivery may go on with another step; None where this is its last.
    """
    try:
        return _attempted(runtime, spec, claim, state, until)
    except (KeyboardInterrupt, SystemExit):
        _put_back(runtime, claim)
        raise


def _attempted(
    runtime: Runtime, spec: WorkflowSpec, claim: Claim, state: RunState, until: datetime | None
) -> tuple[str, Claim | None]:
    outcome: Outcome | None = None

    def goes_on() -> bool:
        return until is not None and runtime.clock.now() < until

    try:
        if claim.visit.kind == "step" and spec.steps[claim.visit.step].transaction:
            outcome, recorded = apart(
                perform_in_transaction,
                runtime,
                spec,
                claim,
                state,
                lambda connection, outcome: record_in(
                    runtime, connection, spec, claim, outcome, may_continue=goes_on()
                ),
            )
        else:
            outcome = execute(runtime, spec, claim, state)
            outcome, recorded = _recorded(runtime, spec, claim, outcome, goes_on)
    except writing.ClaimLostError:
        _dropped(runtime, claim, outcome)
        runtime.claims.let_go([claim], performed=True)
        return _present_status(runtime, claim), None
    if isinstance(outcome, Completed):
        state.add(outcome.output)
    after_commit(runtime, recorded, outcome.failure.exception if isinstance(outcome, Failed) else None)
    return recorded.status, recorded.onward


def _recorded(
    runtime: Runtime, spec: WorkflowSpec, claim: Claim, outcome: Outcome, goes_on: Callable[[], bool]
) -> tuple[Outcome, Recorded]:
    """Record the outcome, until the claim is known to be lost; what the database refuses for good fails the step.

    A commit whose answer was lost is found out by the fence: the second try meets a claim that has moved on.
    """

    def recording(outcome: Outcome) -> Callable[[], Recorded]:
        return lambda: record(runtime, spec, claim, outcome, may_continue=goes_on())

    try:
        return outcome, until_lost(runtime, claim, "its outcome", recording(outcome))
    except sa.exc.SQLAlchemyError as error:
        logger.exception(
            "squidmesh: run %s: the outcome of step %s is refused by the database", claim.run.id, claim.visit.step
        )
        failed = refused_by(error, outcome)
    except writing.ClaimLostError:
        raise
    except Exception as error:  # nothing is known to bring it about, and the step has had its effect
        message = "squidmesh: run %s: what follows step %s could not be decided"
        log_error(logger, error, message, claim.run.id, claim.visit.step)
        told = error_record(error, retryable=False, most=runtime.settings.max_payload_bytes)
        failed = Failed(failure=Failure(error=told, final=True))
    return failed, until_lost(runtime, claim, "its failure", recording(failed), whatever=True)


def skipped(runtime: Runtime, work: Work) -> None:
    """Tell that a delivery met another one's live claim."""
    run, visit = work.run, work.visit
    facts = {"step": visit.step, "visit": visit.visit, "attempt": visit.attempts, "reason": "already_running"}
    send(runtime, "step_skipped", {**facts_of(run), **facts})


def _dropped(runtime: Runtime, claim: Claim, outcome: Outcome | None) -> None:
    """Tell of an outcome that came too late, in the audit where a person had given the attempt up."""
    run_id, visit = claim.run.id, claim.visit
    logger.warning("squidmesh: run %s: the claim on step %s was lost; its outcome is dropped", run_id, visit.step)
    said = {"attempt": visit.attempts, "outcome": _WORDS.get(type(outcome)), "worker": claim.worker}
    try:
        with runtime.database.write() as connection:
            if loading.was_given_up(connection, visit.id, visit.attempts):
                auditing.note_visit(
                    connection,
                    "outcome_dropped",
                    run_id=run_id,
                    step=visit.step,
                    visit=visit.visit,
                    at=runtime.clock.now(),
                    data=said,
                )
    except Exception:
        logger.exception("squidmesh: run %s: the audit could not be told of the dropped outcome", run_id)


def _put_back(runtime: Runtime, claim: Claim) -> None:
    """This process is going down: let another take the step at once, as a further attempt; or, where its outcome is
    recorded, the one that was to follow in place and has not begun."""
    now = runtime.clock.now()
    try:
        with runtime.database.write() as connection:
            claiming.put_back_unanswered(connection, [Unanswered(claim, performed=True)], now)
            connection.execute(
                sa.update(dispatches)
                .where(dispatches.c.id == claim.dispatch_id, dispatches.c.claim_id == claim.claim_id)
                .values(due_at=now)
            )
    except sa.exc.SQLAlchemyError as error:  # the claim expires
        logger.warning("squidmesh: a step could not be given to others at once (%s)", type(error).__name__)


def _present_status(runtime: Runtime, claim: Claim) -> str:
    try:
        with runtime.database.read() as connection:
            run = loading.run_fact(connection, claim.run.id)
    except sa.exc.SQLAlchemyError:  # it was only to be told
        return claim.run.status
    return run.status if run else claim.run.status
