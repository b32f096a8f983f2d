"""Taking work: which dispatches are due, whose claim is kept alive, which is given back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, Literal, NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.sql.expression import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from ..definition.values import JsonObject
from ..engine.facts import Performed, RunFact, StepFact
from .compiled import Asked, Dialect, Prepared
from .database import Database, now_parameter
from .fact_rows import RUN_COLUMNS, STEP_COLUMNS, step_fact
from .queues import HANDED_OVER, IN_NO_QUEUE
from .tables import dispatches, runs, step_runs
from .write_batch import NO_QUEUE, RELAY_GRACE, WriteBatch

_OF_DISPATCH = ("id", "queue", "due_at", "created_at", "claim_id", "claimed_by", "claimed_at")
_OF_RUN = ("payload", "schedule")
_FACTS = [
    *(dispatches.c[name] for name in _OF_DISPATCH),
    *(runs.c[name] for name in _OF_RUN),
    *RUN_COLUMNS,
    *STEP_COLUMNS,
]
_RUN_AT = len(_OF_DISPATCH) + len(_OF_RUN)
_STEP_AT = _RUN_AT + len(RUN_COLUMNS)


Which = Literal["unclaimed", "lost", "all"]
INTERNAL: Final = "internal"
"""Internal work of all kinds, which is in no queue."""


class Work(NamedTuple):
    """A dispatch with the run and the step run it is for. `claim_id` and the rest of the claim are None where nobody
    has it, `due` says whether its time, or the end of the claim, has come, `wait` the seconds until then."""

    dispatch_id: str
    queue: str
    due_at: datetime
    created_at: datetime
    claim_id: str | None
    claimed_by: str | None
    claimed_at: datetime | None
    payload: JsonObject
    schedule: JsonObject | None
    run: RunFact
    visit: StepFact
    due: bool
    wait: float

    @property
    def came_in_turn(self) -> bool:
        """Whether it went straight into the queue: nobody had it before, and it had no time to wait for."""
        return self.claim_id is None and self.due_at <= self.created_at

    @property
    def lost(self) -> Performed:
        """The attempt whose claim expired."""
        return Performed(
            number=max(self.visit.attempts, 1),
            worker=self.claimed_by,
            started_at=self.claimed_at or self.visit.started_at or datetime.min,
        )


class Claim(NamedTuple):
    """The right to perform one attempt, until it expires or is renewed."""

    dispatch_id: str
    claim_id: str
    worker: str
    run: RunFact
    visit: StepFact
    payload: JsonObject
    schedule: JsonObject | None
    started_at: datetime

    def performed(self, input: JsonObject | None = None) -> Performed:
        """The attempt, as it ends now."""
        return Performed(number=self.visit.attempts, worker=self.worker, started_at=self.started_at, input=input)


class UnansweredClaim(NamedTuple):
    """A claim that may have been committed. performed: whether its step was, so that the one that follows is meant."""

    claim: Claim
    performed: bool


def run_under(connection: sa.Connection, claim: Claim) -> RunFact | None:
    """The run of the claim, both locked until the transaction ends; None where the claim is gone or has moved on."""
    query, given = run_asked(cast(Dialect, connection.dialect.name), claim)
    rows = query.rows(connection, given)
    return RunFact._make(rows[0]) if rows else None


def run_asked(dialect: Dialect, claim: Claim) -> Asked:
    """The query of `run_under`."""
    given = {"run": claim.run.id, "dispatch": claim.dispatch_id, "claim": claim.claim_id, "step_run": claim.visit.id}
    return _run_under(dialect), given


@cache
def _run_under(dialect: Dialect) -> Prepared:
    query = (
        sa.select(*RUN_COLUMNS)
        .join_from(runs, dispatches, dispatches.c.run_id == runs.c.id)
        .where(
            runs.c.id == sa.bindparam("run"),
            dispatches.c.id == sa.bindparam("dispatch"),
            dispatches.c.claim_id == sa.bindparam("claim"),
            dispatches.c.step_run_id == sa.bindparam("step_run"),
        )
        .with_for_update(key_share=True, of=(runs, dispatches))
    )
    return Prepared(query, dialect)


def due_work(
    connection: sa.Connection,
    database: Database,
    queue: str,
    *,
    limit: int,
    which: Which,
    after: datetime | None = None,
) -> list[Work]:
    """Due dispatches of the queue that nobody else is looking at, oldest first, with their runs locked.

    which: those that nobody has claimed; those that a dead worker held, whose claim has expired or was given up by
    whoever found it; or all. after: only those due later than then.
    """
    query, given = _due_asked(database, queue, limit, which, after)
    return _works(query.rows(connection, given))


def claim_work(
    database: Database,
    queue: str,
    *,
    limit: int,
    which: Which,
    after: datetime | None = None,
    claim: Callable[[list[Work]], WriteBatch | None],
) -> bool:
    """Give what `due_work` answers to `claim`, and commit the writes that it answers, in two round trips (PostgreSQL).

    claim: answers None where nothing is to be written. Return whether anything was.
    """
    asked = _due_asked(database, queue, limit, which, after)
    return database.read_then_write([asked], lambda rows: claim(_works(rows)))


def _due_asked(database: Database, queue: str, limit: int, which: Which, after: datetime | None) -> Asked:
    given = {"queue": queue, "limit": limit, "now": database.value_of_now(), "after": after}
    return _due_work(database.dialect, which, after is not None), given


def _works(rows: Iterable[Sequence[object]]) -> list[Work]:
    return [_work(row) for row in rows]


@cache
def _due_work(dialect: Dialect, which: Which, behind: bool) -> Prepared:
    queue, due_at = _led_by(dialect, which)
    # Somebody may settle what was lost at this moment; PostgreSQL reads only rows anew that are to be locked.
    locked = (runs, dispatches, step_runs) if which == "lost" else (runs, dispatches)
    conditions = [queue == sa.bindparam("queue"), due_at <= now_parameter(dialect, "now")]
    if behind:
        conditions.append(due_at > sa.bindparam("after"))
    if which == "unclaimed":
        conditions.append(dispatches.c.claim_id.is_(None))
    if which == "lost":
        # Both are few and have an index; the queue or the order of the limit would lead through all that is due.
        claimed = sa.select(dispatches.c.id).where(dispatches.c.claim_id.is_not(None))
        given_up = sa.select(dispatches.c.id).where(
            dispatches.c.claim_id.is_(None), dispatches.c.claimed_at.is_not(None)
        )
        conditions.append(dispatches.c.id.in_(claimed.union_all(given_up).offset(0)))
    query = (
        sa.select(*_FACTS)
        .select_from(_joined())
        .where(*conditions)
        .order_by(due_at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(key_share=True, of=locked, skip_locked=True)
    )
    return Prepared(query, dialect)


def _led_by(dialect: Dialect, which: Which) -> tuple[sa.ColumnElement[str], sa.ColumnElement[datetime]]:
    """The queue and the time of a dispatch, which lead to what is due; not so to what is lost, which has other indexes.

    SQLite uses no index of a column that has a plus sign.
    """
    queue, due_at = dispatches.c.queue, dispatches.c.due_at
    if which != "lost" or dialect != "sqlite":
        return queue, due_at
    plus = custom_op[Any]("+")
    return (
        UnaryExpression(queue, operator=plus, type_=queue.type),
        UnaryExpression(due_at, operator=plus, type_=due_at.type),
    )


def work_for(
    connection: sa.Connection,
    database: Database,
    run_id: str,
    kind: str,
    step: str | None,
    *,
    names: Collection[str] = (),
) -> Work | None:
    """The dispatch that a delivery for this run and step concerns: the one that is due first. Lock the run before.

    names: what else the step is or was called.
    """
    now = database.now()
    query = (
        sa.select(*_FACTS, dispatches.c.due_at <= now, now)
        .select_from(_joined())
        .where(dispatches.c.run_id == run_id, dispatches.c.kind == kind)
        .order_by(dispatches.c.due_at)
        .limit(1)
        .with_for_update(of=dispatches)
    )
    if step is not None:
        query = query.where(step_runs.c.step.in_({step, *names}))
    row = connection.execute(query).first()
    if row is None:
        return None
    *facts, due, at = row
    work = _work(facts)
    return work._replace(due=bool(due), wait=max((work.due_at - at).total_seconds(), 0.0))


class DueActivation(NamedTuple):
    """A cron activation to be made: the dispatch, and what `enqueue_cron` was given."""

    id: str
    payload: JsonObject


def due_activation(connection: sa.Connection, database: Database, queue: str) -> DueActivation | None:
    """The cron activation of the queue that is due first, locked."""
    query = (
        sa.select(dispatches.c.id, dispatches.c.payload)
        .where(dispatches.c.queue == queue, dispatches.c.kind == "cron", dispatches.c.due_at <= database.now())
        .order_by(dispatches.c.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(query).first()
    return None if row is None else DueActivation._make(row)


def put_off(connection: sa.Connection, dispatch_id: str, reason: str, until: datetime) -> None:
    """Look at a cron activation again later."""
    connection.execute(
        sa.update(dispatches)
        .where(dispatches.c.id == dispatch_id)
        .values(held=reason, due_at=until, relay_at=until + RELAY_GRACE)
    )


def next_due(database: Database, queue: str) -> dict[str, float]:
    """Seconds until the first dispatch of each kind is due, negative where it is overdue; INTERNAL stands for those in
    no queue."""
    rows = database.ask(_next_due(database.dialect), {"queue": queue, "now": database.value_of_now()})
    return {kind: (due - at).total_seconds() for kind, due, at in rows if due is not None}


@cache
def _next_due(dialect: Dialect) -> Prepared:
    first = sa.func.min(dispatches.c.due_at, type_=dispatches.c.due_at.type)
    now = now_parameter(dialect, "now").label("now")
    in_queue = (
        sa.select(dispatches.c.kind, first, now)
        .where(dispatches.c.queue == sa.bindparam("queue"))
        .group_by(dispatches.c.kind)
    )
    # Not by kind: so it is one look into the index, however many timers there are.
    internal = sa.select(sa.literal_column(f"'{INTERNAL}'", type_=dispatches.c.kind.type), first, now).where(
        dispatches.c.queue == sa.literal_column(f"'{NO_QUEUE}'")
    )
    return Prepared(in_queue.union_all(internal), dialect)


def renew(connection: sa.Connection, database: Database, claim_ids: Collection[str], timeout: timedelta) -> set[str]:
    """Put off the end of these claims, and answer those that still are somebody's."""
    statement = (
        sa.update(dispatches)
        .where(dispatches.c.claim_id.in_(claim_ids))
        .values(due_at=database.now(timeout), relay_at=database.now(timeout + RELAY_GRACE))
        .returning(dispatches.c.claim_id)
    )
    return {str(claim_id) for claim_id in connection.scalars(statement)}


