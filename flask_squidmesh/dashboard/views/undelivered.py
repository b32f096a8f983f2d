"""What could not be delivered: having it told again, or taking note."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from flask import abort, flash, redirect, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from ...errors import ManualActionError, TransitionError
from ...queries.messages import UndeliveredNotice
from ...runtime.notice_commands import NoticeCommands
from ...runtime.runtime import configured_runtime
from .. import confirmation, outside_data
from ..authorization import may
from ..available_commands import Button
from ..text.language import N_, _, in_english
from ..text.notice_words import about

RIGHT: Final = "tell_again"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeVerb:
    """Something a person does with what could not be delivered."""

    call: Callable[..., None]
    text: str
    sentence: str
    done: str
    tone: str = ""


VERBS: Final = {
    "again": NoticeVerb(
        call=NoticeCommands.tell_again,
        text=N_("Try again"),
        sentence=N_("It is tried again at once, and again and again for a day."),
        done=N_("It is being tried again."),
        tone="go",
    ),
    "dismiss": NoticeVerb(
        call=NoticeCommands.dismiss,
        text=N_("Dismiss"),
        sentence=N_("It is not told any more and leaves this list; the audit keeps that."),
        done=N_("It is off the list."),
    ),
}


@dataclass(frozen=True, slots=True)
class NoticeRequest:
    """What somebody who may do it wants done with which notice."""

    verb: NoticeVerb
    notice: UndeliveredNotice
    actor: object


def enter(entry_id: str, verb: str) -> NoticeRequest:
    """What is to be done, for somebody who may do it."""
    chosen = VERBS.get(verb)
    if chosen is None:
        abort(404)
    notice = outside_data.undelivered(entry_id)
    return NoticeRequest(chosen, notice, confirmation.actor_for(RIGHT, notice.run))


def ask(asked: NoticeRequest) -> Response:
    """The page that asks."""
    return confirmation.page(_question(asked))


def act(asked: NoticeRequest) -> Response:
    """Do it."""
    question = _question(asked)
    comment = confirmation.comment_for(question)
    if question.problems:
        return confirmation.page(question, 422)
    try:
        asked.verb.call(configured_runtime().notice_commands, asked.notice.id, actor=asked.actor, comment=comment)
    except ManualActionError as error:
        question.problems[error.field] = in_english(str(error))
        return confirmation.page(question, 422)
    except TransitionError:
        flash(_("Somebody was faster; nothing was done."), "error")
        return redirect(url_for(".system"), 303)
    flash(_(asked.verb.done), "success")
    return redirect(url_for(".system"), 303)


def buttons(notice: UndeliveredNotice) -> list[Button]:
    """What the person may do with it."""
    if not may(RIGHT, notice.run):
        return []
    return [
        Button(_(verb.text).striptags(), url_for(".message", entry_id=notice.id, verb=name), "", "")
        for name, verb in VERBS.items()
    ]


def _question(asked: NoticeRequest) -> confirmation.Confirmation:
    return confirmation.Confirmation(
        right=RIGHT,
        heading=Markup("{}: {}").format(_(asked.verb.text), about(asked.notice)),
        sentence=_(asked.verb.sentence),
        button=_(asked.verb.text),
        back=url_for(".system"),
        tone=asked.verb.tone,
    )
