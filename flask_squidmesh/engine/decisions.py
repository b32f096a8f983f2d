"""What follows from control calls: on a step that waits for a person, or on a run as a whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from ..definition.values import JsonObject, JsonValue
from .approvals import given, wanted, with_approval
from .compensations import Compensations
from .consequences import Consequences
from .error_records import error
from .facts import (
    ApprovalGiven,
    CompensationRetried,
    Decider,
    DecisionAnswered,
    FailureAcknowledged,
    Performed,
    RunCancelled,
    RunReplayed,
    StepFact,
    StepGivenUp,
    StepResolved,
    StepRetried,
)
from .halt import Halt
from .kept_decisions import Approved, DecisionEvent, DecisionKept
from .tally import Tally
from .transitions import TERMINAL

StepDecision = DecisionAnswered | ApprovalGiven | StepResolved | StepGivenUp | StepRetried
RunDecision = RunCancelled | CompensationRetried | RunReplayed | FailureAcknowledged


class StepDecisions:
    """Decides what follows from a control call on a step that waits for a person."""

    def __init__(self, tally: Tally, consequences: Consequences) -> None:
        self._tally, self._consequences = tally, consequences

    def decide(self, fact: StepDecision) -> None:
        """Decide what follows from the call."""
        match fact:
            case DecisionAnswered():
                self._take(fact)
            case ApprovalGiven():
                self._approve_in_part(fact)
            case StepResolved():
                self._resolve(fact)
            case StepGivenUp():
                self._give_up(fact)
            case StepRetried():
                self._try_again(fact)

    def _take(self, fact: DecisionAnswered) -> None:
        """Go where the decision leads; in dependency style a rejection fails the run."""
        tally = self._tally
        visit, event, decider = fact
        decision = visit.decision
        assert decision is not None, "it waits for one"
        self._answer(visit, event, decider)
        if event == "rejected" and tally.spec.style == "dependency":
            reason = error("Rejected", decider.comment or f"Step {visit.step} was rejected.", code="rejected")
            self._consequences.give_up(visit, reason, was_open=False)
        else:
            output = decision_output(event, decision, decider, tally.now)
            tally.close(visit, "completed", output=output, error=None)
            tally.record_output(visit)
            answered = decision.copy()
            answered["answered"] = event
            self._consequences.advance_decided(visit, answered)

    def _approve_in_part(self, fact: ApprovalGiven) -> None:
        """Record one more approval; the decision stays open."""
        tally = self._tally
        visit, decider = fact
        assert visit.decision is not None, "it waits for one"
        tally.changes.update(visit.id, decision=with_approval(visit.decision, decider, tally.now))
        tally.audit_call("approved", decider, visit)
        tally.tell_of("approved", decider, visit)

    def _resolve(self, fact: StepResolved) -> None:
        """Complete the step with the output that the person gave."""
        tally = self._tally
        visit, output, decider = fact
        self._answer(visit, "resolved", decider)
        tally.close(visit, "completed", output=output, error=None)
        if tally.status not in TERMINAL:
            tally.set_run(error=None)
        tally.record_output(visit)
        self._consequences.advance(visit)

    def _give_up(self, fact: StepGivenUp) -> None:
        """Fail the step as the person said."""
        self._answer(fact.visit, "failed", fact.decider)
        self._consequences.give_up(fact.visit, fact.error, was_open=False)

    def _try_again(self, fact: StepRetried) -> None:
        """Attempt the same visit again."""
        tally = self._tally
        self._answer(fact.visit, "retried", fact.decider)
        tally.move_step(fact.visit, "pending", decision=None, abandoned=0, due_at=None)
        tally.dispatch(fact.visit)

    def _answer(self, visit: StepFact, event: str, decider: Decider) -> None:
        tally = self._tally
        said = {"actor": decider.actor, "comment": decider.comment, "metadata": decider.metadata}
        kept = {key: value for key, value in said.items() if value is not None}
        tally.changes.update(visit.id, manual={"event": event, "at": tally.now.isoformat(), **kept})
        tally.audit_call("failed_by_operator" if event == "failed" else event, decider, visit)
        tally.tell_of(event, decider, visit)
        if visit.kind == "step" and visit.asks in ("pause", "approval"):
            began = visit.asked_at or tally.now
            tally.end_attempt(visit, Performed(number=visit.attempts + 1, worker=None, started_at=began), "completed")
            if visit.attempts:
                tally.changes.update(visit.id, attempts=visit.attempts + 1)
        tally.restate_needs()


class RunDecisions:
    """Decides what follows from a control call on a run as a whole."""

    def __init__(self, tally: Tally, compensations: Compensations, halt: Halt) -> None:
        self._tally, self._compensations, self._halt = tally, compensations, halt

    def decide(self, fact: RunDecision) -> None:
        """Decide what follows from the call."""
        match fact:
            case RunCancelled():
                self._cancel(fact)
            case CompensationRetried():
                self._retry_compensation(fact)
            case RunReplayed():
                self._replay(fact)
            case FailureAcknowledged():
                self._acknowledge(fact)

    def _cancel(self, fact: RunCancelled) -> None:
        """End at once what is not executing; the run ends when what is executing has ended."""
        tally = self._tally
        self._tell("cancelled", fact.decider)
        wanted = "requested" if fact.compensate else None
        tally.move_run("cancelling", cancelled_at=tally.now, due_at=None, compensation=wanted)
        self._halt.stop_open()

    def _retry_compensation(self, fact: CompensationRetried) -> None:
        """Attempt the failed compensations again, one after the other."""
        tally = self._tally
        self._tell("compensation_retried", fact.decider)
        noted = tally.run.acknowledged_at or tally.run.replayed_as_id
        tally.restate_needs(noted=True)
        if tally.run.status == "failed" and not noted:
            tally.need("failed", since=tally.run.needs_since)
        self._compensations.try_again()

    def _replay(self, fact: RunReplayed) -> None:
        """Record the replay; the run's failure needs nobody any more."""
        tally = self._tally
        said = {**(fact.decider.metadata or {}), "run_id": fact.run_id, **fact.begins}
        self._tell("replayed", replace(fact.decider, metadata=said))
        tally.set_run(replayed_as_id=fact.run_id)
        tally.restate_needs(noted=True)

    def _acknowledge(self, fact: FailureAcknowledged) -> None:
        """Record the acknowledgement; the run's failure needs nobody any more."""
        self._tell("acknowledged", fact.decider)
        self._tally.set_run(acknowledged_at=self._tally.now)
        self._tally.restate_needs(noted=True)

    def _tell(self, event: str, decider: Decider) -> None:
        self._tally.audit_call(event, decider)
        self._tally.tell_of(event, decider)


_OPTIONS: Final = {"approved": "approve", "rejected": "reject"}


def decision_output(event: DecisionEvent, decision: DecisionKept, decider: Decider, now: datetime) -> JsonObject:
    """Return what a decision adds to the run's state, under its key."""
    output: dict[str, JsonValue] = {}
    if decision.get("kind") == "approval":
        option = _OPTIONS.get(event, event)
        output = {"option": option, "decision": event, "actor": decider.actor, "decided_at": now.isoformat()}
        output |= {"comment": decider.comment} if decider.comment is not None else {}
        output |= {"metadata": dict(decider.metadata)} if decider.metadata is not None else {}
        output |= {"approved_before": [_as_json(each) for each in given(decision)]} if wanted(decision) > 1 else {}
    key = decision.get("output")
    return {key: output} if key else output


def _as_json(approved: Approved) -> JsonObject:
    return {"actor": approved["actor"], "comment": approved["comment"], "at": approved["at"]}
