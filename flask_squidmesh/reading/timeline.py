"""A run's story as one ordered list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .records import Record, Row
from .steps import attempts_of
from .views import AttemptView, AuditEventView, TimelineEvent

FIRST, LAST = -1, 1_000_000


@dataclass(frozen=True, slots=True)
class _Placed:
    """An event with its place among those of the same moment: first by step run, then by what follows from what."""

    step_run: int
    rank: int
    event: TimelineEvent

    @property
    def place(self) -> tuple[datetime, int, int]:
        return self.event.at, self.step_run, self.rank


def timeline(record: Record, audit: Sequence[AuditEventView]) -> tuple[TimelineEvent, ...]:
    """Everything that happened, oldest first: the start, each visit and attempt, what people did, the end."""
    numbers = {(row["kind"], row["step"], row["visit"]): number for number, row in enumerate(record.step_runs)}
    placed = [
        *_ends(record.run),
        *(each for number, row in enumerate(record.step_runs) for each in _of_step_run(record, row, number)),
        *(_Placed(numbers.get(("step", event.step, event.visit), LAST), 5, _audited(event)) for event in audit),
    ]
    return tuple(each.event for each in sorted(placed, key=lambda each: each.place))


def _ends(run: Row) -> Iterator[_Placed]:
    yield _Placed(FIRST, 0, TimelineEvent(at=run["created_at"], type="started", actor=run["actor"]))
    if run["finished_at"] is not None:
        ended = TimelineEvent(at=run["finished_at"], type=run["status"], step=run["current_step"])
        yield _Placed(LAST, 9, ended)


def _of_step_run(record: Record, row: Row, number: int) -> Iterator[_Placed]:
    entered = "compensation_planned" if row["kind"] == "compensation" else "entered"
    due = {"due_at": row["due_at"].isoformat()} if row["due_at"] is not None else None
    yield _Placed(number, 0, _step_event(row, row["created_at"], entered, details=due))
    for attempt in attempts_of(record, row):
        yield from _of_attempt(row, attempt, number)


def _of_attempt(row: Row, attempt: AttemptView, number: int) -> Iterator[_Placed]:
    if row["decision"] is not None and attempt.worker is None:
        return
    begun = _step_event(row, attempt.started_at, "attempt_started", attempt=attempt.attempt_number)
    yield _Placed(number, 2 * attempt.attempt_number, begun)
    if attempt.finished_at is not None:
        error = {"error": attempt.error} if attempt.error else None
        ended = _step_event(
            row, attempt.finished_at, f"attempt_{attempt.status}", attempt=attempt.attempt_number, details=error
        )
        yield _Placed(number, 2 * attempt.attempt_number + 1, ended)


def _step_event(
    row: Row, at: datetime, type: str, *, attempt: int | None = None, details: Mapping[str, Any] | None = None
) -> TimelineEvent:
    return TimelineEvent(
        at=at, type=type, kind=row["kind"], step=row["step"], visit=row["visit"], attempt=attempt, details=details
    )


def _audited(event: AuditEventView) -> TimelineEvent:
    return TimelineEvent(
        at=event.at,
        type=event.type,
        step=event.step,
        visit=event.visit,
        actor=event.actor,
        comment=event.comment,
        details=dict(event.metadata) if event.metadata else None,
    )
