"""A run in one line, and its id: what lists, executors and the access callback see of it. No payload."""

from __future__ import annotations

import os
import secrets
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa

from ..definition.values import JsonValue
from ..engine.transitions import is_scheduled
from .tables import WorkflowRun


def document_of(record: DataclassInstance) -> dict[str, Any]:
    """A dataclass as JSON can hold it."""
    return {name: plain(value) for name, value in asdict(record).items()}


def plain(value: object) -> JsonValue:
    """The value as JSON can hold it: times as ISO 8601 text, tuples as lists."""
    match value:
        case datetime():
            return value.isoformat()
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return cast(JsonValue, value)


def is_readable(text: str) -> bool:
    """Whether there is something in the text that can be seen."""
    return any(each.isprintable() and not each.isspace() for each in text)


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
    outcome: how a completed run ended: None as its way was meant, the word of an `End`, else rejected, timed_out or
    error_route. compensation: None, running, completed or failed. tenant: '' where there is none. queue: whose
    workers perform its steps. overdue_since: since when a step is late that has `within=`, once people were told of it.
    awaits_event: whether it is running, and has nothing to do until an event comes. is_scheduled: whether it begins
    later, at `due_at`.
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
    outcome: str | None = None
    overdue_since: datetime | None = None
    awaits_event: bool = False
    is_scheduled: bool = False

    @property
    def title(self) -> str:
        """What people call it: its subject, or its workflow where nothing of that can be seen."""
        return self.subject if is_readable(self.subject) else self.workflow

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON data."""
        return document_of(self)


if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SummaryRow = sa.RowMapping | Mapping[str, Any]
_NAMES = [field.name for field in fields(RunSummary) if field.name not in ("needs", "awaits_event", "is_scheduled")]
_COUNTED = ("needs", "needs_count", "needs_due_at", "needs_since", "open_steps", "awaiting_steps")
SUMMARY_COLUMNS: list[sa.ColumnElement[Any]] = [WorkflowRun.__table__.c[name] for name in (*_NAMES, *_COUNTED)]
AWAITS_EVENT: sa.ColumnElement[bool] = sa.and_(
    WorkflowRun.status == "running",
    WorkflowRun.awaiting_steps > 0,
    WorkflowRun.awaiting_steps == WorkflowRun.open_steps,
)
"""Whether a run has nothing to do until an event comes; `RunSummary.awaits_event` is the same of a row."""
IS_SCHEDULED: sa.ColumnElement[bool] = sa.and_(
    WorkflowRun.status == "pending", WorkflowRun.open_steps == 0, WorkflowRun.due_at.is_not(None)
)
"""Whether a run begins later; `transitions.is_scheduled` is the same of a row."""


def summary_of(row: SummaryRow) -> RunSummary:
    """The summary in a row that selected at least SUMMARY_COLUMNS."""
    return RunSummary(**summary_values(row))


def summary_values(row: SummaryRow) -> dict[str, Any]:
    """The same as the values of its fields."""
    needs = row["needs"] and Needs(
        kind=row["needs"], count=row["needs_count"], due_at=row["needs_due_at"], since=row["needs_since"]
    )
    awaits = row["status"] == "running" and 0 < row["awaiting_steps"] == row["open_steps"]
    return {
        "needs": needs or None,
        "awaits_event": awaits,
        "is_scheduled": is_scheduled(row["status"], row["open_steps"], row["due_at"]),
        **{name: row[name] for name in _NAMES},
    }


def summary_from(document: Mapping[str, Any]) -> RunSummary:
    """The summary that `to_dict` was called on, perhaps before a field was added, so that a new one has a default."""
    kept = {**document, "needs": None}
    if document["needs"]:
        kept["needs"] = Needs(**{**document["needs"], **_times(document["needs"], ("due_at", "since"))})
    return RunSummary(**{**kept, **_times(document, [name for name in _NAMES if name.endswith("_at")])})


def _times(document: Mapping[str, Any], names: Iterable[str]) -> dict[str, datetime | None]:
    return {name: datetime.fromisoformat(document[name]) if document.get(name) else None for name in names}


RunId = uuid.UUID | str
_TAIL_BITS = 74
_guard = threading.Lock()
_last = (0, 0)


def new_id() -> str:
    """A UUID of version 7 (RFC 9562): milliseconds since 1970, then random bits, rising within a millisecond."""
    moment, tail = _next()
    value = moment << 80 | 7 << 76 | (tail >> 62) << 64 | 0x2 << 62 | tail & (1 << 62) - 1
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _next() -> tuple[int, int]:
    """A random step, not one of 1, keeps processes apart that were forked within a millisecond."""
    global _last
    with _guard:
        moment, (last, tail) = time.time_ns() // 1_000_000, _last
        later = moment > last
        _last = (moment, secrets.randbits(_TAIL_BITS - 1)) if later else (last, tail + 1 + secrets.randbits(32))
        return _last


def _in_child() -> None:
    """Another thread of the parent may have held the guard."""
    global _guard
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def read_id(text: object) -> str | None:
    """The id in its usual form, or None where it is none."""
    if isinstance(text, uuid.UUID):
        return str(text)
    try:
        return str(uuid.UUID(text)) if isinstance(text, str) else None
    except ValueError:
        return None
