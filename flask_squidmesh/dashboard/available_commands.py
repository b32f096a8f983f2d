"""What one person can do with a run now, what each command leads to, and why the others are not offered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, cast

from flask import url_for
from markupsafe import Markup

from ..definition.values import JsonObject
from ..engine.approvals import objection
from ..engine.assignments import Claimant, is_open_to_all, may_answer
from ..engine.command_rules import NextAction, right_of
from ..engine.command_table import BY_ACTION, Command
from ..engine.kept_decisions import WAITS, ApproverRules, DecisionKept, OptionKept
from ..engine.replay_rules import MANUAL
from ..engine.waits import first_option
from ..people import identity
from ..queries.results import DecisionAsked, DecisionTaken, DecisionView, Explanation, InboxItem, Run, StepRunView
from ..storage.summaries import RunSummary
from .authorization import current_claimant, may, refusal, shown_actor
from .endpoints import NotJson, json_of
from .layout import zone
from .text.command_text import consequence, option_label, why_not
from .text.language import N_, _, code, joined
from .text.people_text import only_for

Form = Mapping[str, str]


class InvalidField(Exception):
    """A field of the form is missing or wrong; `message` says so to the person who filled it in."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message


class CommandKeywords(TypedDict, total=False):
    """What a form says, as arguments of the call."""

    step: str | None
    option: str
    answer: JsonObject
    claimant: Claimant | None
    comment: str | None
    compensate: bool
    from_step: str | None
    output: JsonObject
    allow_new_keys: bool
    reason: str
    at: datetime
    allow_irreversible: bool
    undecided: Collection[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCommand:
    """A command as pages offer it. command: its entry in the table. tone, key: of its button.

    extras: what the form adds to its arguments; raises InvalidField. fields: the template with those parts of the form.
    """

    command: Command
    text: str
    tone: str = ""
    key: str = ""
    fields: str | None = None
    extras: Callable[[Form], CommandKeywords] = lambda _form: CommandKeywords()

    @property
    def name(self) -> str:
        """The word for `authorize`."""
        return self.command.action

    @property
    def verb(self) -> str:
        """Its page below the run's."""
        return self.command.verb

    @property
    def label(self) -> Markup:
        """What stands on its button."""
        return _(self.text)


def _compensate(form: Form) -> CommandKeywords:
    return {"compensate": form.get("compensate") == "yes"}


def _from_step(form: Form) -> CommandKeywords:
    return {"from_step": form.get("from_step") or None}


def _output(form: Form) -> CommandKeywords:
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


def _at(form: Form) -> CommandKeywords:
    try:
        said = datetime.fromisoformat(form.get("at", "").strip())
    except ValueError as error:
        raise InvalidField("at", _("Say when the run begins: a day and a time.")) from error
    return {"at": said if said.tzinfo else said.replace(tzinfo=zone())}


def _reason(form: Form) -> CommandKeywords:
    reason = form.get("reason", "").strip()
    if not reason:
        raise InvalidField("reason", _("Say in a few words why the step counts as failed."))
    return {"reason": reason}


_ALL = (
    ShownCommand(command=BY_ACTION["approve"], text=N_("Approve"), tone="go", key="a"),
    ShownCommand(command=BY_ACTION["reject"], text=N_("Reject"), tone="danger", key="x"),
    ShownCommand(command=BY_ACTION["decide"], text=N_("Decide"), tone="go"),
    ShownCommand(command=BY_ACTION["resume"], text=N_("Resume"), tone="go"),
    ShownCommand(command=BY_ACTION["retry"], text=N_("Run the step again")),
    ShownCommand(
        command=BY_ACTION["resolve"], text=N_("Count the step as done"), fields="_output_field.html", extras=_output
    ),
    ShownCommand(
        command=BY_ACTION["fail"],
        text=N_("Count the step as failed"),
        tone="danger",
        fields="_reason_field.html",
        extras=_reason,
    ),
    ShownCommand(command=BY_ACTION["retry_compensation"], text=N_("Try again to undo")),
    ShownCommand(command=BY_ACTION["replay"], text=N_("Replay"), fields="_replay_fields.html", extras=_from_step),
    ShownCommand(command=BY_ACTION["acknowledge"], text=N_("Acknowledge")),
    ShownCommand(command=BY_ACTION["reschedule"], text=N_("Reschedule"), fields="_start_time_field.html", extras=_at),
    ShownCommand(
        command=BY_ACTION["cancel"],
        text=N_("Cancel run"),
        tone="danger",
        fields="_cancel_field.html",
        extras=_compensate,
    ),
)
COMMANDS: Mapping[str, ShownCommand] = {shown.name: shown for shown in _ALL}
BY_VERB: Mapping[str, ShownCommand] = {shown.verb: shown for shown in _ALL}

CONFIRMED_REPLAY = "replay_irreversible"
UNSAFE = "unsafe_replay"
_OBJECTIONS: Mapping[str, str] = {
    "unnamed": N_("You have no id, and this approval needs people who can be told apart."),
    "starter": N_("You started this run, and somebody else has to approve."),
    "again": N_("You have approved, and another person has to approve too."),
    "decided_before": N_("You have decided at {steps}, and somebody else has to decide here."),
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

    name: of the command. option: what it takes at a decision. why: why the person may not, where leads says what it
    would lead to.
    """

    label: Markup
    text: Markup
    button: Button | None = None
    name: str = ""
    option: str | None = None
    why: Markup | None = None
    leads: Markup | None = None


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
    offered = {each.action for each in explanation.next_actions}
    impossible = [
        AvailableCommand(COMMANDS[refused.action].label, why_not(refused))
        for refused in explanation.refusals
        if refused.reason != UNSAFE and refused.action not in offered
    ]
    return AvailableCommands(possible, impossible)


def common_objection(offers: Sequence[AvailableCommand]) -> Markup | None:
    """What keeps the person from all of them, where it is the same; None where it is not, or nothing does."""
    reasons = {offer.why for offer in offers}
    return reasons.pop() if len(offers) > 1 and len(reasons) == 1 else None


def inbox_buttons(item: InboxItem, decision: DecisionView | None, back: str) -> list[Button]:
    """What the person can do about an item, or about one of its open decisions. back: where an action returns to."""
    step = decision.step if decision else None
    actions = [*item.next_actions, *_after_failure(item)]
    return [
        _button(item.run, each, len(item.decisions) > 1, back)
        for each in actions
        if each.step == step and (not decision or not _objection_to(item.run, each, _asked_by(decision)))
        if decision or may(each.action, item.run)
    ]


def may_not_take(run: RunSummary, action: str, option: str | None, decision: ApproverRules | None) -> Markup | None:
    """Why this option has to be taken by somebody else, by the rules of four eyes; None where it need not."""
    if not decision or (option or action) != first_option(cast(DecisionKept, decision)):
        return None
    found = objection(decision, run.actor, shown_actor(), _deciders(run, decision.get("not_by") or ()))
    return _(_OBJECTIONS[found], steps=joined(decision.get("not_by") or ())) if found else None


def _deciders(run: RunSummary, steps: Collection[str]) -> frozenset[str]:
    """Who has decided at these steps, as far as the run was read with its history."""
    taken = [each.manual for each in getattr(run, "step_runs", None) or () if each.step in steps]
    found = (identity(manual.get("actor")) for manual in taken if manual)
    return frozenset(person for person in found if person is not None)


def claimant_for(
    run: RunSummary, decision: Mapping[str, Any] | None, step: str | None, permission: str | None
) -> Claimant | None:
    """As whom the person answers the wait; None where they need not be one of those whose it is."""
    if not decision or is_open_to_all(decision):
        return current_claimant()
    return None if may("assign", run, permission, step=step) else current_claimant()


def not_theirs(run: RunSummary, decision: Mapping[str, Any] | None, step: str | None) -> Markup | None:
    """Why others have to answer the wait, whose it is; None where the person may."""
    if not decision or decision.get("kind") not in WAITS or may_answer(decision, current_claimant()):
        return None
    return None if may("assign", run, decision.get("permission"), step=step) else only_for(decision)


def _asked_by(decision: DecisionView) -> Mapping[str, Any]:
    """The same as a run's history tells it."""
    return {
        **approvers_of(decision),
        "kind": decision.kind,
        "permission": decision.permission,
        "assignee": decision.assignee,
        "groups": decision.groups,
        "options": [{"name": name} for name in decision.options],
    }


def _objection_to(run: RunSummary, possible: NextAction, decision: Mapping[str, Any]) -> Markup | None:
    """Why the person may not do this at a decision: no right, somebody else's, or four eyes."""
    permission, step, option = decision.get("permission"), possible.step, possible.option
    denied = refusal(possible.action, run, permission, step=step, option=option)
    if denied is not None:
        return Markup.escape(denied.reason)
    why = not_theirs(run, decision, step) if BY_ACTION[possible.action].answers else None
    return why or may_not_take(run, possible.action, option, decision)  # type: ignore[arg-type]


def decision_at(run: Run, step: str | None) -> DecisionAsked | None:
    """The last decision at the step, open or taken; None where there never was one."""
    for step_run in reversed(run.step_runs or ()):
        if step_run.step == step and step_run.kind == "step" and step_run.decision:
            return step_run.decision
    return None


def kept_option(decision: DecisionAsked | None, name: str | None) -> OptionKept | None:
    """The option as it was asked; None where the decision keeps none of that name."""
    kept = decision.get("options") if decision else None
    return next((each for each in kept or () if each["name"] == name), None)


def takes_comment(decision: DecisionAsked | None, name: str | None) -> bool:
    """Whether the workflow says that whoever takes the option has to say why."""
    kept = kept_option(decision, name)
    return bool(kept and kept.get("comment_required"))


def permission_at(run: Run, step: str | None) -> str | None:
    """What the last decision at the step asks of whoever decides."""
    decision = decision_at(run, step)
    return decision["permission"] if decision else None


def decided_last(run: Run, action: str) -> str | None:
    """The step that was last asked for what the action decides; None where there never was one."""
    kinds = BY_ACTION[action].settles
    asked = [each.step for each in run.step_runs or () if each.decision and each.decision["kind"] in kinds]
    return asked[-1] if asked else None


def approvers_of(decision: DecisionView) -> ApproverRules:
    """What says who may approve."""
    return ApproverRules(
        approvals=decision.approvals,
        not_starter=decision.not_starter,
        not_by=list(decision.not_by),
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
    if decision.get("approvals") or decision.get("not_starter") or decision.get("not_by"):
        return False
    action, option = _taken(visit, decision)
    denied = refusal(action, run, decision["permission"], step=visit.step, option=option)
    return denied is None and not_theirs(run, decision, visit.step) is None


def _taken(visit: StepRunView, decision: DecisionAsked) -> tuple[str, str | None]:
    """What was done at the visit, as the word for `authorize` and the option."""
    manual = visit.manual or DecisionTaken(event="", at="")
    if decision["kind"] == "pause":
        return "resume", None
    if decision["kind"] == "decision":
        option = str((manual.get("metadata") or {}).get("option") or first_option(cast(DecisionKept, decision)))
        return right_of(option), option
    return ("reject" if manual["event"] == "rejected" else "approve"), None


def _after_failure(item: InboxItem) -> list[NextAction]:
    return [NextAction(action, action=action) for action in _AFTER_FAILURE.get(item.kind, ())]


def _offer(run: Run, possible: NextAction, several: bool, back: str | None) -> AvailableCommand:
    label, leads = _label(possible, several), consequence(possible)
    why = _objection_to(run, possible, decision_at(run, possible.step) or {})
    if why is not None:
        text = _("{leads}. You cannot: {reason}", leads=leads, reason=why)
        return AvailableCommand(label, text, name=possible.action, option=possible.option, why=why, leads=leads)
    return AvailableCommand(label, leads, _button(run, possible, several, back), possible.action, possible.option)


def _confirmed_replay(run: Run, explanation: Explanation, back: str | None) -> Iterator[AvailableCommand]:
    unsafe = next((refused for refused in explanation.refusals if refused.reason == UNSAFE), None)
    if unsafe is None:
        return
    label, denied = COMMANDS[unsafe.action].label, refusal(CONFIRMED_REPLAY, run)
    act = NextAction(unsafe.call, action=unsafe.action)
    if denied is not None:
        text = _("{why}. You cannot: {reason}", why=why_not(unsafe), reason=denied.reason)
        yield AvailableCommand(label, text, name=unsafe.action)
    else:
        button = _button(run, act, False, back)
        yield AvailableCommand(label, why_not(unsafe), button, unsafe.action)


def _label(command: NextAction, several: bool) -> Markup:
    label = option_label(command.option) if command.option is not None else COMMANDS[command.action].label
    return Markup("{} {}").format(label, code(command.step)) if several and command.step else label


def _button(run: RunSummary, act: NextAction, several: bool, back: str | None) -> Button:
    command = COMMANDS[act.action]
    named = act.option if act.action == "decide" else None
    address = url_for(".act", run_id=run.id, verb=command.verb, step=act.step, option=named, next=back)
    return Button(_label(act, several).striptags(), address, command.tone, command.key)
