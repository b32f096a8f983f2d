"""What follows from control calls: on a step that waits for a person, or on a run as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from ..definition.spec import StepSpec
from ..definition.values import JsonObject, JsonValue
from .approvals import begins_again, given, wanted, with_approval
from .changes import WaitHandedOn
from .compensations import Compensations
from .consequences import Consequences
from .error_records import error
from .facts import (
    ApprovalGiven,
    CompensationRetried,
    Decider,
    DecisionAnswered,
    FailureAcknowledged,
    RunCancelled,
    RunNoted,
    RunReplayed,
    StepFact,
    StepGivenUp,
    StepResolved,
    StepRetried,
    WaitAssigned,
)
from .halt import Halt
from .kept_decisions import OPTIONS, WAITS, Approved, DecisionEvent, DecisionKept
from .successors import Successors
from .tally import Tally
from .transitions import TERMINAL
from .waits import first_option

StepDecision = DecisionAnswered | ApprovalGiven | WaitAssigned | StepResolved | StepGivenUp | StepRetried
RunDecision = RunCancelled | CompensationRetried | RunReplayed | FailureAcknowledged | RunNoted


class StepDecisions:
    """Decides what follows from a control call on a step that waits for a person."""

    def __init__(self, tally: Tally, consequences: Consequences, successors: Successors) -> None:
        self._tally, self._consequences, self._successors = tally, consequences, successors

    def decide(self, fact: StepDecision) -> None:
        """Decide what follows from the call."""
        match fact:
            case DecisionAnswered():
                self._take(fact)
            case ApprovalGiven():
                self._approve_in_part(fact)
            case WaitAssigned():
                self._assign(fact)
            case StepResolved():
                self._resolve(fact)
            case StepGivenUp():
                self._give_up(fact)
            case StepRetried():
                self._try_again(fact)

    def _take(self, fact: DecisionAnswered) -> None:
        """Go where the decision leads; in dependency style every option but the first fails the run."""
        tally = self._tally
        visit, event, decider, option, _ = fact
        decision = visit.decision
        assert decision is not None, "it waits for one"
        option = option or OPTIONS.get(event)
        self._answer(visit, event, _with_option(decider, event, option))
        answer: JsonObject = {"option": option, "actor": decider.actor, "comment": decider.comment}
        tally.tell("decision.decided", visit, {name: value for name, value in answer.items() if value is not None})
        if tally.spec.style == "dependency" and option != first_option(decision):
            said = decider.comment or f"Step {visit.step} was {_TOLD.get(event) or f'answered with {option}'}."
            reason = error("Rejected", said, code=event if event == "rejected" else option)
            self._consequences.give_up(visit, reason, was_open=False)
        else:
            output = decision_output(decision, fact, tally.now)
            tally.close(visit, "completed", output=output, error=None)
            tally.record_output(visit)
            answered = decision.copy()
            answered["answered"] = event
            if option is not None:
                answered["option"] = option
            self._consequences.advance_decided(visit, answered)

    def _assign(self, fact: WaitAssigned) -> None:
        """Make the wait somebody's; what it waits for stays as it is."""
        tally = self._tally
        visit, assignee, decider = fact
        assert visit.decision is not None, "it is open"
        before = visit.decision.get("assignee")
        tally.changes.update(visit.id, decision={**visit.decision, "assignee": assignee})
        tally.changes.handed_on[visit.id] = WaitHandedOn(assignee=assignee)
        said = {**(decider.metadata or {}), "from": before, "to": assignee}
        tally.audit_call("assigned", replace(decider, metadata=said), visit)
        tally.tell_of("assigned", replace(decider, metadata=said), visit)

    def _approve_in_part(self, fact: ApprovalGiven) -> None:
        """Record one more approval; the decision stays open. An approval of another answer is the first one again."""
        tally = self._tally
        visit, decider, answer = fact
        assert visit.decision is not None, "it waits for one"
        if begins_again(visit.decision, answer):
            decider = replace(decider, metadata={**(decider.metadata or {}), "count_begins_again": True})
        tally.changes.update(visit.id, decision=with_approval(visit.decision, decider, answer, tally.now))
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
        step = tally.spec.steps.get(fact.visit.step)
        tally.move_step(fact.visit, "pending", decision=None, abandoned=0, due_at=None)
        if step is not None and fact.visit.kind == "step" and _opens_again(step, fact.visit):
            self._successors.open_again(fact.visit, step)
        else:
            tally.dispatch(fact.visit)

    def _answer(self, visit: StepFact, event: str, decider: Decider) -> None:
        tally = self._tally
        said = {"actor": decider.actor, "comment": decider.comment, "metadata": decider.metadata}
        kept = {key: value for key, value in said.items() if value is not None}
        tally.changes.update(visit.id, manual={"event": event, "at": tally.now.isoformat(), **kept})
        tally.audit_call("failed_by_operator" if event == "failed" else event, decider, visit)
        tally.tell_of(event, decider, visit)
        if visit.kind == "step" and visit.asks in WAITS:
            tally.end_wait(visit)
        else:
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
            case RunNoted():
                self._tell("noted", fact.decider)

    def _cancel(self, fact: RunCancelled) -> None:
        self._tell("cancelled", fact.decider)
        self._halt.cancel(compensate=fact.compensate)

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


def _opens_again(step: StepSpec, visit: StepFact) -> bool:
    """Whether what the step waits for, or by when it should end, is looked up in the state as it is entered."""
    return step.opens_wait or step.kind == "wait" or (step.timed and visit.decide_by is None and visit.attempts == 0)


_TOLD: Final[Mapping[str, str]] = {"rejected": "rejected"}


def _with_option(decider: Decider, event: DecisionEvent, option: str | None) -> Decider:
    """Have the audit say which option of a decision was taken; of an approval its event says so."""
    if event != "decided":
        return decider
    return replace(decider, metadata={**(decider.metadata or {}), "option": option})


def decision_output(decision: DecisionKept, answered: DecisionAnswered, now: datetime) -> JsonObject:
    """Return what a decision adds to the run's state: its record under its key, and the answers that update it."""
    _, event, decider, option, answer = answered
    output: dict[str, JsonValue] = {}
    if decision["kind"] in ("approval", "decision"):
        output = {"option": option or OPTIONS.get(event, event), "actor": decider.actor, "decided_at": now.isoformat()}
        output |= {"decision": event} if decision["kind"] == "approval" else {}
        output |= {"comment": decider.comment} if decider.comment is not None else {}
        output |= {"metadata": dict(decider.metadata)} if decider.metadata is not None else {}
        output |= {"answer": answer} if answer is not None else {}
        output |= {"approved_before": [_as_json(each) for each in given(decision)]} if wanted(decision) > 1 else {}
    key = decision.get("output")
    updates = {name: answer[name] for name in decision.get("updates") or () if answer and name in answer}
    return {**updates, key: output} if key else {**updates, **output}


def _as_json(approved: Approved) -> JsonObject:
    return {"actor": approved["actor"], "comment": approved["comment"], "at": approved["at"]}
