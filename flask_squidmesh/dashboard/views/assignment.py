"""Whose a wait is: taking it, giving it back, handing it on to somebody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from uuid import uuid4

from flask import abort, current_app, flash, redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from ...engine.assignments import may_answer
from ...engine.kept_decisions import WAITS
from ...errors import ConflictError, ManualActionError, TransitionError
from ...people import Actor, Person
from ...queries.results import DecisionView, Run
from ...queries.run_snapshot import RunSnapshot
from ...runtime.runtime import configured_runtime
from .. import confirmation, layout, page_data
from ..authorization import Refused, current_actor, current_claimant, current_scope, may, refusal, require
from ..layout import TemplateContext, render
from ..text.language import N_, _, code, in_english
from ..text.people_text import only_for

VERBS: Mapping[str, str] = {"take": N_("Take it"), "give-back": N_("Give it back"), "hand-on": N_("Hand on")}


@dataclass(frozen=True, slots=True)
class Assigning:
    """A link to a page that asks."""

    label: Markup
    address: str


@dataclass(frozen=True, slots=True)
class AssignRequest:
    """Somebody who wants to change whose a wait is, and has the right to. open: the wait; None where there is none."""

    look: RunSnapshot
    open: DecisionView | None
    verb: str
    actor: object

    @property
    def decision(self) -> DecisionView:
        """The wait, once it was looked whether there is one."""
        assert self.open is not None, "it was looked at before"
        return self.open

    @property
    def run(self) -> Run:
        """What it is about."""
        return self.look.run


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignPage(TemplateContext):
    """The page that asks. before: whose it is, as the page shows it. asks_whom: whether it asks whose it becomes.
    people: who is offered there.
    """

    question: confirmation.Confirmation
    attempt: confirmation.Confirmation
    here: str
    step: str
    before: str
    next: str | None
    asks_whom: bool
    people: list[Person]
    form: Mapping[str, str]


def assigning_of(run: Run, decision: DecisionView) -> list[Assigning]:
    """What the person can do about whose the wait is."""
    if decision.kind not in WAITS:
        return []
    verbs = [verb for verb in VERBS if _is_for(decision, verb) and _objection(run, decision, verb) is None]
    return [Assigning(_(VERBS[verb]), _address(run, decision.step, verb)) for verb in verbs]


def enter(run_id: str, verb: str) -> AssignRequest:
    """The open wait at the step that the address names, for somebody who may change whose it is."""
    if verb not in VERBS:
        abort(404)
    look = page_data.viewable_run(run_id)
    run, step = look.run, request.args.get("step")
    decision = next((each for each in look.decisions if each.kind in WAITS and step in (None, each.step)), None)
    require(_right(verb), run, decision.permission if decision else None, step=step)
    actor = current_actor()
    if actor is None:
        raise Refused(_right(verb), _("Nobody would be recorded as having done it: the app has to give mesh.actor."))
    return AssignRequest(look, decision, verb, actor)


def show(asked: AssignRequest) -> Response:
    """The page that asks."""
    _check(asked)
    return _page(asked, _question(asked), 200)


def act(asked: AssignRequest) -> Response:
    """Make it somebody's, if it is whose it was when the page was shown."""
    _check(asked)
    question = _question(asked)
    to = _whom(asked)
    comment = confirmation.comment_for(question)
    if asked.verb == "hand-on" and not to:
        question.problems["to"] = _("Say who, by their id.")
    if question.problems:
        return _page(asked, question, 422)
    claimant = None if _is_trusted(asked.run, asked.decision) else current_claimant()
    try:
        configured_runtime().commands.assign(
            asked.run.id,
            to=to,
            step=asked.decision.step,
            expected_assignee=request.form.get("before") or None,
            claimant=claimant,
            scope=current_scope(),
            actor=cast(Actor, asked.actor),
            comment=comment,
            idempotency_key=request.form.get("key") or None,
        )
    except ConflictError:
        question.problems["actor"] = _("Nothing was done: it has become somebody else's since this page was shown.")
        return _page(asked, question, 409)
    except TransitionError as error:
        question.problems["actor"] = in_english(str(error))
        return _page(asked, question, 409)
    except ManualActionError as error:
        question.problems[error.field] = in_english(str(error))
        return _page(asked, question, 422)
    flash(_("It is {person}'s now.", person=code(to)) if to else _("It is nobody's now."), "success")
    return redirect(_next() or url_for(".run", run_id=asked.run.id), 303)


def _check(asked: AssignRequest) -> None:
    """Raise Refused where nothing waits, or whose it is is not for this person to change."""
    if asked.open is None:
        raise Refused(_right(asked.verb), _("Nothing waits for people there now."), run_id=asked.run.id)
    objection = _objection(asked.run, asked.open, asked.verb)
    if objection is not None:
        raise Refused(_right(asked.verb), objection, run_id=asked.run.id)


def _whom(asked: AssignRequest) -> str | None:
    if asked.verb == "take":
        return current_claimant().id
    return request.form.get("to", "").strip() or None if asked.verb == "hand-on" else None


def _right(verb: str) -> str:
    return "assign" if verb == "hand-on" else "take"


def _is_for(decision: DecisionView, verb: str) -> bool:
    """Whether the person could want it, whatever they may."""
    me = current_claimant().id
    if verb == "hand-on":
        return True
    return me is not None and (decision.assignee == me) == (verb == "give-back")


def _objection(run: Run, decision: DecisionView, verb: str) -> Markup | None:
    """Why the person may not; None where they may."""
    denied = refusal(_right(verb), run, decision.permission, step=decision.step)
    if denied is not None:
        return Markup.escape(denied.reason)
    kept = {"assignee": decision.assignee, "groups": decision.groups}
    if may_answer(kept, current_claimant()) or _is_trusted(run, decision):
        return None
    return only_for(kept)


def _is_trusted(run: Run, decision: DecisionView) -> bool:
    """Whether the person may do so with what is others'."""
    return may("assign", run, decision.permission, step=decision.step)


def _address(run: Run, step: str, verb: str) -> str:
    return url_for(".assign", run_id=run.id, verb=verb, step=step)


def _next() -> str | None:
    return layout.local_path(request.values.get("next"))


def _question(asked: AssignRequest) -> confirmation.Confirmation:
    decision, label = asked.decision, _(VERBS[asked.verb])
    before = code(decision.assignee) if decision.assignee else None
    sentences = {
        "take": _("It becomes yours; it was {person}'s.", person=before) if before else _("It becomes yours."),
        "give-back": _("It becomes nobody's, for whoever takes it next."),
        "hand-on": _("It becomes theirs; it was {person}'s.", person=before) if before else _("It becomes theirs."),
    }
    return confirmation.Confirmation(
        right=_right(asked.verb),
        heading=_("{action}: {title}", action=label, title=asked.run.title),
        sentence=sentences[asked.verb],
        button=label,
        back=_next() or url_for(".run", run_id=asked.run.id),
        key=request.form.get("key") or str(uuid4()),
    )


def _page(asked: AssignRequest, question: confirmation.Confirmation, status: int) -> Response:
    shown = AssignPage(
        question=question,
        attempt=question,
        here=_address(asked.run, asked.decision.step, asked.verb),
        step=asked.decision.step,
        before=asked.decision.assignee or "",
        next=_next(),
        asks_whom=(asks_whom := asked.verb == "hand-on"),
        people=page_data.people_to_choose(asked.run, asked.decision.step) if asks_whom else [],
        form=request.form,
    )
    return current_app.make_response((render("assign.html", shown), status))
