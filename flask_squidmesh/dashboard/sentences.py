"""Why a run is where it is, in one sentence, and what that rests on. Every reason has its sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

from ..reading.views import Explanation
from .actors import name_of
from .language import N_, _, code, in_english, joined, plural
from .times import JUST_NOW, duration, elapsed, exact, stamp

Facts = Mapping[str, Any]
_SAID_BY_STEPS = ("FailStep", "RetryStep")


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells of one explanation. now, zone: how times are said."""

    explanation: Explanation
    now: datetime
    zone: ZoneInfo

    @property
    def headline(self) -> Markup:
        """The reason as one sentence."""
        return _HEADLINES[self.explanation.reason](self)

    @property
    def evidence(self) -> list[Markup]:
        """What the reason rests on, one sentence each."""
        return list(_evidence(self))

    @property
    def prompt(self) -> str | None:
        """The question of an open decision."""
        decision = self.explanation.evidence.get("step_run", {}).get("decision") or {}
        return self.details.get("prompt") or decision.get("prompt")

    @property
    def details(self) -> Facts:
        """The facts of the reason."""
        return self.explanation.details

    @property
    def step(self) -> Markup:
        """The step that the reason is about."""
        return code(self.explanation.step) if self.explanation.step else _("an unknown step")

    @property
    def error(self) -> Markup:
        """The last error, its type and its message."""
        return error_text(self.details.get("last_error"))

    def time(self, at: datetime) -> Markup:
        """A time, in relation to now."""
        return stamp(at, self.zone, self.now)

    def since(self, at: datetime) -> Markup:
        """How long ago."""
        return elapsed(at, self.now)


def error_text(error: Any) -> Markup:
    """An error's type and message; the message alone where the step itself put it into words.

    error: as it may be seen; the host may have hidden all of it, or put anything else in its place.
    """
    if not error:
        return _("no error was recorded")
    if not isinstance(error, Mapping):
        return Markup("<code>{}</code>").format(error)
    own_words = error.get("type") in _SAID_BY_STEPS and error.get("message")
    parts = ("message",) if own_words else ("type", "message")
    return Markup("<code>{}</code>").format(": ".join(str(error[part]) for part in parts if error.get(part)))


def attempt_of(number: int, most: int) -> Markup:
    """Which attempt of how many. Abandoned ones come on top of those a step is allowed, and then it stands alone."""
    return _("{number} of {most}", number=number, most=most) if number <= most else _("{number}", number=number)


def _approval(teller: Teller) -> Markup:
    return _("It waits for a decision at {step}{deadline}", step=teller.step, deadline=_deadline(teller))


def _pause(teller: Teller) -> Markup:
    return _("It is paused at {step} until somebody resumes it{deadline}", step=teller.step, deadline=_deadline(teller))


def _deadline(teller: Teller) -> Markup:
    due = teller.details.get("decide_by")
    if due is None:
        return Markup("")
    if teller.details.get("deadline") == "overdue":
        return _(", overdue by {length}", length=teller.since(due))
    return _(", due {time}", time=teller.time(due))


def _interrupted(teller: Teller) -> Markup:
    if teller.details.get("irreversible"):
        text = N_("{step} was interrupted, and nobody knows whether its effect, which cannot be undone, took place")
    else:
        text = N_("{step} was interrupted {count} times in a row")
    return _(text, step=teller.step, count=teller.details.get("attempts", 0))


def _incident(teller: Teller) -> Markup:
    return _("{step} cannot begin, because its input cannot be made: {error}", step=teller.step, error=teller.error)


def _no_metadata(teller: Teller) -> Markup:
    return _("It is paused at {step}, but what should come next was not recorded", step=teller.step)


def _no_target(teller: Teller) -> Markup:
    return _("It is paused at {step}, but a step that should follow is no longer declared", step=teller.step)


def _no_workflow(teller: Teller) -> Markup:
    return _("It is paused at {step}, but this app does not know its workflow", step=teller.step)


def _retry(teller: Teller) -> Markup:
    due, number = teller.details["due_at"], teller.details["next_attempt_number"]
    return _(
        "{step} failed and is tried again {time}, attempt {attempt}",
        step=teller.step,
        time=teller.time(due) if (due - teller.now).total_seconds() >= JUST_NOW else _("now"),
        attempt=attempt_of(number, teller.details.get("max_attempts", number)),
    )


def _exhausted(teller: Teller) -> Markup:
    numbers = {"number": teller.details["latest_attempt_number"], "most": teller.details["max_attempts"]}
    return _(
        "{step} gave up after {number} of {most} attempts: {error}", step=teller.step, error=teller.error, **numbers
    )


def _failed(teller: Teller) -> Markup:
    if teller.explanation.step is None:
        return _("It failed: {error}", error=teller.error)
    return _("{step} failed: {error}", step=teller.step, error=teller.error)


def _dependencies(teller: Teller) -> Markup:
    return _("{step} waits for {steps}", step=teller.step, steps=joined(list(teller.details["waiting_on"])))


def _scheduled(teller: Teller) -> Markup:
    return _("{step} is queued; the next free worker takes it", step=teller.step)


def _pending(teller: Teller) -> Markup:
    return _("It has not begun; {step} is queued for the next free worker", step=teller.step)


def _running(teller: Teller) -> Markup:
    return _("{step} is being performed, attempt {number}", step=teller.step, number=teller.details["attempt_number"])


def _waiting(teller: Teller) -> Markup:
    until = teller.details["until"]
    return _(
        "It waits at {step} until {exact}, {time}",
        step=teller.step,
        exact=_exact(teller, until),
        time=teller.time(until),
    )


