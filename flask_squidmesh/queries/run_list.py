"""Lists of runs, a page at a time, how many there are, and what can be done with each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, Unpack, cast, get_args
from uuid import UUID

import sqlalchemy as sa

from ..definition.workflow import Registry
from ..engine.command_rules import NextAction, Refusal, action_facts, decision_token, judge, open_decisions
from ..engine.facts import RunFact, StepFact
from ..engine.kept_decisions import DecisionKept
from ..engine.transitions import RUN_MOVES, TERMINAL
from ..errors import FilterError, given
from ..storage import fact_rows
from ..storage.scope import Scope
from ..storage.summaries import SUMMARY_COLUMNS, RunSummary, summary_of
from ..storage.tables import Dispatch, Id, Timestamp, WorkflowRun, step_runs
from .operator_status import NOW, OPERATOR_WORDS, UNTAKEN, Query
from .results import Count, RunPage
from .run_filters import Condition, Filters, Selection, moments_of, select_by
from .run_record import spec_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def cursor_of(created_at: datetime, id: str) -> str:
    """The cursor behind this run."""
    return f"{(created_at - _EPOCH) // _MICROSECOND}_{id}"


def place_of(cursor: str) -> tuple[datetime, str]:
    """The creation time and id in a cursor. Raises FilterError for text that is none."""
    try:
        microseconds, _, id = cursor.partition("_")
        return _EPOCH + int(microseconds) * _MICROSECOND, str(UUID(id))
    except (ValueError, TypeError, OverflowError, AttributeError):
        raise FilterError(
            "after",
            f"after={given(cursor)} is no cursor. Pass `next` of the page before, or leave it out for the first.",
        ) from None


Sort = Literal["newest", "oldest"]
Conditions = tuple[Condition, ...]
Columns = Sequence[sa.ColumnElement[Any]]
MOST = 500
QUERIES_KEPT: Final = 128
CAPPED_WORDS = ("completed", "failed", "cancelled")
_MARKED = [WorkflowRun.__table__.c[name] for name in ("id", "revision", "due_at", "needs_due_at", "created_at")]


def list_runs(
    connection: sa.Connection,
    scope: Scope,
    *,
    sort: Sort = "newest",
    limit: int = 50,
    after: str | None = None,
    **filters: Unpack[Filters],
) -> RunPage:
    """One page of runs, by when they were created. One query, on the runs table alone.

    limit: 1 to 500. after: `next` of the page before. filters: see Filters. Raises FilterError.
    """
    check_limit(limit)
    if sort not in get_args(Sort):
        raise FilterError("sort", f"sort={sort!r} was given; expected newest or oldest.")
    selection = select_by(connection.dialect.name, scope, filters)
    behind = [_behind(after, sort)] if after else []
    page = _page([(*part, *behind) for part in selection.parts], sort, limit + 1, SUMMARY_COLUMNS)
    rows = connection.execute(page, moments_of(filters)).mappings().all()
    runs = _without_unknown_parents(connection, scope, [summary_of(row) for row in rows[:limit]])
    return RunPage(runs=runs, next=cursor_of(runs[-1].created_at, runs[-1].id) if len(rows) > limit else None)


def _without_unknown_parents(
    connection: sa.Connection, scope: Scope, runs: Sequence[RunSummary]
) -> tuple[RunSummary, ...]:
    """A child is of its parent's tenant, but may be of another workflow; one query where a scope leaves some out."""
    parents = {run.parent_run_id for run in runs if run.parent_run_id is not None}
    if scope.workflows is None or not parents:
        return tuple(runs)
    known = {None, *summaries(connection, scope, sorted(parents))}
    return tuple(
        run if run.parent_run_id in known else replace(run, parent_run_id=None, parent_step=None) for run in runs
    )


def summaries(connection: sa.Connection, scope: Scope, run_ids: Sequence[str]) -> dict[str, RunSummary]:
    """Those of the runs that there are, by id. One query for 500 of them, none for no ids."""
    found: dict[str, RunSummary] = {}
    for start in range(0, len(run_ids), MOST):
        some = sa.select(*SUMMARY_COLUMNS).where(
            WorkflowRun.id.in_(run_ids[start : start + MOST]), *scope.within(WorkflowRun)
        )
        found |= {row["id"]: summary_of(row) for row in connection.execute(some).mappings()}
    return found