def give(batch: WriteBatch, claim: Claim, database: Database, timeout: timedelta) -> None:
    """Add the writes that give the claim to its worker, but for that on the run."""
    taken = {"claim_id": claim.claim_id, "claimed_by": claim.worker, "claimed_at": claim.started_at}
    until = {"due_at": database.from_now(timeout), "relay_at": database.from_now(timeout + RELAY_GRACE)}
    told = {"held": None, "hand_over_error": None}
    batch.update(dispatches, {"id": claim.dispatch_id}, {**taken, **until, **told})
    visit = claim.visit
    begun = {"started_at": visit.started_at or claim.started_at, "due_at": None}
    batch.update(step_runs, {"id": visit.id}, {"status": "running", "attempts": visit.attempts, **begun})


def holder_of(connection: sa.Connection, step_run_id: str) -> tuple[str | None, datetime | None] | None:
    """Who holds the step run, and since when; None where nobody is to deliver it."""
    query = sa.select(dispatches.c.claimed_by, dispatches.c.claimed_at).where(dispatches.c.step_run_id == step_run_id)
    row = connection.execute(query).first()
    return None if row is None else (row.claimed_by, row.claimed_at)


def lost_work(connection: sa.Connection, database: Database, *, limit: int) -> list[Work]:
    """Work of any queue whose claim has expired and that nobody else is looking at, with its runs locked."""
    query = (
        sa.select(*_FACTS)
        .select_from(_joined())
        .where(dispatches.c.claim_id.is_not(None), dispatches.c.due_at <= database.now())
        .order_by(dispatches.c.due_at)
        .limit(limit)
        .with_for_update(key_share=True, of=(runs, dispatches), skip_locked=True)
    )
    return _works(connection.execute(query))


