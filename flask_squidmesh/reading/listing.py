"""Lists of runs, a page at a time, and how many there are."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, Unpack, cast, get_args

import sqlalchemy as sa

from ..engine.status import RUN_MOVES, TERMINAL
from ..errors import FilterError, given
from ..store.scope import Scope
from ..store.summaries import SUMMARY_COLUMNS, RunSummary, summary_of
from ..store.tables import Dispatch, Id, Run, Timestamp
from .cursors import cursor_of, place_of
from .filters import Condition, Filters, Selection, moments_of, select_by
from .views import Count, RunPage
from .words import NOW, OPERATOR_WORDS, OVERDUE

Sort = Literal["newest", "oldest"]
Conditions = tuple[Condition, ...]
Columns = Sequence[sa.ColumnElement[Any]]
MOST = 500
QUERIES_KEPT: Final = 128
CAPPED_WORDS = ("completed", "failed", "cancelled")
_MARKED = [Run.__table__.c[name] for name in ("id", "revision", "due_at", "needs_due_at", "created_at")]


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
        some = sa.select(*SUMMARY_COLUMNS).where(Run.id.in_(run_ids[start : start + MOST]), *scope.within(Run))
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
        (status, (Run.status == status, *selection.conditions)) for status in RUN_MOVES if status in statuses
    ]
    found = _counted(connection, parts, given, limit)
    return {status: found.get(status, Count(value=0)) for status in RUN_MOVES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a page of runs shows, in short, and how many runs each operator word has, whatever word was asked for.

    marks: equal for as long as the page shows the same.
    """

    marks: list[tuple[Any, ...]]
    counts: Mapping[str, Count]


def standing(
    connection: sa.Connection,
    scope: Scope,
    *,
    size: int,
    after: str | None = None,
    limit: int = 10_000,
    **filters: Unpack[Filters],
) -> Standing:
    """How a page of `list_runs` stands; give now=. One query, made once for these filters, as pages that are open ask
    for it over and over.

    size: runs on the page. limit: up to which finished runs are counted. Raises FilterError.
    """
    if filters.get("now") is None:
        raise FilterError("now", "How runs stand depends on the time. Pass now=.")
    given = moments_of(filters)
    asked = _standing_query(connection.dialect.name, scope, size, after, limit, _timeless(filters))
    rows = sorted(tuple(row) for row in connection.execute(asked.query, given))
    counted = [(name, number) for name, number, *_ in rows if name in OPERATOR_WORDS]
    return Standing(marks=rows, counts=_totals(asked.words, counted, CAPPED_WORDS, limit))


class _StandingQuery(NamedTuple):
    """The query for how a page stands, and the words that it counts."""

    query: sa.CompoundSelect[Any]
    words: Sequence[str]


def _timeless(filters: Filters) -> tuple[tuple[str, Any], ...]:
    named = ((name, value) for name, value in filters.items() if name not in ("now", "stuck_after"))
    return tuple((name, value if isinstance(value, Hashable) else tuple(value)) for name, value in named)


@lru_cache(QUERIES_KEPT)
def _standing_query(
    dialect: str, scope: Scope, size: int, after: str | None, limit: int, filters: tuple[tuple[str, Any], ...]
) -> _StandingQuery:
    wanted = cast(Filters, dict(filters))
    behind = [_behind(after, "newest")] if after else []
    parts = [(*part, *behind) for part in select_by(dialect, scope, wanted).parts]
    page = _page(parts, "newest", size, _MARKED).subquery()
    stuck = sa.exists().where(Dispatch.run_id == page.c.id, OVERDUE)
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
    here = sa.tuple_(Run.created_at, Run.id)
    there = sa.tuple_(sa.literal(created_at, Timestamp), sa.literal(id, Id))
    return here < there if sort == "newest" else here > there


def _page(parts: Sequence[Conditions], sort: Sort, limit: int, columns: Columns) -> sa.Select[Any]:
    """Parts are read one by one, each in order by its index; else a planner may sort every run there is.

    They are read for their ids alone, which indexes hold, and only what is left of all of them from the table.
    """
    keys: Columns = [Run.__table__.c.id, Run.__table__.c.created_at]
    pages = [_sorted(sa.select(*keys).where(*part), Run.__table__, sort, limit).subquery() for part in parts]
    merged = sa.union_all(*(sa.select(page) for page in pages)).subquery()
    found = pages[0] if len(pages) == 1 else _sorted(sa.select(merged), merged, sort, limit).subquery()
    return _sorted(sa.select(*columns).join(found, found.c.id == Run.id), Run.__table__, sort, limit)


def _sorted(query: sa.Select[Any], source: sa.FromClause, sort: Sort, limit: int) -> sa.Select[Any]:
    order = (source.c.created_at, source.c.id)
    return query.order_by(*(column.desc() if sort == "newest" else column.asc() for column in order)).limit(limit)


def _counted_together(connection: sa.Connection, selection: Selection, given: Mapping[str, Any]) -> dict[str, Count]:
    """Runs that need somebody are few and have an index of their own, which no status must distract from."""
    query = sa.select(Run.status, sa.func.count().label("number")).where(*selection.conditions).group_by(Run.status)
    found = {row.status: row.number for row in connection.execute(query, given)}
    wanted = selection.statuses or tuple(RUN_MOVES)
    return {status: Count(value=found.get(status, 0) if status in wanted else 0) for status in RUN_MOVES}


def _counted(
    connection: sa.Connection, parts: Sequence[tuple[str, Conditions]], given: Mapping[str, Any], limit: int
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


def _counting(parts: Sequence[tuple[str, Conditions]], capped: Sequence[str], limit: int) -> list[sa.Select[Any]]:
    queries: list[sa.Select[Any]] = []
    for name, conditions in parts:
        matching: sa.Select[Any] = (
            sa.select(sa.literal_column("1").label("one")).select_from(Run.__table__).where(*conditions)
        )
        rows = (matching.limit(limit + 1) if name in capped else matching).subquery()
        columns: tuple[sa.ColumnElement[Any], ...] = (sa.literal(name).label("name"), sa.func.count().label("number"))
        queries.append(sa.select(*columns).select_from(rows))
    return queries
