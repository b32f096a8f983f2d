"""What each command leads to, why one is not possible, and what was done: as sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from ...engine.command_effects import (
    Blocking,
    GivenUp,
    LeadsTo,
    MoreApprovals,
    Obstacle,
    OneStep,
    PayloadUnfit,
    RunEnds,
    RunStops,
    SeveralSteps,
    TargetsGone,
    UndoneAgain,
    UnsafeReplay,
)
from ...engine.command_rules import NextAction, Refusal
from .language import N_, _, any_of, code, joined, plural


def consequence(command: NextAction) -> Markup:
    """What the command leads to, as the rest of a sentence that its name begins."""
    if command.option is not None:
        return _leads(command.leads_to)
    return _CONSEQUENCES[command.action](command.leads_to)


def option_label(option: str) -> Markup:
    """What stands on the button of an option: the host's word, but for those that are ours."""
    return _(_OPTIONS[option]) if option in _OPTIONS else Markup.escape(option.replace("_", " ").capitalize())


_OPTIONS: Mapping[str, str] = {"approve": N_("Approve"), "reject": N_("Reject")}


def _leads(leads_to: LeadsTo) -> Markup:
    """What an option leads to: one of several steps and ends, by its conditions."""
    match leads_to:
        case RunEnds(outcome=word, compensates=steps) if word is not None:
            return _("ends the run as {outcome}", outcome=outcome_code(word)) + _undoing(steps)
        case RunEnds(status="failed", compensates=steps):
            return _("fails the run") + _undoing(steps)
        case SeveralSteps(targets=targets, ends=None):
            return _("continues at {steps}", steps=any_of(targets)) + _undoable(leads_to)
        case SeveralSteps(targets=targets, ends=ends):
            words = any_of(word.replace("_", " ") for word in ends or ())
            if not targets:
                return _("ends the run as {outcome}", outcome=words)
            text = N_("continues at {steps}, or ends the run as {outcome}")
            return _(text, steps=any_of(targets), outcome=words) + _undoable(leads_to)
    return _continues(leads_to)


def outcome_code(word: str) -> Markup:
    """The word of an end as it stands."""
    return code(word.replace("_", " "))


def _undoing(steps: Sequence[str] | None) -> Markup:
    return _(" and undoes {steps}", steps=joined(steps)) if steps else Markup("")


def why_not(refusal: Refusal) -> Markup:
    """Why the command is not possible now, as the rest of a sentence that its name begins."""
    sentence = _REFUSALS.get(refusal.reason)
    return sentence(refusal.details) if sentence else _("not possible now")


def done(command: str, status: str, step: str | None, option: str | None = None, outcome: str | None = None) -> Markup:
    """What is said after a command: what was done, and where the run is now. option: that was taken. outcome: how it
    ended."""
    what = _(_DONE[command], option=option_label(option or ""))
    where = _whereabouts(status, step)
    if outcome and status == "completed":
        where = _("The run has ended as {outcome}.", outcome=outcome_code(outcome))
    return Markup("{} {}").format(what, where)


def irreversible(blocking: Sequence[Blocking]) -> list[Markup]:
    """Each step that a replay would repeat although its effect cannot be taken back, with how it ended."""
    return [_blocking(step) for step in blocking]


def _continues(leads_to: LeadsTo) -> Markup:
    match leads_to:
        case MoreApprovals(further_approvals=left):
            return plural(left, "counts; 1 more person has to approve", "counts; {count} more people have to approve")
        case RunEnds(status="completed"):
            return _("completes the run")
        case OneStep(target=target):
            return _("continues at {steps}", steps=joined([target])) + _undoable(leads_to)
        case SeveralSteps(targets=targets):
            return _("continues at {steps}", steps=joined(targets)) + _undoable(leads_to)
    return _("continues once the other steps are done")


def _diverts(leads_to: LeadsTo) -> Markup:
    match leads_to:
        case GivenUp():
            return _gives_up(leads_to)
        case OneStep(target=target):
            return _("goes to {step}", step=code(target)) + _undoable(leads_to)
        case RunEnds(compensates=steps) if steps:
            return _("fails the run") + _undoing(steps)
    return _("fails the run")


def _gives_up(leads_to: GivenUp) -> Markup:
    """What it risks belongs to it: the thread goes on, and nobody can stop it."""
    step = code(leads_to.gives_up)
    if leads_to.interrupts:
        text = N_(
            "stops waiting for {step}, which is still running and cannot be undone: it may yet take effect, and what "
            "it returns is dropped. Then find out whether it took effect, and count it as done or as failed"
        )
        return _(text, step=step)
    text = N_(
        "stops waiting for {step}, which is still running: it may yet take effect, and what it returns is dropped. "
        "The run is then cancelled"
    )
    return _(text, step=step)


def _repeats(leads_to: LeadsTo) -> Markup:
    assert isinstance(leads_to, OneStep)
    return _("runs {step} from its start", step=code(leads_to.target)) + _undoable(leads_to)


def _cancels(leads_to: LeadsTo) -> Markup:
    assert isinstance(leads_to, RunStops)
    if leads_to.executing:
        return _("stops the run as soon as {steps} ends", steps=joined(leads_to.executing))
    text, kept = _("stops the run here, for good"), leads_to.compensates
    return text + _("; you choose whether to undo {steps}", steps=joined(kept)) if kept else text


