"""Statements that are compiled once and sent past SQLAlchemy, which else takes longer for them than the database.

They go through a connection of SQLAlchemy's pool and its dialect, and their values through its types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Change = Callable[[Any], Any]

DIALECTS: Final[Mapping[str, sa.Dialect]] = {
    "postgresql": psycopg.dialect(paramstyle="format"),  # type: ignore[no-untyped-call]
    "sqlite": pysqlite.dialect(paramstyle="qmark"),
}


class Prepared:
    """A statement, compiled for one of the two databases.

    parameters: their names, in the order in which `send` takes their values.
    """

    def __init__(self, statement: sa.ClauseElement, database: str) -> None:
        dialect = DIALECTS[database]
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        self._sql = str(compiled)
        self.parameters = tuple(compiled.positiontup or ())
        self._fixed = {name: bound.value for name, bound in compiled.binds.items() if bound.value is not None}
        self._given = [_stored(compiled.binds[name].type, dialect) for name in self.parameters]
        columns = statement.selected_columns if isinstance(statement, sa.Select) else ()
        self._found = [_read(column.type, dialect) for column in columns]

    def send(self, connection: sa.PoolProxiedConnection, dialect: sa.Dialect, values: Sequence[Any]) -> Any:
        """Execute it, and answer the driver's cursor, which the caller closes. dialect: the engine's own."""
        given = [value if change is None else change(value) for change, value in zip(self._given, values, strict=True)]
        cursor = connection.cursor()
        try:
            dialect.do_execute(cursor, self._sql, given)
        except dialect.loaded_dbapi.Error as error:
            cursor.close()
            raise sa.exc.DBAPIError.instance(
                self._sql, None, error, dialect.loaded_dbapi.Error, hide_parameters=True, dialect=dialect
            ) from error
        return cursor

    def rows(
        self, connection: sa.PoolProxiedConnection, dialect: sa.Dialect, given: Mapping[str, Any]
    ) -> list[list[Any]]:
        """Execute a SELECT, and answer its rows."""
        cursor = self.send(connection, dialect, [given.get(name, self._fixed.get(name)) for name in self.parameters])
        try:
            return [
                [value if change is None else change(value) for change, value in zip(self._found, row, strict=True)]
                for row in cursor.fetchall()
            ]
        finally:
            cursor.close()


def _stored(type_: TypeEngine[Any], dialect: sa.Dialect) -> Change | None:
    """How a value becomes what the driver takes; None where it is the same."""
    return type_.dialect_impl(dialect).bind_processor(dialect)


def _read(type_: TypeEngine[Any], dialect: sa.Dialect) -> Change | None:
    return type_.dialect_impl(dialect).result_processor(dialect, None)