def _exact(teller: Teller, at: datetime) -> str:
    return exact(at, teller.zone, teller.now)


def _delayed(teller: Teller) -> Markup:
    if teller.details.get("dispatch") == "missing":
        return _("Nothing is queued for this run, so it cannot go on by itself")
    late = teller.since(teller.now - timedelta(seconds=teller.details.get("late_by", 0)))
    if teller.details.get("executor_error"):
        return _("{step} could not be handed to a worker for {length}", step=teller.step, length=late)
    return _("No worker has taken {step} for {length}", step=teller.step, length=late)


def _lost(teller: Teller) -> Markup:
    expired = teller.since(teller.details["claim_expired_at"])
    return _("The worker of {step} has been silent; its claim expired {length} ago", step=teller.step, length=expired)


def _mismatch(teller: Teller) -> Markup:
    return _("{step} is held back: the workers run another version of this workflow", step=teller.step)


def _compensating(teller: Teller) -> Markup:
    if teller.explanation.step is None:
        return _("It failed, and its steps are being undone")
    return _("It failed, and {step} is being undone", step=teller.step)


def _compensation_failed(teller: Teller) -> Markup:
    failures = teller.details.get("compensation_failures") or []
    steps = joined([failure["step"] for failure in failures])
    return _("It failed, and {steps} could not be undone: {error}", steps=steps, error=_first_error(failures))


def _first_error(failures: list[Facts]) -> Markup:
    return error_text(failures[0]["error"] if failures else None)


def _cancelling(teller: Teller) -> Markup:
    waiting = teller.details.get("waiting_on")
    if not waiting:
        return _("It is being cancelled")
    text = _("It is being cancelled and stops as soon as {steps} ends", steps=joined(list(waiting)))
    give_up_at = teller.details.get("give_up_at")
    if give_up_at is None or give_up_at > teller.now:
        return text
    return text + _("; if it hangs, you can count it as failed")


def _always(text: str) -> Callable[[Teller], Markup]:
    return lambda _teller: _(text)


_HEADLINES: Mapping[str, Callable[[Teller], Markup]] = {
    "paused_for_approval": _approval,
    "paused_for_manual_action": _pause,
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
    "dispatch_delayed": _delayed,
    "worker_lost": _lost,
    "definition_mismatch": _mismatch,
    "compensating": _compensating,
    "compensation_failed": _compensation_failed,
    "cancelling": _cancelling,
    "completed": _always(N_("It is completed")),
    "cancelled": _always(N_("It was cancelled")),
}
REASONS = frozenset(_HEADLINES)


def _evidence(teller: Teller) -> Iterator[Markup]:
    details = teller.details
    yield from _about_approvals(details)
    yield from _about_worker(teller)
    yield from _about_delay(teller)
    if teller.explanation.reason in ("waiting_for_retry", "interrupted", "compensating", "compensation_failed"):
        yield _("Last error: {error}", error=teller.error)
    if teller.explanation.reason == "incident":
        yield _("The step has not begun: no attempt counts, and nothing has been undone")
    if details.get("undone"):
        yield _("Undone since: {steps}", steps=joined(list(details["undone"])))
    if details.get("held"):
        yield _("The worker said: {text}", text=in_english(details["held"]))
    if details.get("also_running"):
        yield _("At the same time: {steps}", steps=joined(list(details["also_running"])))
    if details.get("open_decisions"):
        yield _("Several decisions are open: {steps}", steps=joined(_steps_of(details["open_decisions"])))
    yield from _about_definition(teller)


def _about_approvals(details: Facts) -> Iterator[Markup]:
    if "approvals" in details:
        people = ", ".join(name_of(each["actor"]) for each in details["given"]) or _("nobody yet")
        yield _("It takes {count} people; approved by: {people}", count=details["approvals"], people=people)
    if details.get("not_starter"):
        yield _("Whoever started the run may not approve")


def _steps_of(decisions: list[str]) -> list[str]:
    return [decision.rpartition("#")[0] for decision in decisions]


def _about_worker(teller: Teller) -> Iterator[Markup]:
    lost = teller.details.get("worker_lost") or teller.details
    if "claim_expired_at" in lost:
        yield _(
            "Worker {worker} took it {time} and has not renewed its claim for {timeout}; any live worker takes it over",
            worker=lost.get("worker") or "?",
            time=teller.time(lost["claimed_at"]),
            timeout=duration(lost["claim_timeout"]),
        )
    elif teller.details.get("worker"):
        yield _("Worker {worker}", worker=teller.details["worker"])


def _about_delay(teller: Teller) -> Iterator[Markup]:
    delay = teller.details.get("dispatch_delayed") or teller.details
    if delay.get("executor_error"):
        yield _("The queue answered: {error}", error=Markup("<code>{}</code>").format(delay["executor_error"]))
    if "late_by" in delay:
        yield _(
            "It was due {time} on the queue {queue}; is a worker running there?",
            time=teller.time(delay["due_at"]),
            queue=code(delay["queue"]),
        ) + plural(delay["hand_overs"], " It was handed over once.", " It was handed over {count} times.")


def _about_definition(teller: Teller) -> Iterator[Markup]:
    definition = teller.explanation.evidence.get("workflow_definition") or {}
    if definition.get("changed"):
        yield _("The workflow has changed since this run started; steps it has entered keep their settings")
    elif definition.get("available") is False:
        yield _("This app does not know the workflow now, so most actions are not possible here")
