"""Connections that are cut at each statement, and answers that are lost: the process goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from tests.commits import EXECUTING, cutting

from .points import Points

COMMITTING = ("do_commit", *EXECUTING)


class Cuts(Points):
    """Has two points at each statement that this thread sends to PostgreSQL, by SQLAlchemy or past it: the server drops
    the connection before it, or after it and before its answer. What steps do outside is no point."""

    _aside = 0

    @contextmanager
    def aside(self) -> Iterator[None]:
        self._aside += 1
        try:
            yield
        finally:
            self._aside -= 1

    @contextmanager
    def around(self, what: str) -> Iterator[None]:
        yield

    def watch(self, engine: sa.Engine) -> None:
        """Every statement of the engine has its points from now on."""
        dialect, me = engine.dialect, threading.get_ident()

        def around(driver: Any, what: str, send: Callable[[], Any]) -> Any:
            if threading.get_ident() != me or self._aside:
                return send()
            if self._is_at(f"before {what}"):
                cut(engine, driver)
            answer = send()
            if self._is_at(f"after {what}"):
                cut(engine, driver)
                raise psycopg.OperationalError("server closed the connection unexpectedly")
            return answer

        def watched(name: str) -> Callable[..., Any]:
            plain = getattr(dialect, name)

            def send(target: Any, *given: Any) -> Any:
                driver = getattr(target, "driver_connection", target) if name == "do_commit" else target.connection
                what = "a commit" if name == "do_commit" else "a statement"
                return around(driver, what, lambda: plain(target, *given))

            return send

        vars(dialect).update({name: watched(name) for name in COMMITTING})
        cutting[dialect] = around

    def _is_at(self, where: str) -> bool:
        self.passed.append(where)
        return len(self.passed) == self.at


def cut(engine: sa.Engine, driver: Any) -> None:
    """Have the server end the connection, and wait until it has."""
    address = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [driver.info.backend_pid])
