"""Needs you: the runs that wait for a person, and going through them one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from flask import redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from ...queries.inbox import is_overdue, marks
from ...queries.results import AuditEventView, Count, DecisionView, Inbox, InboxItem
from ...runtime.runtime import current_runtime
from ...storage.summaries import RunSummary
from .. import layout, page_data
from ..authorization import require
from ..available_commands import Button, inbox_buttons
from ..endpoints import url_of
from ..layout import Pulse, TemplateContext, render
from ..redacted_documents import visible
from ..text import times
from ..text.badges import Badge, Chip, badge_of, badge_of_decision
from ..text.explanation_text import who_decides
from ..text.inbox_text import reason
from ..text.language import _, plural

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
    workflow: str
    address: str
    mark: Badge
    why: Markup
    who: list[Markup]
    since: Markup
    due: Markup | None
    overdue: bool
    buttons: list[Button]
    alike: str | None
    alike_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxPage(TemplateContext):
    """word: the one that the cards are narrowed to. several: whether there is more than one to go through. most: how
    many there are where some are left out. last_decision, in_progress: what is told where nothing needs anybody.
    """

    word: str | None
    cards: list[Card]
    several: bool
    chips: list[Chip]
    most: int | None
    last_decision: AuditEventView | None
    in_progress: Markup | None
    pulse: Pulse


def show() -> str:
    """The page."""
    require("list")
    return render("inbox.html", _content())


def refreshed(version: str) -> str | None:
    """The parts of the page that have changed since this version, None where nothing has."""
    require("list")
    if _version(page_data.inbox_glance(_kinds(), MOST)) == version:
        return None
    return render("_pulse_inbox.html", _content(), swapped=True)


def _word() -> str | None:
    return request.args.get("word") if request.args.get("word") in WORDS.values() else None


def _kinds() -> list[str]:
    asked = _word()
    return [kind for kind, word in WORDS.items() if asked in (None, word)]


def _version(inbox: Inbox) -> str:
    return layout.version(marks(inbox))


def _content() -> InboxPage:
    word, now = _word(), current_runtime().clock.now()
    with page_data.at_once():
        inbox = page_data.inbox_of(_kinds(), MOST)
        last_decision = page_data.last_decision() if not inbox.items else None
        in_progress = _in_progress() if not inbox.items else None
    return InboxPage(
        word=word,
        cards=[_card(item, each, word, now) for item in inbox.items for each in item.decisions or (None,)],
        several=sum(len(item.decisions or (None,)) for item in inbox.items) > 1,
        chips=_chips(inbox, word),
        most=MOST if len(inbox.items) == MOST else None,
        last_decision=last_decision,
        in_progress=in_progress,
        pulse=layout.pulse("inbox", _version(inbox), word=word),
    )


def _card(item: InboxItem, decision: DecisionView | None, word: str | None, now: datetime) -> Card:
    run = item.run
    due_at = decision.decide_by if decision else item.due_at
    return Card(
        run=run,
        title=run.subject or run.workflow,
        workflow=page_data.title_of_workflow(run.workflow),
        address=url_for(".run", run_id=run.id),
        mark=badge_of_decision(decision.kind) if decision else badge_of(WORDS[item.kind]),
        why=reason(item, decision, now, lambda value, path: visible(run, value, path)),
        who=who_decides(decision) if decision else [],
        since=_since(decision.asked_at if decision else item.since, now),
        due=layout.due(due_at, now) if due_at else None,
        overdue=is_overdue(due_at, now),
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
            chips.append(Chip(badge_of(each), count, url_for(".inbox", word=each), each == word))
    return chips


def _in_progress() -> Markup:
    count = page_data.unfinished_count()
    return plural(count, "1 run is in progress.", "{count} runs are in progress.")


ALL = "all"


def lead_on() -> Response:
    """Lead to the most urgent run, or to the one behind that which `after` names; behind the last, to the inbox."""
    require("list")
    word = request.args.get("among", ALL)
    ids = [id for id in _ids(word) if id != request.args.get("done")]
    after = request.args.get("after")
    behind = ids[ids.index(after) + 1 :] if after in ids else ids
    if not behind:
        return redirect(url_for(".inbox", word=None if word == ALL else word), 303)
    return redirect(url_for(".run", run_id=behind[0], among=word, after=after), 303)


def turn() -> dict[str, str]:
    """What the address of a run's page says of it: among which runs, and behind which of them."""
    return {name: request.args[name] for name in ("among", "after") if "among" in request.args and name in request.args}


def after_acting(run: RunSummary) -> str | None:
    """Where an action leads on to; None where the run is not one of many."""
    return url_of(".next", {"done": run.id, **turn()}) if turn() else None


def skipping(run: RunSummary) -> str | None:
    """Where the run is left as it is; None where it is not one of many."""
    return url_for(".next", among=turn()["among"], after=run.id) if turn() else None


def _ids(word: str) -> list[str]:
    kinds = [kind for kind in WORDS if word in (ALL, WORDS[kind])]
    return [item.run.id for item in page_data.inbox_glance(kinds, MOST).items]
