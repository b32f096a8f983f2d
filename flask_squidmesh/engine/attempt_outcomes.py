"""What follows from an attempt that completed, failed, was lost, was given up, or could not begin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from ..definition.elements import delay
from .compensations import Compensations
from .consequences import Consequences
from .error_records import brief, error, in_audit
from .facts import (
    AttemptAbandoned,
    AttemptCompleted,
    AttemptFailed,
    AttemptGivenUp,
    Failure,
    InputRefused,
    StepFact,
)
from .tally import Tally
from .transitions import STOPPING, TERMINAL


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """What to do about a failed attempt.

    retry: attempt again after `delay` seconds. give_up: the step has failed. interrupt: a person has to look, because
    the step's effect cannot be undone and nobody knows whether it happened.
    """

    kind: Literal["retry", "give_up", "interrupt"]
    delay: float = 0.0


def verdict(visit: StepFact, failure: Failure) -> RetryDecision:
    """Judge a failed attempt by the policy that was stored with the visit."""
    uncertain = visit.irreversible and not failure.certain
    if uncertain:
        return RetryDecision("interrupt")
    if failure.final or (visit.irreversible and not failure.asked):
        return RetryDecision("give_up")
    if visit.attempts >= visit.settings.retry.max_attempts:
        return RetryDecision("give_up")
    seconds = failure.after if failure.after is not None else delay(visit.settings.retry, visit.attempts)
    return RetryDecision("retry", seconds)


AttemptFact = AttemptCompleted | AttemptFailed | InputRefused | AttemptAbandoned | AttemptGivenUp


class AttemptOutcomes:
    """Decides what follows from one attempt that ended or could not begin."""

    def __init__(self, tally: Tally, consequences: Consequences, compensations: Compensations) -> None:
        self._tally, self._consequences, self._compensations = tally, consequences, compensations

    def decide(self, fact: AttemptFact) -> None:
        """Decide what follows from the attempt."""
        match fact:
            case AttemptCompleted():
                self._complete(fact)
            case AttemptFailed():
                self._fail(fact)
            case InputRefused():
                self._refuse(fact)
            case AttemptAbandoned():
                self._lose(fact)
            case AttemptGivenUp():
                self._give_up_hanging(fact)

    def _complete(self, fact: AttemptCompleted) -> None:
        tally = self._tally
        visit, output, performed = fact
        tally.end_attempt(visit, performed, "completed")
        tally.close(visit, "completed", output=output, input=performed.input, error=None)
        tally.leave(visit)
        if visit.kind == "compensation":
            self._compensations.go_on(visit, failed=False)
            return
        if tally.run.error and tally.status not in TERMINAL:
            tally.set_run(error=None)
        tally.record_output(visit)
        self._consequences.advance(visit)

    def _fail(self, fact: AttemptFailed) -> None:
        tally = self._tally
        visit, failure, performed = fact
        tally.end_attempt(visit, performed, "failed", failure.error)
        if performed.input is not None:
            tally.changes.update(visit.id, input=performed.input)
        judged, kept = verdict(visit, failure), brief(failure.error, performed.number)
        if judged.kind == "interrupt":
            self._consequences.interrupt(visit, kept)
        elif judged.kind == "retry" and (visit.kind == "compensation" or tally.status not in STOPPING):
            self._retry(fact, judged.delay)
        else:
            self._consequences.give_up(visit, kept, in_full=failure.error)

    def _retry(self, fact: AttemptFailed, seconds: float) -> None:
        tally = self._tally
        visit, failure, performed = fact
        reason = brief(failure.error, performed.number)
        due = tally.now + timedelta(seconds=seconds)
        tally.move_step(visit, "pending", error=reason, due_at=due, input=performed.input, abandoned=0)
        tally.changes.released[visit.id] = due
        tally.changes.notice(
            "step_retry_scheduled", step=visit.step, visit=visit.visit, attempt=visit.attempts, delay=seconds
        )
        if visit.kind == "step":
            tally.retrying_steps += 1
            tally.set_run(current_step=visit.step, due_at=due, error=reason)

    def _refuse(self, fact: InputRefused) -> None:
        """Open an incident, unless the run is stopping or the step is for another process to perform.

        A compensation counts as failed.
        """
        tally = self._tally
        visit, reason = fact
        begun = visit.attempts - 1
        tally.changes.update(visit.id, attempts=begun)
        if not begun:
            tally.changes.update(visit.id, started_at=None)
        if tally.spec.style == "flow" and visit.kind == "step" and tally.status not in TERMINAL:
            tally.set_run(attempt=begun)
        tally.audit("incident", visit, metadata={"error": in_audit(reason)})
        if visit.kind == "compensation":
            self._consequences.give_up(visit, reason)
        elif tally.status in STOPPING:
            tally.close(visit, "cancelled", error=reason)
            tally.leave(visit)
        elif tally.context.left_to:
            tally.move_step(visit, "pending")
            tally.changes.released[visit.id] = tally.now
        else:
            self._consequences.wait_for_a_person(visit, "incident", reason)

    def _lose(self, fact: AttemptAbandoned) -> None:
        """Attempt the step again, unless its effect cannot be undone, the run is stopping, or it was lost too often."""
        tally = self._tally
        visit, performed, most = fact
        lost = error("WorkerLost", f"The claim of worker {performed.worker} was not renewed in time.", retryable=True)
        tally.end_attempt(visit, performed, "abandoned", lost)
        tally.changes.update(visit.id, abandoned=visit.abandoned + 1)
        tally.audit("abandoned", visit, metadata={"attempt": visit.attempts, "worker": performed.worker})
        if visit.irreversible:
            self._consequences.interrupt(visit, lost)
        elif visit.kind == "step" and tally.status in STOPPING:
            tally.close(visit, "cancelled", error=lost)
            tally.leave(visit)
        elif visit.abandoned + 1 >= most and visit.kind == "compensation":
            self._consequences.give_up(visit, lost)
        elif visit.abandoned + 1 >= most:
            self._consequences.interrupt(visit, lost)
        else:
            tally.move_step(visit, "pending", due_at=None)
            tally.changes.freed[visit.id] = performed.started_at

    def _give_up_hanging(self, fact: AttemptGivenUp) -> None:
        """Fail the step, or interrupt it if it cannot be undone: nobody knows what the attempt did or will still do."""
        tally = self._tally
        visit, reason, decider, performed = fact
        tally.audit_call("given_up", decider, visit)
        tally.tell_of("failed", decider, visit)
        tally.end_attempt(visit, performed, "abandoned", reason)
        if visit.irreversible:
            self._consequences.interrupt(visit, reason)
        else:
            self._consequences.give_up(visit, reason)
