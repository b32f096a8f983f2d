"""The page of a command: GET shows what will happen, POST does it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from flask import abort, current_app, flash, redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from ...engine.command_effects import Blocking, Obstacle, RunStops, UnsafeReplay
from ...engine.command_rules import NextAction, Refusal
from ...errors import ConflictError, ManualActionError, PayloadError, TransitionError, UnsafeReplayError
from ...queries.results import AuditEventView, DecisionAsked, Explanation, Run
from ...queries.run_snapshot import RunSnapshot
from ...runtime.runtime import configured_runtime, current_runtime
from ...storage.summaries import RunSummary
from .. import layout, page_data, redacted_documents
from ..answer_form import AnswerForm, form_of
from ..authorization import Refused, current_actor, current_scope, may, require
from ..available_commands import (
    ANSWERS,
    BY_VERB,
    CONFIRMED_REPLAY,
    UNSAFE,
    Command,
    CommandArguments,
    InvalidField,
    claimant_for,
    decided_last,
    decision_at,
    kept_option,
    may_not_take,
    not_theirs,
    permission_at,
    takes_comment,
    undecided_by,
)
from ..layout import TemplateContext, render
from ..redacted_documents import Document, Documents, shown, visible
from ..text.audit_text import title_of
from ..text.badges import Badge, badge_of_run
from ..text.command_text import consequence, done, irreversible, option_label, why_not
from ..text.language import _, in_english, joined


@dataclass(slots=True)
class CommandAttempt:
    """One request for a command: what it is about, and what is wrong with the form so far.

    option: what is taken at a decision, None where none is chosen. blocked_from: the step from which a replay would
    repeat what is `blocking`; None for the beginning. answer: the form of the option, None where it has none.
    """

    look: RunSnapshot
    command: Command
    step: str | None
    option: str | None = None
    answer: AnswerForm | None = None
    blocking: list[Blocking] = field(default_factory=list)
    blocked_from: str | None = None
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def run(self) -> Run:
        """What it is about."""
        return self.look.run

    @property
    def explanation(self) -> Explanation:
        """What can be done."""
        return self.look.explanation

    @property
    def right(self) -> str:
        """The word for `authorize`."""
        return CONFIRMED_REPLAY if self.blocking else self.command.name

    @property
    def possible(self) -> NextAction | None:
        """The command as it would succeed now."""
        found = [each for each in _offered(self) if each.step == self.step]
        return next((each for each in found if each.option in (None, self.option)), None)

    @property
    def refusal(self) -> Refusal | None:
        """Why it would not succeed now."""
        return next((each for each in self.explanation.refusals if each.action == self.command.name), None)

    @property
    def decision(self) -> DecisionAsked | None:
        """What is, or was, asked at the step; None where nothing ever was."""
        return decision_at(self.run, self.step)

    @property
    def label(self) -> Markup:
        """What it is called."""
        return option_label(self.option) if self.option is not None else self.command.label

    @property
    def comment_required(self) -> bool:
        """Whether it takes words."""
        by_right = current_runtime().config.dashboard.comment_required
        return takes_comment(self.decision, self.option) or self.right in by_right


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
    attempt = _attempt(look, command, request.args.get("step"), request.args.get("option"))
    _allow(attempt)
    return attempt


def show(attempt: CommandAttempt) -> Response:
    """The page that asks."""
    if attempt.possible is None and not attempt.blocking and not _is_to_choose(attempt):
        return _conflict(attempt)
    return _form(attempt, 200)


def act(entered: CommandAttempt) -> Response:
    """Do it at the step that the form names, if the person may do it there too."""
    attempt = _attempt(entered.look, entered.command, request.values.get("step"), request.values.get("option"))
    _allow(attempt)
    return _do(attempt)


def _allow(attempt: CommandAttempt) -> None:
    """Raises Refused where the person may not do it, or where nobody would be on record."""
    _require(attempt)
    run, decision, name = attempt.run, attempt.decision, attempt.command.name
    objection = not_theirs(run, decision, attempt.step) if name in ANSWERS else None
    objection = objection or may_not_take(run, name, attempt.option, decision)
    if objection is not None and attempt.possible is not None:
        raise Refused(attempt.command.name, objection, run_id=attempt.run.id)
    if current_actor() is None:
        raise Refused(
            attempt.command.name, _("Nobody would be recorded as having done it: the app has to give mesh.actor.")
        )


def _require(attempt: CommandAttempt) -> None:
    """The right to it at the step, or at one of the steps where none was chosen. Raises Refused."""
    if _steps_to_choose(attempt):
        return
    waiting = [each.step for each in _offered(attempt)]
    step = waiting[0] if attempt.step is None and waiting else attempt.step
    require(attempt.right, attempt.run, permission_at(attempt.run, step), step=step, option=attempt.option)


def _attempt(look: RunSnapshot, command: Command, chosen: str | None, option: str | None = None) -> CommandAttempt:
    attempt = CommandAttempt(look, command, _step(look, command, chosen))
    attempt.option = _option(attempt, option)
    if attempt.option is not None and attempt.step is not None and attempt.decision is not None:
        attempt.answer = form_of(look.run, attempt.decision, attempt.step, attempt.option)
    if attempt.refusal is not None and attempt.refusal.reason == UNSAFE:
        attempt.blocking = _blocking(attempt.refusal.details)
    return attempt


def _attempt_now(attempt: CommandAttempt) -> CommandAttempt:
    """The same, as the run stands now."""
    look = page_data.run_with_history(attempt.run.id)
    return _attempt(look, attempt.command, request.values.get("step"), request.values.get("option"))


def _option(attempt: CommandAttempt, chosen: str | None) -> str | None:
    """The option that the command takes at the step; None where it is no decision, or none was chosen of several."""
    decision, name = attempt.decision, attempt.command.name
    if decision is None or name not in ("approve", "reject", "decide"):
        return None
    if name != "decide":
        return name if decision["kind"] == "decision" or kept_option(decision, name) else None
    named = [each.option for each in _offered(attempt) if each.step == attempt.step and each.option]
    return chosen if chosen else named[0] if len(named) == 1 else None


def _step(look: RunSnapshot, command: Command, chosen: str | None) -> str | None:
    """The step that was chosen, else the only one that there is to choose, else the one decided last."""
    acts = [each.step for each in look.explanation.next_actions if each.action == command.name]
    offered = list(dict.fromkeys(acts))
    if chosen or len(offered) > 1:
        return chosen
    return offered[0] if offered else decided_last(look.run, command.name)


def _do(attempt: CommandAttempt) -> Response:
    if attempt.command.on_step and not attempt.decision and attempt.possible is None:
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
            _allow(_attempt_now(attempt))
            attempt.problems["actor"] = in_english(str(error))
        case ManualActionError():
            attempt.problems[error.field] = in_english(str(error))
        case PayloadError():
            if attempt.answer is not None:
                attempt.answer.note(error)
            attempt.problems["answer" if attempt.option is not None else "output"] = in_english(str(error))
        case InvalidField():
            attempt.problems[error.field] = error.message


def _filled_in(attempt: CommandAttempt) -> CommandArguments:
    """What the form says, as arguments of the call. A missing comment is noted besides. Raises InvalidField."""
    comment = request.form.get("comment", "").strip() or None
    missing = attempt.comment_required and comment is None
    said = _("Say why, in a few words; it is kept with the run.")
    if missing:
        attempt.problems["comment"] = said
    extras = attempt.command.extras(request.form)
    if attempt.command.on_step:
        extras["step"] = attempt.step
    if attempt.command.name in ANSWERS:
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


def _call(attempt: CommandAttempt, arguments: CommandArguments) -> RunSummary:
    return attempt.command.call(
        configured_runtime().commands,
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
        steps=_steps_to_choose(attempt),
        changes=_changes(attempt) if "allow_new_keys" in attempt.problems else (),
        undecided=joined(undecided_by(attempt.run)) if attempt.command.name == "replay" else None,
        visited=list(dict.fromkeys(each.step for each in attempt.run.step_runs or () if each.kind == "step")),
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


def _blocking(obstacle: Obstacle) -> list[Blocking]:
    return list(obstacle.blocked_by) if isinstance(obstacle, UnsafeReplay) else []


def _undoes(command: NextAction | None) -> list[str]:
    """The steps of which a person who cancels may choose that they are undone."""
    return list(command.leads_to.compensates) if command and isinstance(command.leads_to, RunStops) else []


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


def _steps_to_choose(attempt: CommandAttempt) -> list[str]:
    """Those that the person may decide, where several steps wait and none was chosen."""
    if attempt.step is not None:
        return []
    asked = {each.step: permission_at(attempt.run, each.step) for each in _offered(attempt) if each.step}
    return [step for step in asked if may(attempt.command.name, attempt.run, asked[step], step=step)]


def _options_to_choose(attempt: CommandAttempt) -> list[str]:
    """Those that can be taken at the step, where none was chosen."""
    if attempt.command.name != "decide" or attempt.option is not None or attempt.step is None:
        return []
    return [each.option for each in _offered(attempt) if each.step == attempt.step and each.option]


def _is_to_choose(attempt: CommandAttempt) -> bool:
    return bool(_steps_to_choose(attempt) or _options_to_choose(attempt))


def _offered(attempt: CommandAttempt) -> list[NextAction]:
    return [each for each in attempt.explanation.next_actions if each.action == attempt.command.name]


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
