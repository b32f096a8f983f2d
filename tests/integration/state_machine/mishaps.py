"""What befalls a process in the middle of its work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from hypothesis import strategies as st

from tests.commits import around_commits

Where = Literal["call", "commit"]
What = Literal["dies", "is cancelled", "is taken over", "loses its claim", "is slow"]


class Killed(BaseException):
    """The process is gone."""


@dataclass(frozen=True, kw_only=True)
class Mishap:
    """It befalls the `nth` call of a step function, or the nth commit, from now on: before it has effect or after."""

    where: Where
    nth: int
    after: bool
    what: What = "dies"


def sometimes(mishap: st.SearchStrategy[Mishap], one_in: int) -> st.SearchStrategy[Mishap | None]:
    """The mishap, or more often none: `one_of` would take the same alternative once, however often it is given."""
    return st.integers(1, one_in).flatmap(lambda drawn: mishap if drawn == one_in else st.none())


def deaths() -> st.SearchStrategy[Mishap | None]:
    """The death of a process at a commit, or none."""
    died = st.builds(Mishap, where=st.just("commit"), nth=st.integers(1, 2), after=st.booleans())
    return sometimes(died, one_in=4)


def mishaps() -> st.SearchStrategy[Mishap | None]:
    """Anything that befalls a worker, or nothing."""
    often: list[What] = ["is cancelled", "is slow"]
    what: list[What] = ["dies", "is taken over", "loses its claim", *often, *often]
    nth = st.sampled_from([1, 1, 2])
    called = st.builds(Mishap, where=st.just("call"), nth=nth, after=st.booleans(), what=st.sampled_from(what))
    committed = st.builds(Mishap, where=st.just("commit"), nth=st.integers(1, 3), after=st.booleans())
    return sometimes(st.one_of(called, committed), one_in=3)


class Fate:
    """What is still to come, one mishap at a time. befall: does whatever is not a death."""

    def __init__(self, befall: Callable[[What], None]) -> None:
        self._befall = befall
        self._next: Mishap | None = None
        self._left = 0
        self.commits = 0

    @contextmanager
    def has(self, mishap: Mishap | None) -> Iterator[None]:
        """The mishap may happen meanwhile. A death ends the block without an error."""
        self._next, self._left = mishap, mishap.nth if mishap else 0
        try:
            yield
        except Killed:
            pass
        finally:
            self._next = None

    def watch(self, engine: sa.Engine) -> None:
        """Every commit of the engine counts from now on."""

        def around(dbapi: Any, commit: Callable[[], None]) -> None:
            self._counts("commit")
            if self._is_due("commit", after=False):
                dbapi.rollback()  # a connection that is merely dropped would keep its locks for a moment
                self._happens()
            commit()
            self.commits += 1
            if self._is_due("commit", after=True):
                self._happens()

        around_commits(engine, around)

    def call_begins(self) -> None:
        """A step function is called."""
        self._counts("call")
        if self._is_due("call", after=False):
            self._happens()

    def call_ends(self) -> None:
        """Its effect has happened."""
        if self._is_due("call", after=True):
            self._happens()

    def _counts(self, where: Where) -> None:
        if self._next is not None and self._next.where == where:
            self._left -= 1

    def _is_due(self, where: Where, *, after: bool) -> bool:
        return self._next is not None and (self._next.where, self._next.after, self._left) == (where, after, 0)

    def _happens(self) -> None:
        mishap, self._next = self._next, None
        assert mishap is not None
        if mishap.what == "dies":
            raise Killed
        self._befall(mishap.what)
