"""How a run begins, at once or later; until then it has no steps."""

from __future__ import annotations

from dataclasses import replace

from .facts import RunRescheduled, RunScheduled, RunStarted, ScheduledRunDue
from .successors import Successors
from .tally import Tally


class Beginnings:
    """Decides when a run begins, and has it begin."""

    def __init__(self, tally: Tally, successors: Successors) -> None:
        self._tally, self._successors = tally, successors

    def decide(self, fact: RunStarted | RunScheduled | RunRescheduled | ScheduledRunDue) -> None:
        """Decide what follows."""
        match fact:
            case RunStarted():
                self._successors.begin(fact)
            case RunScheduled():
                self._tally.set_run(due_at=fact.at)
                self._tally.changes.begins_at = fact.at
            case RunRescheduled():
                self._reschedule(fact)
            case ScheduledRunDue():
                self._begin(fact)

    def _reschedule(self, fact: RunRescheduled) -> None:
        tally, run = self._tally, self._tally.run
        assert run.due_at is not None, "it is to begin later"
        moved = {"from": run.due_at.isoformat(), "to": fact.at.isoformat()}
        decider = replace(fact.decider, metadata={**(fact.decider.metadata or {}), **moved})
        tally.audit_call("rescheduled", decider)
        tally.tell_of("rescheduled", decider)
        tally.set_run(due_at=fact.at)
        if run.deadline_at is not None:
            tally.set_run(deadline_at=run.deadline_at + (fact.at - run.due_at))
        tally.changes.begins_at = fact.at

    def _begin(self, fact: ScheduledRunDue) -> None:
        tally = self._tally
        tally.set_run(due_at=None)
        if tally.run.follows != tally.spec.fingerprint:
            tally.set_run(follows=tally.spec.fingerprint, follows_since=fact.loaded_at)
        self._successors.begin(RunStarted())
