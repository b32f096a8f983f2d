"""Windows of a schedule that meet a run of it which has not ended: kept in order, or left out and put on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from ..definition.spec import TriggerSpec, WorkflowSpec
from ..engine.transitions import UNFINISHED
from ..engine.windows import MISSED, LeftOutWindows, QueuedWindow, held_back, remembered
from ..storage import fact_rows
from ..storage.retained_rows import UNDOING
from ..storage.tables import runs
from .schedule_records import ScheduleRecord, remember


class OpenRun(NamedTuple):
    """A run that has not ended, or whose compensation has not."""

    id: str
    status: str
    created_at: datetime


def open_runs(connection: sa.Connection, spec: WorkflowSpec, trigger: str, tenant: str) -> list[OpenRun]:
    """The runs of the schedule that have not ended, whoever started them, the newest first."""
    row = runs.c
    query = (
        sa.select(row.id, row.status, row.created_at)
        .where(row.workflow.in_(spec.names), row.trigger == trigger, row.tenant == tenant)
        .where(sa.or_(row.status.in_(sorted(UNFINISHED)), row.compensation.in_(UNDOING)))
        .order_by(row.created_at.desc(), row.id.desc())
    )
    return [OpenRun(*found) for found in connection.execute(query)]


def hold_back(
    connection: sa.Connection,
    spec: WorkflowSpec,
    trigger: TriggerSpec,
    record: ScheduleRecord,
    window: QueuedWindow,
    former: str | None,
) -> None:
    """Queue the window or leave it out, as the trigger's overlap says."""
    found = held_back(trigger, window, record.queued, former)
    if found.queued != record.queued:
        keep_queued(connection, spec, trigger.name, found.queued)
    leave_out(connection, spec, trigger.name, record, found.left_out)


def keep_queued(connection: sa.Connection, spec: WorkflowSpec, trigger: str, queued: Sequence[QueuedWindow]) -> None:
    """Have these windows wait, of the schedule that is locked."""
    remember(connection, spec, trigger, {"queued": [each.kept() for each in queued] or None})


def leave_out(
    connection: sa.Connection,
    spec: WorkflowSpec,
    trigger: str,
    record: ScheduleRecord,
    windows: Sequence[LeftOutWindows],
) -> ScheduleRecord:
    """Put on record that these windows are not started, of the schedule that is locked."""
    if not windows:
        return record
    latest, own = remembered(record.left_out, windows)
    remember(connection, spec, trigger, {"left_out": [each.kept() for each in latest]})
    for each in own:
        said = each.kept()
        named = {
            "cause": each.reason,
            **{name: said[name] for name in ("first", "last", "count", "run_id", "signal_id")},
        }
        fact_rows.note(
            connection,
            "schedule_missed" if each.reason in MISSED else "schedule_skipped",
            actor=f"schedule {trigger}",
            at=each.at,
            tenant=record.tenant,
            workflow=spec.name,
            data={"workflow": spec.name, "trigger": trigger, **named},
        )
    return replace(record, left_out=tuple(latest))
