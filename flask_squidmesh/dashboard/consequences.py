"""What each action leads to, why one is not possible, and what was done: as sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from ..engine.actions import NextAction, Refusal
from .language import N_, _, code, joined, plural

Facts = Mapping[str, Any]


def consequence(action: NextAction) -> Markup:
    """What the action leads to, as the rest of a sentence that its name begins."""
    return _CONSEQUENCES[action.action](action.leads_to)


def why_not(refusal: Refusal) -> Markup:
    """Why the action is not possible now, as the rest of a sentence that its name begins."""
    sentence = _REFUSALS.get(refusal.reason)
    return sentence(refusal.details) if sentence else _("not possible now")


def done(action: str, status: str, step: str | None) -> Markup:
    """What is said after an action: what was done, and where the run is now."""
    return Markup("{} {}").format(_(_DONE[action]), _whereabouts(status, step))


def irreversible(blocking: list[Facts]) -> list[Markup]:
    """Each step that a replay would repeat although its effect cannot be taken back, with how it ended."""
    return [_blocking(step) for step in blocking]


def _continues(facts: Facts) -> Markup:
    if "further_approvals" in facts:
        left = facts["further_approvals"]
        return plural(left, "counts; 1 more person has to approve", "counts; {count} more people have to approve")
    if facts.get("status") == "completed":
        return _("completes the run")
    targets = facts.get("targets") or [facts["target"]] if facts.keys() & {"target", "targets"} else []
    if not targets:
        return _("continues once the other steps are done")
    text = _("continues at {steps}", steps=joined(targets))
    return text + _undoable(facts)


def _diverts(facts: Facts) -> Markup:
    if "gives_up" in facts:
        return _gives_up(facts)
    if "target" in facts:
        return _("goes to {step}", step=code(facts["target"])) + _undoable(facts)
    return _("fails the run") + _compensating(facts)


def _gives_up(facts: Facts) -> Markup:
    """What it risks belongs to it: the thread goes on, and nobody can stop it."""
    step = code(facts["gives_up"])
    if facts.get("interrupts"):
        text = N_(
            "waits no longer for {step}, which is still running and cannot be undone: it may still take effect, and "
            "what it says is dropped. Then find out what happened, and say so"
        )
        return _(text, step=step)
    text = N_(
        "waits no longer for {step}, which is still running: it may still take effect, and what it says is dropped. "
        "The run is then cancelled"
    )
    return _(text, step=step)


def _repeats(facts: Facts) -> Markup:
    return _("runs {step} again from its start", step=code(facts["target"])) + _undoable(facts)


def _cancels(facts: Facts) -> Markup:
    if facts.get("executing"):
        return _("stops the run as soon as {steps} ends", steps=joined(list(facts["executing"])))
    kept = facts.get("compensates")
    text = _("stops the run here, for good")
    return text + _("; you choose whether to undo {steps}", steps=joined(list(kept))) if kept else text


def _replays(_facts: Facts) -> Markup:
    return _("starts a new run with the same payload; this one stays as it is")


def _retries_compensation(facts: Facts) -> Markup:
    return _("tries again to undo {steps}", steps=joined(list(facts["compensates"])))


def _acknowledges(_facts: Facts) -> Markup:
    return _("takes the run off “Needs you”; nothing else changes")


_CONSEQUENCES: Mapping[str, Callable[[Facts], Markup]] = {
    "approve": _continues,
    "reject": _diverts,
    "resume": _continues,
    "retry": _repeats,
    "resolve": _continues,
    "fail": _diverts,
    "cancel": _cancels,
    "replay": _replays,
    "retry_compensation": _retries_compensation,
    "acknowledge": _acknowledges,
}


def _undoable(facts: Facts) -> Markup:
    return _(", which <b>cannot be undone</b>") if facts.get("irreversible") else Markup("")


def _compensating(facts: Facts) -> Markup:
    steps = list(facts.get("compensates") or ())
    return _(" and undoes {steps}", steps=joined(steps)) if steps else Markup("")


def _target_gone(facts: Facts) -> Markup:
    return _("not possible: this workflow no longer declares {steps}", steps=joined(list(facts["targets"])))


def _payload_unfit(facts: Facts) -> Markup:
    missing, others = list(facts.get("missing_fields", ())), [*facts.get("invalid_types", ())]
    others += facts.get("unknown_fields", ())
    if missing:
        return _("not possible: this workflow now needs {fields}, which the payload lacks", fields=joined(missing))
    return _("not possible: the payload does not fit this workflow any more: {fields}", fields=joined(others))


def _unsafe(facts: Facts) -> Markup:
    steps = [step["step"] for step in facts["blocked_by"]]
    return _("only with an explicit confirmation: {steps} cannot be undone", steps=joined(steps))


def _always(text: str) -> Callable[[Facts], Markup]:
    return lambda _facts: _(text)


_REFUSALS: Mapping[str, Callable[[Facts], Markup]] = {
    "already_finished": _always(N_("not possible: the run has ended")),
    "no_open_approval": _always(N_("not now: no approval is open")),
    "no_open_pause": _always(N_("not now: the run does not stand at a pause")),
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
    "resume": N_("Resumed."),
    "retry": N_("The step runs again."),
    "resolve": N_("Resolved."),
    "fail": N_("The step counts as failed."),
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
    return _("The run continues at {step}.", step=code(step)) if step else _("The run continues.")


def _blocking(step: Facts) -> Markup:
    if step["reason"] == "completed":
        return _("{step} has taken effect", step=code(step["step"]))
    return _("{step} began and did not end cleanly, so it may have taken effect", step=code(step["step"]))


def compensations(count: int) -> Markup:
    """How many steps were undone, for a heading."""
    return plural(count, "1 step undone", "{count} steps undone")
