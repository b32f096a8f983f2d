"""What the reason for a run's state rests on, one sentence each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from markupsafe import Markup

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
    WaitingForRetry,
    WorkerLost,
)
from .explanation_text import ExplanationText
from .language import _, code, in_english, joined, plural
from .times import duration, stamp


def grounds(teller: ExplanationText) -> list[Markup]:
    """What supports the reason."""
    facts = teller.explanation.details
    found = list(_GROUNDS.get(type(facts), _nothing)(teller, facts))
    if facts.also_open:
        found.append(_("Several decisions are open: {steps}", steps=joined(_decided_at(teller, facts.also_open))))
    return [*found, *_about_definition(teller.explanation.evidence.workflow_definition)]


def _nothing(_teller: ExplanationText, _facts: ReasonFacts) -> Iterator[Markup]:
    yield from ()


def _interrupted(teller: ExplanationText, facts: Interrupted) -> Iterator[Markup]:
    yield from _about_worker(facts.worker)
    yield _("Last error: {error}", error=teller.error(facts.last_error))


def _cannot_begin(teller: ExplanationText, facts: CannotBegin) -> Iterator[Markup]:
    yield teller.error(facts.last_error)
    yield _("The step has not begun: no attempt counts, and nothing has been undone")


def _running(_teller: ExplanationText, facts: Running) -> Iterator[Markup]:
    yield from _about_worker(facts.worker)
    if facts.also_running:
        yield _("At the same time: {steps}", steps=joined(facts.also_running))


def _held_back(teller: ExplanationText, facts: HeldBack) -> Iterator[Markup]:
    yield _about_held(teller, facts.held)


def _last_error(teller: ExplanationText, facts: WaitingForRetry | CompensationFailed) -> Iterator[Markup]:
    yield _("Last error: {error}", error=teller.error(facts.last_error))


def _compensating(teller: ExplanationText, facts: CompensationRunning) -> Iterator[Markup]:
    yield from _about_trouble(teller, facts)
    yield _("Last error: {error}", error=teller.error(facts.last_error))


def _ended(_teller: ExplanationText, facts: Ended | Failed) -> Iterator[Markup]:
    if facts.undone:
        yield _("Undone since: {steps}", steps=joined(facts.undone))


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
    return _("The worker said: {text}", text=in_english(teller.seen(held, "held")))


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


_GROUNDS: Mapping[type[ReasonFacts], Callable[[ExplanationText, Any], Iterator[Markup]]] = {
    Interrupted: _interrupted,
    CannotBegin: _cannot_begin,
    Running: _running,
    WorkerLost: _about_lost,
    DispatchDelayed: _about_delay,
    HeldBack: _held_back,
    WaitingForRetry: _last_error,
    CompensationFailed: _last_error,
    CompensationRunning: _compensating,
    Cancelling: _about_trouble,
    Ended: _ended,
    Failed: _ended,
}
