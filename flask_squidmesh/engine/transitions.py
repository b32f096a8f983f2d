"""The words for states, and the moves between them. Runtime and pages ask the same tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

RunStatus = Literal["pending", "running", "retrying", "paused", "cancelling", "completed", "failed", "cancelled"]
StepStatus = Literal["waiting", "pending", "running", "paused", "completed", "failed", "cancelled"]
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


def may_move(current: RunStatus, to: RunStatus) -> bool:
    """Whether a run may go from one status to the other. Staying where it is is no move."""
    return to in RUN_MOVES[current]
