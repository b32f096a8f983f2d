"""One part of a run's data: as JSON, and with its hidden values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from flask import abort, current_app, url_for
from werkzeug.wrappers import Response

from ...reading.looking import Look
from ...reading.views import Run
from .. import asking, data, json_text, parts, viewing
from ..access import require
from ..documents import revealed, visible
from ..language import _, code
from ..parts import Part
from ..rendering import render


def show(run_id: str, part: str) -> Response:
    """The whole part, without what is redacted."""
    look = viewing.look(run_id)
    found = _found(look, part)
    return json_text.response(visible(look.run, found.value, found.path))


@dataclass(frozen=True, slots=True)
class Hidden:
    """A part of a run that somebody may see whole, once that is on record."""

    run: Run
    part: Part
    actor: Any


def enter(run_id: str, part: str) -> Hidden:
    """The part, for somebody who may see it whole."""
    look = viewing.look(run_id)
    found = _found(look, part)
    return Hidden(look.run, found, asking.actor_for("reveal", look.run))


def ask(hidden: Hidden) -> Response:
    """The page that asks."""
    return asking.page(_question(hidden.run, hidden.part))


def reveal(hidden: Hidden) -> Response:
    """Show the part with what is hidden for its name, once that is on record."""
    run, found = hidden.run, hidden.part
    question = _question(run, found)
    comment = asking.comment_for(question)
    if question.problems:
        return asking.page(question, 422)
    data.record_reveal(run.id, found.name, hidden.actor, comment)
    seen = revealed(run, found.value, found.path)
    text = json.dumps(seen, indent=2, ensure_ascii=False, default=str)
    page = render("revealed.html", run=run, part=found.name, text=text)
    return current_app.make_response(page)


def _found(look: Look, name: str) -> Part:
    require("payload", look.run)
    part = parts.named(look, name)
    if part is None or part.value is None:
        abort(404)
    return part


def _question(run: Run, part: Part) -> asking.Question:
    return asking.Question(
        right="reveal",
        heading=_("Reveal what is hidden"),
        sentence=_(
            "It shows what is hidden for its name in {part} of this run. That you have seen it is kept in the audit.",
            part=code(part.name),
        ),
        button=_("Reveal"),
        back=url_for(".run", run_id=run.id),
    )
