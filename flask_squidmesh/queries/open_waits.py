"""What people are asked, page by page: each open wait by itself, by whose it is.

What is due first comes first, which no passing of time changes; so a page begins where the one before ended, however
much was decided meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, Literal

import sqlalchemy as sa

from ..definition.values import kind
from ..errors import FilterError
from ..storage.scope import Scope
from ..storage.summaries import SUMMARY_COLUMNS, RunSummary, summary_of
from ..storage.tables import Id, OpenWait, Timestamp, WaitGroup, WorkflowRun
from .inbox import is_overdue
from .operator_status import NOW, Query
from .results import InboxItem, View
from .run_list import QUERIES_KEPT, cursor_of, place_of

Whose = Literal["mine", "groups", "others"]
WHOSE: Final[tuple[Whose, ...]] = ("mine", "groups", "others")
KINDS: Final = ("approval", "decision", "pause")
SOON: Final = timedelta(days=1)
MOST_GROUPS: Final = 200
_ME: Final = sa.bindparam("me", type_=sa.String)
_GROUPS: Final = sa.bindparam("groups", type_=sa.String, expanding=True)
_SOON: Final = sa.bindparam("soon", type_=Timestamp)
_WORKFLOW: Final = sa.bindparam("workflow", type_=sa.String)
_DUE: Final = sa.bindparam("behind_due", type_=Timestamp)
_SINCE: Final = sa.bindparam("behind_since", type_=Timestamp)
_ID: Final = sa.bindparam("behind_id", type_=Id)
_ASKS: Final = OpenWait.event_key.is_(None)
"""Whether people are asked; as in the indexes, which leave waits for events out."""


@dataclass(frozen=True, slots=True)
class WaitReader:
    """Whose list it is. id: of the person, None for somebody without one. groups: those that they belong to."""

    id: str | None
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(sorted(dict.fromkeys(self.groups)))[:MOST_GROUPS])


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitRow:
    """One open wait with the run that waits. id: of its visit."""

    id: str
    run: RunSummary
    step: str
    kind: str
    assignee: str | None
    due_at: datetime | None
    opened_at: datetime


@dataclass(frozen=True, kw_only=True)
class WaitPage(View):
    """Open waits. overdue, soon, later: how many there are on all pages, as far as they are due already, within a day,
    or later or at no time. next: the cursor behind the last item, None on the last page.
    """

    items: tuple[WaitRow, ...]
    overdue: int
    soon: int
    later: int
    next: str | None


def open_waits(
    connection: sa.Connection,
    scope: Scope,
    reader: WaitReader,
    whose: Whose,
    *,
    now: datetime,
    kinds: Collection[str] = KINDS,
    workflow: str | None = None,
    limit: int,
    after: str | None = None,
) -> WaitPage:
    """One page, in one query.

    whose: `mine` are the person's; `groups` are those of their groups, and those that everybody is asked; `others` are
    the rest. kinds: approval, decision, pause. after: `next` of the page before. Raises FilterError.
    """
    wanted = tuple(each for each in KINDS if each in kinds)
    if not wanted:
        return WaitPage(items=(), overdue=0, soon=0, later=0, next=None)
    due, behind = _place(after) if after else (None, None)
    said = (workflow is not None, limit, behind is not None, due is not None)
    query = _page(scope, reader.id is not None, bool(reader.groups), whose, wanted, *said)
    place = {"behind_since": behind[0], "behind_id": behind[1], "behind_due": due} if behind else {}
    given = {**given_of(reader), "now": now, "soon": now + SOON, "workflow": workflow, **place}
    rows = connection.execute(query, given).mappings().all()
    items = tuple(_row(row) for row in rows if row["wait_id"] is not None)
    counts = {name: rows[0][name] or 0 for name in ("overdue", "soon", "later")}
    following = cursor_behind(items[limit - 1]) if len(items) > limit else None
    return WaitPage(items=items[:limit], next=following, **counts)


def counting(scope: Scope, known: bool, grouped: bool) -> list[Query]:
    """How many open waits there are, as rows of a kind and a number: of each of the lists, and `waits` in all.

    known: whether the reader has an id, which the query is given as `me`; grouped: whether they have groups, which it
    is given as `groups`. Those of groups are counted apart from those that everybody is asked: each has an index.
    """
    within = scope.within(OpenWait)

    def number(kind: str, *conditions: sa.ColumnElement[bool]) -> Query:
        return sa.select(sa.literal(kind), sa.func.count()).select_from(OpenWait).where(_ASKS, *conditions, *within)

    found = [number("waits"), number("for_all", _is_for_all())]
    found += [number("mine", _is_mine(known))] if known else []
    return [*found, *([number("of_groups", _not_mine(known), _of_groups())] if grouped else [])]


def counted(numbers: Mapping[str, int]) -> dict[Whose, int]:
    """How many there are in each of the lists, by what `counting` has found."""
    mine = numbers.get("mine", 0)
    groups = numbers["for_all"] + numbers.get("of_groups", 0)
    return {"mine": mine, "groups": groups, "others": numbers["waits"] - mine - groups}


def item_of_wait(row: WaitRow, now: datetime) -> InboxItem:
    """The wait as what needs a person, without what is asked."""
    return InboxItem(
        run=row.run,
        kind="resume" if row.kind == "pause" else "decision",
        since=row.opened_at,
        due_at=row.due_at,
        overdue=is_overdue(row.due_at, now),
        decisions=(),
        next_actions=(),
        error=None,
        stuck=None,
        compensation_failures=(),
    )


def cursor_behind(row: WaitRow) -> str:
    """The cursor of whatever comes behind this wait in its list."""
    due = cursor_of(row.due_at, row.id).partition("_")[0] if row.due_at else ""
    return f"{due}.{cursor_of(row.opened_at, row.id)}"


def given_of(reader: WaitReader) -> dict[str, object]:
    """What the queries are given of the reader."""
    known = {"me": reader.id} if reader.id is not None else {}
    return {**known, **({"groups": reader.groups} if reader.groups else {})}


def _row(row: sa.RowMapping) -> WaitRow:
    return WaitRow(
        id=row["wait_id"],
        run=summary_of(row),
        step=row["wait_step"],
        kind=row["wait_kind"],
        assignee=row["wait_assignee"],
        due_at=row["wait_due_at"],
        opened_at=row["wait_opened_at"],
    )


def _place(cursor: str) -> tuple[datetime | None, tuple[datetime, str]]:
    due, dot, behind = cursor.partition(".")
    if not dot:
        raise FilterError("after", f"after is {kind(cursor)} that is no cursor of this list. Pass `next` of a page.")
    since, id = place_of(behind)
    return place_of(f"{due}_{id}")[0] if due else None, (since, id)


def _is_mine(known: bool) -> sa.ColumnElement[bool]:
    return OpenWait.assignee == _ME if known else sa.false()


def _is_for_all() -> sa.ColumnElement[bool]:
    """As in the index of this condition."""
    return sa.and_(OpenWait.for_all, OpenWait.assignee.is_(None))


def _not_mine(known: bool) -> sa.ColumnElement[bool]:
    return sa.or_(OpenWait.assignee.is_(None), OpenWait.assignee != _ME) if known else sa.true()


def _of_groups() -> sa.ColumnElement[bool]:
    """Whether it is of a group of theirs; not correlated, so that the index of groups leads to it."""
    return OpenWait.step_run_id.in_(sa.select(WaitGroup.step_run_id).where(WaitGroup.name.in_(_GROUPS)))


def _in(known: bool, grouped: bool, whose: Whose) -> sa.ColumnElement[bool]:
    of_groups = sa.or_(_is_for_all(), _of_groups()) if grouped else _is_for_all()
    match whose:
        case "mine":
            return _is_mine(known)
        case "groups":
            return sa.and_(_not_mine(known), of_groups)
        case "others":
            return sa.and_(_not_mine(known), sa.not_(of_groups))


@lru_cache(QUERIES_KEPT)
def _page(
    scope: Scope,
    known: bool,
    grouped: bool,
    whose: Whose,
    kinds: tuple[str, ...],
    of_workflow: bool,
    limit: int,
    is_behind: bool,
    is_behind_due: bool,
) -> Query:
    """The counts stand in each row, and in one of their own where the page is empty."""
    due, since, id = OpenWait.due_at, OpenWait.opened_at, OpenWait.step_run_id
    asked: Sequence[sa.ColumnElement[bool]] = (
        _ASKS,
        _in(known, grouped, whose),
        *scope.within(OpenWait),
        *([OpenWait.kind.in_(kinds)] if len(kinds) < len(KINDS) else []),
        *([OpenWait.workflow == _WORKFLOW] if of_workflow else []),
    )
    counted = (
        sa.select(
            sa.func.sum(sa.case((due <= NOW, 1), else_=0)).label("overdue"),
            sa.func.sum(sa.case((sa.and_(due > NOW, due <= _SOON), 1), else_=0)).label("soon"),
            sa.func.sum(sa.case((sa.or_(due.is_(None), due > _SOON), 1), else_=0)).label("later"),
        )
        .where(*asked)
        .subquery()
    )
    behind: list[sa.ColumnElement[bool]] = []
    if is_behind and is_behind_due:
        behind = [sa.or_(due.is_(None), sa.tuple_(due, since, id) > sa.tuple_(_DUE, _SINCE, _ID))]
    elif is_behind:
        behind = [due.is_(None), sa.tuple_(since, id) > sa.tuple_(_SINCE, _ID)]
    order = (sa.case((due.is_(None), 1), else_=0), due, since, id)
    ids = sa.select(id.label("id")).where(*asked, *behind).order_by(*order).limit(limit + 1).subquery()
    told = [
        OpenWait.__table__.c[name].label(f"wait_{name.removeprefix('step_run_')}")
        for name in ("step_run_id", "step", "kind", "assignee", "due_at", "opened_at")
    ]
    return (
        sa.select(*SUMMARY_COLUMNS, *told, counted)
        .select_from(
            counted.outerjoin(ids, sa.true())
            .outerjoin(OpenWait, id == ids.c.id)
            .outerjoin(WorkflowRun, WorkflowRun.id == OpenWait.run_id)
        )
        .order_by(*order)
    )
