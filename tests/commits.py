"""Being there at each commit, also at that of a statement which is a transaction by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

WRITING = ("WITH", "INSERT", "UPDATE", "DELETE")

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
            del dialect[name]

    return end


def commits_by_itself(connection: Any, statement: str) -> bool:
    """Whether the statement writes, on a connection that commits after each."""
    return getattr(connection, "autocommit", None) is True and statement.startswith(WRITING)
