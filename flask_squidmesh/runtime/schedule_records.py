"""What is remembered of cron triggers: when they started a run, whether they are paused, what they were seen as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ..definition import cron
from ..definition.spec import TriggerSpec, WorkflowSpec
from ..definition.tenants import NO_TENANT
from ..engine.windows import LeftOutWindows, QueuedWindow
from ..storage import tables
from ..storage.write_statements import INSERTS

CLOCKS_DIFFER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """What is remembered of one schedule.

    paused_at: None where it is not paused. resumed_at: windows up to then are left out. fired_at, last_run_id: the last
    start. fired_window: the latest window that was started, queued or left out. expressions: those it was seen with.
    queued: windows that wait until a run has ended, in order. left_out: the latest that were not started, newest first.
    """

    tenant: str = NO_TENANT
    paused_at: datetime | None = None
    resumed_at: datetime | None = None
    fired_at: datetime | None = None
    fired_window: datetime | None = None
    last_run_id: str | None = None
    expressions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    queued: Sequence[QueuedWindow] = ()
    left_out: Sequence[LeftOutWindows] = ()

    def passed(self, trigger: TriggerSpec, now: datetime) -> datetime | None:
        """Up to when windows are not due: started, left out, or from before the expression was seen."""
        times = (self.fired_window, self.resumed_at, cron.since(self.expressions, trigger))
        return max((time for time in times if time is not None and believed(time, now)), default=None)


def believed(remembered: datetime | None, now: datetime) -> datetime | None:
    """What a schedule remembers, unless a wrong clock wrote it, for it has yet to come: that must silence nothing."""
    return remembered if remembered is not None and remembered <= now + CLOCKS_DIFFER else None


def schedule_records(
    connection: sa.Connection, declared: Iterable[tuple[WorkflowSpec, TriggerSpec]]
) -> dict[tuple[str, str], ScheduleRecord]:
    """What is remembered of these schedules, by workflow and trigger; one query."""
    found = connection.execute(sa.select(tables.schedules).where(tables.schedules.c.tenant == NO_TENANT)).all()
    rows = {(row.workflow, row.trigger): row for row in found}
    found_for = {
        (spec.name, trigger.name): [rows.get((name, trigger.name)) for name in spec.names] for spec, trigger in declared
    }
    return {schedule: _merged([row for row in kept if row is not None]) for schedule, kept in found_for.items()}


def locked_schedule(connection: sa.Connection, spec: WorkflowSpec, trigger: str) -> ScheduleRecord:
    """What is remembered of the schedule, locked, so that one worker at a time fires it, also one of before a rename.

    Every activation takes this lock before its start key: two orders would be a deadlock.
    """
    rows = [{"workflow": name, "trigger": trigger} for name in sorted(spec.names)]
    statement = INSERTS[connection.dialect.name](tables.schedules).values(rows)
    connection.execute(statement.on_conflict_do_nothing())
    query = sa.select(tables.schedules).where(of_schedule(spec, trigger)).order_by(tables.schedules.c.workflow)
    return _merged(connection.execute(query.with_for_update()).all())


def remember(connection: sa.Connection, spec: WorkflowSpec, trigger: str, values: Mapping[str, Any]) -> None:
    """Keep these columns of the schedule, which is locked."""
    connection.execute(sa.update(tables.schedules).where(of_schedule(spec, trigger)).values(values))


def of_schedule(spec: WorkflowSpec, trigger: str) -> sa.ColumnElement[bool]:
    """The condition on the rows of the declared schedule, which is no tenant's."""
    row = tables.schedules.c
    return sa.and_(row.workflow.in_(spec.names), row.trigger == trigger, row.tenant == NO_TENANT)


def _merged(rows: Sequence[sa.Row[Any]]) -> ScheduleRecord:
    """The latest of what the rows say: processes from before a rename write to the row of the old name alone."""
    if not rows:
        return ScheduleRecord()
    last = max(rows, key=lambda row: (row.fired_at is not None, row.fired_at))
    paused, resumed = _latest(rows, "paused_at"), _latest(rows, "resumed_at")
    return ScheduleRecord(
        tenant=last.tenant,
        paused_at=None if paused and resumed and resumed >= paused else paused,
        resumed_at=resumed,
        fired_at=last.fired_at,
        fired_window=_latest(rows, "fired_window"),
        last_run_id=last.last_run_id,
        expressions=_expressions(rows),
        queued=[QueuedWindow.read(each) for each in _longest(rows, "queued", "at")],
        left_out=[LeftOutWindows.read(each) for each in _longest(rows, "left_out", "at")],
    )


def _longest(rows: Sequence[sa.Row[Any]], column: str, order: str) -> Sequence[Mapping[str, Any]]:
    """The list of the row that was written last; the same in all of them, but while a rename is deployed."""
    found: list[Sequence[Mapping[str, Any]]] = [getattr(row, column) or () for row in rows]
    return max(found, key=lambda kept: max((each[order] for each in kept), default=""))


def _expressions(rows: Sequence[sa.Row[Any]]) -> dict[str, Mapping[str, str]]:
    found: dict[str, Mapping[str, str]] = {}
    for name, times in (each for row in rows for each in (row.expressions or {}).items()):
        found[name] = max(found.get(name, times), times, key=lambda kept: kept.get("seen", ""))
    return found


def _latest(rows: Sequence[sa.Row[Any]], column: str) -> datetime | None:
    return max((time for row in rows if (time := getattr(row, column)) is not None), default=None)
