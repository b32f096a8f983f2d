"""What happens by itself when its time has come: reminders, escalations, the end of a wait, the deadline of a run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from ..definition.values import JsonObject
from ..notices import NoticeKind
from .changes import WaitHandedOn
from .consequences import Consequences
from .error_records import error
from .facts import Decider, RunDeadlinePassed, StepFact, StepReminderDue, TimerDue
from .halt import Halt
from .kept_decisions import EVENT, DecisionKept, TimerKept
from .successors import Successors
from .tally import Tally
from .waits import next_timer

DEADLINE: Final = "the deadline"
"""Who ends a wait whose time is over, as an actor."""
_KINDS: Final[Mapping[str, NoticeKind]] = {
    "reminded": "decision.reminded",
    "escalated": "decision.escalated",
    "timed_out": "decision.timed_out",
}


class Timers:
    """Decides what follows when the time of a wait, or of a run, has come."""

    def __init__(self, tally: Tally, consequences: Consequences, successors: Successors, halt: Halt) -> None:
        self._tally, self._consequences, self._successors, self._halt = tally, consequences, successors, halt

    def decide(self, fact: TimerDue | StepReminderDue | RunDeadlinePassed) -> None:
        """Decide what follows."""
        match fact:
            case TimerDue():
                self._go_off(fact.visit)
            case StepReminderDue():
                self._remind(fact)
            case RunDeadlinePassed():
                self._end_run(fact)

    def _go_off(self, visit: StepFact) -> None:
        decision = visit.decision
        assert decision is not None, "it is open"
        first, *rest = decision["timers"]
        after: DecisionKept = {**decision, "timers": rest}
        match first["kind"]:
            case "remind":
                self._remind_of(visit, after)
            case "escalate":
                after = self._escalate(visit, after, first)
            case "time_out":
                self._time_out(visit, after)
                return
        self._tally.changes.update(visit.id, decision=after)
        due = next_timer(after)
        if due is None:
            self._tally.changes.ended.append(visit.id)
        else:
            self._tally.changes.timed[visit.id] = due

    def _remind_of(self, visit: StepFact, decision: DecisionKept) -> None:
        self._tell("reminded", visit, {"assignee": decision.get("assignee"), "groups": decision.get("groups")})

    def _escalate(self, visit: StepFact, decision: DecisionKept, timer: TimerKept) -> DecisionKept:
        """Make the wait theirs too; whose it is already, by the state or by a person, are reminded of it."""
        before = decision.get("groups") or []
        further = [group for group in timer.get("groups") or () if group not in before]
        assignee = timer.get("assignee") or decision.get("assignee")
        if assignee == decision.get("assignee") and not further:
            self._remind_of(visit, decision)
            return decision
        self._tally.changes.handed_on[visit.id] = WaitHandedOn(assignee=assignee, further=further)
        self._tell("escalated", visit, {"from": decision.get("assignee"), "to": assignee, "groups": further})
        return {**decision, "assignee": assignee, "groups": [*before, *further]}

    def _time_out(self, visit: StepFact, decision: DecisionKept) -> None:
        """End the wait as the deadline's doing, and go where its route leads."""
        tally = self._tally
        self._tell("timed_out", visit, {})
        tally.changes.update(
            visit.id, manual={"event": "timed_out", "at": tally.now.isoformat(), "actor": DEADLINE}, decision=decision
        )
        tally.end_wait(visit, DEADLINE)
        tally.close(visit, "completed", output=_record(decision, tally.now), error=None)
        if decision["kind"] == EVENT:
            tally.leave(visit)
        tally.record_output(visit)
        self._consequences.advance_decided(visit, {**decision, "answered": "timed_out"})

    def _remind(self, fact: StepReminderDue) -> None:
        """Tell of a step that takes long; it goes on as it would."""
        tally, visit = self._tally, fact.visit
        assert visit.decide_by is not None, "it is timed"
        event = "overdue" if fact.overdue else "reminded"
        due_at = visit.decide_by
        tally.audit_call(event, Decider(actor=DEADLINE, metadata={"due_at": due_at.isoformat()}), visit)
        tally.changes.notice(
            f"step_{event}", step=visit.step, visit=visit.visit, attempt=max(visit.attempts, 1), due_at=due_at
        )
        if fact.overdue:
            tally.set_run(overdue_since=min(due_at, tally.run.overdue_since or due_at))

    def _end_run(self, fact: RunDeadlinePassed) -> None:
        """Fail the run, or cancel it as a person would."""
        tally = self._tally
        tally.audit_call("deadline_passed", Decider(actor=DEADLINE))
        if fact.cancel:
            self._halt.cancel(compensate=fact.compensate, by_program=True)
            return
        reason = error("DeadlinePassed", "The run took longer than its deadline allows.", code="deadline")
        self._successors.fail_run(tally.run.current_step, reason)

    def _tell(self, event: str, visit: StepFact, said: JsonObject) -> None:
        """Audit and signal it, with those of the facts that there are."""
        told = {name: value for name, value in said.items() if value}
        self._tally.audit_call(event, Decider(actor=DEADLINE, metadata=told or None), visit)
        self._tally.tell(_KINDS[event], visit, told or None)
        self._tally.changes.notice(f"decision_{event}", step=visit.step, visit=visit.visit, attempt=1, **told)


def _record(decision: DecisionKept, now: datetime) -> JsonObject:
    """What a wait adds to the run's state whose time is over; of an event, which has not come, nothing."""
    key = decision.get("output")
    if not key or decision["kind"] == EVENT:
        return {}
    told = {"decision": "timed_out"} if decision["kind"] == "approval" else {}
    return {key: {"option": "timed_out", "actor": DEADLINE, "decided_at": now.isoformat(), **told}}
