"""Which ended runs are old enough to be deleted, all that goes with one, and how large the tables are.

Every query walks a stretch of one index, (workflow, status, finished_at, id), from where the last one stopped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from ..engine.transitions import TERMINAL
from .tables import (
    Base,
    WorkflowRun,
    attempts,
    audit_events,
    control_calls,
    dispatches,
    outbox,
    runs,
    start_keys,
    step_runs,
    wait_groups,
    waits,
)

UNDOING: Final = ("requested", "running")
TO_NOTE: Final = ("failed", "compensation_failed")

REASONS: Final[Mapping[str, str]] = {
    "undoing": "its compensation has not ended",
    "executing": "one of its steps has not ended",
    "needs": "it needs a person",
    "parent": "the run that started it is unfinished",
    "child": "a run that it started is unfinished",
    "replay": "a replay of it is unfinished",
    "untold": "somebody is still to be told of it",
    "busy": "somebody is just changing a run that it is linked to",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneWindow:
    """The ended runs of one workflow and status, oldest first."""

    workflow: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletableRun:
    """A run that has ended, as far as keeping or deleting it depends on its own row."""

    id: str
    finished_at: datetime
    needs: str | None
    needs_count: int
    compensation: str | None
    open_steps: int
    workflow: str
    parent_run_id: str | None


Place = tuple[datetime, str]
BEGINNING: Final[Place] = (datetime(1970, 1, 1, tzinfo=UTC), str(UUID(int=0)))
_COLUMNS: Final = [runs.c[name] for name in DeletableRun.__slots__]


def workflows(connection: sa.Connection) -> Iterator[str]:
    """The names of the workflows that have ended runs, one look into the index each."""
    last = ""
    while True:
        onward = sa.select(runs.c.workflow).where(runs.c.workflow > last, runs.c.finished_at.is_not(None))
        found = connection.scalar(onward.order_by(runs.c.workflow).limit(1))
        if found is None:
            return
        last = found
        yield last


def ended(
    connection: sa.Connection, stretch: PruneWindow, *, before: datetime, after: Place, limit: int, lock: bool
) -> list[DeletableRun]:
    """The next runs of the stretch that ended before this time.

    lock: hold them until the transaction ends, and pass over those that somebody else holds.
    """
    query = (
        sa.select(*_COLUMNS)
        .where(
            runs.c.workflow == stretch.workflow,
            runs.c.status == stretch.status,
            runs.c.finished_at < before,
            sa.tuple_(runs.c.finished_at, runs.c.id) > sa.tuple_(*_literals(after)),
        )
        .order_by(runs.c.finished_at, runs.c.id)
        .limit(limit)
    )
    query = query.with_for_update(skip_locked=True) if lock else query
    return [DeletableRun(**row) for row in connection.execute(query).mappings()]


def kept(
    connection: sa.Connection, found: Sequence[DeletableRun], *, unacknowledged: bool, lock: bool
) -> dict[str, str]:
    """Why each of the runs that cannot go has to stay, as a key of REASONS.

    unacknowledged: whether failures that nobody has taken note of may go too.
    """
    reasons = {run.id: reason for run in found if (reason := _own_reason(run, unacknowledged))}
    free = {run.id: run.parent_run_id for run in found if run.id not in reasons}
    parents = {parent for parent in free.values() if parent is not None}
    busy, living = _busy(connection, parents) if lock else set(), _living(connection, parents)
    for run_id, parent in free.items():
        if parent in living or parent in busy:
            reasons[run_id] = "parent" if parent in living else "busy"
    if free:
        for reason, link in (("child", runs.c.parent_run_id), ("replay", runs.c.replayed_from_id)):
            linked = sa.select(link).where(link.in_(free), _lives())
            reasons.update(dict.fromkeys(connection.scalars(linked), reason))
        untold = sa.select(outbox.c.run_id).where(outbox.c.run_id.in_(free), outbox.c.ended_at.is_(None))
        reasons.update(dict.fromkeys(connection.scalars(untold), "untold"))
    return reasons


def delete(connection: sa.Connection, found: Collection[DeletableRun], now: datetime) -> None:
    """Delete the runs with all that belongs to them. Their start keys stay, and the ids of those that were children."""
    gone = [run.id for run in found]
    visits = sa.select(step_runs.c.id).where(step_runs.c.run_id.in_(gone))
    _note_children(connection, found, now)
    for table in (attempts, wait_groups):
        connection.execute(sa.delete(table).where(table.c.step_run_id.in_(visits)))
    for table in (waits, dispatches, outbox, audit_events, control_calls, step_runs):
        connection.execute(sa.delete(table).where(table.c.run_id.in_(gone)))
    connection.execute(sa.update(start_keys).where(start_keys.c.run_id.in_(gone)).values(pruned_at=now))
    connection.execute(sa.delete(runs).where(runs.c.id.in_(gone)))


def forget_keys(connection: sa.Connection, *, before: datetime, limit: int) -> int:
    """Delete start keys whose runs were pruned before this time, and return how many."""
    key = (start_keys.c.workflow, start_keys.c.tenant, start_keys.c.key)
    oldest = sa.select(*key).where(start_keys.c.pruned_at < before)
    oldest = oldest.order_by(start_keys.c.pruned_at).limit(limit).with_for_update(skip_locked=True)
    found = [tuple(row) for row in connection.execute(oldest)]
    if found:
        connection.execute(sa.delete(start_keys).where(sa.tuple_(*key).in_(found)))
    return len(found)


def _literals(place: Place) -> tuple[sa.ColumnElement[datetime], sa.ColumnElement[str]]:
    return sa.literal(place[0], runs.c.finished_at.type), sa.literal(place[1], runs.c.id.type)


def _own_reason(run: DeletableRun, unacknowledged: bool) -> str | None:
    if run.compensation in UNDOING:
        return "undoing"
    if run.open_steps:
        return "executing"
    only_to_note = run.needs in TO_NOTE and run.needs_count == 1
    return "needs" if run.needs and not (unacknowledged and only_to_note) else None


def _lives() -> sa.ColumnElement[bool]:
    return runs.c.status.not_in(sorted(TERMINAL)) | runs.c.compensation.in_(UNDOING)


def _living(connection: sa.Connection, ids: Collection[str]) -> set[str]:
    return set(connection.scalars(sa.select(runs.c.id).where(runs.c.id.in_(ids), _lives()))) if ids else set()


def _busy(connection: sa.Connection, ids: Collection[str]) -> set[str]:
    """Those of the runs that somebody else holds; the others cannot be deleted by anybody else from now on."""
    if not ids:
        return set()
    there = sa.select(runs.c.id).where(runs.c.id.in_(ids))
    ours = there.with_for_update(read=True, key_share=True, skip_locked=True)
    return set(connection.scalars(there)) - set(connection.scalars(ours))


def _note_children(connection: sa.Connection, found: Collection[DeletableRun], now: datetime) -> None:
    """Tell the runs that started these, and that stay, which children they had."""
    gone, children = {run.id for run in found}, defaultdict(list)
    for run in found:
        if run.parent_run_id is not None and run.parent_run_id not in gone:
            children[run.parent_run_id].append({"run_id": run.id, "workflow": run.workflow})
    staying = sa.select(runs.c.id.label("run_id"), runs.c.tenant, runs.c.workflow).where(runs.c.id.in_(children))
    rows = [
        {**parent, "type": "child_pruned", "metadata": child, "at": now}
        for parent in (connection.execute(staying).mappings() if children else ())
        for child in children[parent["run_id"]]
    ]
    if rows:
        connection.execute(sa.insert(audit_events), rows)


GROWTH_DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSize:
    """One table. rows: counted, or the database's own estimate. size: bytes with its indexes, None on SQLite."""

    table: str
    rows: int
    estimated: bool
    size: int | None


