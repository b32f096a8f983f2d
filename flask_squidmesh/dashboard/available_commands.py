"""What one person can do with a run now, what each command leads to, and why the others are not offered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from flask import url_for
from markupsafe import Markup

from ..definition.values import JsonObject
from ..engine.approvals import objection
from ..engine.command_rules import STANDSTILLS, NextAction
from ..engine.kept_decisions import ApproverRules
from ..engine.replay_rules import MANUAL
from ..queries.results import DecisionAsked, DecisionView, Explanation, InboxItem, Run, StepRunView
from ..runtime.run_commands import CommandHandler
from ..storage.summaries import RunSummary
from .authorization import may, refusal, shown_actor
from .endpoints import NotJson, json_of
from .text.command_text import consequence, why_not
from .text.language import N_, _, code

Form = Mapping[str, str]


class InvalidField(Exception):
    """A field of the form is missing or wrong; `message` says so to the person who filled it in."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message


class CommandArguments(TypedDict, total=False):
    """What a form says, as arguments of the call."""

    step: str | None
    comment: str | None
    compensate: bool
    from_step: str | None
    output: JsonObject
    allow_new_keys: bool
    reason: str
    allow_irreversible: bool
    undecided: Collection[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """verb: its page below the run's. name: the word for `authorize`. call: the control call that does it.

    extras: what the form adds to the call; raises Invalid. fields: the template with those parts of the form.
    """

    verb: str
    name: str
    call: Callable[..., RunSummary]
    text: str
    tone: str = ""
    key: str = ""
    on_step: bool = False
    fields: str | None = None
    extras: Callable[[Form], CommandArguments] = lambda _form: CommandArguments()

    @property
    def label(self) -> Markup:
        """What stands on its button."""
        return _(self.text)


def _compensate(form: Form) -> CommandArguments:
    return {"compensate": form.get("compensate") == "yes"}


def _from_step(form: Form) -> CommandArguments:
    return {"from_step": form.get("from_step") or None}


def _output(form: Form) -> CommandArguments:
    text = form.get("output", "").strip()
    try:
        output = json_of(text) if text else {}
    except NotJson as error:
        raise InvalidField("output", error.reason) from error
    if not isinstance(output, dict):
        raise InvalidField(
            "output", _("The output of a step is a JSON object, such as {example}.", example='{"id": "c-1"}')
        )
    return {"output": output, "allow_new_keys": form.get("allow_new_keys") == "yes"}


def _reason(form: Form) -> CommandArguments:
    reason = form.get("reason", "").strip()
    if not reason:
        raise InvalidField("reason", _("Say in a few words why the step counts as failed."))
    return {"reason": reason}


_ALL = (
    Command(
        verb="approve",
        name="approve",
        call=CommandHandler.approve,
        text=N_("Approve"),
        tone="go",
        key="a",
        on_step=True,
    ),
    Command(
        verb="reject",
        name="reject",
        call=CommandHandler.reject,
        text=N_("Reject"),
        tone="danger",
        key="x",
        on_step=True,
    ),
    Command(verb="resume", name="resume", call=CommandHandler.unblock, text=N_("Resume"), tone="go", on_step=True),
    Command(verb="retry", name="retry", call=CommandHandler.retry_step, text=N_("Run the step again"), on_step=True),
    Command(
        verb="resolve",
        name="resolve",
        call=CommandHandler.resolve_step,
        text=N_("Count the step as done"),
        on_step=True,
        fields="_output_field.html",
        extras=_output,
    ),
    Command(
        verb="fail",
        name="fail",
        call=CommandHandler.fail_step,
        text=N_("Count the step as failed"),
        tone="danger",
        on_step=True,
        fields="_reason_field.html",
        extras=_reason,
    ),
    Command(
        verb="retry-compensation",
        name="retry_compensation",
        call=CommandHandler.retry_compensation,
        text=N_("Try again to undo"),
    ),
    Command(
        verb="replay",
        name="replay",
        call=CommandHandler.replay,
        text=N_("Replay"),
        fields="_replay_fields.html",
        extras=_from_step,
    ),
    Command(verb="acknowledge", name="acknowledge", call=CommandHandler.acknowledge, text=N_("Acknowledge")),
    Command(
        verb="cancel",
        name="cancel",
        call=CommandHandler.cancel,
        text=N_("Cancel run"),
        tone="danger",
        fields="_cancel_field.html",
        extras=_compensate,
    ),
)
COMMANDS: Mapping[str, Command] = {command.name: command for command in _ALL}
BY_VERB: Mapping[str, Command] = {command.verb: command for command in _ALL}


CONFIRMED_REPLAY = "replay_irreversible"
UNSAFE = "unsafe_replay"
_OBJECTIONS: Mapping[str, str] = {
    "unnamed": N_("You have no id, and this approval needs people who can be told apart."),
    "starter": N_("You started this run, and somebody else has to approve."),
    "again": N_("You have approved, and another person has to approve too."),
}
_DECIDES: Mapping[str, Sequence[str]] = {
    "approve": ("approval",),
    "reject": ("approval",),
    "resume": ("pause",),
    "retry": STANDSTILLS,
    "resolve": STANDSTILLS,
    "fail": STANDSTILLS,
}
_AFTER_FAILURE: Mapping[str, tuple[str, ...]] = {
    "failed": ("replay", "acknowledge"),
    "compensation_failed": ("retry_compensation", "replay", "acknowledge"),
}


@dataclass(frozen=True, slots=True)
class Button:
    """A link to the page of an action; nothing happens before that page is sent. key: a letter that opens it."""

    label: str
    address: str
    tone: str
    key: str


@dataclass(frozen=True, slots=True)
class AvailableCommand:
    """One action with what it leads to. button: None where the person may not, or it is not possible.

    name: of the command.
    """

    label: Markup
    text: Markup
    button: Button | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class AvailableCommands:
    """possible: those that would succeed now, also where the person may not, by the step whose decision they settle;
    under None what concerns the run. impossible: the others.
    """

    possible: Mapping[str | None, list[AvailableCommand]]
    impossible: list[AvailableCommand]


def buttons_of(possible: Iterable[AvailableCommand]) -> list[Button]:
    """The buttons of what the person can do."""
    return [offer.button for offer in possible if offer.button]


def offers(run: Run, explanation: Explanation, back: str | None) -> AvailableCommands:
    """Everything about the run's commands. back: where one leads on to; None for the run itself."""
    several = len({each.step for each in explanation.next_actions if each.step}) > 1
    possible: dict[str | None, list[AvailableCommand]] = defaultdict(list)
    for each in explanation.next_actions:
        possible[each.step].append(_offer(run, each, several, back))
    possible[None] += _confirmed_replay(run, explanation, back)
    impossible = [
        AvailableCommand(COMMANDS[refused.action].label, why_not(refused))
        for refused in explanation.refusals
        if refused.reason != UNSAFE
    ]
    return AvailableCommands(possible, impossible)


def inbox_buttons(item: InboxItem, decision: DecisionView | None, back: str) -> list[Button]:
    """What the person can do about an item, or about one of its open decisions. back: where an action returns to."""
    step, permission = (decision.step, decision.permission) if decision else (None, None)
    actions = [*item.next_actions, *_after_failure(item)]
    return [
        _button(item.run, action.action, action.step, len(item.decisions) > 1, back)
        for action in actions
        if action.step == step
        and may(action.action, item.run, permission, step=step)
        and not (decision and may_not_approve(action.action, approvers_of(decision), item.run))
    ]


def may_not_approve(action: str, decision: ApproverRules | None, run: RunSummary) -> Markup | None:
    """Why this approval has to be another person's; None where it need not."""
    found = objection(decision or {}, run.actor, shown_actor()) if action == "approve" else None
    return _(_OBJECTIONS[found]) if found else None


def decision_at(run: Run, step: str | None) -> DecisionAsked | None:
    """The last decision at the step, open or taken; None where there never was one."""
    for step_run in reversed(run.step_runs or ()):
        if step_run.step == step and step_run.kind == "step" and step_run.decision:
            return step_run.decision
    return None


def permission_at(run: Run, step: str | None) -> str | None:
    """What the last decision at the step asks of whoever decides."""
    decision = decision_at(run, step)
    return decision["permission"] if decision else None


def decided_last(run: Run, action: str) -> str | None:
    """The step that was last asked for what the action decides; None where there never was one."""
    kinds = _DECIDES.get(action, ())
    asked = [each.step for each in run.step_runs or () if each.decision and each.decision["kind"] in kinds]
    return asked[-1] if asked else None


def approvers_of(decision: DecisionView) -> ApproverRules:
    """What says who may approve."""
    return ApproverRules(
        approvals=decision.approvals,
        not_starter=decision.not_starter,
        starters=list(decision.starters),
        given=list(decision.given),
    )


def undecided_by(run: Run) -> list[str]:
    """The steps whose decision the person may not take, so that no replay of theirs passes it over."""
    decided = [
        each.step
        for each in run.step_runs or ()
        if each.kind == "step"
        and each.status == "completed"
        and each.decision
        and not _may_decide(run, each, each.decision)
    ]
    return list(dict.fromkeys(decided))


def _may_decide(run: Run, visit: StepRunView, decision: DecisionAsked) -> bool:
    """What no person was asked may be decided by anybody."""
    if decision["kind"] not in MANUAL:
        return True
    if decision.get("approvals") or decision.get("not_starter"):
        return False
    rejected = visit.manual is not None and visit.manual["event"] == "rejected"
    action = "resume" if decision["kind"] == "pause" else "reject" if rejected else "approve"
    return may(action, run, decision["permission"], step=visit.step)


def _after_failure(item: InboxItem) -> list[NextAction]:
    return [NextAction(action, action=action) for action in _AFTER_FAILURE.get(item.kind, ())]


def _offer(run: Run, possible: NextAction, several: bool, back: str | None) -> AvailableCommand:
    label = _label(possible.action, possible.step, several)
    decision = decision_at(run, possible.step)
    denied = refusal(possible.action, run, permission_at(run, possible.step), step=possible.step)
    why = denied.reason if denied is not None else may_not_approve(possible.action, decision, run)
    if why is not None:
        text = _("{leads}. You cannot: {reason}", leads=consequence(possible), reason=why)
        return AvailableCommand(label, text, name=possible.action)
    button = _button(run, possible.action, possible.step, several, back)
    return AvailableCommand(label, consequence(possible), button, possible.action)


def _confirmed_replay(run: Run, explanation: Explanation, back: str | None) -> Iterator[AvailableCommand]:
    unsafe = next((refused for refused in explanation.refusals if refused.reason == UNSAFE), None)
    if unsafe is None:
        return
    label, denied = COMMANDS[unsafe.action].label, refusal(CONFIRMED_REPLAY, run)
    if denied is not None:
        text = _("{why}. You cannot: {reason}", why=why_not(unsafe), reason=denied.reason)
        yield AvailableCommand(label, text, name=unsafe.action)
    else:
        button = _button(run, unsafe.action, None, False, back)
        yield AvailableCommand(label, why_not(unsafe), button, unsafe.action)


def _label(name: str, step: str | None, several: bool) -> Markup:
    label = COMMANDS[name].label
    return Markup("{} {}").format(label, code(step)) if several and step else label


def _button(run: RunSummary, name: str, step: str | None, several: bool, back: str | None) -> Button:
    command = COMMANDS[name]
    address = url_for(".act", run_id=run.id, verb=command.verb, step=step, next=back)
    return Button(_label(name, step, several).striptags(), address, command.tone, command.key)
