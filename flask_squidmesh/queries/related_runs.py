"""The runs that one run belongs with: its parent, its children and its replays, in one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from ..engine.diversions import OUTCOMES
from ..storage.scope import Scope
from ..storage.summaries import SUMMARY_COLUMNS, RunSummary, summary_of
from ..storage.tables import Dispatch
from ..storage.tables import WorkflowRun as RunRow
from .operator_status import UNTAKEN, Condition, moments, word_of
from .results import Count
from .run_record import Row

MOST_CHILDREN: Final = 50
MOST_COUNTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class RelatedRun:
    """A run in one line, with the word for its state."""

    run: RunSummary
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCounts:
    """How many children a run has, and how many have which status, or which outcome of those that were led off."""

    total: Count
    by_status: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedRuns:
    """What a run belongs with.

    known: what is there and within the scope, by id. children: in the order they were started, perhaps only the first.
    counts: of all children, None where there are none. pruned: what is named and not there any more. parent_is_hidden:
    whether the parent is outside the scope.
    """

    known: Mapping[str, RelatedRun]
    children: tuple[str, ...]
    counts: ChildCounts | None
    pruned: tuple[str, ...]
    parent_is_hidden: bool


def related_runs(
    connection: sa.Connection,
    scope: Scope,
    run: Row,
    replays: Sequence[str],
    *,
    now: datetime,
    most: int | None = MOST_CHILDREN,
) -> RelatedRuns:
    """The parent, the replays and the children of a run. One query.

    most: how many children, None for all. Replays are of the run's own workflow and tenant, but a parent or a child may
    be of another workflow.
    """
    ties = (run["parent_run_id"], run["replayed_from_id"], run["replayed_as_id"], *replays)
    named = list(dict.fromkeys(id for id in ties if id is not None))
    seen = sa.and_(sa.true(), *scope.within(RunRow))
    started = sa.select(RunRow.id).where(RunRow.parent_run_id == run["id"], seen)
    first = started.order_by(RunRow.created_at, RunRow.id).limit(most).subquery()
    # One list of ids, because a planner finds no index for an OR with a subquery in it.
    wanted = sa.union_all(sa.select(RunRow.id).where(RunRow.id.in_(named)), sa.select(first.c.id)).subquery()
    tally = _tally_of(run["id"], seen)
    stuck = sa.exists().where(Dispatch.run_id == RunRow.id, UNTAKEN)
    query = (
        sa.select(*SUMMARY_COLUMNS, stuck.label("stuck"), seen.label("seen"), tally.label("tally"))
        .where(RunRow.id.in_(sa.select(wanted.c.id)))
        .order_by(RunRow.created_at, RunRow.id)
    )
    rows = connection.execute(query, moments(now)).mappings().all()
    known = {row["id"]: _related(row, now) for row in rows if row["seen"]}
    children = tuple(id for id, each in known.items() if each.run.parent_run_id == run["id"])
    there = {row["id"] for row in rows}
    return RelatedRuns(
        known=known,
        children=children,
        counts=_counts(rows[0]["tally"]) if children else None,
        pruned=tuple(id for id in named if id not in there),
        parent_is_hidden=run["parent_run_id"] in there and run["parent_run_id"] not in known,
    )


def _related(row: Row, now: datetime) -> RelatedRun:
    run = summary_of(row)
    return RelatedRun(run, word_of(run, now, stuck=row["stuck"]))


def _tally_of(run_id: str, seen: Condition) -> sa.ScalarSelect[str | None]:
    """The children counted by status or outcome, as "completed 3,failed 1": a column of the query that reads them."""
    how = sa.case((RunRow.outcome.in_(OUTCOMES), RunRow.outcome), else_=RunRow.status).label("status")
    some = sa.select(how).where(RunRow.parent_run_id == run_id, seen).limit(MOST_COUNTED + 1).subquery()
    counted = sa.select(some.c.status, sa.func.count().label("number")).group_by(some.c.status).subquery()
    entry = counted.c.status + " " + sa.cast(counted.c.number, sa.String)
    return sa.select(sa.func.aggregate_strings(entry, ",")).scalar_subquery()


def _counts(tally: str) -> ChildCounts:
    by_status = {status: int(number) for status, _, number in (entry.partition(" ") for entry in tally.split(","))}
    total = sum(by_status.values())
    return ChildCounts(
        total=Count(value=min(total, MOST_COUNTED), capped=total > MOST_COUNTED),
        by_status=dict(sorted(by_status.items())),
    )
