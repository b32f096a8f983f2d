"""Audit events as rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from ..engine.approving import identity
from ..workflow.values import fingerprint
from .shapes import INSERTS
from .tables import audit_events, runs

LONGEST_KEY: Final = 200


def actor_key(actor: Any) -> str | None:
    """What the events of one person are found by."""
    found = identity(actor)
    return found[:LONGEST_KEY] if found else None


def note(
    connection: sa.Connection,
    type: str,
    *,
    actor: Any,
    at: datetime,
    run_id: str | None = None,
    tenant: str | None = "",
    workflow: str | None = None,
    comment: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Keep one event that no decision about a run brings with it, such as a refusal.

    tenant, workflow: what it concerns, None for several or all; of an event about a run those of the run.
    """
    said = {"actor": actor, "actor_id": actor_key(actor), "comment": comment, "metadata": dict(data or {})}
    concerned: dict[str, Any] = {"tenant": tenant, "workflow": workflow}
    if run_id is not None:
        concerned = _of_run(run_id)
    connection.execute(sa.insert(audit_events).values(run_id=run_id, type=type, at=at, **concerned, **said))


def note_again(
    connection: sa.Connection,
    type: str,
    *,
    actor: Any,
    at: datetime,
    run_id: str | None,
    tenant: str | None,
    what: Mapping[str, Any],
    data: Mapping[str, Any],
) -> None:
    """Keep one event that may come again and again: the second time it is counted, and its data are the latest.

    what: what makes it the same, beside its type, the actor and the run.
    """
    key = fingerprint([type, identity(actor), run_id, tenant, what])
    concerned: dict[str, Any] = {"tenant": tenant} if run_id is None else _of_run(run_id)
    said = {"actor": actor, "actor_id": actor_key(actor), "metadata": {**what, **data}, **concerned}
    insert = INSERTS[connection.dialect.name](audit_events).values(
        run_id=run_id, type=type, at=at, repeat_key=key, **said
    )
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["repeat_key"],
            index_where=audit_events.c.repeat_key.is_not(None),
            set_={
                "times": audit_events.c.times + 1,
                "last_at": at,
                "actor": insert.excluded.actor,
                "metadata": insert.excluded.metadata,
            },
        )
    )


def note_visit(
    connection: sa.Connection, type: str, *, run_id: str, step: str, visit: int, at: datetime, data: Mapping[str, Any]
) -> None:
    """Keep what became of a visit and nobody decided."""
    where = {"run_id": run_id, "step": step, "visit": visit, **_of_run(run_id)}
    connection.execute(sa.insert(audit_events).values(type=type, at=at, metadata=dict(data), **where))


def _of_run(run_id: str) -> dict[str, Any]:
    return {
        name: sa.select(runs.c[name]).where(runs.c.id == run_id).scalar_subquery() for name in ("tenant", "workflow")
    }