def hold(connection: sa.Connection, work: Work, reason: str, until: datetime) -> None:
    """Put work back that this process does not know how to do. A lost claim stays, for those to settle who know."""
    connection.execute(
        sa.update(dispatches)
        .where(dispatches.c.id == work.dispatch_id)
        .values(held=reason, due_at=until, relay_at=until + RELAY_GRACE)
    )


def held_work(connection: sa.Connection, workflows: Collection[str], *, limit: int) -> list[Work]:
    """Work of these workflows that a process has put back because it did not know it, with its runs locked."""
    query = (
        sa.select(*_FACTS)
        .select_from(_joined())
        .where(IN_NO_QUEUE, HANDED_OVER, dispatches.c.held.is_not(None), runs.c.workflow.in_(workflows))
        .order_by(dispatches.c.relay_at)
        .limit(limit)
        .with_for_update(key_share=True, of=(runs, dispatches), skip_locked=True)
    )
    return _works(connection.execute(query))


def offer(connection: sa.Connection, work: Work, now: datetime) -> None:
    """Make work due that was put back, for those who know how to do it."""
    connection.execute(
        sa.update(dispatches)
        .where(dispatches.c.id == work.dispatch_id)
        .values(held=None, due_at=now, relay_at=now + RELAY_GRACE)
    )


