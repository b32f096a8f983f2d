"""Events that are kept, and what became of each, page by page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from ..definition.values import JsonObject, JsonValue
from ..storage.scope import Scope
from ..storage.summaries import SUMMARY_COLUMNS, RunSummary, summary_of
from ..storage.tables import EventTake, OpenWait, ReceivedEvent, StepRun, WorkflowRun
from .operator_status import Condition
from .run_list import check_limit, cursor_of, place_of

MOST_SHOWN: Final = 3
"""How many of the runs that an event has reached are told with it in a list."""
MOST_OF_ONE: Final = 50
"""How many are told of one event, and how many that wait for its like."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRun:
    """A run that waits for an event of this name and key, and has not taken this one. why_not: what does not fit, where
    it has passed this one over."""

    run: RunSummary
    step: str
    since: datetime
    why_not: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One event with its payload. waiting: the first runs that wait for its like; more_waiting: whether there are
    others."""

    event: KeptEvent
    payload: JsonObject
    waiting: tuple[WaitingRun, ...]
    more_waiting: bool


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


def event_record(connection: sa.Connection, scope: Scope, names: Collection[str] | None, id: str) -> EventRecord | None:
    """One event; None where there is none of these names within the scope. Three queries."""
    known = [*scope.tenants_of(ReceivedEvent), *([] if names is None else [ReceivedEvent.name.in_(sorted(names))])]
    query = sa.select(*_COLUMNS, ReceivedEvent.payload).where(ReceivedEvent.id == id, *known)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    reached = _reached(connection, scope, [id], MOST_OF_ONE)[id]
    event = KeptEvent(
        **{column.name: row[column.name] for column in _COLUMNS},
        reached=reached[:MOST_OF_ONE],
        more=len(reached) > MOST_OF_ONE,
    )
    waiting = _waiting(connection, scope, event)
    return EventRecord(
        event=event,
        payload=row["payload"],
        waiting=tuple(waiting[:MOST_OF_ONE]),
        more_waiting=len(waiting) > MOST_OF_ONE,
    )


def _waiting(connection: sa.Connection, scope: Scope, event: KeptEvent) -> list[WaitingRun]:
    """The first open waits for such an event, and one more where there are more."""
    query = (
        sa.select(*SUMMARY_COLUMNS, OpenWait.step, OpenWait.opened_at, StepRun.decision)
        .join(OpenWait, OpenWait.run_id == WorkflowRun.id)
        .join(StepRun, StepRun.id == OpenWait.step_run_id)
        .where(*_awaiting(event), *scope.within(WorkflowRun))
        .order_by(OpenWait.opened_at, OpenWait.step_run_id)
        .limit(MOST_OF_ONE + 1)
    )
    return [
        WaitingRun(run=summary_of(row), step=row["step"], since=row["opened_at"], why_not=_why_not(row, event))
        for row in connection.execute(query).mappings()
    ]


def _awaiting(event: KeptEvent) -> list[Condition]:
    return [
        OpenWait.event_key == event.key,
        OpenWait.event_key.is_not(None),
        OpenWait.event_name == event.name,
        OpenWait.tenant == event.tenant,
    ]


def _why_not(row: sa.RowMapping, event: KeptEvent) -> str | None:
    misfit = (row["decision"] or {}).get("misfit")
    return misfit["why"] if misfit is not None and misfit["event_id"] == event.event_id else None


def _reached(
    connection: sa.Connection, scope: Scope, ids: Sequence[str], most: int = MOST_SHOWN
) -> dict[str, tuple[EventReach, ...]]:
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
        .where(takes.c.place <= most + 1, *scope.within(WorkflowRun))
        .order_by(takes.c.event, takes.c.place)
    )
    for row in connection.execute(query).mappings():
        reach = EventReach(run=summary_of(row), how=row["kind"], step=row["take_step"], at=row["at"])
        found[row["event"]] += (reach,)
    return found
