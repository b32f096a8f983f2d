"""How a run moves on: from one thing that happened to the rows that follow from it.

Everything that is decided about a run is decided here, and nothing is read or written for it.
"""

from __future__ import annotations

from typing import assert_never

from .adoption import adopt
from .attempt_outcomes import AttemptOutcomes
from .changes import Changes
from .compensations import Compensations
from .consequences import Consequences
from .decisions import RunDecisions, StepDecisions
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
    Fact,
    FailureAcknowledged,
    FollowUpDue,
    InputRefused,
    RunCancelled,
    RunReplayed,
    RunStarted,
    StepGivenUp,
    StepResolved,
    StepRetried,
)
from .halt import Halt
from .reconciliation import Reconciliation
from .successors import Successors
from .tally import Tally


def decide(state: DecisionState, fact: Fact) -> Changes:
    """What follows from the fact, given the state, which is of a run that is locked or written under its revision.

    Where `reads` of the answer names rows, nothing of it holds: read them, and decide again with them in
    `DecisionContext.read`; or, where it names all, on the whole run, which is brought to the definition.
    """
    tally = Tally(state)
    adoption = state.context.adoption
    rows = adopt(tally, adoption) if adoption is not None else None
    successors = Successors(tally)
    compensations = Compensations(tally)
    consequences = Consequences(tally, successors, compensations)
    match fact:
        case AttemptCompleted() | AttemptFailed() | InputRefused() | AttemptAbandoned() | AttemptGivenUp():
            AttemptOutcomes(tally, consequences, compensations).decide(fact)
        case RunStarted():
            successors.begin(fact)
        case FollowUpDue():
            consequences.follow_up(fact)
        case DecisionAnswered() | ApprovalGiven() | StepResolved() | StepGivenUp() | StepRetried():
            StepDecisions(tally, consequences).decide(fact)
        case RunCancelled() | CompensationRetried() | RunReplayed() | FailureAcknowledged():
            RunDecisions(tally, compensations, Halt(tally, compensations, rows)).decide(fact)
        case DefinitionChanged():
            pass
        case _:
            assert_never(fact)
    if rows is not None:
        Reconciliation(tally, successors, rows).reconcile()
    if tally.ends_unfinished:
        Halt(tally, compensations, rows).finish()
    return tally.changes
