"""Notices as text for people, in their language."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from flask import current_app

from ..catalogues import LOCALES, Phrases, offered, phrases
from ..errors import ConfigurationError, given
from ..notices import Notice, NoticeKind

LONGEST_HEADLINE: Final = 150

Language = str | Callable[[str], str | None] | None
"""The language of messages, a function of the receiver that answers it, or None for that of the app."""


def checked_language(language: object, channel: str) -> None:
    """Raise ConfigurationError where it is none of ours, and no function."""
    if language is not None and not callable(language) and offered(language) is None:
        raise ConfigurationError(
            f"{channel}: language is one of {', '.join(LOCALES)}, or a function of the receiver, not {given(language)}."
        )


def language_for(receiver: str, language: Language) -> str:
    """The language for a receiver: what the host says, else that of the app, else English.

    That of the app is SQUIDMESH_DASHBOARD_LOCALE, or the default of its Flask-Babel: there is no request here that
    would say more.
    """
    said = language(receiver) if callable(language) else language
    babel = current_app.extensions.get("babel")
    fixed = current_app.config.get("SQUIDMESH_DASHBOARD_LOCALE")
    found = map(offered, (said, fixed, getattr(babel, "default_locale", None)))
    return next((each for each in found if each), LOCALES[0])


def headline(notices: Sequence[Notice], language: str) -> str:
    """What has happened, in a line; of several how many."""
    _ = phrases(language)
    if len(notices) == 1:
        return _cut(_HEADLINES[notices[0].kind](_, notices[0]))
    asked = sum(notice.kind in _ASKING for notice in notices)
    if asked:
        return _("{count} notices, {asked} waiting for you", count=len(notices), asked=asked)
    return _("{count} notices", count=len(notices))


def text(notices: Sequence[Notice], language: str) -> str:
    """Everything that the notices say, one after the other."""
    return "\n\n".join("\n".join(_lines(phrases(language), notice)) for notice in notices) + "\n"


def _lines(_: Phrases, notice: Notice) -> Iterator[str]:
    yield _HEADLINES[notice.kind](_, notice)
    yield ""
    if notice.run_id is not None:
        yield _("Run: {subject} ({workflow})", subject=_line(notice.subject), workflow=notice.workflow)
    if notice.step:
        yield _("Step: {step}", step=notice.step)
    whose = [*([notice.assignee] if notice.assignee else []), *notice.groups]
    if whose and notice.kind in _ASKING:
        yield _("For: {people}", people=", ".join(whose))
    if notice.due_at is not None and notice.kind in _ASKING:
        yield _("Due: {time}", time=_time(notice.due_at))
    yield from _details(_, notice)
    yield _("When: {time}", time=_time(notice.at))
    if notice.url:
        yield _("Open: {address}", address=notice.url)


def _details(_: Phrases, notice: Notice) -> Iterator[str]:
    details = notice.details or {}
    if details.get("comment"):
        yield _("Comment: {comment}", comment=details["comment"])
    if notice.error is not None:
        error, message = notice.error.get("type"), _line(str(notice.error.get("message") or ""))
        yield _("Error: {type}: {message}", type=error, message=message)
    if details.get("steps"):
        yield _("Steps: {steps}", steps=", ".join(details["steps"]))
    for name, label in _labels(_).items():
        if name in details:
            yield f"{label}: {_line(str(details[name]))}"


def _labels(_: Phrases) -> Mapping[str, str]:
    return {
        "event": _("Event"),
        "key": _("Key"),
        "event_id": _("Event id"),
        "sent_at": _("Sent at"),
        "queue": _("Queue"),
        "waiting_since": _("Waiting since"),
    }


def _asked(notice: Notice) -> str:
    return _line(notice.prompt or "") or notice.step or _line(notice.subject)


def _decided(_: Phrases, notice: Notice) -> str:
    details = notice.details or {}
    actor = details.get("actor")
    name = actor.get("label") or actor.get("id") if isinstance(actor, Mapping) else actor
    question, option = _asked(notice), details.get("option") or _("go on")
    if name:
        return _("Decided: {question} – {option}, by {person}", question=question, option=option, person=name)
    return _("Decided: {question} – {option}", question=question, option=option)


def _completed(_: Phrases, notice: Notice) -> str:
    said = _("Completed: {subject}", subject=_line(notice.subject))
    return f"{said} ({notice.outcome})" if notice.outcome else said


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _line(said: str) -> str:
    return " ".join(said.split())


def _cut(said: str) -> str:
    return said if len(said) <= LONGEST_HEADLINE else said[: LONGEST_HEADLINE - 1] + "…"


_ASKING: Final[frozenset[NoticeKind]] = frozenset({"decision.opened", "decision.reminded", "decision.escalated"})
_HEADLINES: Final[Mapping[NoticeKind, Callable[[Phrases, Notice], str]]] = {
    "decision.opened": lambda _, notice: _("To decide: {question}", question=_asked(notice)),
    "decision.reminded": lambda _, notice: _("Reminder: {question}", question=_asked(notice)),
    "decision.escalated": lambda _, notice: _("Escalated: {question}", question=_asked(notice)),
    "decision.timed_out": lambda _, notice: _("Timed out: {question}", question=_asked(notice)),
    "decision.decided": _decided,
    "run.completed": _completed,
    "run.failed": lambda _, notice: _("Failed: {subject}", subject=_line(notice.subject)),
    "run.cancelled": lambda _, notice: _("Cancelled: {subject}", subject=_line(notice.subject)),
    "run.incident": lambda _, notice: _("Cannot go on: {subject}", subject=_line(notice.subject)),
    "run.interrupted": lambda _, notice: _("Interrupted, outcome unknown: {subject}", subject=_line(notice.subject)),
    "compensation.failed": lambda _, notice: _("Undoing failed: {subject}", subject=_line(notice.subject)),
    "event.unmatched": lambda _, notice: _("Nobody took the event {event}", event=(notice.details or {}).get("event")),
    "system.no_worker": lambda _, notice: _("No worker takes work from the queue {queue}", queue=notice.subject),
    "system.queue_late": lambda _, notice: _("Work in the queue {queue} is late", queue=notice.subject),
}
