"""Why a run is where it is, in one sentence on its own page; `inbox_text` says it for *Needs you*."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

from markupsafe import Markup

from ...engine.event_outcomes import SENDER
from ...engine.timers import DEADLINE
from ...errors import ErrorRecord
from ...queries.reason_facts import (
    BeginsLater,
    Cancelling,
    CannotBegin,
    CompensationFailed,
    DispatchDelayed,
    Ended,
    Failed,
    Interrupted,
    NothingQueued,
    ReasonFacts,
    Running,
    WaitingForDependencies,
    WaitingForEvent,
    WaitingForPerson,
    WaitingForRetry,
    WaitingUntil,
    WorkerLost,
)
from ...queries.results import DecisionView, Explanation
from .language import N_, _, any_of, code, joined, plural
from .times import JUST_NOW, elapsed, exact, stamp


def name_of(actor: object) -> str:
    """How an actor is called: its label, else its id, else all of it."""
    if isinstance(actor, dict):
        return str(actor.get("label") or actor.get("id") or ", ".join(str(value) for value in actor.values()))
    if actor in (DEADLINE, SENDER):
        return _("the deadline") if actor == DEADLINE else _("an event")
    return str(actor) if actor else _("nobody")


Known = TypeVar("Known", bound=ReasonFacts)
_SAYS_ALL = ("FailStep", "RetryStep", "InputError")


@dataclass(frozen=True, slots=True)
class ExplanationText:
    """Tells of one explanation. now, zone: how times are said. seen(value, name): what may be seen of a fact of it. me:
    who reads it.
    """

    explanation: Explanation
    now: datetime
    zone: ZoneInfo
    seen: Callable[[object, str], object] = lambda value, name: value
    me: str | None = None

    @property
    def headline(self) -> Markup:
        """The reason as one sentence."""
        said = _HEADLINES[self.explanation.reason](self)
        facts = self.explanation.details
        if not facts.overdue or facts.finish_by is None:
            return said
        return said + _("; it should have ended {time}", time=self.time(facts.finish_by))

    def facts(self, kind: type[Known]) -> Known:
        """The facts of the reason, which are of this kind."""
        details = self.explanation.details
        assert isinstance(details, kind), f"{self.explanation.reason} rests on {type(details).__name__}"
        return details

    @property
    def step(self) -> Markup:
        """The step that the reason is about."""
        return code(self.explanation.step) if self.explanation.step else _("an unknown step")

    def error(self, error: ErrorRecord | None, name: str = "last_error") -> Markup:
        """The error, its type and its message, as far as the person may see it."""
        return error_text(self.seen(error, name))

    def time(self, at: datetime) -> Markup:
        """A time, in relation to now."""
        return stamp(at, self.zone, self.now)

    def since(self, at: datetime) -> Markup:
        """How long ago."""
        return elapsed(at, self.now)


def error_text(error: object) -> Markup:
    """An error's type and message; the message alone where that says all.

    error: as it may be seen; the host may have hidden all of it, or put anything else in its place.
    """
    if not error:
        return _("no error was recorded")
    if not isinstance(error, Mapping):
        return Markup("<code>{}</code>").format(error)
    own_words = error.get("type") in _SAYS_ALL and error.get("message")
    parts = ("message",) if own_words else ("type", "message")
    return Markup("<code>{}</code>").format(": ".join(str(error[part]) for part in parts if error.get(part)))


def attempt_of(number: int, most: int) -> Markup:
    """Which attempt of how many. Abandoned ones come on top of those a step is allowed, and then it stands alone."""
    return _("{number} of {most}", number=number, most=most) if number <= most else _("{number}", number=number)


@dataclass(frozen=True, slots=True)
class _Asking:
    """What is said of an open wait that is the reader's, somebody else's, of groups, or everybody's."""

    yours: str
    theirs: str
    of_groups: str
    anybodys: str

    def told(self, teller: ExplanationText) -> Markup:
        asked = teller.facts(WaitingForPerson)
        facts = {"step": teller.step, "deadline": _deadline(teller)}
        if asked.assignee and asked.assignee == teller.me:
            return _(self.yours, **facts)
        if asked.assignee:
            return _(self.theirs, person=code(asked.assignee), **facts)
        if asked.groups:
            return _(self.of_groups, groups=any_of(asked.groups), **facts)
        return _(self.anybodys, **facts)


_DECIDING = _Asking(
    N_("It waits for you to decide at {step}{deadline}"),
    N_("It waits for {person} to decide at {step}{deadline}"),
    N_("It waits for {groups} to decide at {step}{deadline}"),
    N_("It waits for a decision at {step}{deadline}"),
)
_RESUMING = _Asking(
    N_("It is paused at {step} until you resume it{deadline}"),
    N_("It is paused at {step} until {person} resumes it{deadline}"),
    N_("It is paused at {step} until {groups} resumes it{deadline}"),
    N_("It is paused at {step} until somebody resumes it{deadline}"),
)


