"""The page of a command: GET shows what will happen, POST does it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from flask import abort, current_app, flash, redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from ...engine.command_effects import Blocking, RunBegins, RunStops
from ...engine.command_rules import NextAction
from ...errors import ConflictError, ManualActionError, PayloadError, TransitionError, UnsafeReplayError
from ...queries.results import AuditEventView, Run
from ...runtime.runtime import configured_runtime
from ...storage.summaries import RunSummary
from .. import layout, page_data, redacted_documents
from ..authorization import current_actor, current_scope, require
from ..available_commands import (
    BY_VERB,
    CommandKeywords,
    InvalidField,
    claimant_for,
    permission_at,
    undecided_by,
)
from ..command_attempt import CommandAttempt, allow, attempt_at, offered, steps_to_choose
from ..layout import TemplateContext, render
from ..redacted_documents import Document, Documents, shown, visible
from ..text.audit_text import title_of
from ..text.badges import Badge, badge_of_run
from ..text.command_text import consequence, done, irreversible, why_not
from ..text.language import _, in_english, joined


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPage(TemplateContext):
    """Base of both pages of an attempt."""

    attempt: CommandAttempt
    run: Run
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandForm(CommandPage):
    """The page that asks.

    leads: where it leads. blocking: what a replay would repeat, and confirm_with: the name to type for it. undoes: the
    steps that a person who cancels may have undone. steps: those to choose from. changes: what an output would do to
    the run's state. undecided: the decisions that a replay takes anew. visited: where a replay may begin.
    begins_at: when the run begins, as a field of a form has it.
    """

    options: list[str]
    leads: Markup | None
    prompt: str | None
    payload: Document | None
    blocking: list[Markup]
    confirm_with: str | None
    undoes: list[str]
    steps: list[str]
    changes: Sequence[tuple[str, Markup | None, Markup]]
    undecided: Markup | None
    visited: list[str]
    begins_at: str
    key: str
    expected: str
    next: str | None
    form: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandConflict(CommandPage):
    """What holds now. event: what somebody did last."""

    event: AuditEventView | None
    title_of: Callable[[AuditEventView], Markup]
    mark: Badge
    why: Markup | None


def enter(run_id: str, verb: str) -> CommandAttempt:
    """The command at the step that the address names, for somebody who may do it there."""
    command = BY_VERB.get(verb)
    if command is None:
        abort(404)
    look = page_data.viewable_run(run_id)
    attempt = attempt_at(look, command, request.args.get("step"), request.args.get("option"))
    allow(attempt)
    return attempt


def show(attempt: CommandAttempt) -> Response:
    """The page that asks."""
    if attempt.possible is None and not attempt.blocking and not _is_to_choose(attempt):
        return _conflict(attempt)
    return _form(attempt, 200)


def act(entered: CommandAttempt) -> Response:
    """Do it at the step that the form names, if the person may do it there too."""
    attempt = attempt_at(entered.look, entered.command, request.values.get("step"), request.values.get("option"))
    allow(attempt)
    return _do(attempt)


def _attempt_now(attempt: CommandAttempt) -> CommandAttempt:
    """The same, as the run stands now."""
    look = page_data.run_with_history(attempt.run.id)
    return attempt_at(look, attempt.command, request.values.get("step"), request.values.get("option"))


def _do(attempt: CommandAttempt) -> Response:
    if attempt.command.command.takes_step and not attempt.decision and attempt.possible is None:
        return show(attempt)
    if attempt.command.name == "decide" and attempt.option is None:
        return show(attempt)
    try:
        after = _call(attempt, _filled_in(attempt))
    except ConflictError:
        return _conflict(_attempt_now(attempt))
    except TransitionError as error:
        now = _attempt_now(attempt)
        if not request.form.get("from_step") or (now.possible is None and not now.blocking):
            return _conflict(now)
        attempt.problems["from_step"] = in_english(str(error))
    except (UnsafeReplayError, ManualActionError, PayloadError, InvalidField) as error:
        _note(attempt, error)
    else:
        return _done(attempt, after)
    return _form(attempt, 422)


def _note(attempt: CommandAttempt, error: UnsafeReplayError | ManualActionError | PayloadError | InvalidField) -> None:
    """Note what is wrong with the form. Raises Refused where the person may not do it any more."""
    match error:
        case UnsafeReplayError():
            attempt.blocking = [Blocking(**step) for step in error.steps]
            attempt.blocked_from = request.form.get("from_step") or None
            require(attempt.right, attempt.run)
            attempt.problems["confirm"] = _("Type the name of the step to confirm.")
        case ManualActionError(field="actor"):
            allow(_attempt_now(attempt))
            attempt.problems["actor"] = in_english(str(error))
        case ManualActionError():
            attempt.problems[error.field] = in_english(str(error))
        case PayloadError():
            if attempt.answer is not None:
                attempt.answer.note(error)
            attempt.problems["answer" if attempt.option is not None else "output"] = in_english(str(error))
        case InvalidField():
            attempt.problems[error.field] = error.message


def _filled_in(attempt: CommandAttempt) -> CommandKeywords:
    """What the form says, as arguments of the call. A missing comment is noted besides. Raises InvalidField."""
    comment = request.form.get("comment", "").strip() or None
    missing = attempt.comment_required and comment is None
    said = _("Say why, in a few words; it is kept with the run.")
    if missing:
        attempt.problems["comment"] = said
    extras = attempt.command.extras(request.form)
    if attempt.command.command.takes_step:
        extras["step"] = attempt.step
    if attempt.command.command.answers:
        permission = permission_at(attempt.run, attempt.step)
        extras["claimant"] = claimant_for(attempt.run, attempt.decision, attempt.step, permission)
    if attempt.command.name == "decide":
        extras["option"] = attempt.option or ""
    if attempt.answer is not None:
        extras["answer"] = attempt.answer.read(request.form)
        if attempt.answer.is_wrong:
            raise InvalidField("answer", _("Some fields need another look."))
    if attempt.command.name == "replay":
        extras["allow_irreversible"] = _confirmed(attempt)
        extras["undecided"] = undecided_by(attempt.run)
    if missing:
        raise InvalidField("comment", said)
    extras["comment"] = comment
    return extras


def _confirmed(attempt: CommandAttempt) -> bool:
    """Whether the name of the first step that stands in the way was typed. Raises InvalidField."""
    if not attempt.blocking or request.form.get("from_step"):
        return bool(request.form.get("confirm")) and _typed(attempt)
    if not _typed(attempt):
        raise InvalidField("confirm", _("Type {step} to confirm.", step=attempt.blocking[0].step))
    return True


def _typed(attempt: CommandAttempt) -> bool:
    return request.form.get("confirm", "").strip() in {step.step for step in attempt.blocking}


def _call(attempt: CommandAttempt, arguments: CommandKeywords) -> RunSummary:
    return configured_runtime().commands.carry_out(
        attempt.command.command,
        attempt.run.id,
        scope=current_scope(),
        actor=current_actor(),
        expected=request.form.get("expected") or attempt.run.decision,
        idempotency_key=request.form.get("key") or None,
        **arguments,
    )


def _done(attempt: CommandAttempt, after: RunSummary) -> Response:
    told = done(attempt.command.name, after.status, after.current_step, attempt.option, after.outcome)
    flash(told, "success")
    target = None if after.id != attempt.run.id else layout.local_path(request.form.get("next"))
    return redirect(target or url_for(".run", run_id=after.id), 303)


def _form(attempt: CommandAttempt, status: int) -> Response:
    shown = CommandForm(
        attempt=attempt,
        run=attempt.run,
        title=attempt.run.title,
        options=_options_to_choose(attempt),
        leads=_leads(attempt),
        prompt=attempt.decision["prompt"] if attempt.decision else None,
        payload=Documents(attempt.run).document(redacted_documents.of_run(attempt.run, "payload")),
        blocking=irreversible(attempt.blocking),
        confirm_with=attempt.blocking[0].step if attempt.blocking else None,
        undoes=_undoes(attempt.possible),
        steps=steps_to_choose(attempt),
        changes=_changes(attempt) if "allow_new_keys" in attempt.problems else (),
        undecided=joined(undecided_by(attempt.run)) if attempt.command.name == "replay" else None,
        visited=list(dict.fromkeys(each.step for each in attempt.run.step_runs or () if each.kind == "step")),
        begins_at=_begins_at(attempt.possible),
        key=request.form.get("key") or str(uuid4()),
        expected=request.form.get("expected") or attempt.run.decision,
        next=layout.local_path(request.values.get("next")),
        form=request.form,
    )
    return _page("action.html", status, shown)


def _leads(attempt: CommandAttempt) -> Markup | None:
    """Where it leads: what has to be confirmed first leads there too."""
    if attempt.blocking:
        return consequence(NextAction(attempt.command.name, action=attempt.command.name))
    return consequence(attempt.possible) if attempt.possible else None


def _undoes(command: NextAction | None) -> list[str]:
    """The steps of which a person who cancels may choose that they are undone."""
    return list(command.leads_to.compensates) if command and isinstance(command.leads_to, RunStops) else []


def _begins_at(command: NextAction | None) -> str:
    leads_to = command.leads_to if command else None
    if not isinstance(leads_to, RunBegins):
        return ""
    return leads_to.begins_at.astimezone(layout.zone()).strftime("%Y-%m-%dT%H:%M")


def _changes(attempt: CommandAttempt) -> list[tuple[str, Markup | None, Markup]]:
    """What the output in the form would do to the run's state: each key, what it holds now, and what it would hold."""
    run = attempt.run
    output = json.loads(request.form["output"])
    state = {**_members(visible(run, run.payload, ("payload",))), **_members(visible(run, run.context, ("context",)))}
    told = _members(visible(run, output, ("context",)))
    return [(key, shown(state[key]) if key in state else None, shown(told[key])) for key in output if key in told]


