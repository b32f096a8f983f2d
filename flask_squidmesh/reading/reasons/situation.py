"""A run's rows at one moment, and the reason found in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ...engine.actions import STANDSTILLS
from ..evidence import StepState
from ..reason_facts import ReasonFacts
from ..records import Record, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """word: the reason. step_run: the row it is about. steps: the state of all steps, where that is the evidence."""

    word: str
    step: str | None = None
    facts: ReasonFacts
    step_run: Row | None = None
    steps: tuple[StepState, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A run's rows and the time they are judged at. claim_timeout, delayed_after: seconds."""

    record: Record
    now: datetime
    claim_timeout: float
    delayed_after: float

    @property
    def status(self) -> str:
        """The run's."""
        status: str = self.record.run["status"]
        return status

    @property
    def outstanding(self) -> list[tuple[Row, Row]]:
        """Step runs with their dispatches, in the order they were made."""
        dispatches = self.record.dispatches
        return [(row, dispatches[row["id"]]) for row in self.record.step_runs if row["id"] in dispatches]

    @property
    def executing(self) -> list[tuple[Row, Row]]:
        """Those that a worker holds, with claims that have not expired."""
        return [(row, work) for row, work in self.outstanding if work["claim_id"] and work["due_at"] > self.now]

    @property
    def open_decisions(self) -> list[Row]:
        """Step runs that wait for a person, the most urgent first."""
        rows = [row for row in self.record.step_runs if row["status"] == "paused" and row["decision"]]
        return sorted(rows, key=_urgency)

    @property
    def urgent_decision(self) -> Row | None:
        """The first of them."""
        return next(iter(self.open_decisions), None)

    def last_visit(self, step: str | None) -> Row | None:
        """The run's last visit to the step."""
        return next((row for row in reversed(self.record.visits) if row["step"] == step), None)


_RANKS: Mapping[str, int] = {kind: rank for rank, kind in enumerate(STANDSTILLS)}


def _urgency(row: Row) -> tuple[int, bool, datetime]:
    due = row["decide_by"]
    return _RANKS.get(row["decision"]["kind"], len(_RANKS)), due is None, due or row["created_at"]


def about(row: Row, word: str, facts: ReasonFacts) -> Reason:
    """A reason that concerns one step run."""
    return Reason(word=word, step=row["step"], facts=facts, step_run=row)
