"""What the reason for a run's state rests on, one sentence each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from markupsafe import Markup

from ...definition.spec import end_at
from ...errors import ErrorRecord
from ...queries.reason_facts import (
    Cancelling,
    CannotBegin,
    CompensationFailed,
    CompensationRunning,
    Definition,
    Delay,
    DeliveryError,
    DispatchDelayed,
    Ended,
    Failed,
    HeldBack,
    Interrupted,
    LostClaim,
    ReasonFacts,
    Running,
    WaitingForEvent,
    WaitingForPerson,
    WaitingForRetry,
    WorkerLost,
)
from .explanation_text import ExplanationText
from .language import _, code, in_english, joined, plural
from .times import duration, stamp


def grounds(teller: ExplanationText) -> list[Markup]:
    """What supports the reason."""
    facts = teller.explanation.details
    found = list(_grounds_of(teller, facts))
    if facts.also_open:
        steps = _decided_at(teller, facts.also_open)
        listed = joined(steps)
        found.append(
            plural(len(steps), "A decision is open: {steps}", "Several decisions are open: {steps}", steps=listed)
        )
    if facts.finish_by is not None and not facts.overdue:
        found.append(_("It should end {time}", time=teller.time(facts.finish_by)))
    return [*found, *_about_definition(teller.explanation.evidence.workflow_definition)]


def _grounds_of(teller: ExplanationText, facts: ReasonFacts) -> Iterable[Markup]:
    match facts:
        case WorkerLost() | DispatchDelayed() | HeldBack() | Cancelling():
            return _about_work(teller, facts)
        case Interrupted():
            return _interrupted(teller, facts)
        case CannotBegin():
            return _cannot_begin(teller, facts)
        case Running():
            return _running(facts)
        case WaitingForRetry() | CompensationFailed():
            return [_last_error(teller, facts.last_error)]
        case CompensationRunning():
            return [*_about_trouble(teller, facts), _last_error(teller, facts.last_error)]
        case WaitingForPerson(put_off=why) | WaitingForEvent(put_off=why) if why is not None:
            why_not = teller.seen(why, "put_off")
            return [_("What was to happen by itself could not be done yet: {why}", why=code(why_not))]
        case WaitingForEvent(timeout=target) if target is not None:
            return [_if_nothing_comes(target)]
        case Ended() | Failed() if facts.undone:
            return [_("Undone since: {steps}", steps=joined(facts.undone))]
        case _:
            return ()


def _about_work(
    teller: ExplanationText, facts: WorkerLost | DispatchDelayed | HeldBack | Cancelling
) -> Iterable[Markup]:
    match facts:
        case WorkerLost():
            return _about_lost(teller, facts)
        case DispatchDelayed():
            return _about_delay(teller, facts)
        case HeldBack():
            return [_about_held(teller, facts.held)]
        case Cancelling():
            return _about_trouble(teller, facts)


def _last_error(teller: ExplanationText, error: ErrorRecord | None) -> Markup:
    return _("Last error: {error}", error=teller.error(error))


def _interrupted(teller: ExplanationText, facts: Interrupted) -> Iterator[Markup]:
    yield from _about_worker(facts.worker)
    yield _last_error(teller, facts.last_error)


def _if_nothing_comes(target: str) -> Markup:
    end = end_at(target)
    if end is not None:
        outcome = code(end.outcome.replace("_", " "))
        return _("If nothing comes by then, the run ends as {outcome}", outcome=outcome)
    return _("If nothing comes by then, it goes on to {step}", step=code(target))


def _cannot_begin(teller: ExplanationText, facts: CannotBegin) -> Iterator[Markup]:
    yield teller.error(facts.last_error)
    yield _("The step has not begun: no attempt counts, and nothing has been undone")


def _running(facts: Running) -> Iterator[Markup]:
    yield from _about_worker(facts.worker)
    if facts.also_running:
        yield _("At the same time: {steps}", steps=joined(facts.also_running))


def _about_lost(teller: ExplanationText, lost: LostClaim) -> Iterator[Markup]:
    yield _(
        "Worker {worker} took it {time} and has not renewed its claim for {timeout}; any live worker takes it over",
        worker=lost.worker or "?",
        time=stamp(lost.claimed_at, teller.zone, teller.now),
        timeout=duration(lost.claim_timeout),
    )


def _decided_at(teller: ExplanationText, also_open: tuple[str, ...]) -> list[str]:
    """The steps of all open decisions: the one that the reason is about, if it is one, and the others."""
    own = teller.explanation.evidence.step_run
    first = [own.step] if own is not None and own.decision else []
    return [*first, *(decision.rpartition("#")[0] for decision in also_open)]


def _about_worker(worker: str | None) -> Iterator[Markup]:
    if worker:
        yield _("Worker {worker}", worker=worker)


def _about_trouble(teller: ExplanationText, trouble: DeliveryError) -> Iterator[Markup]:
    if trouble.definition_mismatch:
        yield _about_held(teller, trouble.definition_mismatch)
    if trouble.worker_lost is not None:
        yield from _about_lost(teller, trouble.worker_lost)
    if trouble.dispatch_delayed is not None:
        yield from _about_delay(teller, trouble.dispatch_delayed)


def _about_held(teller: ExplanationText, held: str) -> Markup:
    return _("The worker said: {text}", text=in_english(str(teller.seen(held, "held"))))


def _about_delay(teller: ExplanationText, delay: Delay) -> Iterator[Markup]:
    if delay.executor_error:
        error = Markup("<code>{}</code>").format(teller.seen(delay.executor_error, "executor_error"))
        yield _("The queue answered: {error}", error=error)
    yield _(
        "It was due {time} on the queue {queue}; is a worker running there?",
        time=teller.time(delay.due_at),
        queue=code(delay.queue),
    ) + plural(delay.hand_overs, " It was handed over once.", " It was handed over {count} times.")


def _about_definition(definition: Definition | None) -> Iterator[Markup]:
    if definition is None:
        return
    if definition.changed:
        yield _("The workflow has changed since this run started; steps it has entered keep their settings")
    elif not definition.available:
        yield _("This app does not know the workflow now, so most actions are not possible here")
