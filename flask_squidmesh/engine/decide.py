"""How a run moves on: from one thing that happened to the rows that follow from it.

All that follows from what happens to a run is decided here, without reading or writing anything. That an attempt begins
leads to nothing else; `moves.claimed` says how the rows change then.
"""

from __future__ import annotations

from typing import assert_never

from .adoption import adopt
from .attempt_outcomes import AttemptOutcomes
from .beginnings import Beginnings
from .changes import Changes
from .compensations import Compensations
from .consequences import Consequences
from .decisions import RunDecisions, StepDecisions
from .event_outcomes import EventOutcomes
from .facts import (
    ApprovalGiven,
    AttemptAbandoned,
    AttemptCompleted,
    AttemptFailed,
    AttemptGivenUp,
    CompensationRetried,
    DecisionAnswered,
    DecisionState,
    DefinitionChanged,
    EventCancels,
    EventMisfit,
    EventTaken,
    Fact,
    FailureAcknowledged,
    FollowUpDue,
    InputRefused,
    RunCancelled,
    RunDeadlinePassed,
    RunNoted,
    RunReplayed,
    RunRescheduled,
    RunScheduled,
    RunStarted,
    ScheduledRunDue,
    StepGivenUp,
    StepReminderDue,
    StepResolved,
    StepRetried,
    TimerDue,
    WaitAssigned,
)
from .halt import Halt
from .reconciliation import Reconciliation
from .successors import Successors
from .tally import Tally
from .timers import Timers


def decide(state: DecisionState, fact: Fact) -> Changes:
    """Return what follows from the fact in this state.

    The run must be locked, or the changes written only if its revision is still that of the state. Where `reads` of
    the changes names rows, the rest of them is not to be written: read those rows and decide again with them in
    `DecisionContext.read`, or, where it names all, with an `adoption` that holds all rows of the run.
    """
    tally = Tally(state)
    adoption = state.context.adoption
    # A run that has not begun goes by the definition that it begins with.
    rows = adopt(tally, adoption) if adoption is not None and not state.run.is_scheduled else None
    successors = Successors(tally)
    compensations = Compensations(tally)
    consequences = Consequences(tally, successors, compensations)
    halt = Halt(tally, compensations, rows)
    match fact:
        case AttemptCompleted() | AttemptFailed() | InputRefused() | AttemptAbandoned() | AttemptGivenUp():
            AttemptOutcomes(tally, consequences, compensations).decide(fact)
        case RunStarted() | RunScheduled() | RunRescheduled() | ScheduledRunDue():
            Beginnings(tally, successors).decide(fact)
        case FollowUpDue():
            consequences.follow_up(fact)
        case DecisionAnswered() | ApprovalGiven() | WaitAssigned() | StepResolved() | StepGivenUp() | StepRetried():
            StepDecisions(tally, consequences, successors).decide(fact)
        case RunCancelled() | CompensationRetried() | RunReplayed() | FailureAcknowledged() | RunNoted():
            RunDecisions(tally, compensations, halt).decide(fact)
        case TimerDue() | StepReminderDue() | RunDeadlinePassed():
            Timers(tally, consequences, successors, halt).decide(fact)
        case EventTaken() | EventMisfit() | EventCancels():
            EventOutcomes(tally, consequences, halt).decide(fact)
        case DefinitionChanged():
            pass
        case _:
            assert_never(fact)
    if rows is not None:
        Reconciliation(tally, successors, rows).reconcile()
    _settle(tally, halt)
    return tally.changes


def _settle(tally: Tally, halt: Halt) -> None:
    tally.settle()
    if tally.halts:
        halt.finish()
