"""One scale for everything that worked in a run, with the stretches cut out in which nothing did."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

Span = tuple[datetime, datetime]

SHORTEST: Final = timedelta(milliseconds=100)
"""The line never stands for less, so that what takes a moment is drawn as a moment."""
LONG: Final = 0.15
LEAST_CUT: Final = timedelta(seconds=1)
MUCH: Final = 3
"""A gap is cut out that is more than LONG of the line, LEAST_CUT, and MUCH times all work."""
MOST_CUTS: Final = 24
CUT_WIDTH: Final = 8.6
ALL_CUTS: Final = 45.0
PADDING: Final = 0.04
TICKS: Final = 14
_SECONDS: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200),
    *(86400, 2 * 86400, 7 * 86400, 30 * 86400, 91 * 86400, 365 * 86400),
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the line. x, width: on a line that is 100 wide. idle: of one that is cut out, how long nothing worked,
    of which a little is drawn on either side; None for the others.
    """

    start: datetime
    end: datetime
    x: float
    width: float
    idle: timedelta | None = None

    @property
    def is_cut(self) -> bool:
        """Whether it stands for more time than it is wide."""
        return self.idle is not None

    @property
    def length(self) -> timedelta:
        """How much time it stands for."""
        return self.end - self.start

    @property
    def middle(self) -> float:
        """Where its middle is."""
        return self.x + self.width / 2


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the axis. is_first: it is where a stretch begins."""

    x: float
    is_first: bool


@dataclass(frozen=True, slots=True)
class TimeScale:
    """The line as stretches from left to right. step: how much time is between two marks of its axis."""

    stretches: tuple[Stretch, ...]
    step: timedelta

    def place(self, at: datetime) -> float:
        """How far to the right a time is."""
        number = bisect_right([each.start for each in self.stretches], at) - 1
        stretch = self.stretches[max(number, 0)]
        share = (at - stretch.start) / stretch.length if stretch.length else 0.0
        return stretch.x + stretch.width * min(max(share, 0.0), 1.0)

    @property
    def cuts(self) -> tuple[Stretch, ...]:
        """The stretches that are cut out."""
        return tuple(each for each in self.stretches if each.is_cut)

    @property
    def opened(self) -> tuple[Stretch, ...]:
        """Those that are not."""
        return tuple(each for each in self.stretches if not each.is_cut)

    @property
    def ticks(self) -> Iterator[Tick]:
        """The marks of the axis, which are the same length of time apart on all of it."""
        for stretch in self.opened:
            count = int(stretch.length / self.step + 1e-6)
            for number in range(count + 1):
                share = self.step * number / stretch.length if stretch.length else 0.0
                yield Tick(round(stretch.x + stretch.width * share, 2), number == 0)


def time_scale(start: datetime, end: datetime, worked: Iterable[Span]) -> TimeScale:
    """The line from start to end. worked: when something did; of one moment where somebody decided something."""
    end = max(start, end)
    hidden, shown, padding = _hidden(start, end, list(worked))
    if not hidden:
        last = max(end, start + SHORTEST)
        return TimeScale((Stretch(start, last, 0.0, 100.0),), _step(last - start))
    cut_width = min(CUT_WIDTH, ALL_CUTS / len(hidden))
    wide = 100.0 - cut_width * len(hidden)
    stretches: list[Stretch] = []
    x, at = 0.0, start
    for begun, ended in (*hidden, (end, end)):
        width = wide * ((begun - at) / shown)
        stretches.append(Stretch(at, begun, round(x, 2), round(width, 2)))
        x += width
        if ended > begun:
            stretches.append(Stretch(begun, ended, round(x, 2), round(cut_width, 2), ended - begun + 2 * padding))
            x, at = x + cut_width, ended
    return TimeScale(tuple(each for each in stretches if each.width or each.is_cut), _step(shown))


def _hidden(start: datetime, end: datetime, worked: Sequence[Span]) -> tuple[list[Span], timedelta, timedelta]:
    """What is cut out: the longest gaps, as long as one is a good part of what is left. Beside it how much is left, and
    how much of a gap is drawn on either side of it.
    """
    gaps = sorted(_gaps(start, end, worked), key=lambda gap: gap[0] - gap[1])
    shown, chosen = end - start, list[Span]()
    least = max(LEAST_CUT, MUCH * (shown - sum((ended - begun for begun, ended in gaps), timedelta())))
    for begun, ended in gaps[:MOST_CUTS] if worked else ():
        if ended - begun <= max(LONG * shown, least):
            break
        shown -= ended - begun
        chosen.append((begun, ended))
    if not chosen:
        return [], shown, timedelta()
    padding = max(PADDING * shown, (SHORTEST - shown) / (2 * len(chosen)))
    hidden = [(begun + padding, ended - padding) for begun, ended in sorted(chosen) if ended - begun > 3 * padding]
    return hidden, (end - start) - sum((ended - begun for begun, ended in hidden), timedelta()), padding


def _gaps(start: datetime, end: datetime, worked: Sequence[Span]) -> Iterator[Span]:
    reached = start
    for begun, ended in sorted((max(begun, start), min(ended, end)) for begun, ended in worked):
        if begun > reached:
            yield reached, begun
        reached = max(reached, ended)
    if end > reached:
        yield reached, end


def _step(shown: timedelta) -> timedelta:
    """A round length of time that is on the line about as often as there is room for marks."""
    wanted = shown.total_seconds() / TICKS
    return timedelta(seconds=next((each for each in _SECONDS if each >= wanted), _SECONDS[-1]))
