"""Several writes that belong together.

On PostgreSQL they are common table expressions of one statement: one round trip, and all or nothing without a
transaction around them. SQLite takes them one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from .shapes import HOLDS, WHERE, FromNow, Shape, Verb, alone, together

Row = Mapping[str, Any]


class Batch:
    """Collects writes.

    fenced: whether the first write is a fence: unless it finds its row, none of the others is made.
    """

    def __init__(self, *, fenced: bool = False) -> None:
        self._fenced = fenced
        self._parts: dict[Shape, list[Row]] = {}
        self._notice: tuple[str, ...] = ()

    def insert(self, table: sa.Table, rows: Sequence[Row], *, unless_there: bool = False) -> None:
        """Insert rows. A column that is None in all of them is left to its default.

        unless_there: a row whose key exists is left out.
        """
        if rows:
            verb: Verb = "insert unless there" if unless_there else "insert"
            self._add(Shape(verb, table, _columns_given(rows)), *rows)

    def update(self, table: sa.Table, where: Row, values: Row, *, holds: tuple[sa.Table, Row] | None = None) -> None:
        """Set columns of the row that has these values. holds: only if that table has a row with those values."""
        timed = frozenset(name for name, value in values.items() if isinstance(value, FromNow))
        given = {**values, **{WHERE + name: value for name, value in where.items()}}
        there = None
        if holds is not None:
            other, row = holds
            there = (other, tuple(row))
            given |= {HOLDS + name: value for name, value in row.items()}
        self._add(Shape("update", table, tuple(values), timed, tuple(where), there), given)

    def delete(self, table: sa.Table, where: Row) -> None:
        """Delete the row that has these values."""
        given = {WHERE + name: value for name, value in where.items()}
        self._add(Shape("delete", table, where=tuple(where)), given)

    def notify(self, channel: str, text: str) -> None:
        """Send a notification with the commit (PostgreSQL)."""
        self._notice = (channel, text)

    def execute(self, connection: sa.Connection) -> bool:
        """Make the writes in the connection's transaction. Answer whether the fence has found its row."""
        if not self._parts:
            return True
        if connection.dialect.name == "postgresql":
            return self.execute_as_one(connection.connection, connection.dialect)
        return self._one_by_one(connection.connection, connection.dialect)

    def execute_as_one(self, connection: sa.PoolProxiedConnection, dialect: sa.Dialect) -> bool:
        """The same by one statement, on PostgreSQL."""
        shapes = tuple(shape if len(rows) == 1 else shape._replace(many=True) for shape, rows in self._parts.items())
        statement, places = together(shapes, self._fenced, bool(self._notice))
        parts = [rows[0] if len(rows) == 1 else _by_column(rows) for rows in self._parts.values()]
        values = [parts[part][name] for part, name in places]
        cursor = statement.send(connection, dialect, [*values, *self._notice])
        try:
            [found, *_] = cursor.fetchone()
            return bool(found)
        finally:
            cursor.close()

    def _one_by_one(self, connection: sa.PoolProxiedConnection, dialect: sa.Dialect) -> bool:
        waiting_for_fence = self._fenced
        for shape, rows in self._parts.items():
            statement, places = alone(shape, dialect.name)
            for row in rows:
                cursor = statement.send(connection, dialect, [row[name] for _, name in places])
                found = cursor.rowcount
                cursor.close()
                if waiting_for_fence and found == 0:
                    return False
                waiting_for_fence = False
        return True

    def _add(self, shape: Shape, *rows: Row) -> None:
        self._parts.setdefault(shape, []).extend(rows)


def _columns_given(rows: Sequence[Row]) -> tuple[str, ...]:
    if len(rows) == 1:
        return tuple(name for name, value in rows[0].items() if value is not None)
    return tuple(name for name in rows[0] if any(row[name] is not None for row in rows))


def _by_column(rows: Sequence[Row]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
