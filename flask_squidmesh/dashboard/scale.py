"""Where times are on a line that is 100 wide, with a long time in which nothing was done folded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

NARROWEST = 1.0
FOLDED = 12.0
CUT = 1.6
LONG = 0.8
Times = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Scale:
    """start, end: what the line stands for. fold: the time that takes up FOLDED of it, however long it was."""

    start: datetime
    end: datetime
    fold: Times | None = None

    def place(self, at: datetime) -> float:
        """How far to the right a time is."""
        at = min(max(at, self.start), self.end)
        if self.fold is None:
            return 100 * _share(at - self.start, self.end - self.start)
        begin, end = self.fold
        folded = min(max(at - begin, timedelta()), end - begin)
        shown = 100 - FOLDED
        open_time = self.end - self.start - (end - begin)
        return shown * _share(at - self.start - folded, open_time) + FOLDED * _share(folded, end - begin)

    def bar(self, start: datetime, end: datetime) -> tuple[float, float]:
        """Where the bar of a stretch of time begins, and how wide it is; a short one stays visible."""
        x = min(self.place(start), 100 - NARROWEST)
        return round(x, 2), round(min(max(self.place(end) - x, NARROWEST), 100 - x), 2)

    @property
    def cut(self) -> float | None:
        """Where the line is cut to show that it is folded; None where it is not."""
        return round(self.place(self.fold[0]) + (FOLDED - CUT) / 2, 2) if self.fold else None


def scale(start: datetime, end: datetime, worked: Iterable[Times]) -> Scale:
    """The line from start to end; the longest time between what was worked is folded where it is most of the line."""
    times = sorted((max(begun, start), min(ended, end)) for begun, ended in worked)
    if not times:
        return Scale(start, end)
    known, reached = [(start, start)], start
    for begun, ended in times:
        reached = max(reached, ended)
        known.append((begun, reached))
    gaps = [(before[1], after[0]) for before, after in pairwise([*known, (end, end)])]
    longest = max(gaps, key=lambda gap: gap[1] - gap[0])
    return Scale(start, end, longest if longest[1] - longest[0] > LONG * (end - start) else None)


def _share(part: timedelta, whole: timedelta) -> float:
    return part / whole if whole > timedelta() else 0.0
