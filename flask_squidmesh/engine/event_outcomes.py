"""What follows when an event comes that a wait takes, or that cancels the run."""

from __future__ import annotations

from typing import Final

from .consequences import Consequences
from .facts import Decider, EventCancels, EventMisfit, EventTaken
from .halt import Halt
from .kept_decisions import DecisionKept, MisfitKept
from .tally import Tally

SENDER: Final = "the event"
"""Who ends a wait, or cancels a run, that an event was to end, as an actor."""


class EventOutcomes:
    """Decides what follows from an event."""

    def __init__(self, tally: Tally, consequences: Consequences, halt: Halt) -> None:
        self._tally, self._consequences, self._halt = tally, consequences, halt

    def decide(self, fact: EventTaken | EventMisfit | EventCancels) -> None:
        """Decide what follows."""
        match fact:
            case EventTaken():
                self._take(fact)
            case EventMisfit():
                self._pass_over(fact)
            case EventCancels():
                self._cancel(fact)

    def _take(self, fact: EventTaken) -> None:
        """Complete the visit with the payload, and go where its routes lead."""
        tally, visit, decision = self._tally, fact.visit, fact.visit.decision
        assert decision is not None, "it is open"
        tally.audit("event_received", visit, metadata=fact.said)
        tally.changes.update(
            visit.id, manual={"event": "received", "at": tally.now.isoformat(), "actor": SENDER, "metadata": fact.said}
        )
        tally.end_wait(visit, SENDER)
        key = decision.get("output")
        tally.close(visit, "completed", output={key: fact.payload} if key else fact.payload, error=None)
        tally.leave(visit)
        tally.record_output(visit)
        answered: DecisionKept = {**decision, "answered": "received"}
        self._consequences.advance_decided(visit, answered)

    def _pass_over(self, fact: EventMisfit) -> None:
        """Have the wait show the event that it cannot take."""
        tally, visit = self._tally, fact.visit
        assert visit.decision is not None, "it is open"
        misfit = MisfitKept(event_id=fact.event_id, at=tally.now.isoformat(), why=fact.why)
        decision: DecisionKept = {**visit.decision, "misfit": misfit}
        tally.changes.update(visit.id, decision=decision)
        tally.audit("event_unfit", visit, metadata={"event_id": fact.event_id, "why": fact.why})

    def _cancel(self, fact: EventCancels) -> None:
        """Cancel the run as a program does."""
        tally = self._tally
        tally.audit_call("cancelled", Decider(actor=SENDER, metadata=fact.said))
        tally.tell_of("cancelled", Decider(actor=SENDER, metadata=fact.said))
        self._halt.cancel(compensate=fact.compensate, by_program=True)
