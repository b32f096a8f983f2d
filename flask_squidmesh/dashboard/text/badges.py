"""What each state is called, and the shape and colour it has. Two words never share a shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from ...engine.waits import REJECT
from ...queries.results import Count, DecisionTaken, StepRunView
from ...storage.summaries import RunSummary
from .language import N_, _


@dataclass(frozen=True, slots=True)
class Badge:
    """`shape` is a class in squidmesh.css."""

    shape: str
    text: str
    meaning: str = ""

    @property
    def label(self) -> Markup:
        return _(self.text)


MARKS: Mapping[str, Badge] = {
    "decision": Badge("needs", N_("Decision"), N_("Somebody has to decide.")),
    "paused": Badge("paused", N_("Paused"), N_("The run stands still until somebody resumes it.")),
    "stuck": Badge("stuck", N_("Stuck"), N_("Work was interrupted, or no worker takes it; an operator has to look.")),
    "incident": Badge(
        "blocked", N_("Incident"), N_("A step cannot begin, because its input cannot be made; an operator has to look.")
    ),
    "failed": Badge("failed", N_("Failed"), N_("The run ended with an error; replay it or acknowledge it.")),
    "retrying": Badge("retrying", N_("Retrying"), N_("The last attempt failed and the next one is scheduled.")),
    "scheduled": Badge("scheduled", N_("Scheduled"), N_("It begins later, at the time it was started for.")),
    "waiting": Badge("waiting", N_("Waiting"), N_("A timer, an event or another step has to come first.")),
    "running": Badge("running", N_("Running"), N_("A worker is at it.")),
    "pending": Badge("pending", N_("Pending"), N_("It is queued and no worker has taken it yet.")),
    "cancelling": Badge("cancelling", N_("Cancelling"), N_("It stops as soon as the attempt in progress ends.")),
    "completed": Badge("completed", N_("Completed"), N_("It reached its end.")),
    "cancelled": Badge("cancelled", N_("Cancelled"), N_("Somebody stopped it.")),
}
UNREACHED = Badge("unreached", N_("Not yet"))
PASSED_BY = Badge("unreached", N_("Not reached"))
DONE = Badge("completed", N_("Done"))
UNDONE = Badge("completed", N_("Undone"))
COMPLETED_WITH_WORD = Badge("ended", N_("Completed"))
REJECTED = Badge("rejected", N_("Rejected"))
TIMED_OUT = Badge("rejected", N_("Timed out"))
DIVERTED = {
    "rejected": REJECTED,
    "timed_out": TIMED_OUT,
    "error_route": Badge("rejected", N_("Ended after an error")),
}
_OF_STATUS = {"waiting": UNREACHED, "completed": DONE, "abandoned": Badge("stuck", N_("Abandoned"))}
_DECISIONS = {
    "approval": "decision",
    "decision": "decision",
    "pause": "paused",
    "interrupted": "stuck",
    "incident": "incident",
    "event": "waiting",
}


def badge_of(word: str) -> Badge:
    """The mark of an operator word; an unknown word is shown as it stands, without weight."""
    return MARKS.get(word) or Badge("pending", word.replace("_", " ").capitalize())


def badge_of_run(run: RunSummary, word: str) -> Badge:
    """The mark of a run; of one that completed, but not as its way was meant, or with a word, how it did."""
    return badge_of_outcome(run.outcome) if word == "completed" and run.outcome else badge_of(word)


def badge_in_row(run: RunSummary, word: str) -> Badge:
    """The same where the word of an end stands beside it."""
    if word == "completed" and run.outcome and run.outcome not in DIVERTED:
        return COMPLETED_WITH_WORD
    return badge_of_run(run, word)


def badge_of_outcome(outcome: str) -> Badge:
    """The mark of how a run completed; the word of an end as it stands."""
    return DIVERTED.get(outcome) or Badge("ended", outcome.replace("_", " ").capitalize())


def badge_of_end(how: str) -> Badge:
    """The mark of a status, or of the outcome by which a run was led off its way."""
    return DIVERTED.get(how) or badge_of(how)


def badge_of_status(status: str) -> Badge:
    """The mark of a step's or an attempt's status, where nothing more is known of it."""
    return _OF_STATUS.get(status) or badge_of(status)


def badge_of_decision(kind: str | None) -> Badge:
    """The mark of a step at which a decision of this kind is open."""
    return MARKS[_DECISIONS.get(kind or "", "paused")]


def badge_of_visit(visit: StepRunView, now: datetime) -> Badge:
    """The mark of one visit to a step, or of one compensation."""
    if visit.status == "completed" and visit.manual and _answer_of(visit.manual) in DIVERTED:
        return DIVERTED[_answer_of(visit.manual)]
    if visit.status == "completed":
        return UNDONE if visit.kind == "compensation" else DONE
    if visit.status == "paused":
        return badge_of_decision(visit.decision["kind"] if visit.decision else None)
    if visit.status == "pending" and visit.due_at and visit.due_at > now:
        return MARKS["retrying" if visit.attempts else "waiting"]
    return badge_of(visit.status)


def _answer_of(taken: DecisionTaken) -> str:
    """How it was decided; to take the option reject of a decision is to reject."""
    option = (taken.get("metadata") or {}).get("option")
    return "rejected" if taken["event"] == "decided" and option == REJECT else taken["event"]


@dataclass(frozen=True, slots=True)
class Chip:
    """One count with its address. mark: None for all."""

    mark: Badge | None
    count: Count | None
    address: str
    current: bool
