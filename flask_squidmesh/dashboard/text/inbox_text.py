"""Why a run stands under "Needs you", in one or two sentences; `explanation_text` says it on the run's own page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from markupsafe import Markup

from ...engine.command_rules import NextAction
from ...queries.results import DecisionView, InboxItem
from ..available_commands import COMMANDS
from ..host_hooks import Path
from .command_text import consequence, option_label
from .explanation_text import ended, error_text
from .language import N_, _, code, joined
from .times import elapsed

Seen = Callable[[object, Path], object]


def question(item: InboxItem, decision: DecisionView | None, now: datetime, seen: Seen) -> Markup:
    """What the run asks of a person.

    decision: the one of its open decisions that it is about. seen(value, path): what may be seen of a value of the run.
    """
    if decision is not None:
        return _OF_DECISIONS[decision.kind](item, decision, seen)
    return _OF_RUNS[item.kind](item, now, seen)


def leads(item: InboxItem, decision: DecisionView | None) -> Markup | None:
    """Where each answer to the question leads; None where nothing can be answered, or the question says it."""
    if decision is None or decision.kind not in _QUESTIONS:
        return None
    told = [_told(action) for action in item.next_actions if action.step == decision.step]
    return Markup("{}.").format(Markup("; ").join(told)) if told else None


_QUESTIONS: Mapping[str, str] = {
    **dict.fromkeys(("approval", "decision"), N_("{step} asks for a decision.")),
    "pause": N_("It is paused at {step}."),
}


def _asking(item: InboxItem, decision: DecisionView, seen: Seen) -> Markup:
    return Markup.escape(decision.prompt or _(_QUESTIONS[decision.kind], step=code(decision.step)))


def _told(command: NextAction) -> Markup:
    action = option_label(command.option) if command.option is not None else COMMANDS[command.action].label
    return _("{action} {leads}", action=action, leads=consequence(command))


def _interrupted(item: InboxItem, decision: DecisionView, seen: Seen) -> Markup:
    return _(
        "{step} was interrupted and nobody knows how far it got. Find out what happened, then say how it goes on.",
        step=code(decision.step),
    )


def _incident(item: InboxItem, decision: DecisionView, seen: Seen) -> Markup:
    error = error_text(seen(decision.error, ("last_error",)))
    text = _("{step} cannot begin: {error}.", step=code(decision.step), error=error)
    return text + _(" It has done nothing, and nothing was undone. Run it again once that is put right.")


def _open(item: InboxItem, now: datetime, seen: Seen) -> Markup:
    return _("A decision is open.")


def _failed(item: InboxItem, now: datetime, seen: Seen) -> Markup:
    step = code(item.run.current_step) if item.run.current_step else _("The run")
    return _("{step} failed: {error}.", step=step, error=error_text(seen(item.error, ("last_error",))))


def _compensation_failed(item: InboxItem, now: datetime, seen: Seen) -> Markup:
    failures = item.compensation_failures
    error = seen(item.error, ("last_error",))
    if failures:
        error = seen(failures[0].error, ("compensation_failures", 0, "error"))
    steps = joined([failure.step for failure in failures]) or _("a step")
    text = _(
        "{ended}, and {steps} could not be undone: {error}",
        ended=ended(item.run.status),
        steps=steps,
        error=error_text(error),
    )
    return Markup("{}.").format(text)


def _stuck(item: InboxItem, now: datetime, seen: Seen) -> Markup:
    stuck = item.stuck
    assert stuck is not None
    facts = {"step": code(stuck.step), "late": elapsed(stuck.due_at, now), "queue": code(stuck.queue)}
    if stuck.executor_error:
        error = _as_code(seen(stuck.executor_error, ("stuck", "executor_error")))
        return _("{step} could not be handed over: {error}.", error=error, **facts)
    return _(_STUCK[stuck.reason], **facts)


_STUCK: Mapping[str, str] = {
    "worker_lost": N_("The worker of {step} has been silent for {late} and no other has taken it over from {queue}."),
    "definition_mismatch": N_("{step} is held back: the workers of {queue} run another version of this workflow."),
    "dispatch_delayed": N_("No worker has taken {step} from the queue {queue} for {late}. Is one running?"),
}

_OF_DECISIONS: Mapping[str, Callable[[InboxItem, DecisionView, Seen], Markup]] = {
    **dict.fromkeys(_QUESTIONS, _asking),
    "interrupted": _interrupted,
    "incident": _incident,
}
_OF_RUNS: Mapping[str, Callable[[InboxItem, datetime, Seen], Markup]] = {
    **dict.fromkeys(("decision", "resume", "interrupted", "incident"), _open),
    "failed": _failed,
    "compensation_failed": _compensation_failed,
    "stuck": _stuck,
}


def _as_code(text: object) -> Markup:
    return Markup("<code>{}</code>").format(text)
