"""Being there at each commit and each statement, also at the statement that is a transaction by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

WRITING = ("WITH", "INSERT", "UPDATE", "DELETE")
EXECUTING = ("do_execute", "do_executemany", "do_execute_no_params")

Around = Callable[[Any, Callable[[], None]], None]


def around_commits(engine: sa.Engine, around: Around) -> Callable[[], None]:
    """Have `around(connection, commit)` called in place of each commit, and answer what ends that.

    :param around: Gets the driver's connection, and must call `commit` unless the commit is to fail.
    """
    dialect = vars(engine.dialect)
    plain = {name: getattr(engine.dialect, name) for name in ("do_commit", "do_execute")}

    def do_commit(connection: Any) -> None:
        around(connection, lambda: plain["do_commit"](connection))

    def do_execute(cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        def execute() -> None:
            plain["do_execute"](cursor, statement, parameters, context)

        if commits_by_itself(cursor.connection, statement):
            around(cursor.connection, execute)
        else:
            execute()

    dialect.update(do_commit=do_commit, do_execute=do_execute)

    def end() -> None:
        for name in plain:
            dialect.pop(name, None)

    return end


@contextmanager
def statements_told(engine: sa.Engine, tell: Callable[[], None]) -> Iterator[None]:
    """Have `tell` called before each statement that goes to the database meanwhile."""
    dialect = vars(engine.dialect)
    kept = {name: dialect.get(name) for name in EXECUTING}

    def telling(plain: Callable[..., None]) -> Callable[..., None]:
        def execute(*given: Any) -> None:
            tell()
            plain(*given)

        return execute

    dialect.update({name: telling(getattr(engine.dialect, name)) for name in EXECUTING})
    try:
        yield
    finally:
        for name, before in kept.items():
            del dialect[name]
            if before is not None:
                dialect[name] = before


def commits_by_itself(connection: Any, statement: str) -> bool:
    """Whether the statement writes, on a connection that commits after each."""
    return getattr(connection, "autocommit", None) is True and statement.startswith(WRITING)
