"""A step whose own rows and whose completion are one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Session, SessionTransaction

from ..store.claiming import Claim
from ..workflow.spec import WorkflowSpec
from .executing import RunState, execute_here
from .outcomes import Completed, Failed, Outcome, failure_of

if TYPE_CHECKING:
    from .recording import Recorded
    from .runtime import Runtime


Record = Callable[[sa.Connection, Outcome], "Recorded"]


# What the database says at the end of a transaction that it refuses, or that an error which was swallowed has spoiled.
SPOILED = (sa.exc.IntegrityError, sa.exc.InternalError, sa.exc.PendingRollbackError)


class TransactionEndedError(RuntimeError):
    """A transaction step tried to commit or roll back the transaction that its completion belongs to."""


def perform_in_transaction(
    runtime: Runtime, spec: WorkflowSpec, claim: Claim, state: RunState, record: Record
) -> tuple[Outcome, Recorded]:
    """Run the step in db.session and record its completion there, so that both are kept or neither is.

    record: writes an outcome over a connection.
    """
    with runtime.database.standing_still_at_forks(), runtime.in_context():
        session = runtime.host_db.session()
        connection = runtime.database.joined(session)
        with _kept_open(session) as kept:
            outcome = execute_here(runtime, spec, claim, state)
        outcome = _flushed(session, _judged(outcome, kept, spec, claim), spec, claim)
        if isinstance(outcome, Completed):
            try:
                recorded = record(connection, outcome)
                session.commit()
                return outcome, recorded
            except SPOILED as error:
                outcome = Failed(failure=failure_of(error, spec.steps[claim.visit.step].retry), input=outcome.input)
            finally:
                session.rollback()
        session.rollback()
    with runtime.database.write() as connection:
        return outcome, record(connection, outcome)


def _flushed(session: Session, outcome: Outcome, spec: WorkflowSpec, claim: Claim) -> Outcome:
    """Send the step's own rows to the database, so that what it refuses is the step's failure."""
    if isinstance(outcome, Completed):
        try:
            session.flush()
        except Exception as error:
            return Failed(failure=failure_of(error, spec.steps[claim.visit.step].retry), input=outcome.input)
    return outcome


def _judged(outcome: Outcome, kept: dict[str, bool], spec: WorkflowSpec, claim: Claim) -> Outcome:
    if kept["open"] or not isinstance(outcome, Completed):
        return outcome
    ended = TransactionEndedError(
        f"Step {claim.visit.step} ended its transaction itself. Raise FailStep or RetryStep instead."
    )
    return Failed(failure=failure_of(ended, spec.steps[claim.visit.step].retry), input=outcome.input)


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
