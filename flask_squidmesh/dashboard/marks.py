"""Operator words: what each state is called, and the shape and colour it has. Two words never share a shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from ..reading.views import StepRunView
from .language import N_, _


@dataclass(frozen=True, slots=True)
class Mark:
    """`shape` is a class in squidmesh.css."""

    shape: str
    text: str
    meaning: str = ""

    @property
    def label(self) -> Markup:
        return _(self.text)


MARKS: Mapping[str, Mark] = {
    "decision": Mark("needs", N_("Decision"), N_("An approval is open: somebody has to approve or reject.")),
    "paused": Mark("paused", N_("Paused"), N_("The run stands still until somebody resumes it.")),
    "stuck": Mark("stuck", N_("Stuck"), N_("Work was interrupted, or no worker takes it; an operator has to look.")),
    "incident": Mark(
        "blocked", N_("Blocked"), N_("A step cannot begin, because its input cannot be made; an operator has to look.")
    ),
    "failed": Mark("failed", N_("Failed"), N_("The run ended with an error; replay it or acknowledge it.")),
    "retrying": Mark("retrying", N_("Retrying"), N_("The last attempt failed and the next one is scheduled.")),
    "waiting": Mark("waiting", N_("Waiting"), N_("A timer or another step has to pass first.")),
    "running": Mark("running", N_("Running"), N_("A worker is at it.")),
    "pending": Mark("pending", N_("Pending"), N_("It is queued and no worker has taken it yet.")),
    "cancelling": Mark("cancelling", N_("Cancelling"), N_("It stops as soon as the attempt in progress ends.")),
    "completed": Mark("completed", N_("Completed"), N_("It reached its end.")),
    "cancelled": Mark("cancelled", N_("Cancelled"), N_("Somebody stopped it.")),
}
UNREACHED = Mark("unreached", N_("Not yet"))
PASSED_BY = Mark("unreached", N_("Not reached"))
DONE = Mark("completed", N_("Done"))
UNDONE = Mark("completed", N_("Undone"))
_OF_STATUS = {"waiting": UNREACHED, "completed": DONE, "abandoned": Mark("stuck", N_("Abandoned"))}
_DECISIONS = {"approval": "decision", "pause": "paused", "interrupted": "stuck", "incident": "incident"}


def mark_of(word: str) -> Mark:
    """The mark of an operator word; an unknown word is shown as it stands, without weight."""
    return MARKS.get(word) or Mark("pending", word.replace("_", " ").capitalize())


def mark_of_status(status: str) -> Mark:
    """The mark of a step's or an attempt's status, where nothing more is known of it."""
    return _OF_STATUS.get(status) or mark_of(status)


def mark_of_decision(kind: str | None) -> Mark:
    """The mark of a step at which a decision of this kind is open."""
    return MARKS[_DECISIONS.get(kind or "", "paused")]


def mark_of_visit(visit: StepRunView, now: datetime) -> Mark:
    """The mark of one visit to a step, or of one compensation."""
    if visit.status == "completed":
        return UNDONE if visit.kind == "compensation" else DONE
    if visit.status == "paused":
        return mark_of_decision((visit.decision or {}).get("kind"))
    if visit.status == "pending" and visit.due_at and visit.due_at > now:
        return MARKS["retrying" if visit.attempts else "waiting"]
    return mark_of(visit.status)
