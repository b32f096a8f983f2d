"""Events and what became of them: kept, found by those that wait for them, and taken by the insert of a row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Final, Literal, NamedTuple

import sqlalchemy as sa

from ..definition.values import JsonObject, JsonValue
from ..engine.kept_decisions import EventKept
from .tables import dispatches, event_takes, events, runs, waits
from .write_batch import MATCH, NO_QUEUE, dispatch_row
from .write_statements import INSERTS

TakeKind = Literal["wait", "start", "cancel"]
MOST_REPLAYED: Final = 100
CHUNK: Final = 500


class EventRow(NamedTuple):
    """One event as it is kept."""

    id: str
    tenant: str
    name: str
    key: str
    event_id: str
    payload: JsonObject
    fingerprint: str
    actor: JsonValue
    sent_at: datetime
    seen_at: datetime | None

    @property
    def said(self) -> JsonObject:
        """Which event it is, for the records of a run."""
        return {"id": self.id, "name": self.name, "key": self.key, "event_id": self.event_id}


class Waiting(NamedTuple):
    """An open wait for an event."""

    step_run_id: str
    run_id: str
    accept: str


_COLUMNS: Final = [events.c[name] for name in EventRow._fields]


def insert(connection: sa.Connection, event: EventRow) -> bool:
    """Keep the event, and answer whether it is new; waits for a transaction that is just keeping another of its id."""
    statement = INSERTS[connection.dialect.name](events).values(event._asdict())
    return connection.execute(statement.on_conflict_do_nothing().returning(events.c.id)).first() is not None


def request_match(connection: sa.Connection, id: str, now: datetime, due_at: datetime) -> str:
    """Have the event brought to those that wait for it, and answer the id of that work."""
    row = dispatch_row(None, None, MATCH, due_at, NO_QUEUE, now, {"event": id})
    connection.execute(sa.insert(dispatches).values(row))
    return str(row["id"])


def named(connection: sa.Connection, tenant: str, name: str, event_id: str) -> EventRow | None:
    """The event that a sender has given this id."""
    query = sa.select(*_COLUMNS).where(events.c.event_id == event_id, events.c.name == name, events.c.tenant == tenant)
    row = connection.execute(query).first()
    return None if row is None else EventRow._make(row)


def seen(connection: sa.Connection, id: str, now: datetime) -> EventRow | None:
    """The event, marked as seen; None where it is gone."""
    unseen = sa.update(events).where(events.c.id == id, events.c.seen_at.is_(None)).values(seen_at=now)
    row = connection.execute(unseen.returning(*_COLUMNS)).first()
    row = row or connection.execute(sa.select(*_COLUMNS).where(events.c.id == id)).first()
    return None if row is None else EventRow._make(row)


def waiting(connection: sa.Connection, event: EventRow) -> list[Waiting]:
    """The open waits for the event, the one that has waited longest first."""
    query = (
        sa.select(waits.c.step_run_id, waits.c.run_id, waits.c.accept)
        .where(
            waits.c.event_key == event.key,
            waits.c.event_key.is_not(None),
            waits.c.event_name == event.name,
            waits.c.tenant == event.tenant,
        )
        .order_by(waits.c.opened_at, waits.c.step_run_id)
    )
    return [*map(Waiting._make, connection.execute(query))]


def to_cancel(connection: sa.Connection, event: EventRow) -> list[str]:
    """The unfinished runs that the event cancels."""
    query = sa.select(runs.c.id).where(
        runs.c.cancel_key == event.key,
        runs.c.cancel_key.is_not(None),
        runs.c.finished_at.is_(None),
        runs.c.cancel_event == event.name,
        runs.c.tenant == event.tenant,
    )
    return list(connection.scalars(query.order_by(runs.c.id)))


def request_takes(connection: sa.Connection, found: Collection[Waiting], now: datetime) -> None:
    """Have these waits look for events.

    Where one is just looking, this waits for it to be done, so that a look which began before the event came is not
    taken for one that saw it.
    """
    rows = [dispatch_row(each.run_id, each.step_run_id, MATCH, now, NO_QUEUE, now) for each in found]
    rows.sort(key=lambda row: str(row["step_run_id"]))  # in one order, so that no two wait for each other
    insert_rows = INSERTS[connection.dialect.name](dispatches)
    again = {"due_at": insert_rows.excluded.due_at, "relay_at": insert_rows.excluded.relay_at, "held": None}
    for start in range(0, len(rows), CHUNK):
        chunk = insert_rows.values(rows[start : start + CHUNK])
        connection.execute(chunk.on_conflict_do_update(index_elements=["step_run_id", "kind"], set_=again))


def offered(
    connection: sa.Connection,
    tenant: str,
    awaits: EventKept,
    *,
    since: datetime,
    replayed: Collection[str],
    of_step: tuple[str, Collection[str]],
) -> list[EventRow]:
    """The events that a wait may take, the oldest first.

    since: from when on. replayed: runs that this one replays, none of which has taken it. of_step: this run, and the
    names of the step, at no visit of which it was taken.
    """
    run_id, steps = of_step
    values = {
        "tenant": tenant,
        "name": awaits["name"],
        "key": awaits["key"],
        "since": since,
        "run": run_id,
        "steps": list(steps),
        **({"replayed": list(replayed)} if replayed else {}),
    }
    found = connection.execute(_offered(awaits["accept"] == "first", bool(replayed)), values)
    return [*map(EventRow._make, found)]


@cache  # to put it together takes longer than to ask it
def _offered(alone: bool, replays: bool) -> sa.Select[tuple[object, ...]]:
    """What `offered` asks. alone: whether nobody else may have taken it. replays: whether the run is a replay."""
    takes = event_takes.alias()
    run = takes.c.run_id == sa.bindparam("run", type_=takes.c.run_id.type)
    taken_by = [sa.and_(run, takes.c.kind == "wait", takes.c.step.in_(sa.bindparam("steps", expanding=True)))]
    if replays:
        of_replayed = takes.c.run_id.in_(sa.bindparam("replayed", expanding=True))
        taken_by.append(sa.and_(takes.c.kind == "wait", of_replayed))
    if alone:
        taken_by.append(takes.c.sole)
    taken = sa.exists(sa.select(sa.literal(1)).where(takes.c.event == events.c.id, sa.or_(*taken_by)))
    since = sa.bindparam("since", type_=events.c.seen_at.type)
    return (
        sa.select(*_COLUMNS)
        .where(
            *(events.c[name] == sa.bindparam(name, type_=events.c[name].type) for name in ("key", "name", "tenant")),
            sa.or_(events.c.seen_at.is_(None), events.c.seen_at >= since),
            sa.not_(taken),
        )
        .order_by(events.c.sent_at, events.c.id)
        .limit(CHUNK)
    )


def take(
    connection: sa.Connection,
    event: EventRow,
    *,
    taken_by: str,
    kind: TakeKind,
    run_id: str,
    at: datetime,
    step: str | None = None,
    visit: int | None = None,
    sole: bool = False,
) -> bool:
    """Take the event, and answer whether nobody was before; waits for a transaction that is just taking it."""
    row = {
        "event": event.id,
        "taken_by": taken_by,
        "kind": kind,
        "run_id": run_id,
        "step": step,
        "visit": visit,
        "sole": sole,
        "at": at,
    }
    statement = INSERTS[connection.dialect.name](event_takes).values(row).on_conflict_do_nothing()
    return connection.execute(statement.returning(event_takes.c.event)).first() is not None


def is_taken_alone(connection: sa.Connection, id: str) -> bool:
    """Whether somebody has taken the event whom nobody may follow."""
    query = sa.select(sa.literal(1)).where(event_takes.c.event == id, event_takes.c.sole)
    return connection.scalar(query) is not None


def runs_of(connection: sa.Connection, id: str) -> list[str]:
    """The runs that have taken the event, or were started or cancelled by it, in that order."""
    query = sa.select(event_takes.c.run_id).where(event_takes.c.event == id)
    return list(dict.fromkeys(connection.scalars(query.order_by(event_takes.c.at, event_takes.c.run_id))))


def origin(connection: sa.Connection, run_id: str) -> tuple[datetime, list[str]]:
    """When the run was started, and the runs that it replays, with those that they replay."""
    query = sa.select(runs.c.created_at, runs.c.replayed_from_id)
    began, before = connection.execute(query.where(runs.c.id == run_id)).one()
    replayed: list[str] = []
    while before is not None and len(replayed) < MOST_REPLAYED:
        replayed.append(before)
        before = connection.scalar(sa.select(runs.c.replayed_from_id).where(runs.c.id == before))
    return began, replayed


def cancelling(connection: sa.Connection, run_id: str) -> EventRow | None:
    """The first event that cancels the run, and came after it began."""
    query = (
        sa.select(*_COLUMNS)
        .join(
            runs,
            sa.and_(
                runs.c.cancel_key == events.c.key,
                runs.c.cancel_event == events.c.name,
                runs.c.tenant == events.c.tenant,
            ),
        )
        .where(runs.c.id == run_id, sa.or_(events.c.seen_at.is_(None), events.c.seen_at >= runs.c.created_at))
        .order_by(events.c.sent_at, events.c.id)
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else EventRow._make(row)


def untaken(connection: sa.Connection, ids: Sequence[str]) -> list[EventRow]:
    """Those of the events that nobody has taken, and that started and cancelled nothing."""
    taken = sa.exists().where(event_takes.c.event == events.c.id)
    query = sa.select(*_COLUMNS).where(events.c.id.in_(ids), ~taken)
    return [*map(EventRow._make, connection.execute(query))]


def forget(
    connection: sa.Connection, *, before: datetime, limit: int, told: Callable[[Sequence[str]], object] | None = None
) -> int:
    """Delete events that were sent before this time, with what became of them, and return how many.

    One that was never brought to those that wait for it, as all workers were away, stays until it was.

    told: is called with their ids before that.
    """
    old = (events.c.sent_at < before) & events.c.seen_at.is_not(None)
    oldest = sa.select(events.c.id).where(old).order_by(events.c.sent_at).limit(limit)
    found: Sequence[str] = connection.scalars(oldest.with_for_update(skip_locked=True)).all()
    if found:
        if told is not None:
            told(found)
        connection.execute(sa.delete(event_takes).where(event_takes.c.event.in_(found)))
        connection.execute(sa.delete(events).where(events.c.id.in_(found)))
    return len(found)
