"""The points at which a process can die, counted as they are passed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from tests.commits import around_commits


class Killed(BaseException):
    """The process is gone."""


class Points:
    """What the present life has passed, in order. It dies at one of them, once: whatever catches that, nothing that the
    dead process does is committed until the next one begins."""

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, at: int) -> None:
        """A new life begins. at: where it dies, counted from 1; 0 for nowhere."""
        self.at = at
        self.passed: list[str] = []
        self.dead = False

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What the trial itself does in the block passes no point where it only reads."""
        yield

    def begin_process(self) -> None:
        """Another process goes on with the life."""
        self.dead = False

    @contextmanager
    def around(self, what: str) -> Iterator[None]:
        """Before and after this."""
        self.passes(f"before {what}")
        yield
        self.passes(f"after {what}")

    def passes(self, where: str) -> None:
        """Die here, or go on."""
        if not self.dead:
            self.passed.append(where)
            self.dead = len(self.passed) == self.at
        if self.dead:
            raise Killed

    def watch(self, engine: sa.Engine) -> None:
        """Every commit of the engine has a point on either side from now on."""

        def around(dbapi: Any, commit: Callable[[], None]) -> None:
            try:
                self.passes("before a commit")
            except Killed:
                dbapi.rollback()  # as the server does when the connection drops
                raise
            commit()
            self.passes("after a commit")

        around_commits(engine, around)
