"""Needs you: the runs that wait for a person."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flask import render_template, request, url_for
from markupsafe import Markup

from ...reading.views import Count, Inbox, InboxItem
from ...runtime.runtime import current_runtime
from ...store.summaries import RunSummary
from .. import data, frame, times
from ..access import require
from ..chips import Chip
from ..documents import visible
from ..language import N_, _, plural
from ..marks import Mark, mark_of
from ..offers import Button, inbox_buttons
from ..reasons_to_look import reason

WORDS: Mapping[str, str] = {
    "decision": "decision",
    "resume": "paused",
    "interrupted": "stuck",
    "stuck": "stuck",
    "failed": "failed",
    "compensation_failed": "failed",
}
NAMES: Mapping[str, str] = {
    "decision": N_("Decision"),
    "resume": N_("Paused"),
    "interrupted": N_("Interrupted"),
    "stuck": N_("Stuck"),
    "failed": N_("Failed"),
    "compensation_failed": N_("Not undone"),
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
    return render_template("squidmesh/inbox.html", **_content(_read()))


def refreshed(version: str) -> str | None:
    """The parts of the page that have changed since this version, None where nothing has."""
    require("list")
    inbox = _read()
    if _version(inbox) == version:
        return None
    return render_template("squidmesh/_pulse_inbox.html", swapped=True, **_content(inbox))


def _kind() -> str | None:
    return request.args.get("kind") if request.args.get("kind") in WORDS else None


def _read() -> Inbox:
    return data.inbox_of(_kind(), MOST)


def _content(inbox: Inbox) -> dict[str, Any]:
    kind, now, version = _kind(), current_runtime().clock.now(), _version(inbox)
    return {
        "kind": kind,
        "cards": [_card(item, kind, now) for item in inbox.items],
        "chips": _chips(inbox, kind),
        "most": MOST if len(inbox.items) == MOST else None,
        "last_decision": data.last_decision() if not inbox.items else None,
        "in_progress": _in_progress(),
        "pulse": frame.pulse("inbox", version, current_runtime().config.dashboard.poll_list, kind=kind),
    }


def _card(item: InboxItem, kind: str | None, now: datetime) -> Card:
    run = item.run
    return Card(
        run=run,
        title=run.subject or run.workflow,
        address=url_for(".run", run_id=run.id),
        mark=_mark(item.kind),
        why=reason(replace(item, error=visible(run, item.error, ("error",))), now),
        since=_since(item.since, now),
        due=_due(item.due_at, now) if item.due_at else None,
        overdue=item.overdue,
        buttons=inbox_buttons(item, back=url_for(".inbox", kind=kind)),
        alike=url_for(".runs", error=run.error_fingerprint) if item.alike else None,
        alike_count=item.alike + 1,
    )


def _since(since: datetime, now: datetime) -> Markup:
    length = times.about((now - since).total_seconds())
    shown = Markup('<time datetime="{}">{}</time>').format(since.isoformat(timespec="seconds"), length)
    return _("waiting {length}", length=shown)


def _due(due_at: datetime, now: datetime) -> Markup:
    if due_at <= now:
        return _("<b>overdue by {length}</b>", length=times.about((now - due_at).total_seconds()))
    return _("due {time}", time=times.stamp(due_at, frame.zone(), now))


def _chips(inbox: Inbox, kind: str | None) -> list[Chip]:
    every = Count(value=sum(count.value for count in inbox.counts.values()))
    chips = [Chip(None, every, url_for(".inbox"), kind is None)]
    for name, count in inbox.counts.items():
        if count.value or name == kind:
            chips.append(Chip(_mark(name), count, url_for(".inbox", kind=name), name == kind))
    return chips


def _mark(kind: str) -> Mark:
    return Mark(mark_of(WORDS[kind]).shape, NAMES[kind])


def _in_progress() -> Markup:
    count = data.unfinished_count()
    return plural(count, "1 run is in progress.", "{count} runs are in progress.")


def _version(inbox: Inbox) -> str:
    """What the reader sees, in short."""
    shown = [(item.run.id, item.run.revision, item.kind, item.overdue, item.alike) for item in inbox.items]
    numbers = [(kind, count.value) for kind, count in inbox.counts.items()]
    return hashlib.sha256(repr((shown, numbers)).encode()).hexdigest()[:16]
