"""Being there at each commit and each statement, also at the statement that is a transaction by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from flask_squidmesh.storage import libpq

WRITING = ("WITH", "INSERT", "UPDATE", "DELETE")
EXECUTING = ("do_execute", "do_executemany", "do_execute_no_params")

Around = Callable[[Any, Callable[[], None]], None]

watching: WeakKeyDictionary[sa.Dialect, Around] = WeakKeyDictionary()
counting: WeakKeyDictionary[sa.Dialect, Callable[[], None]] = WeakKeyDictionary()
cutting: WeakKeyDictionary[sa.Dialect, Callable[[Any, str, Callable[[], Any]], Any]] = WeakKeyDictionary()


def around_commits(engine: sa.Engine, around: Around) -> Callable[[], None]:
    """Have `around(connection, commit)` called in place of each commit, and answer what ends that.

    :param around: Gets the driver's connection, and must call `commit` unless the commit is to fail.
    """
    dialect = engine.dialect
    plain = dialect.do_commit

    def do_commit(connection: Any) -> None:
        around(connection, lambda: plain(connection))

    vars(dialect)["do_commit"] = do_commit
    watching[dialect] = around

    def end() -> None:
        vars(dialect).pop("do_commit", None)
        watching.pop(dialect, None)

    return end


@contextmanager
def statements_told(engine: sa.Engine, tell: Callable[[], None]) -> Iterator[None]:
    """Have `tell` called before each statement that goes to the database meanwhile."""
    dialect = engine.dialect

    def telling(plain: Callable[..., None]) -> Callable[..., None]:
        def execute(*given: Any) -> None:
            tell()
            plain(*given)

        return execute

    vars(dialect).update({name: telling(getattr(dialect, name)) for name in EXECUTING})
    counting[dialect] = tell
    try:
        yield
    finally:
        for name in EXECUTING:
            del vars(dialect)[name]
        del counting[dialect]


def _begin(pooled: Any, asked: Sequence[Any]) -> Any:
    for _ in asked if pooled._pool._dialect in counting else ():
        counting[pooled._pool._dialect]()
    around = cutting.get(pooled._pool._dialect)
    if around is not None:
        return around(pooled.driver_connection, "a beginning", lambda: begin(pooled, asked))
    return begin(pooled, asked)


def _watched(plain: Callable[..., Any]) -> Callable[..., Any]:
    def send(pooled: Any, statement: str, values: Sequence[Any]) -> Any:
        dialect = pooled._pool._dialect
        if dialect in counting:
            counting[dialect]()
        if dialect in cutting:
            return cutting[dialect](pooled.driver_connection, "a transaction", lambda: plain(pooled, statement, values))
        if dialect not in watching or not statement.startswith(WRITING):
            return plain(pooled, statement, values)
        answers: list[Any] = []
        watching[dialect](pooled.driver_connection, lambda: answers.append(plain(pooled, statement, values)))
        return answers[0]

    return send


begin = libpq.begin
replacing = {"begin": _begin, "send": _watched(libpq.send), "commit": _watched(libpq.commit)}
for name, replacement in replacing.items():
    setattr(libpq, name, replacement)