def put_back(connection: sa.Connection, claims: Sequence[Claim], now: datetime) -> None:
    """Give claims back whose attempts have not begun. What a dead worker held stays marked as given up, so that it is
    taken before all that is due."""
    _lock_runs(connection, [claim.run.id for claim in claims])
    for claim in claims:
        given_up_at = claim.started_at if claim.visit.abandoned else None
        mine = connection.execute(
            sa.update(dispatches)
            .where(dispatches.c.id == claim.dispatch_id, dispatches.c.claim_id == claim.claim_id)
            .values(due_at=now, claim_id=None, claimed_by=None, claimed_at=given_up_at)
        )
        if mine.rowcount == 1:
            connection.execute(
                sa.update(step_runs)
                .where(step_runs.c.id == claim.visit.id)
                .values(status="pending", attempts=claim.visit.attempts - 1)
            )


def _lock_runs(connection: sa.Connection, run_ids: Sequence[str]) -> None:
    """Keep those off who look for this very work: they would find a dispatch that is free, and its visit as it was."""
    connection.execute(
        sa.select(runs.c.id).where(runs.c.id.in_(run_ids)).order_by(runs.c.id).with_for_update(key_share=True)
    ).all()


def put_back_unanswered(connection: sa.Connection, claims: Sequence[UnansweredClaim], now: datetime) -> None:
    """Give these claims back as far as they stand; nobody has begun what they are for."""
    _lock_runs(connection, [claim.run.id for claim, _ in claims])
    for claim, performed in claims:
        found = connection.execute(
            sa.select(dispatches.c.step_run_id, step_runs.c.attempts, step_runs.c.abandoned)
            .join_from(dispatches, step_runs, step_runs.c.id == dispatches.c.step_run_id)
            .where(dispatches.c.id == claim.dispatch_id, dispatches.c.claim_id == claim.claim_id)
        ).first()
        if found is not None and not (performed and found.step_run_id == claim.visit.id):
            visit = claim.visit._replace(id=found.step_run_id, attempts=found.attempts, abandoned=found.abandoned)
            put_back(connection, [claim._replace(visit=visit)], now)


def _joined() -> sa.FromClause:
    return dispatches.join(step_runs, step_runs.c.id == dispatches.c.step_run_id).join(
        runs, runs.c.id == dispatches.c.run_id
    )


def _work(row: Sequence[object]) -> Work:
    run, visit = RunFact._make(row[_RUN_AT:_STEP_AT]), step_fact(row[_STEP_AT:])
    return Work._make((*row[:_RUN_AT], run, visit, True, 0.0))
