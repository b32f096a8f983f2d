"""Words on a run, for everybody who reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast
from uuid import uuid4

from flask import current_app, flash, redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from ...errors import ManualActionError
from ...people import Actor
from ...runtime.runtime import configured_runtime
from ...storage.summaries import RunSummary
from .. import confirmation, page_data
from ..authorization import current_scope
from ..layout import TemplateContext, render
from ..text.language import _, in_english


@dataclass(frozen=True, slots=True)
class NoteRequest:
    """Somebody who may write on a run."""

    run: RunSummary
    actor: object


@dataclass(frozen=True, slots=True, kw_only=True)
class NotePage(TemplateContext):
    """The page that asks. text: what was typed, problem: what is wrong with it."""

    run: RunSummary
    title: str
    note_key: str
    text: str
    problem: Markup | None


def enter(run_id: str) -> NoteRequest:
    """The run, for somebody who may write on it."""
    run = page_data.viewable_summary(run_id).run
    return NoteRequest(run, confirmation.actor_for("note", run))


def show(asked: NoteRequest) -> Response:
    """The page that asks."""
    return _page(asked, None, 200)


def write(asked: NoteRequest) -> Response:
    """Keep what was written."""
    text = request.form.get("text", "")
    if not text.strip():
        return _page(asked, _("Write something to keep."), 422)
    try:
        configured_runtime().commands.note(
            asked.run.id,
            text.strip(),
            scope=current_scope(),
            actor=cast(Actor, asked.actor),
            idempotency_key=request.form.get("key") or None,
        )
    except ManualActionError as error:
        return _page(asked, in_english(str(error)), 422)
    flash(_("The note was kept."), "success")
    return redirect(url_for(".run", run_id=asked.run.id, view="history") + "#audit", 303)


def _page(asked: NoteRequest, problem: Markup | None, status: int) -> Response:
    shown = NotePage(
        run=asked.run,
        title=asked.run.title,
        note_key=request.form.get("key") or str(uuid4()),
        text=request.form.get("text", ""),
        problem=problem,
    )
    return current_app.make_response((render("note.html", shown), status))