def _deadline(teller: ExplanationText) -> Markup:
    asked = teller.facts(WaitingForPerson)
    return _due(teller, asked.decide_by, asked.deadline)


def _due(teller: ExplanationText, due: datetime | None, deadline: str | None) -> Markup:
    if due is None:
        return Markup("")
    if deadline == "overdue":
        return _(", overdue by {length}", length=teller.since(due))
    return _(", due {time}", time=teller.time(due))


def _interrupted(teller: ExplanationText) -> Markup:
    facts = teller.facts(Interrupted)
    if facts.irreversible:
        text = N_("{step} was interrupted, and nobody knows whether its effect, which cannot be undone, took place")
        return _(text, step=teller.step)
    return plural(
        max(facts.abandoned, 1),
        "{step} was interrupted once",
        "{step} was interrupted {count} times in a row",
        step=teller.step,
    )


def _incident(teller: ExplanationText) -> Markup:
    if teller.facts(CannotBegin).input_errors is None:
        text = N_("{step} cannot begin, because the run does not hold a person or a time that it needs")
        return _(text, step=teller.step)
    return _("{step} cannot begin, because its input cannot be made", step=teller.step)


def _no_metadata(teller: ExplanationText) -> Markup:
    return _("It is paused at {step}, but what should come next was not recorded", step=teller.step)


def _no_target(teller: ExplanationText) -> Markup:
    return _("It is paused at {step}, but a step that should follow is no longer declared", step=teller.step)


def _no_workflow(teller: ExplanationText) -> Markup:
    return _("It is paused at {step}, but this app does not know its workflow", step=teller.step)


def _retry(teller: ExplanationText) -> Markup:
    facts = teller.facts(WaitingForRetry)
    is_due = (facts.due_at - teller.now).total_seconds() < JUST_NOW
    return _(
        "{step} failed and is tried again {time}, attempt {attempt}",
        step=teller.step,
        time=_("now") if is_due else teller.time(facts.due_at),
        attempt=attempt_of(facts.next_attempt_number, facts.max_attempts),
    )


def _exhausted(teller: ExplanationText) -> Markup:
    facts = teller.facts(Failed)
    return _(
        "{step} gave up after {number} of {most} attempts: {error}",
        step=teller.step,
        number=facts.latest_attempt_number,
        most=facts.max_attempts,
        error=teller.error(facts.last_error),
    )


def _failed(teller: ExplanationText) -> Markup:
    error = teller.error(teller.facts(Failed).last_error)
    if teller.explanation.step is None:
        return _("It failed: {error}", error=error)
    return _("{step} failed: {error}", step=teller.step, error=error)


def _dependencies(teller: ExplanationText) -> Markup:
    return _(
        "{step} waits for {steps}", step=teller.step, steps=joined(teller.facts(WaitingForDependencies).waiting_on)
    )


def _scheduled(teller: ExplanationText) -> Markup:
    return _("{step} is queued; the next free worker takes it", step=teller.step)


def _pending(teller: ExplanationText) -> Markup:
    return _("It has not begun; {step} is queued for the next free worker", step=teller.step)


def _running(teller: ExplanationText) -> Markup:
    number = teller.facts(Running).attempt_number
    return _("{step} is being performed, attempt {number}", step=teller.step, number=number)


def _waiting(teller: ExplanationText) -> Markup:
    until = teller.facts(WaitingUntil).until
    return _(
        "It waits at {step} until {exact}, {time}",
        step=teller.step,
        exact=_exact(teller, until),
        time=teller.time(until),
    )


def _begins(teller: ExplanationText) -> Markup:
    facts = teller.facts(BeginsLater)
    if facts.held is not None:
        return _("It should have begun at {exact}: {reason}", exact=_exact(teller, facts.begins_at), reason=facts.held)
    return _("It begins at {exact}, {time}", exact=_exact(teller, facts.begins_at), time=teller.time(facts.begins_at))


def _event(teller: ExplanationText) -> Markup:
    awaited = teller.facts(WaitingForEvent)
    return _(
        "It waits for the event {event} with key {key}{deadline}",
        event=code(awaited.event),
        key=code(awaited.key),
        deadline=_due(teller, awaited.decide_by, awaited.deadline),
    )


def _exact(teller: ExplanationText, at: datetime) -> str:
    return exact(at, teller.zone, teller.now)


