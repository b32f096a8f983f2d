"""Needs you: the runs that wait for a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flask import request, url_for
from markupsafe import Markup

from ...reading.inbox import marks
from ...reading.views import Count, Inbox, InboxItem
from ...runtime.runtime import current_runtime
from ...store.summaries import RunSummary
from .. import data, frame, times
from ..access import require
from ..chips import Chip
from ..documents import visible
from ..language import _, plural
from ..marks import Mark, mark_of
from ..offers import Button, inbox_buttons
from ..reasons_to_look import reason
from ..rendering import render

WORDS: Mapping[str, str] = {
    "decision": "decision",
    "resume": "paused",
    "interrupted": "stuck",
    "incident": "incident",
    "stuck": "stuck",
    "failed": "failed",
    "compensation_failed": "failed",
}
MOST = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One run that needs a person."""

    run: RunSummary
    title: str
    address: str
    mark: Mark
    why: Markup
    since: Markup
    due: Markup | None
    overdue: bool
    buttons: list[Button]
    alike: str | None
    alike_count: int


def show() -> str:
    """The page."""
    require("list")
    return render("inbox.html", **_content())


def refreshed(version: str) -> str | None:
    """The parts of the page that have changed since this version, None where nothing has."""
    require("list")
    if _version(data.inbox_glance(_kinds(), MOST)) == version:
        return None
    return render("_pulse_inbox.html", swapped=True, **_content())


def _word() -> str | None:
    return request.args.get("word") if request.args.get("word") in WORDS.values() else None


def _kinds() -> list[str]:
    asked = _word()
    return [kind for kind, word in WORDS.items() if asked in (None, word)]


def _version(inbox: Inbox) -> str:
    frame.note_needs(inbox.counts)
    return frame.version(marks(inbox))


def _content() -> dict[str, Any]:
    word, now = _word(), current_runtime().clock.now()
    with data.at_once():
        inbox = data.inbox_of(_kinds(), MOST)
        last_decision = data.last_decision() if not inbox.items else None
        in_progress = _in_progress()
    return {
        "word": word,
        "cards": [_card(item, word, now) for item in inbox.items],
        "chips": _chips(inbox, word),
        "most": MOST if len(inbox.items) == MOST else None,
        "last_decision": last_decision,
        "in_progress": in_progress,
        "pulse": frame.pulse("inbox", _version(inbox), word=word),
    }


def _card(item: InboxItem, word: str | None, now: datetime) -> Card:
    run = item.run
    return Card(
        run=run,
        title=run.subject or run.workflow,
        address=url_for(".run", run_id=run.id),
        mark=mark_of(WORDS[item.kind]),
        why=reason(_visible(item), now),
        since=_since(item.since, now),
        due=_due(item.due_at, now) if item.due_at else None,
        overdue=item.overdue,
        buttons=inbox_buttons(item, back=url_for(".inbox", word=word)),
        alike=url_for(".runs", error=run.error_fingerprint) if item.alike else None,
        alike_count=item.alike + 1,
    )


def _since(since: datetime, now: datetime) -> Markup:
    return _("waiting {length}", length=times.elapsed(since, now))


def _due(due_at: datetime, now: datetime) -> Markup:
    if due_at <= now:
        return _("<b>overdue by {length}</b>", length=times.elapsed(due_at, now))
    return _("due {time}", time=times.stamp(due_at, frame.zone(), now))


def _visible(item: InboxItem) -> InboxItem:
    failures = visible(item.run, list(item.compensation_failures), ("compensation_failures",))
    return replace(
        item,
        error=visible(item.run, item.error, ("last_error",)),
        compensation_failures=tuple(failures),
        stuck=visible(item.run, item.stuck, ("stuck",)),
    )


def _chips(inbox: Inbox, word: str | None) -> list[Chip]:
    every = Count(value=sum(count.value for count in inbox.counts.values()))
    chips = [Chip(None, every, url_for(".inbox"), word is None)]
    for each in dict.fromkeys(WORDS.values()):
        count = Count(value=sum(inbox.counts[kind].value for kind in WORDS if WORDS[kind] == each))
        if count.value or each == word:
            chips.append(Chip(mark_of(each), count, url_for(".inbox", word=each), each == word))
    return chips


def _in_progress() -> Markup:
    count = data.unfinished_count()
    return plural(count, "1 run is in progress.", "{count} runs are in progress.")