def _members(seen: object) -> Mapping[str, object]:
    """What is left of a mapping; the host may have hidden all of it, or put anything else in its place."""
    return seen if isinstance(seen, Mapping) else {}


def _options_to_choose(attempt: CommandAttempt) -> list[str]:
    """Those that can be taken at the step, where none was chosen."""
    if attempt.command.name != "decide" or attempt.option is not None or attempt.step is None:
        return []
    return [each.option for each in offered(attempt) if each.step == attempt.step and each.option]


def _is_to_choose(attempt: CommandAttempt) -> bool:
    return bool(steps_to_choose(attempt) or _options_to_choose(attempt))


def _conflict(attempt: CommandAttempt) -> Response:
    """What holds now, and who brought it about."""
    events = [event for event in attempt.run.audit_events or () if event.type != "refused"]
    shown = CommandConflict(
        attempt=attempt,
        run=attempt.run,
        title=attempt.run.title,
        event=next((event for event in reversed(events) if event.actor), events[-1] if events else None),
        title_of=title_of,
        mark=badge_of_run(attempt.run, attempt.look.word),
        why=why_not(attempt.refusal) if attempt.refusal else None,
    )
    return _page("conflict.html", 409, shown)


def _page(template: str, status: int, shown: CommandPage) -> Response:
    return current_app.make_response((render(template, shown), status))