def _reschedules(_leads_to: LeadsTo) -> Markup:
    return _("has the run begin at the time that you say; nothing else changes")


def _replays(_leads_to: LeadsTo) -> Markup:
    return _("starts a new run with the same payload; this one stays as it is")


def _retries_compensation(leads_to: LeadsTo) -> Markup:
    assert isinstance(leads_to, UndoneAgain)
    return _("tries again to undo {steps}", steps=joined(leads_to.compensates))


def _acknowledges(_leads_to: LeadsTo) -> Markup:
    return _("takes the run off “Needs you”; nothing else changes")


_CONSEQUENCES: Mapping[str, Callable[[LeadsTo], Markup]] = {
    "approve": _continues,
    "reject": _diverts,
    "resume": _continues,
    "retry": _repeats,
    "resolve": _continues,
    "fail": _diverts,
    "reschedule": _reschedules,
    "cancel": _cancels,
    "replay": _replays,
    "retry_compensation": _retries_compensation,
    "acknowledge": _acknowledges,
}


def _undoable(leads_to: OneStep | SeveralSteps) -> Markup:
    return _(", which <b>cannot be undone</b>") if leads_to.irreversible else Markup("")


def _target_gone(obstacle: Obstacle) -> Markup:
    assert isinstance(obstacle, TargetsGone)
    return _("not possible: this workflow no longer declares {steps}", steps=joined(obstacle.targets))


def _payload_unfit(obstacle: Obstacle) -> Markup:
    assert isinstance(obstacle, PayloadUnfit)
    if obstacle.missing_fields:
        fields = joined(obstacle.missing_fields)
        return _("not possible: this workflow now needs {fields}, which the payload lacks", fields=fields)
    fields = joined([*(obstacle.invalid_types or ()), *(obstacle.unknown_fields or ())])
    return _("not possible: the payload does not fit this workflow any more: {fields}", fields=fields)


def _unsafe(obstacle: Obstacle) -> Markup:
    assert isinstance(obstacle, UnsafeReplay)
    steps = joined([step.step for step in obstacle.blocked_by])
    return _("only with an explicit confirmation: {steps} cannot be undone", steps=steps)


def _always(text: str) -> Callable[[Obstacle], Markup]:
    return lambda _obstacle: _(text)


_REFUSALS: Mapping[str, Callable[[Obstacle], Markup]] = {
    "already_finished": _always(N_("not possible: the run has ended")),
    "no_open_approval": _always(N_("not now: no approval is open")),
    "no_open_decision": _always(N_("not now: no decision is open")),
    "no_open_pause": _always(N_("not now: the run does not stand at a pause")),
    "asks_people": _always(N_("not here: it asks people, so try it again or say that it failed")),
    "not_interrupted": _always(N_("not now: no step was interrupted or is blocked")),
    "workflow_unavailable": _always(N_("not here: this process does not know the workflow")),
    "target_unavailable": _target_gone,
    "being_cancelled": _always(N_("not now: the run is being cancelled")),
    "already_cancelling": _always(N_("already asked for: the run stops as soon as the attempt in progress ends")),
    "not_finished": _always(N_("not now: the run has not ended")),
    "compensation_running": _always(N_("not now: steps are just being undone")),
    "payload_unfit": _payload_unfit,
    "unsafe_replay": _unsafe,
    "no_failed_compensation": _always(N_("not needed: nothing failed to be undone")),
    "not_failed": _always(N_("not needed: the run has not failed")),
    "already_acknowledged": _always(N_("not needed: somebody has acknowledged it")),
    "already_replayed": _always(N_("not needed: it was replayed")),
}

_DONE: Mapping[str, str] = {
    "approve": N_("Approved."),
    "reject": N_("Rejected."),
    "decide": N_("Decided: {option}."),
    "resume": N_("Resumed."),
    "retry": N_("The step runs again."),
    "resolve": N_("Resolved."),
    "fail": N_("The step counts as failed."),
    "reschedule": N_("Rescheduled."),
    "cancel": N_("Cancel was asked for."),
    "replay": N_("This is the new run."),
    "retry_compensation": N_("Undoing is tried again."),
    "acknowledge": N_("Acknowledged."),
}

_WHEREABOUTS: Mapping[str, str] = {
    "paused": N_("It waits for a person."),
    "cancelling": N_("It stops as soon as the attempt in progress ends."),
    "completed": N_("The run is completed."),
    "failed": N_("The run has failed."),
    "cancelled": N_("The run is cancelled."),
}


def _whereabouts(status: str, step: str | None) -> Markup:
    if status in _WHEREABOUTS:
        return _(_WHEREABOUTS[status])
    if step:
        return _("The run continues at {step}.", step=code(step))
    return _("The run begins then.") if status == "pending" else _("The run continues.")


def _blocking(step: Blocking) -> Markup:
    if step.reason == "completed":
        return _("{step} has taken effect", step=code(step.step))
    return _("{step} began and did not end cleanly, so it may have taken effect", step=code(step.step))


def compensations(count: int) -> Markup:
    """How many steps were undone, for a heading."""
    return plural(count, "1 step undone", "{count} steps undone")
