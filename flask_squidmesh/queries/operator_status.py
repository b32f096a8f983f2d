"""The words operators read for what a run is doing. Every run has exactly one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from ..engine.transitions import UNFINISHED
from ..storage.summaries import AWAITS_EVENT, IS_SCHEDULED, RunSummary
from ..storage.tables import Dispatch, Timestamp, WorkflowRun
from ..storage.write_batch import NO_QUEUE

STUCK_AFTER: Final = 60.0

OPERATOR_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "decision": (),
    "paused": (),
    "stuck": (),
    "incident": (),
    "failed": (),
    "retrying": ("retrying",),
    "scheduled": ("pending",),
    "waiting": ("pending", "running"),
    "running": ("running",),
    "pending": ("pending",),
    "cancelling": ("cancelling",),
    "completed": ("completed",),
    "cancelled": ("cancelled",),
}
"""Each word with the run statuses it stands for, empty where it depends on what the run needs."""

_OF_NEEDS: Final[Mapping[str, str]] = {
    "decision": "decision",
    "resume": "paused",
    "interrupted": "stuck",
    "incident": "incident",
    "failed": "failed",
    "compensation_failed": "failed",
}
Condition = sa.ColumnElement[bool]
Query: TypeAlias = "sa.Select[*tuple[object, ...]]"
UnionQuery: TypeAlias = "sa.CompoundSelect[*tuple[object, ...]]"
_AT_WORK: Final = ("pending", "running", "retrying")
_NOT_FAILED: Final = ("cancelled", *sorted(UNFINISHED))

# Parameters, because to make a statement anew takes as long as the database needs to answer it.
NOW: Final = sa.bindparam("now", type_=Timestamp)
_STUCK_SINCE: Final = sa.bindparam("stuck_since", type_=Timestamp)

UNTAKEN: Final = sa.and_(
    Dispatch.queue != NO_QUEUE,
    sa.or_(
        Dispatch.due_at < _STUCK_SINCE,
        Dispatch.held.is_not(None),
        sa.and_(Dispatch.claim_id.is_(None), Dispatch.hand_over_error.is_not(None), Dispatch.due_at <= NOW),
    ),
)
"""Whether a dispatch is late by more than is usual, was put back, or could not be handed over; takes `moments`.
Internal work keeps no step from being taken."""

_STUCK_RUN_IDS: Final = sa.select(Dispatch.run_id).where(Dispatch.run_id.is_not(None), UNTAKEN)


def moments(now: datetime, stuck_after: float = STUCK_AFTER) -> dict[str, datetime]:
    """The parameters of statements that depend on the time.

    stuck_after: seconds after which work that nobody takes is stuck.
    """
    return {"now": now, "stuck_since": now - timedelta(seconds=stuck_after)}


def word_of(summary: RunSummary, now: datetime, *, stuck: bool = False) -> str:
    """The word for a run. stuck: whether `stuck_among` named it."""
    if summary.needs:
        return _OF_NEEDS[summary.needs.kind]
    if stuck and summary.status in _AT_WORK:
        return "stuck"
    if summary.is_scheduled:
        return "scheduled"
    is_timed = summary.due_at is not None and summary.due_at > now
    if summary.status in ("pending", "running") and (is_timed or summary.awaits_event):
        return "waiting"
    return summary.status


def word_condition(word: str) -> Condition:
    """The same word in SQL, for a query on the runs table that takes `moments`."""
    return sa.or_(*word_alternatives(word))


@cache
def word_alternatives(word: str) -> Sequence[Condition]:
    """The same as conditions of which a run meets one at most; a planner finds an index for each, but for no OR."""
    quiet = WorkflowRun.needs.is_(None)
    match word:
        case "decision" | "incident":
            return [WorkflowRun.needs == word]
        case "paused":
            return [WorkflowRun.needs == "resume", sa.and_(WorkflowRun.status == "paused", quiet)]
        case "failed":
            failing = WorkflowRun.needs.in_(("failed", "compensation_failed"))
            not_undone = sa.and_(WorkflowRun.status.in_(_NOT_FAILED), WorkflowRun.needs == "compensation_failed")
            return [sa.and_(WorkflowRun.status == "failed", failing | quiet), not_undone]
        case "completed":
            return [WorkflowRun.status == word]
        case "scheduled":
            return [sa.and_(IS_SCHEDULED, quiet)]
        case "cancelling" | "cancelled":
            return [sa.and_(WorkflowRun.status == word, quiet)]
    stuck = WorkflowRun.id.in_(_STUCK_RUN_IDS)
    match word:
        case "stuck":
            return [WorkflowRun.needs == "interrupted", sa.and_(stuck, WorkflowRun.status.in_(_AT_WORK), quiet)]
        case "waiting":
            until = sa.or_(WorkflowRun.due_at > NOW, AWAITS_EVENT)
            return [sa.and_(WorkflowRun.status.in_(("pending", "running")), until, ~IS_SCHEDULED, quiet, ~stuck)]
        case "retrying":
            return [sa.and_(WorkflowRun.status == word, quiet, ~stuck)]
        case _:
            due = sa.or_(WorkflowRun.due_at.is_(None), WorkflowRun.due_at <= NOW)
            begun = sa.not_(AWAITS_EVENT | IS_SCHEDULED)
            return [sa.and_(WorkflowRun.status == word, due, begun, quiet, ~stuck)]


def is_untaken(dispatch: sa.RowMapping | dict[str, Any], now: datetime, stuck_after: float = STUCK_AFTER) -> bool:
    """The same of a dispatch that was read."""
    late: bool = dispatch["due_at"] < now - timedelta(seconds=stuck_after)
    unclaimed, due = dispatch["claim_id"] is None, dispatch["due_at"] <= now
    failed = unclaimed and dispatch["hand_over_error"] is not None and due
    return late or dispatch["held"] is not None or failed


def stuck_among(
    connection: sa.Connection, runs: Sequence[RunSummary], now: datetime, *, stuck_after: float = STUCK_AFTER
) -> frozenset[str]:
    """The ids of those runs whose work nobody takes; one query, none where all of them have finished."""
    unfinished = [run.id for run in runs if run.status in _AT_WORK]
    if not unfinished:
        return frozenset()
    query = _STUCK_RUN_IDS.where(Dispatch.run_id.in_(unfinished))
    return frozenset(connection.scalars(query, moments(now, stuck_after)))
