"""What is to be told: entries that the commit writes which makes it true, and that are delivered at least once.

An entry is of a subscription; it is not addressed until it has been asked whom it goes to, and is then made one for
each receiver. While somebody is at it `due_at` is the time at which the claim expires, as with dispatches, so that a
crash at any point leaves an entry that falls due.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

import sqlalchemy as sa

from ..definition.values import JsonObject
from ..engine.changes import NewNotice
from ..engine.kept_decisions import DecisionKept
from ..errors import ErrorRecord
from ..notices import NoticeKind
from ..subscriptions import Subscriptions
from .database import Database
from .summaries import new_id
from .tables import outbox, runs, step_runs, waits
from .write_statements import INSERTS

GIVE_UP_AFTER: Final = timedelta(days=1)
UNKNOWN_AFTER: Final = timedelta(hours=1)
"""Beyond its day, after which what is still open was given up by nobody who knows it."""
MOST_GATHERED: Final = 200
IS_OPEN: Final = outbox.c.ended_at.is_(None)

EntryOutcome = Literal["addressed", "delivered", "dropped", "failed"]
"""How an entry ended: it was made one for each receiver, delivered, of no use any more or for nobody, or given up."""


class ClaimedEntry(NamedTuple):
    """An entry that somebody is at. tries: how often it was tried before."""

    id: str
    claim_id: str
    kind: NoticeKind
    subscription: str
    receiver: str
    is_addressed: bool
    subject: str
    number: int
    run_id: str | None
    step_run_id: str | None
    tenant: str | None
    workflow: str | None
    step: str | None
    visit: int | None
    data: JsonObject | None
    tries: int
    happened_at: datetime
    give_up_at: datetime


class ToldRun(NamedTuple):
    """What is told of an entry's run and visit, as they stand. is_waiting: whether the visit's wait is open."""

    subject: str
    outcome: str | None
    error: ErrorRecord | None
    decision: DecisionKept | None
    decide_by: datetime | None
    is_waiting: bool


def entry_rows(
    subscriptions: Subscriptions,
    told: Sequence[NewNotice],
    *,
    run_id: str | None,
    subject: str,
    tenant: str | None,
    workflow: str | None,
    number: int,
    now: datetime,
) -> list[dict[str, Any]]:
    """The entries for what a decision about a run tells, or for what happened to none. subject: what it is told of.
    number: the revision that the decision leads to, or what tells this time from others."""
    return [
        {
            "id": new_id(),
            "kind": notice.kind,
            "subscription": subscription.name,
            "receiver": "",
            "is_addressed": subscription.to is None,
            "subject": notice.step_run_id or subject,
            "number": number,
            "run_id": run_id,
            "step_run_id": notice.step_run_id,
            "tenant": tenant,
            "workflow": workflow,
            "step": notice.step,
            "visit": notice.visit,
            "data": notice.data,
            "happened_at": now,
            "due_at": now + subscription.digest if subscription.digest and subscription.to is None else now,
            "give_up_at": now + GIVE_UP_AFTER,
        }
        for notice in told
        for subscription in subscriptions.to(notice.kind, workflow)
    ]


def add_beside_runs(
    connection: sa.Connection,
    subscriptions: Subscriptions,
    kind: NoticeKind,
    *,
    subject: str,
    number: int,
    now: datetime,
    data: JsonObject,
    tenant: str | None = None,
) -> None:
    """Write the entries for what happened to no run, unless they are there. subject, number: what they are known by."""
    told = [NewNotice(kind=kind, data=data)]
    made = entry_rows(
        subscriptions, told, run_id=None, subject=subject, tenant=tenant, workflow=None, number=number, now=now
    )
    if made:
        connection.execute(INSERTS[connection.dialect.name](outbox).on_conflict_do_nothing(), made)


def next_due(connection: sa.Connection, database: Database, names: Collection[str]) -> dict[str, float]:
    """Seconds until the first entry is due of each of these subscriptions that has any, negative where it is late."""
    if not names:
        return {}
    first = sa.func.min(outbox.c.due_at, type_=outbox.c.due_at.type)
    query = sa.select(outbox.c.subscription, first, database.now()).where(IS_OPEN, outbox.c.subscription.in_(names))
    found = connection.execute(query.group_by(outbox.c.subscription))
    return {name: (due - at).total_seconds() for name, due, at in found}


def claim_due(
    connection: sa.Connection,
    database: Database,
    subscription: str,
    *,
    worker: str,
    limit: int,
    lease: timedelta,
) -> list[ClaimedEntry]:
    """Claim what is due of the subscription, oldest first; what somebody else looks at is left to them."""
    query = (
        sa.select(*_COLUMNS)
        .where(IS_OPEN, outbox.c.subscription == subscription, outbox.c.due_at <= database.now())
        .order_by(outbox.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    claim_id = new_id()
    found = [ClaimedEntry(**{**row, "claim_id": claim_id}) for row in connection.execute(query).mappings()]
    if found:
        connection.execute(
            sa.update(outbox)
            .where(outbox.c.id.in_([entry.id for entry in found]))
            .values(claim_id=claim_id, claimed_by=worker, due_at=database.now(lease))
        )
    return found


_COLUMNS: Final = [outbox.c[name] for name in ClaimedEntry._fields]


def told_run(connection: sa.Connection, entry: ClaimedEntry) -> ToldRun | None:
    """The run and the visit that the entry tells of; None where the run is gone."""
    if entry.run_id is None:
        return ToldRun(entry.subject, None, None, None, None, False)
    query = (
        sa.select(
            *(runs.c[name] for name in ("subject", "outcome", "error")),
            *(step_runs.c[name] for name in ("decision", "decide_by")),
            waits.c.step_run_id.is_not(None),
        )
        .select_from(
            runs.outerjoin(step_runs, step_runs.c.id == entry.step_run_id).outerjoin(
                waits, waits.c.step_run_id == step_runs.c.id
            )
        )
        .where(runs.c.id == entry.run_id)
    )
    row = connection.execute(query).first()
    return ToldRun._make(row) if row else None


def end(
    connection: sa.Connection, entry: ClaimedEntry, outcome: EntryOutcome, now: datetime, error: str | None = None
) -> bool:
    """End the entry, and answer whether the claim held."""
    return _written(connection, entry, ended_at=now, outcome=outcome, error=error)


def put_off(connection: sa.Connection, entry: ClaimedEntry, until: datetime, error: str) -> bool:
    """Have the entry tried again later, and answer whether the claim held. error: why, for operators."""
    return _written(connection, entry, due_at=until, tries=entry.tries + 1, error=error)


def give_back(connection: sa.Connection, entries: Collection[ClaimedEntry], now: datetime) -> None:
    """Leave entries to others that have not been begun."""
    for entry in entries:
        _written(connection, entry, due_at=now)


def claim_beside(connection: sa.Connection, claimed: Sequence[ClaimedEntry]) -> list[ClaimedEntry]:
    """Claim what else is kept for the receivers of these entries, so that it goes with them though it is not due.

    claimed: addressed entries of one subscription, which are claimed together.
    """
    first = claimed[0]
    query = (
        sa.select(*_COLUMNS)
        .where(
            IS_OPEN,
            outbox.c.subscription == first.subscription,
            outbox.c.is_addressed,
            outbox.c.claim_id.is_(None),
            outbox.c.receiver.in_({entry.receiver for entry in claimed}),
        )
        .order_by(outbox.c.happened_at)
        .limit(MOST_GATHERED)
        .with_for_update(skip_locked=True)
    )
    found = [ClaimedEntry(**{**row, "claim_id": first.claim_id}) for row in connection.execute(query).mappings()]
    if found:
        held = sa.select(outbox.c.due_at).where(outbox.c.id == first.id).scalar_subquery()
        worker = sa.select(outbox.c.claimed_by).where(outbox.c.id == first.id).scalar_subquery()
        connection.execute(
            sa.update(outbox)
            .where(outbox.c.id.in_([entry.id for entry in found]))
            .values(claim_id=first.claim_id, claimed_by=worker, due_at=held)
        )
    return found


def address(
    connection: sa.Connection, entry: ClaimedEntry, receivers: Sequence[str], now: datetime, digest: timedelta | None
) -> bool:
    """Make one entry for each receiver, and answer whether the claim held.

    digest: for how long what a receiver gets is gathered, from the first entry on.
    """
    if not _written(connection, entry, ended_at=now, outcome="addressed", error=None):
        return False
    due = now + (digest or timedelta(0))
    kept = {name: getattr(entry, name) for name in _REPEATED}
    rows = [
        {**kept, "id": new_id(), "receiver": receiver, "is_addressed": True, "due_at": due} for receiver in receivers
    ]
    statement = INSERTS[connection.dialect.name](outbox).on_conflict_do_nothing()
    connection.execute(statement, rows)
    return True


_REPEATED: Final = (
    *("kind", "subscription", "subject", "number", "run_id", "step_run_id"),
    *("tenant", "workflow", "step", "visit", "data", "happened_at", "give_up_at"),
)


def _written(connection: sa.Connection, entry: ClaimedEntry, **values: object) -> bool:
    freed = {"claim_id": None, "claimed_by": None}
    statement = (
        sa.update(outbox)
        .where(outbox.c.id == entry.id, outbox.c.claim_id == entry.claim_id, IS_OPEN)
        .values(**freed, **values)
    )
    return connection.execute(statement).rowcount == 1


def forget(connection: sa.Connection, *, before: datetime, limit: int) -> int:
    """Delete entries that ended before this time, but for those that could not be delivered; return how many."""
    oldest = (
        sa.select(outbox.c.id)
        .where(outbox.c.ended_at < before, outbox.c.outcome != "failed")
        .order_by(outbox.c.ended_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = [*connection.scalars(oldest)]
    if found:
        connection.execute(sa.delete(outbox).where(outbox.c.id.in_(found)))
    return len(found)


def give_up_unknown(connection: sa.Connection, now: datetime) -> None:
    """Give up what was to be told by a subscription that no process has known for a day."""
    unknown = sa.update(outbox).where(IS_OPEN, outbox.c.give_up_at < now - UNKNOWN_AFTER, outbox.c.due_at < now)
    why = "No worker knows of this subscription. It was renamed or taken out of the app, or no worker has run since."
    connection.execute(unknown.values(ended_at=now, outcome="failed", error=why, claim_id=None, claimed_by=None))
