"""Needs you: the runs that wait for a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import request, url_for
from markupsafe import Markup

from ...reading.inbox import marks
from ...reading.views import Count, DecisionView, Inbox, InboxItem
from ...runtime.runtime import current_runtime
from ...store.summaries import RunSummary
from .. import data, frame, times
from ..access import require
from ..chips import Chip
from ..documents import visible
from ..language import _, plural
from ..marks import Mark, mark_of, mark_of_decision
from ..offers import Button, inbox_buttons
from ..reasons_to_look import reason
from ..rendering import render
from ..sentences import who_decides

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
    """One run that needs a person, or one of the decisions that are open in it."""

    run: RunSummary
    title: str
    address: str
    mark: Mark
    why: Markup
    who: list[Markup]
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
        "cards": [_card(item, each, word, now) for item in inbox.items for each in item.decisions or (None,)],
        "several": sum(len(item.decisions or (None,)) for item in inbox.items) > 1,
        "chips": _chips(inbox, word),
        "most": MOST if len(inbox.items) == MOST else None,
        "last_decision": last_decision,
        "in_progress": in_progress,
        "pulse": frame.pulse("inbox", _version(inbox), word=word),
    }


def _card(item: InboxItem, decision: DecisionView | None, word: str | None, now: datetime) -> Card:
    run = item.run
    due_at = decision.decide_by if decision else item.due_at
    return Card(
        run=run,
        title=run.subject or run.workflow,
        address=url_for(".run", run_id=run.id),
        mark=mark_of_decision(decision.kind) if decision else mark_of(WORDS[item.kind]),
        why=reason(item, decision, now, lambda value, path: visible(run, value, path)),
        who=who_decides(decision) if decision else [],
        since=_since(decision.asked_at if decision else item.since, now),
        due=frame.due(due_at, now) if due_at else None,
        overdue=bool(due_at and due_at <= now),
        buttons=inbox_buttons(item, decision, back=url_for(".inbox", word=word)),
        alike=url_for(".runs", error=run.error_fingerprint) if item.alike else None,
        alike_count=item.alike + 1,
    )


def _since(since: datetime, now: datetime) -> Markup:
    return _("waiting {length}", length=times.elapsed(since, now))


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
