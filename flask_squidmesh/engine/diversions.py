"""What led a run off its way: a rejection, a time-out or an error route, and at which step.

A run that completes behind one, without an `End` that says how, says so as its outcome. It is forgotten when the same
step ends well at a later visit.
"""

from __future__ import annotations

from typing import Final, Literal

Diversion = Literal["rejected", "timed_out", "error_route"]
OUTCOMES: Final[tuple[Diversion, ...]] = ("rejected", "timed_out", "error_route")
"""The outcomes that the engine gives by itself."""


def diverted(how: Diversion, step: str) -> str:
    """Return the diversion as it is kept with the run."""
    return f"{how}:{step}"


def diverted_by(kept: str | None) -> str | None:
    """Return how the run was led off its way; None where it was not."""
    return kept.partition(":")[0] if kept else None


def is_of(kept: str | None, step: str) -> bool:
    """Whether it was this step that led the run off its way."""
    return kept is not None and kept.partition(":")[2] == step
