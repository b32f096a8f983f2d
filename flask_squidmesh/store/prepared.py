"""Statements that are compiled once and sent past SQLAlchemy, which else takes longer for them than the database.

They go through a connection of SQLAlchemy's pool and its dialect, and their values through its types. Where something
of the host's would be passed by, SQLAlchemy executes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

import psycopg
import sqlalchemy as sa
from psycopg.pq.abc import PGresult
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from . import shortcut, wire
from .encoding import encoder
from .outages import DRIVERS, told

Dialect = Literal["sqlite", "postgresql"]
Change = Callable[[Any], Any]
Given = Mapping[str, Any]
Rows = list[list[Any]]
Asked = tuple["Prepared", Given]

_COUNTED: Final = {"preserve_rowcount": True}
DIALECTS: Final[Mapping[str, sa.Dialect]] = {
    "postgresql": PGDialect_psycopg(paramstyle="numeric_dollar"),  # type: ignore[no-untyped-call]
    "sqlite": pysqlite.dialect(paramstyle="qmark"),
}


class Prepared:
    """A statement, compiled for one of the two databases.

    parameters: their names, in the order in which values are taken.
    """

    def __init__(self, statement: sa.ClauseElement, database: Dialect) -> None:
        dialect = DIALECTS[database]
        self._statement: Any = statement
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        self._sql = str(compiled)
        self.parameters = tuple(compiled.positiontup or ())
        self._fixed = {name: bound.value for name, bound in compiled.binds.items() if bound.value is not None}
        types = [compiled.binds[name].type for name in self.parameters]
        changes = [_stored(type_, dialect) for type_ in types]
        self._changes = [(place, change) for place, change in enumerate(changes) if change is not None]
        self._encoders = [encoder(type_) for type_ in types] if database == "postgresql" else []
        columns = statement.selected_columns if isinstance(statement, sa.Select) else ()
        self._found = [_read(column.type, dialect) for column in columns]

    def send(self, pooled: sa.PoolProxiedConnection, dialect: sa.Dialect, values: Sequence[Any]) -> PGresult:
        """Execute it on PostgreSQL as a transaction of its own, and answer libpq's result."""
        with self._telling(dialect):
            return wire.send(pooled, self._sql, self._encoded(values))

    def commit(self, pooled: sa.PoolProxiedConnection, dialect: sa.Dialect, values: Sequence[Any]) -> PGresult:
        """Execute it on PostgreSQL as the last of a transaction, and commit."""
        with self._telling(dialect):
            return wire.commit(pooled, self._sql, self._encoded(values))

    def first(self, connection: sa.Connection, values: Sequence[Any]) -> Sequence[Any] | None:
        """Execute it in the connection's transaction, and answer the first row that it returns."""
        with self._executed(connection, values) as found:
            row: Sequence[Any] | None = found.fetchone()
            return row

    def count(self, connection: sa.Connection, values: Sequence[Any]) -> int:
        """Execute it in the connection's transaction, and answer how many rows were written."""
        with self._executed(connection, values) as found:
            return int(found.rowcount)

    def rows(self, connection: sa.Connection, given: Given) -> Rows:
        """The rows of a SELECT in the connection's transaction."""
        if not shortcut.is_open(connection):
            return [list(row) for row in connection.execute(self._statement, self._named(self._in_order(given)))]
        with self._executed(connection, self._in_order(given)) as found:
            return self._loaded(found.fetchall())

    def ask(self, pooled: sa.PoolProxiedConnection, dialect: sa.Dialect, given: Given) -> Rows:
        """The rows of a SELECT on PostgreSQL, as a transaction of its own."""
        return self._loaded(wire.rows(pooled, self.send(pooled, dialect, self._in_order(given))))

    @classmethod
    def begin(cls, pooled: sa.PoolProxiedConnection, dialect: sa.Dialect, asked: Sequence[Asked]) -> list[Rows]:
        """The rows of each SELECT with which a transaction on PostgreSQL begins."""
        with asked[0][0]._telling(dialect):
            sent = [(query._sql, query._encoded(query._in_order(given))) for query, given in asked]
            results = wire.begin(pooled, sent)
        return [query._loaded(wire.rows(pooled, result)) for (query, _), result in zip(asked, results, strict=True)]

    @contextmanager
    def _executed(self, connection: sa.Connection, values: Sequence[Any]) -> Iterator[Any]:
        """A cursor of the driver's, or a result of SQLAlchemy's."""
        if not shortcut.is_open(connection):
            result: Any = connection.execute(self._statement, self._named(values), execution_options=_COUNTED)
            yield result
            result.close()
            return
        driver: Any = connection.connection.driver_connection
        dialect = connection.dialect
        cursor: Any = psycopg.RawCursor(driver) if dialect.name == "postgresql" else driver.cursor()
        try:
            with self._telling(dialect):
                dialect.do_execute(cursor, self._sql, self._changed(values))
            yield cursor
        finally:
            cursor.close()

    def _named(self, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self.parameters, values, strict=True))

    def _encoded(self, values: Sequence[Any]) -> list[bytes | None]:
        return [None if value is None else encode(value) for encode, value in zip(self._encoders, values, strict=True)]

    def _changed(self, values: Sequence[Any]) -> list[Any]:
        stored = list(values)
        for place, change in self._changes:
            stored[place] = change(stored[place])
        return stored

    def _in_order(self, given: Given) -> list[Any]:
        return [given.get(name, self._fixed.get(name)) for name in self.parameters]

    def _loaded(self, rows: Iterable[Sequence[Any]]) -> Rows:
        return [
            [value if change is None else change(value) for change, value in zip(self._found, row, strict=True)]
            for row in rows
        ]

    def _telling(self, dialect: sa.Dialect) -> _Telling:
        return _Telling(self._sql, dialect)


class _Telling:
    """Has the driver's errors told as SQLAlchemy's, without the values."""

    __slots__ = ("_dialect", "_sql")

    def __init__(self, sql: str, dialect: sa.Dialect) -> None:
        self._sql, self._dialect = sql, dialect

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, DRIVERS):
            raise told(error, self._sql) from error


def _stored(type_: TypeEngine[Any], dialect: sa.Dialect) -> Change | None:
    """How a value becomes what the driver takes; None where it is the same."""
    return type_.dialect_impl(dialect).bind_processor(dialect)


def _read(type_: TypeEngine[Any], dialect: sa.Dialect) -> Change | None:
    return type_.dialect_impl(dialect).result_processor(dialect, None)
