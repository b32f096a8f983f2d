"""Notices as text for people, in English."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from ..notices import Notice, NoticeKind

LONGEST_HEADLINE: Final = 150


def headline(notices: Sequence[Notice]) -> str:
    """What has happened, in a line; of several how many."""
    if len(notices) == 1:
        return _cut(_HEADLINES[notices[0].kind](notices[0]))
    asked = sum(notice.kind in _ASKING for notice in notices)
    return f"{len(notices)} notices" + (f", {asked} waiting for you" if asked else "")


def text(notices: Sequence[Notice]) -> str:
    """Everything that the notices say, one after the other."""
    return "\n\n".join("\n".join(_lines(notice)) for notice in notices) + "\n"


def _lines(notice: Notice) -> Iterator[str]:
    yield _HEADLINES[notice.kind](notice)
    yield ""
    if notice.run_id is not None:
        yield f"Run: {_line(notice.subject)} ({notice.workflow})"
    if notice.step:
        yield f"Step: {notice.step}"
    whose = [*([notice.assignee] if notice.assignee else []), *notice.groups]
    if whose and notice.kind in _ASKING:
        yield f"For: {', '.join(whose)}"
    if notice.due_at is not None and notice.kind in _ASKING:
        yield f"Due: {notice.due_at:%Y-%m-%d %H:%M} UTC"
    yield from _details(notice)
    yield f"When: {notice.at:%Y-%m-%d %H:%M} UTC"
    if notice.url:
        yield f"Open: {notice.url}"


def _details(notice: Notice) -> Iterator[str]:
    details = notice.details or {}
    if details.get("comment"):
        yield f"Comment: {details['comment']}"
    if notice.error is not None:
        yield f"Error: {notice.error.get('type')}: {_line(str(notice.error.get('message') or ''))}"
    if details.get("steps"):
        yield f"Steps: {', '.join(details['steps'])}"
    for name in ("event", "key", "event_id", "sent_at", "queue", "waiting_since"):
        if name in details:
            yield f"{name.replace('_', ' ').capitalize()}: {_line(str(details[name]))}"


def _asked(notice: Notice) -> str:
    return _line(notice.prompt or "") or notice.step or _line(notice.subject)


def _decided(notice: Notice) -> str:
    details = notice.details or {}
    actor = details.get("actor")
    name = actor.get("label") or actor.get("id") if isinstance(actor, Mapping) else actor
    return f"Decided: {_asked(notice)} – {details.get('option') or 'go on'}" + (f", by {name}" if name else "")


def _completed(notice: Notice) -> str:
    return f"Completed: {_line(notice.subject)}" + (f" ({notice.outcome})" if notice.outcome else "")


def _line(said: str) -> str:
    return " ".join(said.split())


def _cut(said: str) -> str:
    return said if len(said) <= LONGEST_HEADLINE else said[: LONGEST_HEADLINE - 1] + "…"


_ASKING: Final[frozenset[NoticeKind]] = frozenset({"decision.opened", "decision.reminded", "decision.escalated"})
_HEADLINES: Final[Mapping[NoticeKind, Callable[[Notice], str]]] = {
    "decision.opened": lambda notice: f"To decide: {_asked(notice)}",
    "decision.reminded": lambda notice: f"Reminder: {_asked(notice)}",
    "decision.escalated": lambda notice: f"Escalated: {_asked(notice)}",
    "decision.timed_out": lambda notice: f"Timed out: {_asked(notice)}",
    "decision.decided": _decided,
    "run.completed": _completed,
    "run.failed": lambda notice: f"Failed: {_line(notice.subject)}",
    "run.cancelled": lambda notice: f"Cancelled: {_line(notice.subject)}",
    "run.incident": lambda notice: f"Cannot go on: {_line(notice.subject)}",
    "run.interrupted": lambda notice: f"Interrupted, outcome unknown: {_line(notice.subject)}",
    "compensation.failed": lambda notice: f"Undoing failed: {_line(notice.subject)}",
    "event.unmatched": lambda notice: f"Nobody took the event {(notice.details or {}).get('event')}",
    "system.no_worker": lambda notice: f"No worker takes work from the queue {notice.subject}",
    "system.queue_late": lambda notice: f"Work in the queue {notice.subject} is late",
}
