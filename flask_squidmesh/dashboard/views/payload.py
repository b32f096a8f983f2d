"""One part of a run's data: as JSON, and with its hidden values."""

from __future__ import annotations

import json

from flask import abort, current_app, jsonify, request, url_for
from werkzeug.wrappers import Response

from ...reading.looking import Look
from ...reading.views import Run
from .. import asking, data, parts
from ..access import require
from ..documents import revealed, visible
from ..language import _, code
from ..parts import Part
from ..rendering import render


def show(run_id: str, part: str) -> Response:
    """The whole part, without what is redacted."""
    look = data.look(run_id)
    found = _found(look, part)
    return jsonify(visible(look.run, found.value, found.path))


def reveal(run_id: str, part: str) -> Response:
    """Ask, then show the part with what is hidden for its name, once that is on record."""
    look = data.look(run_id)
    found = _found(look, part)
    actor = asking.actor_for("reveal", look.run)
    question = _question(look.run, found)
    if request.method == "GET":
        return asking.page(question)
    comment = asking.comment_for(question)
    if question.problems:
        return asking.page(question, 422)
    data.record_reveal(run_id, found.name, actor, comment)
    seen = revealed(look.run, found.value, found.path)
    text = json.dumps(seen, indent=2, ensure_ascii=False, default=str)
    page = render("revealed.html", run=look.run, part=found.name, text=text)
    return current_app.make_response(page)


def _found(look: Look, name: str) -> Part:
    require("view", look.run)
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
