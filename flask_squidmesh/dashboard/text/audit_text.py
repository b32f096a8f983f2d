"""Audit events in words."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from ...people import identity
from ...queries.results import AuditEventView, TimelineEvent
from ..authorization import name_of_right
from .badges import badge_of_outcome
from .command_text import option_label
from .language import N_, _, code, joined
from .schedule_text import LEFT_OUT, window_text

_TITLES: Mapping[str, str] = {
    "started": N_("started the run"),
    "paused": N_("paused at {step}"),
    "resumed": N_("resumed {step}"),
    "approved": N_("approved {step}"),
    "rejected": N_("rejected {step}"),
    "decided": N_("answered {step} with {option}"),
    "assigned": N_("gave {step} to {to}"),
    "noted": N_("noted"),
    "reminded": N_("reminded {to} of {step}"),
    "overdue": N_("told that {step} should have ended"),
    "escalated": N_("escalated {step} to {to}"),
    "timed_out": N_("ended the wait at {step}: nobody had decided in time"),
    "event_sent": N_("sent the event {name}"),
    "event_received": N_("{step} received the event {name}"),
    "event_unfit": N_("{step} could not take an event, because its payload does not fit"),
    "event_refused": N_("an event did not start {workflow}, because its payload does not fit"),
    "deadline_passed": N_("ended the run: it took longer than it may"),
    "rescheduled": N_("had the run begin at another time"),
    "cancelled": N_("cancelled the run"),
    "replayed": N_("replayed it as a new run"),
    "compensation_routed": N_("{step} failed; a compensating step follows"),
    "undo_routed": N_("{step} failed; an undoing step follows"),
    "abandoned": N_("an attempt at {step} was abandoned"),
    "interrupted": N_("{step} was interrupted"),
    "incident": N_("{step} could not begin"),
    "retried": N_("had {step} run again"),
    "resolved": N_("counted {step} as done"),
    "failed_by_operator": N_("counted {step} as failed"),
    "given_up": N_("waited no longer for {step}, which was still running"),
    "outcome_dropped": N_("{step} ended after it had been given up; what it said was dropped"),
    "compensation_retried": N_("had undoing tried again"),
    "acknowledged": N_("acknowledged the failure"),
    "child_pruned": N_("pruned a run that this one had started"),
    "repaired": N_("repaired its rows"),
    "pruned": N_("pruned ended runs"),
    "revealed": N_("revealed what is hidden in {part}"),
    "schedule_paused": N_("paused the schedule {trigger} of {workflow}"),
    "schedule_resumed": N_("resumed the schedule {trigger} of {workflow}"),
    "schedule_run": N_("started the schedule {trigger} of {workflow} by hand"),
    "schedule_skipped": N_("left out the window {window} of the schedule {trigger} of {workflow}: {reason}"),
    "schedule_missed": N_("left out {count} windows of the schedule {trigger} of {workflow}, from {window}: {reason}"),
    "notice_retried": N_("had {subscription} told again"),
    "notice_dismissed": N_("took note that {subscription} was not told"),
    "bulk": N_("began an action on many runs: {action}"),
    "bulk_cancelled": N_("stopped an action on many runs"),
    "refused": N_("tried to {action} without the right to"),
}
TYPES = frozenset(_TITLES)
_NAMED = ("workflow", "trigger", "part", "name", "subscription")
_HAPPENED: Mapping[str, str] = {
    "entered": N_("came to {step}"),
    "compensation_planned": N_("undoing {step} was planned"),
    "attempt_started": N_("attempt {number} at {step} began"),
    "attempt_completed": N_("attempt {number} at {step} completed"),
    "attempt_failed": N_("attempt {number} at {step} failed"),
    "attempt_abandoned": N_("attempt {number} at {step} was abandoned"),
}
_ENDS: Mapping[str, str] = {
    "completed": N_("the run completed"),
    "failed": N_("the run failed"),
    "cancelled": N_("the run was cancelled"),
}


def filterable() -> list[tuple[str, Markup]]:
    """What the audit can be narrowed to, each with its words."""
    blank = dict.fromkeys((*_NAMED, "step", "action", "option", "to", "window", "count", "reason"), "…")
    return [(type, _(text, **blank)) for type, text in _TITLES.items() if type != "started"]


def title_of(event: AuditEventView) -> Markup:
    """What happened, as the rest of a sentence that the actor begins."""
    return _titled(event.type, event.step, event.metadata or {}, event.actor)


def _titled(type: str, step: str | None, said: Mapping[str, object], actor: object = None) -> Markup:
    action = _action(said)
    text = _TITLES.get(type, type.replace("_", " "))
    names = {name: code(said.get(name, "?")) for name in _NAMED}
    if type == "assigned":
        text = _assigned(said, actor)
    elif type == "reminded" and "due_at" in said:
        text = N_("told that {step} has not ended yet")
    option = option_label(str(said.get("option", "?")))
    if type in ("schedule_skipped", "schedule_missed"):
        names |= {"window": code(window_text(said.get("first"))), "count": code(said.get("count", "?"))}
        names["reason"] = _(LEFT_OUT.get(str(said.get("cause")), "…"))
    return _(text, step=code(step or "?"), action=action, option=option, to=_whom(said), **names)


def _action(said: Mapping[str, object]) -> Markup:
    """What was to be done: an option as on its button, else the right that it takes, and for whom."""
    action = str(said.get("action", "?"))
    if action == "decide" and said.get("option"):
        return option_label(str(said["option"]))
    if action == "assign" and said.get("to"):
        return _("hand on to {person}", person=code(said["to"]))
    return name_of_right(action)


def _assigned(said: Mapping[str, object], actor: object) -> str:
    """Taking, giving back and handing on, by whose it was and becomes."""
    if not said.get("to"):
        return N_("gave {step} back")
    return N_("took {step}") if said["to"] == identity(actor) else _TITLES["assigned"]


def _whom(said: Mapping[str, object]) -> Markup:
    """Whose a wait became, or who was reminded of it."""
    groups = said.get("groups")
    people = [said.get("to") or said.get("assignee"), *(groups if isinstance(groups, list | tuple) else ())]
    return joined(str(each) for each in people if each) or _("whoever may decide")


def told(event: TimelineEvent) -> Markup:
    """What happened, of everything that did; what somebody did as the rest of a sentence that they begin."""
    happened = _HAPPENED.get(event.type) or (_ENDS.get(event.type) if event.actor is None else None)
    outcome = (event.details or {}).get("outcome")
    if happened is not None and event.type in _ENDS and outcome:
        return _("the run ended: {outcome}", outcome=badge_of_outcome(str(outcome)).label)
    if happened is None:
        return _titled(event.type, event.step, event.details or {}, event.actor)
    return _(happened, step=code(event.step or "?"), number=event.attempt or 0)