def table_sizes(connection: sa.Connection) -> list[TableSize]:
    """The size of each of our tables that is there, in order of name."""
    measure = _measure_postgresql if connection.dialect.name == "postgresql" else _count
    present = sorted(set(Base.metadata.tables) & set(sa.inspect(connection).get_table_names()))
    return [measure(connection, name) for name in present]


def runs_per_day(connection: sa.Connection, now: datetime) -> float:
    """How many runs were started a day over the last week."""
    since = now - timedelta(days=GROWTH_DAYS)
    started = sa.select(sa.func.count()).select_from(WorkflowRun).where(WorkflowRun.created_at >= since)
    return int(connection.scalar(started) or 0) / GROWTH_DAYS


def _count(connection: sa.Connection, name: str) -> TableSize:
    rows = connection.scalar(sa.select(sa.func.count()).select_from(sa.table(name)))
    return TableSize(table=name, rows=int(rows or 0), estimated=False, size=None)


def _measure_postgresql(connection: sa.Connection, name: str) -> TableSize:
    facts = sa.text(
        "SELECT CAST(reltuples AS bigint), pg_total_relation_size(oid) FROM pg_class WHERE oid = to_regclass(:name)"
    )
    rows, size = connection.execute(facts, {"name": name}).one()
    if rows > 0:
        return TableSize(table=name, rows=rows, estimated=True, size=size)
    return TableSize(table=name, rows=_count(connection, name).rows, estimated=False, size=size)
