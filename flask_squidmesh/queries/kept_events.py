"""Events that are kept, and what became of each, page by page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from ..definition.values import JsonValue
from ..storage.scope import Scope
from ..storage.summaries import SUMMARY_COLUMNS, RunSummary, summary_of
from ..storage.tables import EventTake, ReceivedEvent, WorkflowRun
from .run_list import check_limit, cursor_of, place_of

MOST_SHOWN: Final = 3
"""How many of the runs that an event has reached are told with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReach:
    """One run that an event has reached. how: wait, start or cancel."""

    run: RunSummary
    how: str
    step: str | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEvent:
    """One event without its payload. reached: the first runs that it has reached; more: whether there are others."""

    id: str
    tenant: str
    name: str
    key: str
    event_id: str
    actor: JsonValue
    sent_at: datetime
    reached: tuple[EventReach, ...] = ()
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """One page. next: what to pass as `after` for the next one; None where there is none."""

    events: tuple[KeptEvent, ...]
    next: str | None


_COLUMNS: Final = [
    ReceivedEvent.__table__.c[name] for name in ("id", "tenant", "name", "key", "event_id", "actor", "sent_at")
]


def kept_events(
    connection: sa.Connection,
    scope: Scope,
    names: Collection[str] | None,
    *,
    name: str | None = None,
    key: str | None = None,
    limit: int = 50,
    after: str | None = None,
) -> EventPage:
    """One page of events, newest first. Two queries.

    names: of which events the person may know; None for all. name, key: only those. limit: 1 to 500. after: `next` of
    the page before. Raises FilterError.
    """
    check_limit(limit)
    query = sa.select(*_COLUMNS).where(*scope.tenants_of(ReceivedEvent))
    if names is not None:
        query = query.where(ReceivedEvent.name.in_(sorted(names)))
    if name is not None:
        query = query.where(ReceivedEvent.name == name)
    if key is not None:
        query = query.where(ReceivedEvent.key == key)
    if after is not None:
        sent_at, id = place_of(after)
        query = query.where(sa.tuple_(ReceivedEvent.sent_at, ReceivedEvent.id) < sa.tuple_(sent_at, id))
    query = query.order_by(ReceivedEvent.sent_at.desc(), ReceivedEvent.id.desc()).limit(limit + 1)
    rows = connection.execute(query).mappings().all()
    shown = rows[:limit]
    reached = _reached(connection, scope, [row["id"] for row in shown])
    found = tuple(
        KeptEvent(**row, reached=reached[row["id"]][:MOST_SHOWN], more=len(reached[row["id"]]) > MOST_SHOWN)
        for row in shown
    )
    following = cursor_of(shown[-1]["sent_at"], shown[-1]["id"]) if len(rows) > limit else None
    return EventPage(events=found, next=following)


def _reached(connection: sa.Connection, scope: Scope, ids: Sequence[str]) -> dict[str, tuple[EventReach, ...]]:
    """The first runs that each event has reached, and one more where there are more."""
    found: dict[str, tuple[EventReach, ...]] = defaultdict(tuple)
    if not ids:
        return found
    place = sa.func.row_number().over(partition_by=EventTake.event, order_by=(EventTake.at, EventTake.taken_by))
    first = sa.select(
        EventTake.event, EventTake.run_id, EventTake.kind, EventTake.step, EventTake.at, place.label("place")
    ).where(EventTake.event.in_(ids))
    takes = first.subquery()
    query = (
        sa.select(takes.c.event, takes.c.kind, takes.c.step.label("take_step"), takes.c.at, *SUMMARY_COLUMNS)
        .join(WorkflowRun, WorkflowRun.id == takes.c.run_id)
        .where(takes.c.place <= MOST_SHOWN + 1, *scope.within(WorkflowRun))
        .order_by(takes.c.event, takes.c.place)
    )
    for row in connection.execute(query).mappings():
        reach = EventReach(run=summary_of(row), how=row["kind"], step=row["take_step"], at=row["at"])
        found[row["event"]] += (reach,)
    return found
