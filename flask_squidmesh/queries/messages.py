"""What is told to whom: what waits for each subscription, and what could not be delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from ..definition.values import JsonObject
from ..storage.scope import Scope
from ..storage.summaries import SUMMARY_COLUMNS, RunSummary, summary_of
from ..storage.tables import OutboxEntry, WorkflowRun
from .fleet import MOST
from .operator_status import Query
from .results import Count, View

# No parameter, so that a planner knows that the index of what failed holds them all.
_GIVEN_UP: Final = OutboxEntry.outcome == sa.literal_column("'failed'")
_TOLD: Final = (
    *("id", "kind", "subscription", "receiver", "subject", "step", "data"),
    *("happened_at", "ended_at", "tries", "error"),
)


@dataclass(frozen=True, kw_only=True)
class WaitingNotices(View):
    """What waits to be told by one subscription. due_at: since when the oldest could be, or until when nothing can.
    error: why the last one that failed did."""

    subscription: str
    number: int
    due_at: datetime
    error: str | None


@dataclass(frozen=True, kw_only=True)
class UndeliveredNotice(View):
    """Something that nobody could be told, and that was given up. subject: what it is about, and data: what else it
    tells. tries: how often it was tried. error: why not. run: None where it is of none.
    """

    id: str
    kind: str
    subscription: str
    receiver: str
    subject: str
    step: str | None
    data: JsonObject | None
    happened_at: datetime
    ended_at: datetime
    tries: int
    error: str | None
    run: RunSummary | None


@dataclass(frozen=True, kw_only=True)
class Messages(View):
    """waiting: by subscription. undelivered: the latest of what was given up; count: of all of it."""

    waiting: tuple[WaitingNotices, ...]
    undelivered: tuple[UndeliveredNotice, ...]
    count: Count


def messages(connection: sa.Connection, scope: Scope, *, limit: int) -> Messages:
    """All of it, in three queries. limit: how many are told of what could not be delivered."""
    within = scope.within(OutboxEntry)
    waiting = (
        sa.select(
            OutboxEntry.subscription,
            sa.func.count().label("number"),
            sa.func.min(OutboxEntry.due_at, type_=OutboxEntry.due_at.type).label("due_at"),
            sa.func.max(OutboxEntry.error).label("error"),
        )
        .where(OutboxEntry.ended_at.is_(None), *within)
        .group_by(OutboxEntry.subscription)
        .order_by(OutboxEntry.subscription)
    )
    found = connection.scalar(sa.select(sa.func.count()).select_from(_undelivered(scope).subquery())) or 0
    return Messages(
        waiting=tuple(WaitingNotices(**row) for row in connection.execute(waiting).mappings()),
        undelivered=tuple(_latest(connection, scope, limit)) if found else (),
        count=Count(value=min(found, MOST), capped=found > MOST),
    )


def counting_undelivered(scope: Scope) -> Query:
    """One query, which says how much could not be delivered."""
    return sa.select(sa.literal("undelivered"), sa.func.count()).select_from(_undelivered(scope).subquery())


def undelivered(connection: sa.Connection, scope: Scope, entry_id: str) -> UndeliveredNotice | None:
    """One that could not be delivered; None where there is none within the scope."""
    row = connection.execute(_told(scope).where(OutboxEntry.id == entry_id)).mappings().first()
    return _notice(row) if row else None


def _undelivered(scope: Scope) -> Query:
    return (
        sa.select(sa.literal_column("1"))
        .select_from(OutboxEntry.__table__)
        .where(_GIVEN_UP, *scope.within(OutboxEntry))
        .limit(MOST + 1)
    )


def _latest(connection: sa.Connection, scope: Scope, limit: int) -> Sequence[UndeliveredNotice]:
    query = _told(scope).order_by(OutboxEntry.ended_at.desc(), OutboxEntry.id).limit(limit)
    return [*map(_notice, connection.execute(query).mappings())]


def _told(scope: Scope) -> Query:
    columns = (OutboxEntry.__table__.c[name].label(f"told_{name}") for name in _TOLD)
    return (
        sa.select(*SUMMARY_COLUMNS, *columns)
        .select_from(OutboxEntry)
        .outerjoin(WorkflowRun, WorkflowRun.id == OutboxEntry.run_id)
        .where(_GIVEN_UP, *scope.within(OutboxEntry))
    )


def _notice(row: sa.RowMapping) -> UndeliveredNotice:
    told = {name: row[f"told_{name}"] for name in _TOLD}
    return UndeliveredNotice(**told, run=summary_of(row) if row["id"] is not None else None)
