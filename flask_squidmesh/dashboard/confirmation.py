"""A page that asks before something is done that is no action on a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import current_app, request
from markupsafe import Markup
from werkzeug.wrappers import Response

from ..runtime.runtime import current_runtime
from ..storage.summaries import RunSummary
from .authorization import Refused, current_actor, require
from .layout import render
from .text.language import _


@dataclass(slots=True, kw_only=True)
class Confirmation:
    """right: the word for `authorize`. sentence: what will happen. button: names the act. back: where else to go.

    key: what makes a form that is sent twice count once.
    """

    right: str
    heading: Markup
    sentence: Markup
    button: Markup
    back: str
    tone: str = "go"
    key: str | None = None
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def comment_required(self) -> bool:
        """Whether it takes words."""
        return self.right in current_runtime().config.dashboard.comment_required


def actor_for(right: str, run: RunSummary | None = None, *, workflow: str | None = None) -> object:
    """Who does it. Raises Refused where the person may not, or where nobody would be on record."""
    require(right, run, workflow=workflow)
    actor = current_actor()
    if actor is None:
        raise Refused(right, _("Nobody would be recorded as having done it: the app has to give mesh.actor."))
    return actor


def comment_for(question: Confirmation) -> str | None:
    """What was said, None for nothing; what is missing is noted with the question."""
    comment = request.form.get("comment", "").strip() or None
    if question.comment_required and comment is None:
        question.problems["comment"] = _("Say why, in a few words; it is kept with the run.")
    return comment


def page(question: Confirmation, status: int = 200) -> Response:
    """The page that asks."""
    shown = render("ask.html", question=question, attempt=question, form=request.form)
    return current_app.make_response((shown, status))
