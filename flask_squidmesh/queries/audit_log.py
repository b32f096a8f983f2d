"""Who decided what, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from ..errors import FilterError, given
from ..people import normal
from ..storage.scope import Scope
from ..storage.tables import AuditEvent
from .results import AuditEventView, AuditPage
from .run_list import check_limit
from .run_record import Row, run_id_of

LINKING: Final = ("child_pruned", "replayed")
"""The types of events that name other runs."""


def events(
    connection: sa.Connection,
    scope: Scope,
    *,
    run_id: UUID | str | None = None,
    type: str | None = None,
    actor: str | None = None,
    limit: int = 50,
    after: str | None = None,
) -> AuditPage:
    """One page of audit events, newest first. One query. What concerns several tenants, or no single workflow, is told
    of only in a scope that leaves none out.

    run_id, type, actor: only those of this run, of this type, by this person (the text, or the mapping's "id").
    limit: 1 to 500. after: `next` of the page before. Raises FilterError, and RunNotFoundError for what is no run id.
    """
    check_limit(limit)
    query = sa.select(AuditEvent.__table__).where(*scope.within(AuditEvent))
    query = query.order_by(AuditEvent.id.desc()).limit(limit + 1)
    if run_id is not None:
        query = query.where(AuditEvent.run_id == run_id_of(run_id))
    if type is not None:
        query = query.where(AuditEvent.type == type)
    if actor is not None:
        query = query.where(AuditEvent.actor_id == normal(actor))
    if after is not None:
        query = query.where(AuditEvent.id < _place_of(after))
    found = connection.execute(query).mappings().all()
    told = tuple(_view(row) for row in found[:limit] if _is_told(scope, row))
    return AuditPage(events=told, next=str(found[limit - 1]["id"]) if len(found) > limit else None)


def events_of(
    connection: sa.Connection, scope: Scope, run_id: str, types: Sequence[str] = ()
) -> tuple[AuditEventView, ...]:
    """Everything decided about one run, oldest first; only events of these types if any are given."""
    query = sa.select(AuditEvent.__table__).where(AuditEvent.run_id == run_id).order_by(AuditEvent.id)
    query = query.where(AuditEvent.type.in_(types)) if types else query
    return tuple(_view(row) for row in connection.execute(query).mappings() if _is_told(scope, row))


@dataclass(frozen=True, slots=True)
class AuditWindow:
    """Some of what was decided about one run, oldest first. older: what to pass as `before` for those that come before;
    None where there are none. since: when the last of those was. linking: events of any time that name other runs.
    """

    events: tuple[AuditEventView, ...]
    older: int | None
    since: datetime | None
    linking: tuple[AuditEventView, ...]


def window_of(
    connection: sa.Connection, scope: Scope, run_id: str, *, before: int | None, most: int | None
) -> AuditWindow:
    """The newest events of a run, or the newest of those before an event. most: None for all. One query."""
    mine, earlier = AuditEvent.run_id == run_id, AuditEvent.id < before if before is not None else sa.true()
    newest = sa.select(AuditEvent.id).where(mine, earlier).order_by(AuditEvent.id.desc())
    newest = newest if most is None else newest.limit(most + 1)
    wanted = sa.or_(AuditEvent.id.in_(newest), AuditEvent.type.in_(LINKING))
    rows = connection.execute(sa.select(AuditEvent.__table__).where(mine, wanted).order_by(AuditEvent.id)).mappings()
    told = [_view(row) for row in rows if _is_told(scope, row)]
    placed = [event for event in told if before is None or event.id < before]
    shown = placed[-(most or len(placed)) :]
    earlier_ones = placed[: len(placed) - len(shown)]
    return AuditWindow(
        events=tuple(shown),
        older=shown[0].id if earlier_ones else None,
        since=earlier_ones[-1].at if earlier_ones else None,
        linking=tuple(event for event in told if event.type in LINKING),
    )


def _is_told(scope: Scope, event: Row) -> bool:
    """Not that a run outside the scope was there, which the event of its parent says."""
    if event["type"] != "child_pruned" or scope.is_all:
        return True
    return scope.admits(event["tenant"], (event["metadata"] or {}).get("workflow", ""))


def place_of(cursor: str) -> int | None:
    """The id of an event that an address names; None where it names none."""
    try:
        return _place_of(cursor)
    except FilterError:
        return None


def _place_of(cursor: str) -> int:
    if cursor.isascii() and cursor.isdigit() and len(cursor) < 19:
        return int(cursor)
    raise FilterError("after", f"after={given(cursor)} is no cursor. Pass `next` of the page before, or leave it out.")


def _view(row: Row) -> AuditEventView:
    kept = ("id", "run_id", "type", "step", "visit", "actor", "comment", "at", "times", "last_at")
    return AuditEventView(**{name: row[name] for name in kept}, metadata=row["metadata"])
