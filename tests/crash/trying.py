"""Living one life again and again, undisturbed and with one death at each of its points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final

from .cuts import Cuts
from .ends import End, differences, end_of
from .points import Points
from .shapes.all_shapes import SHAPES
from .stage import Stage

POINTS: Final[Mapping[str, Callable[[], Points]]] = {"death": Points, "cut": Cuts}


class Life:
    """One shape by one delivery. Use it as a context manager.

    url: a database with our tables, which is emptied. kind: what happens at a point, see `POINTS`. points: what the
    undisturbed life passes, in order.
    """

    def __init__(self, shape: str, delivery: str, url: str, kind: str = "death") -> None:
        self._name = f"{shape} by {delivery}, {kind}"
        self._shape = SHAPES[shape]
        self._stage = Stage(url, self._shape.build, self._shape.decide, delivery, POINTS[kind]())
        self._ends = [self._live()]
        self.points = tuple(self._stage.points.passed)
        if self._shape.or_else is not None:
            with Life(self._shape.or_else, delivery, url, kind) as other:
                self._ends += other._ends

    def __enter__(self) -> Life:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stage.close()

    def wrong_after_death_at(self, at: int) -> str | None:
        """Live with a death at this point, counted from 1, and answer what is wrong with the end, if anything."""
        try:
            end = self._live(at)
            found = [differences(end, right) for right in self._ends]
            wrong = None if [] in found else "; ".join(found[0])
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        passed = self._stage.points.passed
        if len(passed) < at:
            wrong = f"passed {len(passed)} points only, so nobody died; {wrong or 'the end is right'}"
        return f"{self._name}, death {at} of {len(self.points)} ({self.points[at - 1]}): {wrong}" if wrong else None

    def _live(self, at: int = 0) -> End:
        self._stage.live(self._shape.acts, at=at)
        with self._stage.points.aside():
            return end_of(self._stage)
