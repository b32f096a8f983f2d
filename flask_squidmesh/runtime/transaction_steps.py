"""A step whose own rows and whose completion are one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction

from ..definition.spec import WorkflowSpec
from ..storage import work_queue
from ..storage.outages import DatabaseRefusal, judged, means_outage
from ..storage.work_queue import Claim
from ..storage.write_batch import ClaimLostError
from .outcomes import Outcome, StepCompleted, StepFailed, failure_of, is_a
from .recorder import until_lost
from .step_function import RunState, execute_here, without_context

if TYPE_CHECKING:
    from .recorder import Recorded
    from .runtime import Runtime


Record = Callable[[sa.Connection, Outcome], "Recorded"]


class TransactionEndedError(RuntimeError):
    """A transaction step tried to commit or roll back the transaction that its completion belongs to."""


def perform_in_transaction(
    runtime: Runtime, spec: WorkflowSpec, claim: Claim, state: RunState, record: Record
) -> tuple[Outcome, Recorded]:
    """Run the step in db.session and record its completion there, so that both are kept or neither is.

    Where the database refuses for a time, nothing is kept, and the step is run again under the same claim: after an
    outage whenever that ends, after conflicts with others for one claim timeout at most.

    record: writes an outcome over a connection.
    """
    policy, conflicts_until = spec.steps[claim.visit.step].retry, time.monotonic() + runtime.settings.claim_timeout
    tries = count(1)

    def perform() -> tuple[Outcome, Recorded | None]:
        try:
            return _performed_once(runtime, spec, claim, state, record, first=next(tries) == 1)
        except sa.exc.SQLAlchemyError as error:
            passes = judged(error) is DatabaseRefusal.FOR_A_TIME
            if passes and (means_outage(error) or time.monotonic() < conflicts_until):
                raise
            return StepFailed(failure=failure_of(error, policy)), None

    def record_alone() -> Recorded:
        with runtime.database.write() as connection:
            return record(connection, outcome)

    outcome, recorded = until_lost(runtime, claim, "its transaction", perform)
    return outcome, recorded or until_lost(runtime, claim, "its failure", record_alone, whatever=True)


def _performed_once(
    runtime: Runtime, spec: WorkflowSpec, claim: Claim, state: RunState, record: Record, *, first: bool
) -> tuple[Outcome, Recorded | None]:
    """One try. Nothing is recorded where nothing of it is to be kept. Raises what the database said against it."""
    has_begun = False
    try:
        with runtime.database.standing_still_at_forks(), runtime.in_context():
            has_begun = True
            return _performed_here(runtime, spec, claim, state, record, first=first)
    except Exception as exception:
        if has_begun:
            raise
        return without_context(runtime, exception), None


def _performed_here(
    runtime: Runtime, spec: WorkflowSpec, claim: Claim, state: RunState, record: Record, *, first: bool
) -> tuple[Outcome, Recorded | None]:
    session = runtime.host_db.session()
    connection = runtime.database.begun_in(session)
    if not first and work_queue.run_under(connection, claim) is None:  # the commit whose answer was lost went through
        raise ClaimLostError
    try:
        with _kept_to(connection.engine, session):
            with _kept_open(session) as kept:
                outcome = execute_here(runtime, spec, claim, state)
            _raise_refusal(outcome)
            outcome = _flushed(session, _judged(outcome, kept, spec, claim), spec, claim)
        if isinstance(outcome, StepCompleted):
            recorded = record(connection, outcome)
            session.commit()
            return outcome, recorded
    finally:
        session.rollback()
    return outcome, None


def _raise_refusal(outcome: Outcome) -> None:
    """A refusal of the database's that passes is none of the step's failures, as nothing that it did is kept."""
    cause = outcome.cause if isinstance(outcome, StepFailed) else None
    if cause is not None and not is_a(cause, sa.exc.SQLAlchemyError):
        return
    if isinstance(cause, sa.exc.SQLAlchemyError) and judged(cause) is DatabaseRefusal.FOR_A_TIME:
        raise cause


def _flushed(session: Session, outcome: Outcome, spec: WorkflowSpec, claim: Claim) -> Outcome:
    """Send the step's own rows to the database, so that what it refuses is the step's failure."""
    if isinstance(outcome, StepCompleted):
        try:
            session.flush()
        except Exception as error:
            if isinstance(error, sa.exc.SQLAlchemyError) and judged(error) is DatabaseRefusal.FOR_A_TIME:
                raise
            return StepFailed(failure=failure_of(error, spec.steps[claim.visit.step].retry), input=outcome.input)
    return outcome


def _judged(outcome: Outcome, kept: dict[str, bool], spec: WorkflowSpec, claim: Claim) -> Outcome:
    if kept["open"] or not isinstance(outcome, StepCompleted):
        return outcome
    ended = TransactionEndedError(
        f"Step {claim.visit.step} ended its transaction itself. Raise FailStep or RetryStep instead."
    )
    return StepFailed(failure=failure_of(ended, spec.steps[claim.visit.step].retry), input=outcome.input)


class SecondTransactionError(RuntimeError):
    """A transaction step wrote to a database other than that of the runs, which would not be kept together with it."""


@contextmanager
def _kept_to(engine: sa.Engine, session: Session) -> Iterator[None]:
    """Refuse writes of the session to other engines inside the block; they may be read from."""

    def refuse(**bind: Any) -> None:
        if session.get_bind(**bind).engine is not engine:
            raise SecondTransactionError(
                "This step runs with transaction=True: its rows are committed together with its completion, so it can "
                "write only to the bind that holds the runs (SQUIDMESH_BIND). Write to another one in another step."
            )

    def look_at_flush(flushing: Session, _context: object, _instances: object) -> None:
        for changed in (*flushing.new, *flushing.dirty, *flushing.deleted):
            refuse(mapper=sa.inspect(changed).mapper)

    def look_at_statement(state: ORMExecuteState) -> None:
        if not state.is_select:
            refuse(**{"clause": state.statement, **state.bind_arguments})

    sa.event.listen(session, "before_flush", look_at_flush)
    sa.event.listen(session, "do_orm_execute", look_at_statement)
    try:
        yield
    finally:
        sa.event.remove(session, "before_flush", look_at_flush)
        sa.event.remove(session, "do_orm_execute", look_at_statement)


@contextmanager
def _kept_open(session: Session) -> Iterator[dict[str, bool]]:
    """Refuse commits inside the block, and notice where the transaction ends otherwise."""
    kept = {"open": True}

    def refuse(committing: Session) -> None:
        if committing.get_nested_transaction() is None:
            raise TransactionEndedError(
                "This step runs with transaction=True: its rows are committed together with its completion, "
                "so it must not commit by itself. Remove the commit, or remove transaction=True."
            )

    def notice(_session: Session, ended: SessionTransaction) -> None:
        kept["open"] = kept["open"] and ended.parent is not None

    sa.event.listen(session, "before_commit", refuse)
    sa.event.listen(session, "after_transaction_end", notice)
    try:
        yield kept
    finally:
        sa.event.remove(session, "before_commit", refuse)
        sa.event.remove(session, "after_transaction_end", notice)
