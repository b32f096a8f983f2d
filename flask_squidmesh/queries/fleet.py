"""Who works, and what waits: processes that have told of themselves, and queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from ..definition.tenants import NO_TENANT
from ..storage.scope import Scope
from ..storage.tables import Dispatch, Process, WorkflowRun
from ..storage.write_batch import NO_QUEUE
from .operator_status import Query, UnionQuery
from .results import Count, View

MOST = 10_000


@dataclass(frozen=True, kw_only=True)
class ProcessView(View):
    """A worker or a relay. alive: whether it was seen lately. working: how many steps it has claimed."""

    id: str
    kind: str
    queue: str
    threads: int
    started_at: datetime
    seen_at: datetime
    alive: bool
    working: int


@dataclass(frozen=True, kw_only=True)
class QueueView(View):
    """A queue. waiting: work that is due and not taken, the oldest of it since `waiting_since`. working: claimed.
    scheduled: due later. workers, threads: those alive. seen_at: when any of its workers was last seen."""

    name: str
    waiting: Count
    waiting_since: datetime | None
    working: int
    scheduled: Count
    workers: int
    threads: int
    seen_at: datetime | None

    @property
    def has_work(self) -> bool:
        """Whether anything is in it, due or not."""
        return bool(self.waiting.value or self.working or self.scheduled.value)

    @property
    def is_deserted(self) -> bool:
        """Whether work waits that no live worker takes."""
        return self.waiting.value > 0 and self.workers == 0


@dataclass(frozen=True, kw_only=True)
class Fleet(View):
    """Every queue and process; deserted queues first."""

    queues: tuple[QueueView, ...]
    processes: tuple[ProcessView, ...]


def fleet(
    connection: sa.Connection,
    scope: Scope,
    *,
    now: datetime,
    silences: Mapping[str, timedelta],
    queues: Sequence[str] = (),
) -> Fleet:
    """The fleet in four queries. silences: after how long without a beat a process of each kind counts as gone.

    queues: names that are shown even where nothing is known of them. Work is counted, and a queue that nobody serves is
    named, as far as the scope has work in it.
    """
    processes = _processes(connection, scope, {kind: now - silence for kind, silence in silences.items()})
    known = {*queues, *(each.queue for each in processes)}
    names = sorted({*known, *_queues_with_work(connection)})
    found = [_queue(row, processes) for row in connection.execute(_counted(scope, names, now)).mappings()]
    views = [each for each in found if each.name in known or each.has_work]
    return Fleet(queues=tuple(sorted(views, key=lambda each: (not each.is_deserted, each.name))), processes=processes)


def _processes(connection: sa.Connection, scope: Scope, since: Mapping[str, datetime]) -> tuple[ProcessView, ...]:
    claims = sa.select(Dispatch.claimed_by, sa.func.count()).where(Dispatch.claim_id.is_not(None), *within(scope))
    working: dict[str, int] = {
        name: count for name, count in connection.execute(claims.group_by(Dispatch.claimed_by)).all() if name
    }
    rows = connection.execute(sa.select(Process.__table__).order_by(Process.kind.desc(), Process.id)).mappings()
    return tuple(
        ProcessView(**row, alive=row["seen_at"] >= since[row["kind"]], working=working.get(row["id"], 0))
        for row in rows
    )


def _queues_with_work(connection: sa.Connection) -> list[str]:
    """The names in the index, each found from the one before, however much work there is."""
    first = (
        sa.select(sa.func.min(Dispatch.queue).label("queue"))
        .where(Dispatch.queue > NO_QUEUE)
        .cte("names", recursive=True)
    )
    following = sa.select(sa.func.min(Dispatch.queue)).where(Dispatch.queue > first.c.queue).scalar_subquery()
    names = first.union_all(sa.select(following).where(first.c.queue.is_not(None)))
    return [name for name in connection.scalars(sa.select(names.c.queue)) if name is not None]


def _counted(scope: Scope, names: Sequence[str], now: datetime) -> UnionQuery:
    return sa.union_all(*(_counted_one(scope, name, now) for name in names))


def _counted_one(scope: Scope, name: str, now: datetime) -> sa.Select[str, int, datetime, int, int]:
    mine = sa.and_(Dispatch.queue == name, *within(scope))
    free = Dispatch.claim_id.is_(None)
    oldest = sa.select(Dispatch.due_at).where(mine, free, Dispatch.due_at <= now).order_by(Dispatch.due_at).limit(1)
    return sa.select(
        sa.literal(name).label("name"),
        _number(mine, free, Dispatch.due_at <= now).label("waiting"),
        oldest.scalar_subquery().label("waiting_since"),
        _number(mine, Dispatch.claim_id.is_not(None)).label("working"),
        _number(mine, free, Dispatch.due_at > now).label("scheduled"),
    )


def within(scope: Scope) -> tuple[sa.ColumnElement[bool], ...]:
    """What keeps dispatches to the scope. A cron activation has no run yet; it is of no tenant."""
    if scope.is_all:
        return ()
    of_runs = sa.exists().where(WorkflowRun.id == Dispatch.run_id, *scope.within(WorkflowRun))
    activations = scope.workflows is None and scope.admits(NO_TENANT, "")
    return (sa.or_(of_runs, Dispatch.run_id.is_(None)) if activations else of_runs,)


def _number(*conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    rows: Query = sa.select(sa.literal_column("1")).select_from(Dispatch.__table__).where(*conditions).limit(MOST + 1)
    return sa.select(sa.func.count()).select_from(rows.subquery()).scalar_subquery()


def _queue(row: sa.RowMapping, processes: Sequence[ProcessView]) -> QueueView:
    mine = [each for each in processes if each.kind == "worker" and each.queue == row["name"]]
    alive = [each for each in mine if each.alive]
    return QueueView(
        name=row["name"],
        waiting=_count(row["waiting"]),
        waiting_since=row["waiting_since"],
        working=row["working"],
        scheduled=_count(row["scheduled"]),
        workers=len(alive),
        threads=sum(each.threads for each in alive),
        seen_at=max((each.seen_at for each in mine), default=None),
    )


def _count(number: int) -> Count:
    return Count(value=min(number, MOST), capped=number > MOST)