def counts(
    connection: sa.Connection, scope: Scope, *, limit: int = 10_000, **filters: Unpack[Filters]
) -> dict[str, Count]:
    """How many runs each status has, in one query. Finished runs are counted up to the limit. Raises FilterError."""
    selection, given = select_by(connection.dialect.name, scope, filters), moments_of(filters)
    if filters.get("needs"):
        return _counted_together(connection, selection, given)
    statuses = selection.statuses or tuple(RUN_MOVES)
    parts: list[tuple[str, Conditions]] = [
        (status, (WorkflowRun.status == status, *selection.conditions)) for status in RUN_MOVES if status in statuses
    ]
    found = _counted(connection, parts, given, limit)
    return {status: found.get(status, Count(value=0)) for status in RUN_MOVES}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTotals:
    """What a page of runs shows, in short, and how many runs each operator word has, whatever word was asked for.

    marks: equal for as long as the page shows the same.
    """

    marks: Sequence[tuple[object, ...]]
    counts: Mapping[str, Count]


def standing(
    connection: sa.Connection,
    scope: Scope,
    *,
    size: int,
    sort: Sort = "newest",
    after: str | None = None,
    limit: int = 10_000,
    **filters: Unpack[Filters],
) -> ListTotals:
    """How a page of `list_runs` stands; give now=. One query, made once for these filters, as pages that are open ask
    for it over and over.

    size: runs on the page. limit: up to which finished runs are counted. Raises FilterError.
    """
    if filters.get("now") is None:
        raise FilterError("now", "How runs stand depends on the time. Pass now=.")
    given = moments_of(filters)
    asked = _standing_query(connection.dialect.name, scope, size, sort, after, limit, _timeless(filters))
    found = connection.execute(asked.query, given).all()
    rows = sorted(tuple(row) for row in found)
    counted = [(row[0], row[1]) for row in found if row[0] in OPERATOR_WORDS]
    return ListTotals(marks=rows, counts=_totals(asked.words, counted, CAPPED_WORDS, limit))


class _StandingQuery(NamedTuple):
    """The query for how a page stands, and the words that it counts."""

    query: sa.CompoundSelect[str, int, int, int, int]
    words: Sequence[str]


def _timeless(filters: Filters) -> tuple[tuple[str, object], ...]:
    named = ((name, value) for name, value in filters.items() if name not in ("now", "stuck_after"))
    return tuple((name, value if isinstance(value, Hashable) else tuple(value)) for name, value in named)


@lru_cache(QUERIES_KEPT)
def _standing_query(
    dialect: str,
    scope: Scope,
    size: int,
    sort: Sort,
    after: str | None,
    limit: int,
    filters: tuple[tuple[str, object], ...],
) -> _StandingQuery:
    wanted = cast(Filters, dict(filters))
    behind = [_behind(after, sort)] if after else []
    parts = [(*part, *behind) for part in select_by(dialect, scope, wanted).parts]
    page = _page(parts, sort, size, _MARKED).subquery()
    stuck = sa.exists().where(Dispatch.run_id == page.c.id, UNTAKEN)
    flags = (page.c.due_at <= NOW, page.c.needs_due_at <= NOW, stuck)
    shown = sa.select(sa.cast(page.c.id, sa.String), page.c.revision, *(sa.case((flag, 1), else_=0) for flag in flags))
    by_word = _by_word(dialect, scope, wanted)
    padded = [query.add_columns(*(sa.literal(0) for _ in flags)) for query in _counting(by_word, CAPPED_WORDS, limit)]
    return _StandingQuery(sa.union_all(shown, *padded), [word for word, _conditions in by_word])


def _by_word(dialect: str, scope: Scope, filters: Filters) -> list[tuple[str, Conditions]]:
    """The conditions for each word, for some words several that exclude each other."""
    parts: list[tuple[str, Conditions]] = []
    for word in OPERATOR_WORDS:
        one: Filters = {**filters, "word": word}
        parts += [(word, part) for part in select_by(dialect, scope, one).parts]
    return parts


