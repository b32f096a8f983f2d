"""What people, services and the host's own code were told of one run, or could not be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from ..storage.tables import OutboxEntry
from .results import TimelineEvent

HOW: Final[Mapping[str | None, str]] = {
    "delivered": "notice_delivered",
    "failed": "notice_failed",
    "dropped": "notice_dropped",
    None: "notice_waiting",
}
"""What the time line calls it, by how the entry ended; None while it has not."""
MOST: Final = 500
_SAME: Final = ("subject", "kind", "number", "subscription", "step", "visit", "outcome", "happened_at")


def notices_column(dialect: str, run_id: str) -> sa.ScalarSelect[str | None]:
    """The latest that was told of the run, as JSON text, so that the query which reads the run reads it too."""
    found = _latest(run_id).subquery()
    if dialect == "postgresql":
        return sa.select(sa.cast(sa.func.json_agg(sa.func.json_build_array(*found.c)), sa.Text)).scalar_subquery()
    return sa.select(sa.func.json_group_array(sa.func.json_array(*found.c), type_=sa.Text)).scalar_subquery()


def _latest(run_id: str) -> sa.Select[*tuple[Any, ...]]:
    """One row for all whom one subscription told the same."""
    same = [OutboxEntry.__table__.c[name] for name in _SAME]
    return (
        sa.select(
            *same[1:],
            sa.func.count().label("receivers"),
            sa.func.min(OutboxEntry.receiver).label("receiver"),
            sa.func.max(OutboxEntry.tries).label("tries"),
            sa.func.max(OutboxEntry.error).label("error"),
            sa.func.max(OutboxEntry.ended_at).label("ended_at"),
        )
        .where(
            OutboxEntry.run_id == run_id,
            sa.or_(OutboxEntry.outcome.is_(None), OutboxEntry.outcome.in_([how for how in HOW if how is not None])),
        )
        .group_by(*same)
        .order_by(OutboxEntry.happened_at.desc())
        .limit(MOST)
    )


def notices_in(text: str | None) -> tuple[TimelineEvent, ...]:
    """What the column holds, oldest first."""
    return tuple(reversed([_event(*row) for row in json.loads(text or "[]")]))


def _event(
    kind: str,
    _number: int,
    subscription: str,
    step: str | None,
    visit: int | None,
    outcome: str | None,
    happened_at: str,
    receivers: int,
    receiver: str,
    tries: int,
    error: str | None,
    ended_at: str | None,
) -> TimelineEvent:
    at = datetime.fromisoformat(ended_at or happened_at)
    said: dict[str, Any] = {"kind": kind, "subscription": subscription}
    if receiver:
        said |= {"receiver": receiver, "receivers": receivers}
    if tries:
        said["tries"] = tries
    if error:
        said["error"] = error
    return TimelineEvent(
        at=at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC),
        type=HOW[outcome],
        step=step,
        visit=visit,
        details=said,
    )
