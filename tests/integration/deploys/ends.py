"""What becomes of a run: the steps that complete, in turn, and how it ends or why it is held.

This is the table of docs/deploys.md, which a test compares with it. What is not said here is the usual end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .versions import CHANGES, PLACES, STYLES, Place, Style

STYLE_WORDS: Mapping[Style, str] = {"flow": "flow", "after": "after="}
USUAL = "first · x · last · done → completed"
UNDONE = "first · x · undo x → failed"


class At(NamedTuple):
    """An end at these places. style: None for both."""

    places: str
    end: str
    style: Style | None = None


UNUSUAL: Mapping[str, tuple[At, ...]] = {
    "added-after": (
        At("before at waiting retrying", "first · x · extra · last · done → completed", "flow"),
        At("before at behind waiting paused", "first · x · extra · last · done → completed", "after"),
        At("retrying executing", "first · x · extra · last · done → completed", "after"),
    ),
    "added-first": (
        At("before at behind waiting paused", "first · x · extra · last · done → completed", "after"),
        At("retrying executing", "first · x · extra · last · done → completed", "after"),
    ),
    "added-last": (
        At("before at behind waiting paused retrying executing", "first · x · last · done · extra → completed"),
    ),
    "removed": (
        At("before", "first · last · done → completed"),
        At("at waiting retrying", "first → definition_mismatch", "flow"),
        At("at waiting retrying", "first · last · done → definition_mismatch", "after"),
        At("paused", "first → paused_for_approval", "after"),
        At("compensating", "first · x → compensating, held"),
    ),
    "renamed": (
        At("before at behind waiting paused retrying executing", "first · y · last · done → completed"),
        At("compensating", "first · y · undo y → failed"),
    ),
    "renamed-without-alias": (
        At("before", "first · y · last · done → completed"),
        At("at waiting retrying", "first → definition_mismatch", "flow"),
        At("at waiting retrying", "first · y · last · done → definition_mismatch", "after"),
        At("behind executing", "first · x · y · last · done → completed", "after"),
        At("paused", "first → paused_for_approval", "after"),
        At("compensating", "first · x → compensating, held"),
    ),
    "moved": (
        At("before", "first · last · x · done → completed"),
        At("at waiting retrying", "first · x · done → completed", "flow"),
        At("behind paused executing", "first · x · last · x · done → completed", "flow"),
        At("at", "first · last · x · done → completed", "after"),
    ),
    "joined-more": (
        At("before at", "first · extra · x · last · done → completed"),
        At("behind executing", "first · x · last · done · extra → completed"),
        At("waiting paused retrying", "first · x · extra · last · done → completed"),
    ),
    **{
        change: (At("compensating", "first · x → compensation_failed"),)
        for change in ("becomes-wait", "becomes-log", "becomes-pause", "becomes-approval")
    },
    **{
        change: (
            At("before", "nothing → incident"),
            At("at retrying", "first → incident"),
            At("behind waiting paused executing", "first · x → incident"),
        )
        for change in ("field-required", "field-retyped")
    },
    "workflow-renamed-without-alias": (
        At("before", "nothing → definition_mismatch"),
        At("at waiting retrying", "first → definition_mismatch"),
        At("behind executing", "first · x → definition_mismatch"),
        At("paused", "first → paused_with_unavailable_workflow"),
        At("compensating", "first · x → compensating, held"),
    ),
}


class Cell(NamedTuple):
    """A change, where the run is, and in which style the workflow is written."""

    change: str
    place: Place
    style: Style

    def __str__(self) -> str:
        return f"{self.change}-{self.place}-{self.style}"

    @property
    def end(self) -> str:
        """What becomes of the run."""
        for at in UNUSUAL.get(self.change, ()):
            if self.place in at.places.split() and at.style in (None, self.style):
                return at.end
        return UNDONE if self.place == "compensating" else USUAL


CELLS = [
    Cell(change, place, style)
    for change, (_, _, styles) in CHANGES.items()
    for style in STYLES
    if style in styles
    for place in PLACES
]


def as_markdown() -> str:
    """The table as it stands in the docs, changes one after the other; places with the same ends share a line."""
    lines: list[str] = []
    for change, (says, _, styles) in CHANGES.items():
        lines += [f"### {says[0].upper() + says[1:]}", "", f"`{change}`", ""]
        lines += [f"| Where the run is | {' | '.join(f'with `{STYLE_WORDS[style]}`' for style in styles)} |"]
        lines += [f"|---|{'---|' * len(styles)}"]
        by_ends: dict[tuple[str, ...], list[str]] = {}
        for place in PLACES:
            by_ends.setdefault(tuple(Cell(change, place, style).end for style in styles), []).append(place)
        lines += [f"| {', '.join(places)} | {' | '.join(ends)} |" for ends, places in by_ends.items()]
        lines += [""]
    return "\n".join(lines)
