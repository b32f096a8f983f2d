"""How a workflow fares: its last runs, how long they took, how many failed, and which definitions are at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any

import sqlalchemy as sa

from ..engine.status import TERMINAL, UNFINISHED
from ..store.tables import Run
from .views import Count, View

LAST = 30
MOST_COUNTED = 10_000


@dataclass(frozen=True, kw_only=True)
class EndedRun(View):
    """One run that has ended. seconds: from its first step to its end, None where no step began."""

    id: str
    status: str
    seconds: float | None
    finished_at: datetime


@dataclass(frozen=True, kw_only=True)
class Version(View):
    """Unfinished runs of one definition. current: whether it is the one registered now."""

    version: str | None
    fingerprint: str
    runs: int
    current: bool


def last_runs(connection: sa.Connection, workflows: Sequence[str], limit: int = LAST) -> dict[str, list[EndedRun]]:
    """The runs of each workflow that ended last, the oldest of them first. One query."""
    if not workflows:
        return {}
    parts = [_ended(name, status, limit) for name in workflows for status in sorted(TERMINAL)]
    found: dict[str, list[EndedRun]] = {name: [] for name in workflows}
    for row in connection.execute(sa.union_all(*(sa.select(part.subquery()) for part in parts))).mappings():
        seconds = (row["finished_at"] - row["started_at"]).total_seconds() if row["started_at"] else None
        ended = EndedRun(id=row["id"], status=row["status"], seconds=seconds, finished_at=row["finished_at"])
        found[row["workflow"]].append(ended)
    return {name: sorted(ended, key=lambda each: (each.finished_at, each.id))[-limit:] for name, ended in found.items()}


def percentile(runs: Sequence[EndedRun], share: float) -> float | None:
    """The seconds within which this share of the completed runs ended, by nearest rank; None where none has."""
    taken = sorted(run.seconds for run in runs if run.status == "completed" and run.seconds is not None)
    return taken[ceil(share * len(taken)) - 1] if taken else None


def ended_since(connection: sa.Connection, workflow: str, since: datetime) -> dict[str, Count]:
    """How many runs of the workflow have ended since then, by status. One query."""
    queries = []
    for status in sorted(TERMINAL):
        ended = (
            sa.select(sa.literal_column("1").label("one"))
            .where(Run.workflow == workflow, Run.status == status, Run.finished_at >= since)
            .limit(MOST_COUNTED + 1)
        ).subquery()
        queries.append(sa.select(sa.literal(status), sa.func.count()).select_from(ended))
    return {
        status: Count(value=min(number, MOST_COUNTED), capped=number > MOST_COUNTED)
        for status, number in connection.execute(sa.union_all(*queries))
    }


def versions(connection: sa.Connection, workflow: str, fingerprint: str) -> list[Version]:
    """The definitions that unfinished runs of the workflow began with. One query."""
    query = (
        sa.select(Run.version, Run.fingerprint, sa.func.count().label("runs"))
        .where(Run.workflow == workflow, Run.status.in_(sorted(UNFINISHED)))
        .group_by(Run.version, Run.fingerprint)
        .order_by(sa.desc("runs"))
    )
    rows = connection.execute(query).mappings()
    return [Version(**row, current=row["fingerprint"] == fingerprint) for row in rows]


def _ended(workflow: str, status: str, limit: int) -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(Run.workflow, Run.id, Run.status, Run.started_at, Run.finished_at)
        .where(Run.workflow == workflow, Run.status == status, Run.finished_at.is_not(None))
        .order_by(Run.finished_at.desc(), Run.id.desc())
        .limit(limit)
    )
