"""Who decided what."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ..store.tables import AuditEvent
from .records import Row
from .views import AuditEventView


def events_of(connection: sa.Connection, run_id: str) -> tuple[AuditEventView, ...]:
    """Everything decided about one run, oldest first."""
    query = sa.select(AuditEvent.__table__).where(AuditEvent.run_id == run_id).order_by(AuditEvent.id)
    return tuple(_view(row) for row in connection.execute(query).mappings())


def _view(row: Row) -> AuditEventView:
    names: dict[str, Any] = {name: row[name] for name in ("id", "run_id", "type", "step", "visit", "actor", "comment")}
    return AuditEventView(**names, metadata=row["metadata"], at=row["at"])
