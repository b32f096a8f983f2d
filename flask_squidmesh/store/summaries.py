"""A run in one line: what lists, executors and the access callback see of it. No payload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from .tables import Run


def plain(value: Any) -> Any:
    """The value as JSON can hold it: times as ISO 8601 text, tuples as lists."""
    match value:
        case datetime():
            return value.isoformat()
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Why a run waits for a person.

    kind: decision (an approval), resume (a pause), interrupted, incident (a step cannot begin), failed,
    compensation_failed. count: how many decisions are open. due_at: the earliest time by which one should be taken.
    since: when it began.
    """

    kind: str
    count: int
    due_at: datetime | None
    since: datetime | None


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run as lists show it.

    due_at: until when it waits, or when its next attempt is due. attempt, max_attempts: of the current step.
    compensation: None, running, completed or failed. tenant: '' where there is none. queue: whose
    workers perform its steps.
    """

    id: str
    workflow: str
    trigger: str
    version: str | None
    subject: str
    status: str
    needs: Needs | None
    current_step: str | None
    attempt: int
    max_attempts: int
    due_at: datetime | None
    actor: Any
    compensation: str | None
    error_fingerprint: str | None
    parent_run_id: str | None
    parent_step: str | None
    replayed_from_id: str | None
    replayed_as_id: str | None
    revision: int
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    finished_at: datetime | None
    acknowledged_at: datetime | None
    tenant: str = ""
    queue: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON data."""
        document: dict[str, Any] = plain(asdict(self))
        return document


_NAMES = [field.name for field in fields(RunSummary) if field.name != "needs"]
SUMMARY_COLUMNS: list[sa.ColumnElement[Any]] = [
    *(Run.__table__.c[name] for name in _NAMES),
    *(Run.__table__.c[name] for name in ("needs", "needs_count", "needs_due_at", "needs_since")),
]


def summary_of(row: sa.RowMapping | Mapping[str, Any]) -> RunSummary:
    """The summary in a row that selected at least SUMMARY_COLUMNS."""
    return RunSummary(**summary_values(row))


def summary_values(row: sa.RowMapping | Mapping[str, Any]) -> dict[str, Any]:
    """The same as the values of its fields."""
    needs = row["needs"] and Needs(
        kind=row["needs"], count=row["needs_count"], due_at=row["needs_due_at"], since=row["needs_since"]
    )
    return {"needs": needs or None, **{name: row[name] for name in _NAMES}}


def summary_from(document: Mapping[str, Any]) -> RunSummary:
    """The summary that `to_dict` was called on."""
    kept = {**document, "needs": None}
    if document["needs"]:
        kept["needs"] = Needs(**{**document["needs"], **_times(document["needs"], ("due_at", "since"))})
    return RunSummary(**{**kept, **_times(document, [name for name in _NAMES if name.endswith("_at")])})


def _times(document: Mapping[str, Any], names: Iterable[str]) -> dict[str, datetime | None]:
    return {name: datetime.fromisoformat(document[name]) if document[name] else None for name in names}
