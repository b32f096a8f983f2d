"""A step whose own rows and whose completion are one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction

from ..definition.spec import WorkflowSpec
from ..host import HostApp
from ..storage import work_queue
from ..storage.database import Database
from ..storage.outages import DatabaseRefusal, judged, means_outage
from ..storage.work_queue import Claim
from ..storage.write_batch import ClaimLostError
from .claim_renewal import ClaimKeeper
from .outcomes import Outcome, StepCompleted, StepFailed, failure_of, is_a
from .recorder import Recorded
from .step_function import OwnContext, RunState, StepPerformer

Record = Callable[[sa.Connection, Outcome], Recorded]


class TransactionEndedError(RuntimeError):
    """A transaction step tried to commit or roll back the transaction that its completion belongs to."""


class TransactionStepPerformer:
    """Calls the functions of steps whose rows are committed together with their completion.

    patience: for how many seconds a step is tried again that others get in the way of.
    """

    def __init__(
        self, *, host: HostApp, database: Database, claims: ClaimKeeper, performer: StepPerformer, patience: float
    ) -> None:
        self._host, self._database, self._claims = host, database, claims
        self._performer, self._patience = performer, patience

    def perform(self, spec: WorkflowSpec, claim: Claim, state: RunState, record: Record) -> tuple[Outcome, Recorded]:
        """Run the step in db.session and record its completion there, so that both are kept or neither is.

        Where the database refuses for a time, nothing is kept, and the step is run again under the same claim: after an
        outage whenever that ends, after conflicts with others for one claim timeout at most.

        record: writes an outcome over a connection.
        """
        policy, conflicts_until = spec.steps[claim.visit.step].retry, time.monotonic() + self._patience
        tries = count(1)

        def try_once() -> tuple[Outcome, Recorded | None]:
            try:
                return self._performed_once(spec, claim, state, record, first=next(tries) == 1)
            except sa.exc.SQLAlchemyError as error:
                passes = judged(error) is DatabaseRefusal.FOR_A_TIME
                if passes and (means_outage(error) or time.monotonic() < conflicts_until):
                    raise
                return StepFailed(failure=failure_of(error, policy)), None

        def record_alone() -> Recorded:
            with self._database.write() as connection:
                return record(connection, outcome)

        outcome, recorded = self._claims.until_lost(claim, "its transaction", try_once)
        return outcome, recorded or self._claims.until_lost(claim, "its failure", record_alone, whatever=True)

    def _performed_once(
        self, spec: WorkflowSpec, claim: Claim, state: RunState, record: Record, *, first: bool
    ) -> tuple[Outcome, Recorded | None]:
        """One try. Nothing is recorded where nothing of it is to be kept. Raises what the database said against it."""
        has_begun = False
        try:
            with self._database.standing_still_at_forks(), OwnContext(self._host.app):
                has_begun = True
                return self._performed_here(spec, claim, state, record, first=first)
        except Exception as exception:
            if has_begun:
                raise
            return self._performer.without_context(exception), None

    def _performed_here(
        self, spec: WorkflowSpec, claim: Claim, state: RunState, record: Record, *, first: bool
    ) -> tuple[Outcome, Recorded | None]:
        db = self._host.db
        assert db is not None
        session = db.session()
        connection = self._database.begun_in(session)
        if (
            not first and work_queue.run_under(connection, claim) is None
        ):  # the commit whose answer was lost went through
            raise ClaimLostError
        try:
            with _kept_to(connection.engine, session):
                with _kept_open(session) as kept:
                    outcome = self._performer.perform_here(spec, claim, state)
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
