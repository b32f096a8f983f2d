"""Who decided what, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from ..errors import FilterError
from ..store.scope import Scope
from ..store.tables import AuditEvent
from .listing import check_limit
from .records import Row, run_id_of
from .views import AuditEventView, AuditPage


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
        query = query.where(AuditEvent.actor_id == actor)
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


def _is_told(scope: Scope, event: Row) -> bool:
    """Not that a run outside the scope was there, which the event of its parent says."""
    if event["type"] != "child_pruned" or scope.is_all:
        return True
    return scope.admits(event["tenant"], (event["metadata"] or {}).get("workflow", ""))


def _place_of(cursor: str) -> int:
    if cursor.isascii() and cursor.isdigit() and len(cursor) < 19:
        return int(cursor)
    raise FilterError("after", f"after={cursor!r} is no cursor. Pass `next` of the page before, or leave it out.")


def _view(row: Row) -> AuditEventView:
    names: dict[str, Any] = {name: row[name] for name in ("id", "run_id", "type", "step", "visit", "actor", "comment")}
    return AuditEventView(**names, metadata=row["metadata"], at=row["at"])
