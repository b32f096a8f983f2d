"""One part of a run's data: as JSON, and with its hidden values."""

from __future__ import annotations

import json
from dataclasses import dataclass

from flask import abort, current_app, url_for
from werkzeug.wrappers import Response

from ...queries.results import Run
from ...queries.run_snapshot import RunSnapshot
from .. import confirmation, page_data, redacted_documents
from ..authorization import require
from ..layout import render
from ..redacted_documents import Part, revealed, visible
from ..text.language import _, code


def show(run_id: str, part: str) -> Response:
    """The whole part, without what is redacted."""
    look = page_data.viewable_run(run_id)
    found = _found(look, part)
    return redacted_documents.response(visible(look.run, found.value, found.path))


@dataclass(frozen=True, slots=True)
class HiddenValues:
    """A part of a run that somebody may see whole, once that is on record."""

    run: Run
    part: Part
    actor: object


def enter(run_id: str, part: str) -> HiddenValues:
    """The part, for somebody who may see it whole."""
    look = page_data.viewable_run(run_id)
    found = _found(look, part)
    return HiddenValues(look.run, found, confirmation.actor_for("reveal", look.run))


def ask(hidden: HiddenValues) -> Response:
    """The page that asks."""
    return confirmation.page(_question(hidden.run, hidden.part))


def reveal(hidden: HiddenValues) -> Response:
    """Show the part with what is hidden for its name, once that is on record."""
    run, found = hidden.run, hidden.part
    question = _question(run, found)
    comment = confirmation.comment_for(question)
    if question.problems:
        return confirmation.page(question, 422)
    page_data.record_reveal(run.id, found.name, hidden.actor, comment)
    seen = revealed(run, found.value, found.path)
    text = json.dumps(seen, indent=2, ensure_ascii=False, default=str)
    page = render("revealed.html", run=run, part=found.name, text=text)
    return current_app.make_response(page)


def _found(look: RunSnapshot, name: str) -> Part:
    require("payload", look.run)
    part = redacted_documents.named(look, name)
    if part is None or part.value is None:
        abort(404)
    return part


def _question(run: Run, part: Part) -> confirmation.Confirmation:
    return confirmation.Confirmation(
        right="reveal",
        heading=_("Reveal what is hidden"),
        sentence=_(
            "It shows what is hidden for its name in {part} of this run. That you have seen it is kept in the audit.",
            part=code(part.name),
        ),
        button=_("Reveal"),
        back=url_for(".run", run_id=run.id),
    )
