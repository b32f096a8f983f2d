"""What fails: failed runs grouped by equal errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from ..store.scope import Scope
from ..store.summaries import SUMMARY_COLUMNS, RunSummary, summary_of
from ..store.tables import Run
from .views import View

DAYS = 7
MOST_RUNS, MOST_GROUPS = 20_000, 50


@dataclass(frozen=True, kw_only=True)
class FailureGroup(View):
    """Runs that failed within the last seven days, whenever they began, whose errors are equal but for numbers and ids.

    example, error: the newest of them and its error. hour, day, week: how many failed since then. by_day: how many on
    each of the seven days, the oldest first. to_note: how many nobody has acknowledged or replayed.
    """

    fingerprint: str
    example: RunSummary
    error: Mapping[str, Any]
    hour: int
    day: int
    week: int
    by_day: tuple[int, ...]
    to_note: int
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, kw_only=True)
class Failures(View):
    """groups: the most frequent of the last day first. capped: only the newest failures were looked at."""

    groups: tuple[FailureGroup, ...]
    capped: bool


def failures(connection: sa.Connection, scope: Scope, *, now: datetime, workflow: str | None = None) -> Failures:
    """The failures of the last seven days, in two queries. workflow: only of this one."""
    recent = _recent(scope, now, workflow)
    rows = connection.execute(_grouped(recent, now)).mappings().all()
    examples = _examples(connection, [str(UUID(row["example"])) for row in rows])
    groups = [_group(row, examples[str(UUID(row["example"]))]) for row in rows if str(UUID(row["example"])) in examples]
    return Failures(groups=tuple(groups), capped=sum(row["week"] for row in rows) > MOST_RUNS)


def marks(
    connection: sa.Connection, scope: Scope, *, now: datetime, workflow: str | None = None
) -> list[tuple[Any, ...]]:
    """What `failures` shows, in short: equal for as long as it shows the same. One query."""
    return [tuple(row) for row in connection.execute(_grouped(_recent(scope, now, workflow), now))]


# No parameter, so that a planner knows that the index of failures holds them all.
_HAS_FAILED: Final = Run.status == sa.literal_column("'failed'")


def _recent(scope: Scope, now: datetime, workflow: str | None) -> sa.Subquery:
    query = sa.select(Run.id, Run.error_fingerprint, Run.needs, Run.finished_at).where(
        _HAS_FAILED, Run.finished_at >= now - timedelta(days=DAYS), Run.error_fingerprint.is_not(None)
    )
    query = query.where(*scope.within(Run))
    if workflow is not None:
        query = query.where(Run.workflow == workflow)
    return query.order_by(Run.finished_at.desc()).limit(MOST_RUNS + 1).subquery()


def _grouped(recent: sa.Subquery, now: datetime) -> sa.Select[Any]:
    seen = recent.c.finished_at
    days = [now - timedelta(days=back) for back in range(DAYS, -1, -1)]
    return (
        sa.select(
            recent.c.error_fingerprint.label("fingerprint"),
            sa.func.max(sa.cast(recent.c.id, sa.String)).label("example"),
            sa.func.count().label("week"),
            _sum(seen >= now - timedelta(hours=1)).label("hour"),
            _sum(seen >= now - timedelta(days=1)).label("day"),
            *(_sum(seen >= days[n], seen < days[n + 1]).label(f"day_{n}") for n in range(DAYS)),
            _sum(recent.c.needs.is_not(None)).label("to_note"),
            sa.func.min(seen, type_=seen.type).label("first_seen"),
            sa.func.max(seen, type_=seen.type).label("last_seen"),
        )
        .group_by(recent.c.error_fingerprint)
        .order_by(sa.desc("day"), sa.desc("week"), sa.desc("last_seen"))
        .limit(MOST_GROUPS)
    )


def _sum(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((sa.and_(*conditions), 1), else_=0))


def _examples(connection: sa.Connection, ids: list[str]) -> dict[str, sa.RowMapping]:
    query = sa.select(*SUMMARY_COLUMNS, Run.error.label("whole_error")).where(Run.id.in_(ids))
    return {str(row["id"]): row for row in connection.execute(query).mappings()} if ids else {}


def _group(row: sa.RowMapping, example: sa.RowMapping) -> FailureGroup:
    numbers: dict[str, int] = {name: row[name] for name in ("hour", "day", "week", "to_note")}
    return FailureGroup(
        fingerprint=row["fingerprint"],
        example=summary_of(example),
        error=example["whole_error"] or {},
        by_day=tuple(row[f"day_{number}"] for number in range(DAYS)),
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
        **numbers,
    )
