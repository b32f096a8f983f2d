"""The statuses of runs and step runs, and the moves between them: one table for the engine, runtime and pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

RunStatus = Literal["pending", "running", "retrying", "paused", "cancelling", "completed", "failed", "cancelled"]
StepStatus = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
AttemptStatus = Literal["running", "completed", "failed", "abandoned"]
Needs = Literal["decision", "resume", "interrupted", "incident", "failed", "compensation_failed"]

RUN_MOVES: Final[Mapping[RunStatus, frozenset[RunStatus]]] = {
    "pending": frozenset({"running", "retrying", "paused", "completed", "failed", "cancelling", "cancelled"}),
    "running": frozenset({"retrying", "paused", "completed", "failed", "cancelling", "cancelled"}),
    "retrying": frozenset({"running", "paused", "completed", "failed", "cancelling", "cancelled"}),
    "paused": frozenset({"running", "retrying", "completed", "failed", "cancelling", "cancelled"}),
    "cancelling": frozenset({"paused", "failed", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}

TERMINAL: Final[frozenset[str]] = frozenset(status for status, onward in RUN_MOVES.items() if not onward)
UNFINISHED: Final[frozenset[str]] = frozenset(RUN_MOVES) - TERMINAL
STOPPING: Final[frozenset[str]] = TERMINAL | {"cancelling"}


VISIT_MOVES: Final[Mapping[StepStatus, frozenset[StepStatus]]] = {
    "pending": frozenset({"running", "paused", "cancelled"}),
    "running": frozenset({"pending", "paused", "completed", "failed", "cancelled"}),
    "paused": frozenset({"pending", "completed", "failed", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    # One that a definition had left out, and that a later one calls for after all.
    "cancelled": frozenset({"pending"}),
}

COMPENSATION_MOVES: Final[Mapping[StepStatus, frozenset[StepStatus]]] = {
    "pending": frozenset({"running"}),
    "running": frozenset({"pending", "completed", "failed"}),
    "paused": frozenset(),
    "completed": frozenset(),
    "failed": frozenset({"pending"}),
    "cancelled": frozenset(),
}

STEP_MOVES: Final[Mapping[str, Mapping[StepStatus, frozenset[StepStatus]]]] = {
    "step": VISIT_MOVES,
    "compensation": COMPENSATION_MOVES,
}


class ImpossibleMoveError(RuntimeError):
    """A decision would have moved a run or a step run to a status that cannot follow its own: a bug of this package."""

    def __init__(self, what: str, current: str, to: str) -> None:
        super().__init__(
            f"{what} cannot go from {current} to {to}. This is a bug of flask-squidmesh; nothing was written."
        )


def may_move(current: RunStatus, to: RunStatus) -> bool:
    """Whether a run may go from one status to the other. Keeping its status is no move."""
    return to in RUN_MOVES[current]


def step_may_move(kind: str, current: StepStatus, to: StepStatus) -> bool:
    """Whether a step run may go from one status to the other. kind: "step" or "compensation"."""
    return to in STEP_MOVES[kind][current]


def is_scheduled(status: str, open_steps: int, due_at: datetime | None) -> bool:
    """Return whether a run of which its row says this begins later, at `due_at`, and has no steps until then."""
    return status == "pending" and open_steps == 0 and due_at is not None
