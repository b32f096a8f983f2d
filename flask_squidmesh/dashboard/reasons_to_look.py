"""Why a run stands under "Needs you", in one or two sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from markupsafe import Markup

from ..engine.actions import NextAction
from ..reading.views import DecisionView, InboxItem
from .actions import ACTIONS
from .consequences import consequence
from .language import N_, _, code, joined, plural
from .sentences import error_text
from .times import elapsed


def reason(item: InboxItem, now: datetime) -> Markup:
    """What the run asks of a person, and where each answer leads."""
    return _SENTENCES[item.kind](item, now)


def _decision(item: InboxItem, _now: datetime) -> Markup:
    return Markup(" ").join([*_question(item, N_("{step} asks for a decision.")), *_leading(item), *_more(item)])


def _resume(item: InboxItem, _now: datetime) -> Markup:
    return Markup(" ").join([*_question(item, N_("It is paused at {step}.")), *_leading(item), *_more(item)])


def _question(item: InboxItem, without_prompt: str) -> Iterator[Markup]:
    decision = _first(item)
    if decision is None:
        return
    if decision.prompt:
        yield _("{step} asks: “{prompt}”", step=code(decision.step), prompt=decision.prompt)
    else:
        yield _(without_prompt, step=code(decision.step))


def _leading(item: InboxItem) -> Iterator[Markup]:
    first = _first(item)
    told = [_told(action) for action in item.next_actions if first and action.step == first.step]
    if told:
        yield Markup("{}.").format(Markup("; ").join(told))


def _told(action: NextAction) -> Markup:
    return _("{action} {leads}", action=ACTIONS[action.action].label, leads=consequence(action))


def _more(item: InboxItem) -> Iterator[Markup]:
    others = len(item.decisions) - 1
    if others > 0:
        yield plural(others, "1 more decision is open.", "{count} more decisions are open.")


def _interrupted(item: InboxItem, _now: datetime) -> Markup:
    step = _standing(item)
    text = N_(
        "{step} was interrupted and nobody knows how far it got. Find out what happened, then say how it goes on."
    )
    return _(text, step=step)


def _incident(item: InboxItem, _now: datetime) -> Markup:
    step = _standing(item)
    text = _("{step} cannot begin: {error}.", step=step, error=error_text(item.error))
    return text + _(" Nothing has been done or undone. Run it again once that is put right.")


def _failed(item: InboxItem, _now: datetime) -> Markup:
    step = code(item.run.current_step) if item.run.current_step else _("The run")
    text = _("{step} failed: {error}.", step=step, error=error_text(item.error))
    if not item.alike:
        return text
    return text + plural(item.alike, " 1 more run failed the same way.", " {count} more runs failed the same way.")


def _compensation_failed(item: InboxItem, _now: datetime) -> Markup:
    failures = item.compensation_failures
    error = error_text(failures[0]["error"] if failures else item.error)
    steps = joined([failure["step"] for failure in failures]) or _("a step")
    text = _("It failed, and {steps} could not be undone: {error}", steps=steps, error=error)
    return Markup("{}.").format(text)


def _stuck(item: InboxItem, now: datetime) -> Markup:
    stuck = item.stuck or {}
    late = elapsed(stuck.get("due_at", now), now)
    facts = {"step": code(stuck.get("step") or "?"), "late": late, "queue": code(stuck.get("queue") or "?")}
    if stuck.get("executor_error"):
        return _("{step} could not be handed over: {error}.", error=_as_code(stuck["executor_error"]), **facts)
    return _(_STUCK.get(str(stuck.get("reason")), _STUCK["dispatch_delayed"]), **facts)


_STUCK: Mapping[str, str] = {
    "worker_lost": N_("The worker of {step} has been silent for {late} and no other has taken it over from {queue}."),
    "definition_mismatch": N_("{step} is held back: the workers of {queue} run another version of this workflow."),
    "dispatch_delayed": N_("No worker has taken {step} from the queue {queue} for {late}. Is one running?"),
}

_SENTENCES: Mapping[str, Callable[[InboxItem, datetime], Markup]] = {
    "decision": _decision,
    "resume": _resume,
    "interrupted": _interrupted,
    "incident": _incident,
    "failed": _failed,
    "compensation_failed": _compensation_failed,
    "stuck": _stuck,
}


def _first(item: InboxItem) -> DecisionView | None:
    return next(iter(item.decisions), None)


def _standing(item: InboxItem) -> Markup:
    """The step that does not go on by itself."""
    found = next((each.step for each in item.decisions if each.kind == item.kind), None)
    return code(found) if found else _("A step")


def _as_code(text: str) -> Markup:
    return Markup("<code>{}</code>").format(text)