def check_limit(limit: int) -> None:
    """Raises FilterError unless the limit is a whole number from 1 to 500."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST:
        raise FilterError("limit", f"limit={given(limit)} was given; expected a whole number from 1 to {MOST}.")


def _behind(cursor: str, sort: Sort) -> Condition:
    created_at, id = place_of(cursor)
    here = sa.tuple_(WorkflowRun.created_at, WorkflowRun.id)
    there = sa.tuple_(sa.literal(created_at, Timestamp), sa.literal(id, Id))
    return here < there if sort == "newest" else here > there


def _page(parts: Sequence[Conditions], sort: Sort, limit: int, columns: Columns) -> Query:
    """Parts are read one by one, each in order by its index; else a planner may sort every run there is.

    They are read for their ids alone, which indexes hold, and only what is left of all of them from the table.
    """
    keys: Columns = [WorkflowRun.__table__.c.id, WorkflowRun.__table__.c.created_at]
    pages = [_sorted(sa.select(*keys).where(*part), WorkflowRun.__table__, sort, limit).subquery() for part in parts]
    merged = sa.union_all(*(sa.select(page) for page in pages)).subquery()
    found = pages[0] if len(pages) == 1 else _sorted(sa.select(merged), merged, sort, limit).subquery()
    return _sorted(sa.select(*columns).join(found, found.c.id == WorkflowRun.id), WorkflowRun.__table__, sort, limit)


def _sorted(query: Query, source: sa.FromClause, sort: Sort, limit: int) -> Query:
    order = (source.c.created_at, source.c.id)
    return query.order_by(*(column.desc() if sort == "newest" else column.asc() for column in order)).limit(limit)


def _counted_together(
    connection: sa.Connection, selection: Selection, given: Mapping[str, datetime]
) -> dict[str, Count]:
    """Runs that need somebody are few and have an index of their own, which no status must distract from."""
    query = (
        sa.select(WorkflowRun.status, sa.func.count().label("number"))
        .where(*selection.conditions)
        .group_by(WorkflowRun.status)
    )
    found = {row.status: row.number for row in connection.execute(query, given)}
    wanted = selection.statuses or tuple(RUN_MOVES)
    return {status: Count(value=found.get(status, 0) if status in wanted else 0) for status in RUN_MOVES}


def _counted(
    connection: sa.Connection, parts: Sequence[tuple[str, Conditions]], given: Mapping[str, datetime], limit: int
) -> dict[str, Count]:
    capped = sorted(TERMINAL)
    queries = _counting(parts, capped, limit)
    rows = connection.execute(sa.union_all(*queries), given) if queries else ()
    return _totals([name for name, _conditions in parts], ((row.name, row.number) for row in rows), capped, limit)


def _totals(
    names: Iterable[str], counted: Iterable[tuple[str, int]], capped: Sequence[str], limit: int
) -> dict[str, Count]:
    found = dict.fromkeys(names, 0)
    for name, number in counted:
        found[name] += number
    return {
        name: Count(value=min(number, limit) if name in capped else number, capped=name in capped and number > limit)
        for name, number in found.items()
    }


def _counting(parts: Sequence[tuple[str, Conditions]], capped: Sequence[str], limit: int) -> list[Query]:
    queries: list[Query] = []
    for name, conditions in parts:
        matching: Query = (
            sa.select(sa.literal_column("1").label("one")).select_from(WorkflowRun.__table__).where(*conditions)
        )
        rows = (matching.limit(limit + 1) if name in capped else matching).subquery()
        columns: Columns = (sa.literal(name).label("name"), sa.func.count().label("number"))
        queries.append(sa.select(*columns).select_from(rows))
    return queries


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCommands:
    """One run with its decision token and what can be done with it. decisions: what is asked, by step."""

    run: RunSummary
    token: str
    next_actions: tuple[NextAction, ...]
    refusals: tuple[Refusal, ...]
    decisions: Mapping[str, DecisionKept]


def judged(connection: sa.Connection, registry: Registry, scope: Scope, run_ids: Sequence[str]) -> list[RunCommands]:
    """Those of the runs that exist, in the given order. Three queries."""
    facts = _run_facts(connection, scope, run_ids)
    summaries = connection.execute(sa.select(*SUMMARY_COLUMNS).where(WorkflowRun.id.in_(list(facts)))).mappings()
    by_id = {row["id"]: summary_of(row) for row in summaries}
    rows: dict[str, list[StepFact]] = defaultdict(list)
    for row in fact_rows.step_facts(connection, step_runs.c.run_id.in_(list(facts))):
        rows[row.run_id].append(row)
    present = [run_id for run_id in run_ids if run_id in facts and run_id in by_id]
    return [_judged(registry, by_id[run_id], facts[run_id], rows[run_id]) for run_id in present]


def _run_facts(connection: sa.Connection, scope: Scope, run_ids: Sequence[str]) -> dict[str, RunFact]:
    query = sa.select(*fact_rows.RUN_COLUMNS).where(WorkflowRun.id.in_(run_ids), *scope.within(WorkflowRun))
    return {row["id"]: RunFact(**row) for row in connection.execute(query).mappings()}


def _judged(registry: Registry, run: RunSummary, fact: RunFact, rows: Sequence[StepFact]) -> RunCommands:
    spec = spec_of(registry, run.workflow)
    possible, refused = judge(action_facts(fact, rows, spec))
    return RunCommands(
        run=run,
        token=decision_token(run.status, open_decisions(rows, spec), run.replayed_as_id),
        next_actions=possible,
        refusals=refused,
        decisions={
            row.step: row.decision for row in rows if row.status == "paused" and row.decision and not row.goes_on
        },
    )