def _delayed(teller: ExplanationText) -> Markup:
    if isinstance(teller.explanation.details, NothingQueued):
        return _("Nothing is queued for this run, so it cannot go on by itself")
    delay = teller.facts(DispatchDelayed)
    late = teller.since(delay.due_at)
    if delay.executor_error:
        return _("{step} could not be handed to a worker for {length}", step=teller.step, length=late)
    return _("No worker has taken {step} for {length}", step=teller.step, length=late)


def _lost(teller: ExplanationText) -> Markup:
    expired = teller.since(teller.facts(WorkerLost).claim_expired_at)
    return _("The worker of {step} has been silent; its claim expired {length} ago", step=teller.step, length=expired)


def _mismatch(teller: ExplanationText) -> Markup:
    return _("{step} is held back: the workers run another version of this workflow", step=teller.step)


def _compensating(teller: ExplanationText) -> Markup:
    if teller.explanation.step is None:
        return _("{ended}, and its steps are being undone", ended=ended(teller.explanation.status))
    return _("{ended}, and {step} is being undone", ended=ended(teller.explanation.status), step=teller.step)


def ended(status: str) -> Markup:
    """How the run came to its end, as the beginning of a sentence about undoing it."""
    return _(_ENDED.get(status, _ENDED["failed"]))


_ENDED: Mapping[str, str] = {
    "failed": N_("It failed"),
    "cancelled": N_("It was cancelled"),
    "cancelling": N_("It was cancelled"),
    "completed": N_("It has ended"),
}


def _compensation_failed(teller: ExplanationText) -> Markup:
    failures = teller.facts(CompensationFailed).compensation_failures
    error = teller.error(failures[0].error if failures else None, "compensation_failures")
    steps = joined([failure.step for failure in failures])
    return _(
        "{ended}, and {steps} could not be undone: {error}",
        ended=ended(teller.explanation.status),
        steps=steps,
        error=error,
    )


def _cancelling(teller: ExplanationText) -> Markup:
    waiting = teller.facts(Cancelling).waiting_on
    if not waiting:
        return _("It is being cancelled")
    text = plural(
        len(waiting),
        "It is being cancelled and stops as soon as {steps} ends",
        "It is being cancelled and stops as soon as {steps} end",
        steps=joined(waiting),
    )
    give_up_at = teller.facts(Cancelling).give_up_at
    if give_up_at is None or give_up_at > teller.now:
        return text
    return text + _("; if it hangs, you can count it as failed")


def _completed(teller: ExplanationText) -> Markup:
    outcome = teller.facts(Ended).outcome
    if outcome is None:
        return _("It is completed")
    if outcome in _OUTCOMES:
        return _(_OUTCOMES[outcome])
    return _("It ended as {outcome}", outcome=code(outcome.replace("_", " ")))


_OUTCOMES: Mapping[str, str] = {
    "rejected": N_("It was rejected"),
    "timed_out": N_("It ended because nobody decided in time"),
    "error_route": N_("It ended on its error route, because a step had failed"),
}


def _always(text: str) -> Callable[[ExplanationText], Markup]:
    return lambda _teller: _(text)


_HEADLINES: Mapping[str, Callable[[ExplanationText], Markup]] = {
    "paused_for_approval": _DECIDING.told,
    "paused_for_decision": _DECIDING.told,
    "paused_for_manual_action": _RESUMING.told,
    "paused_with_missing_resume_metadata": _no_metadata,
    "paused_with_invalid_resume_target": _no_target,
    "paused_with_unavailable_workflow": _no_workflow,
    "interrupted": _interrupted,
    "incident": _incident,
    "waiting_for_retry": _retry,
    "retry_exhausted": _exhausted,
    "step_failed": _failed,
    "waiting_for_dependencies": _dependencies,
    "step_scheduled": _scheduled,
    "pending_dispatch": _pending,
    "step_running": _running,
    "waiting_until": _waiting,
    "scheduled": _begins,
    "waiting_for_event": _event,
    "dispatch_delayed": _delayed,
    "worker_lost": _lost,
    "definition_mismatch": _mismatch,
    "compensating": _compensating,
    "compensation_failed": _compensation_failed,
    "cancelling": _cancelling,
    "completed": _completed,
    "cancelled": _always(N_("It was cancelled")),
}
REASONS = frozenset(_HEADLINES)


def who_decides(decision: DecisionView) -> list[Markup]:
    """How many people have to approve, who has, and who may not; nothing where one approval of anybody is enough."""
    found: list[Markup] = []
    if decision.approvals > 1:
        people = ", ".join(name_of(each["actor"]) for each in decision.given) or _("nobody yet")
        found.append(_("It takes {count} people; approved by: {people}", count=decision.approvals, people=people))
    if decision.not_starter:
        found.append(_("Whoever started the run may not approve"))
    if decision.not_by:
        found.append(_("Not by who decided at {steps}", steps=joined(decision.not_by)))
    return found
