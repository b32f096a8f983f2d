"""What the time of a visit went into: queued, waiting, asking a person, or being performed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from ..reading.views import AttemptView, StepRunView
from .language import N_, _
from .marks import mark_of_visit
from .times import duration

QUEUED, WAITED = N_("queued for {length}"), N_("waited for {length}")
JOINING, BACKING_OFF = N_("waited for other steps for {length}"), N_("tried again after {length}")
ASKING = N_("asked a person for {length}")
_ENDED = {
    "completed": ("completed", N_("attempt {number} completed after {length}")),
    "failed": ("failed", N_("attempt {number} failed after {length}")),
    "abandoned": ("stuck", N_("attempt {number} abandoned after {length}")),
    "running": ("running", N_("attempt {number} running for {length}")),
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """One stretch of time. shape: its colour. idle: nobody worked at it. attempt: its number, 0 for none."""

    start: datetime
    end: datetime
    shape: str
    text: str
    idle: bool = True
    attempt: int = 0

    @property
    def spoken(self) -> Markup:
        """What it was, and for how long."""
        return _(self.text, number=self.attempt, length=duration((self.end - self.start).total_seconds()))


def stretches(visit: StepRunView, ready: datetime, now: datetime) -> list[Stretch]:
    """The visit from when it was made, in order. ready: when what it waits for had ended."""
    found = [*_between(visit.created_at, ready, "unreached", JOINING)]
    cursor = max(visit.created_at, ready)
    for attempt in visit.attempts:
        found += _before(visit, attempt, cursor)
        found.append(_performed(visit, attempt, now))
        cursor = attempt.finished_at or now
    return [*found, *_since(visit, cursor, now)]


def performed(visit: StepRunView) -> tuple[AttemptView, ...]:
    """The attempts of workers; what a person decided is kept as an attempt too."""
    return tuple(attempt for attempt in visit.attempts if attempt.worker is not None)


def _before(visit: StepRunView, attempt: AttemptView, since: datetime) -> Iterator[Stretch]:
    if attempt != visit.attempts[0]:
        return _between(since, attempt.started_at, "retrying", BACKING_OFF)
    waits = visit.settings.get("kind") == "wait"
    return _between(since, attempt.started_at, *(("waiting", WAITED) if waits else ("pending", QUEUED)))


def _performed(visit: StepRunView, attempt: AttemptView, now: datetime) -> Stretch:
    end = attempt.finished_at or now
    if attempt.worker is None:
        return Stretch(attempt.started_at, end, mark_of_visit(visit, now).shape, ASKING)
    shape, text = _ENDED.get(attempt.status, _ENDED["running"])
    return Stretch(attempt.started_at, end, shape, text, idle=False, attempt=attempt.attempt_number)


def _since(visit: StepRunView, since: datetime, now: datetime) -> Iterator[Stretch]:
    """What came after the last attempt, or goes on instead of one."""
    end = visit.finished_at or now
    if visit.decision and (visit.status == "paused" or not _was_decided(visit)):
        yield from _between(since, end, mark_of_visit(visit, now).shape, ASKING)
    elif visit.status == "waiting":
        yield from _between(since, end, "unreached", JOINING)
    elif visit.status == "pending" or not visit.attempts:
        due = min(max(visit.due_at or since, since), end)
        shape, text = ("retrying", BACKING_OFF) if visit.attempts else ("waiting", WAITED)
        yield from _between(since, due, shape, text)
        yield from _between(due, end, "pending", QUEUED)


def _was_decided(visit: StepRunView) -> bool:
    return bool(visit.attempts) and visit.attempts[-1].worker is None


def _between(start: datetime, end: datetime, shape: str, text: str) -> Iterator[Stretch]:
    if end > start:
        yield Stretch(start, end, shape, text)
