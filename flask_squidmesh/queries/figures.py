"""How workflows fare: their last runs, how long they took, how many failed, and the errors that most failed with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from math import ceil
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from ..engine.transitions import TERMINAL, UNFINISHED
from ..errors import ErrorRecord
from ..storage.scope import Scope
from ..storage.summaries import SUMMARY_COLUMNS, RunSummary, summary_of
from ..storage.tables import WorkflowRun
from .operator_status import OPERATOR_WORDS, Query, moments, word_alternatives, word_condition
from .results import Count, View
from .run_list import CAPPED_WORDS, Columns

LAST = 30
MOST_COUNTED, AT_ONCE = 10_000, 450


@dataclass(frozen=True, kw_only=True)
class EndedRun(View):
    """One run that has ended. seconds: from its first step to its end, None where no step began. outcome: how a
    completed one says to have ended.
    """

    id: str
    status: str
    outcome: str | None
    seconds: float | None
    finished_at: datetime


@dataclass(frozen=True, kw_only=True)
class Version(View):
    """Unfinished runs of one definition. current: whether it is the one registered now."""

    version: str | None
    fingerprint: str
    runs: int
    current: bool


def last_runs(
    connection: sa.Connection, scope: Scope, workflows: Sequence[str], limit: int = LAST
) -> dict[str, list[EndedRun]]:
    """The runs of each workflow that ended last, the oldest of them first. One query for a hundred workflows."""
    parts = [
        _ended(name, status, limit).where(*of_tenant)
        for name in workflows
        for status in sorted(TERMINAL)
        for of_tenant in scope.apart(WorkflowRun)
    ]
    found: dict[str, list[EndedRun]] = {name: [] for name in workflows}
    for row in _together(connection, [sa.select(part.subquery()) for part in parts]):
        seconds = (row["finished_at"] - row["started_at"]).total_seconds() if row["started_at"] else None
        ended = EndedRun(
            id=row["id"],
            status=row["status"],
            outcome=row["outcome"],
            seconds=seconds,
            finished_at=row["finished_at"],
        )
        found[row["workflow"]].append(ended)
    return {name: sorted(ended, key=lambda each: (each.finished_at, each.id))[-limit:] for name, ended in found.items()}


def word_counts_of(
    connection: sa.Connection, scope: Scope, workflows: Sequence[str], *, now: datetime, limit: int = MOST_COUNTED
) -> dict[str, dict[str, Count]]:
    """How many runs of each workflow every operator word has, those it has none of left out.

    Finished ones are counted up to the limit. One query for a hundred workflows.
    """
    found: dict[str, dict[str, int]] = {name: {} for name in workflows}
    ended = [query for name in workflows for word in CAPPED_WORDS for query in _ended_with(scope, name, word, limit)]
    for row in _together(connection, [*_open_by_word(scope, workflows), *ended], moments(now)):
        words = found[row["workflow"]]
        words[row["word"]] = words.get(row["word"], 0) + row["number"]
    return {
        name: {word: _count(words[word], limit, word in CAPPED_WORDS) for word in OPERATOR_WORDS if words.get(word)}
        for name, words in found.items()
    }


def _open_by_word(scope: Scope, workflows: Sequence[str]) -> list[Query]:
    """Runs in progress, and those that have ended but for a step that was interrupted while it was undone."""
    words = [word for word in OPERATOR_WORDS if word not in CAPPED_WORDS]
    word = sa.case(*((word_condition(each), each) for each in words))
    unfinished = WorkflowRun.status.in_(sorted(UNFINISHED))
    ended_but_needing = sa.and_(
        WorkflowRun.status.in_(sorted(TERMINAL)), WorkflowRun.needs.in_(("decision", "resume", "interrupted"))
    )
    return [
        sa.select(WorkflowRun.workflow.label("workflow"), word.label("word"), sa.func.count().label("number"))
        .where(WorkflowRun.workflow.in_(workflows), which, *scope.within(WorkflowRun))
        .group_by(WorkflowRun.workflow, sa.literal_column("2"))
        for which in (unfinished, ended_but_needing)
    ]


def _ended_with(scope: Scope, workflow: str, word: str, limit: int) -> Iterator[Query]:
    narrowed = [WorkflowRun.status.in_(OPERATOR_WORDS[word])] if OPERATOR_WORDS[word] else []
    named: Columns = (sa.literal(workflow).label("workflow"), sa.literal(word).label("word"))
    for alternative, of_tenant in product(word_alternatives(word), scope.apart(WorkflowRun)):
        rows: Query = sa.select(sa.literal_column("1").label("one")).select_from(WorkflowRun.__table__)
        rows = rows.where(WorkflowRun.workflow == workflow, *of_tenant, *narrowed, alternative).limit(limit + 1)
        yield sa.select(*named, _number_of(rows))


def _number_of(rows: Query) -> sa.Label[int]:
    return sa.select(sa.func.count()).select_from(rows.subquery()).scalar_subquery().label("number")


def _count(number: int, limit: int, capped: bool) -> Count:
    return Count(value=min(number, limit), capped=number > limit) if capped else Count(value=number)


def _together(
    connection: sa.Connection, queries: Sequence[Query], given: Mapping[str, datetime] | None = None
) -> Iterator[sa.RowMapping]:
    """The rows of all of them; SQLite takes no more than 500 at once."""
    for start in range(0, len(queries), AT_ONCE):
        yield from connection.execute(sa.union_all(*queries[start : start + AT_ONCE]), given).mappings()


def percentile(runs: Sequence[EndedRun], share: float) -> float | None:
    """The seconds within which this share of the completed runs ended, by nearest rank; None where none has."""
    taken = sorted(run.seconds for run in runs if run.status == "completed" and run.seconds is not None)
    return taken[ceil(share * len(taken)) - 1] if taken else None


def ended_since(
    connection: sa.Connection, scope: Scope, workflows: Sequence[str], since: datetime
) -> dict[str, dict[str, Count]]:
    """How many runs of each workflow have ended since then, by status. One query for a hundred workflows."""
    found = {name: dict.fromkeys(sorted(TERMINAL), Count(value=0)) for name in workflows}
    queries = []
    for name, status in product(workflows, sorted(TERMINAL)):
        ended: Query = (
            sa.select(sa.literal_column("1").label("one"))
            .select_from(WorkflowRun.__table__)
            .where(
                WorkflowRun.workflow == name,
                WorkflowRun.status == status,
                WorkflowRun.finished_at >= since,
                *scope.within(WorkflowRun),
            )
            .limit(MOST_COUNTED + 1)
        )
        named: Columns = (sa.literal(name).label("workflow"), sa.literal(status).label("status"))
        queries.append(sa.select(*named, _number_of(ended)))
    for row in _together(connection, queries):
        found[row["workflow"]][row["status"]] = _count(row["number"], MOST_COUNTED, True)
    return found


def versions(connection: sa.Connection, scope: Scope, workflow: str, fingerprint: str) -> list[Version]:
    """The definitions that unfinished runs of the workflow began with. One query."""
    query = (
        sa.select(WorkflowRun.version, WorkflowRun.fingerprint, sa.func.count().label("runs"))
        .where(WorkflowRun.workflow == workflow, WorkflowRun.status.in_(sorted(UNFINISHED)), *scope.within(WorkflowRun))
        .group_by(WorkflowRun.version, WorkflowRun.fingerprint)
        .order_by(sa.desc("runs"))
    )
    rows = connection.execute(query).mappings()
    return [Version(**row, current=row["fingerprint"] == fingerprint) for row in rows]


def _ended(workflow: str, status: str, limit: int) -> Query:
    told = ("workflow", "id", "status", "outcome", "started_at", "finished_at")
    return (
        sa.select(*(WorkflowRun.__table__.c[name] for name in told))
        .where(WorkflowRun.workflow == workflow, WorkflowRun.status == status, WorkflowRun.finished_at.is_not(None))
        .order_by(WorkflowRun.finished_at.desc(), WorkflowRun.id.desc())
        .limit(limit)
    )


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
    error: ErrorRecord | None
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
) -> list[tuple[object, ...]]:
    """What `failures` shows, in short: equal for as long as it shows the same. One query."""
    return [tuple(row) for row in connection.execute(_grouped(_recent(scope, now, workflow), now))]


# No parameter, so that a planner knows that the index of failures holds them all.
_HAS_FAILED: Final = WorkflowRun.status == sa.literal_column("'failed'")


def _recent(scope: Scope, now: datetime, workflow: str | None) -> sa.Subquery:
    query = sa.select(WorkflowRun.id, WorkflowRun.error_fingerprint, WorkflowRun.needs, WorkflowRun.finished_at).where(
        _HAS_FAILED, WorkflowRun.finished_at >= now - timedelta(days=DAYS), WorkflowRun.error_fingerprint.is_not(None)
    )
    query = query.where(*scope.within(WorkflowRun))
    if workflow is not None:
        query = query.where(WorkflowRun.workflow == workflow)
    return query.order_by(WorkflowRun.finished_at.desc()).limit(MOST_RUNS + 1).subquery()


def _grouped(recent: sa.Subquery, now: datetime) -> Query:
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
    query = sa.select(*SUMMARY_COLUMNS, WorkflowRun.error.label("whole_error")).where(WorkflowRun.id.in_(ids))
    return {str(row["id"]): row for row in connection.execute(query).mappings()} if ids else {}


def _group(row: sa.RowMapping, example: sa.RowMapping) -> FailureGroup:
    numbers: dict[str, int] = {name: row[name] for name in ("hour", "day", "week", "to_note")}
    return FailureGroup(
        fingerprint=row["fingerprint"],
        example=summary_of(example),
        error=example["whole_error"],
        by_day=tuple(row[f"day_{number}"] for number in range(DAYS)),
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
        **numbers,
    )
