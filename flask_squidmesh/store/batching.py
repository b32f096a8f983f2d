"""Several writes that belong together.

On PostgreSQL they are common table expressions of one statement: one round trip, and all or nothing without a
transaction around them. SQLite takes them one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from .prepared import Prepared
from .shapes import FromNow, Shape, Verb, alone, together

Row = Mapping[str, Any]

NONE: Final = frozenset[str]()


class Batch:
    """Collects writes.

    fenced: whether the first write is a fence: unless it finds its row, none of the others is made.
    """

    def __init__(self, *, fenced: bool = False) -> None:
        self._fenced = fenced
        self._parts: dict[Shape, list[Sequence[Any]]] = {}
        self._notice: tuple[str, ...] = ()

    def insert(self, table: sa.Table, rows: Sequence[Row], *, unless_there: bool = False) -> None:
        """Insert rows, which name the same columns in the same order.

        unless_there: a row whose key exists is left out.
        """
        if rows:
            verb: Verb = "insert unless there" if unless_there else "insert"
            self._add(Shape(verb, table, tuple(rows[0])), [tuple(row.values()) for row in rows])

    def update(self, table: sa.Table, where: Row, values: Row, *, holds: tuple[sa.Table, Row] | None = None) -> None:
        """Set columns of the row that has these values. holds: only if that table has a row with those values."""
        timed = NONE
        if FromNow in map(type, values.values()):
            timed = frozenset(name for name, value in values.items() if isinstance(value, FromNow))
            values = {name: value.later if name in timed else value for name, value in values.items()}
        given = [*values.values(), *where.values()]
        there = None
        if holds is not None:
            other, row = holds
            there = (other, tuple(row))
            given += row.values()
        self._add(Shape("update", table, tuple(values), timed, tuple(where), there), [given])

    def delete(self, table: sa.Table, where: Row) -> None:
        """Delete the row that has these values."""
        self._add(Shape("delete", table, where=tuple(where)), [tuple(where.values())])

    def notify(self, channel: str, text: str) -> None:
        """Send a notification with the commit (PostgreSQL)."""
        self._notice = (channel, text)

    def execute(self, connection: sa.Connection) -> bool:
        """Make the writes in the connection's transaction. Answer whether the fence has found its row."""
        if not self._parts:
            return True
        if connection.dialect.name != "postgresql":
            return self._one_by_one(connection)
        statement, values = self._as_one()
        row = statement.first(connection, values)
        assert row is not None, "it counts the rows that the fence has found"
        return bool(row[0])

    def send(self, pooled: sa.PoolProxiedConnection, dialect: sa.Dialect) -> bool:
        """The same on PostgreSQL as a transaction of its own, which is one statement."""
        statement, values = self._as_one()
        return statement.send(pooled, dialect, values).get_value(0, 0) != b"0"

    def commit(self, pooled: sa.PoolProxiedConnection, dialect: sa.Dialect) -> bool:
        """The same on PostgreSQL as the last of a transaction, which is committed."""
        statement, values = self._as_one()
        return statement.commit(pooled, dialect, values).get_value(0, 0) != b"0"

    def _as_one(self) -> tuple[Prepared, Sequence[Any]]:
        parts = self._parts.items()
        shapes = tuple([shape if len(rows) == 1 else shape._replace(many=True) for shape, rows in parts])
        statement, in_order = together(shapes, self._fenced, bool(self._notice))
        given: list[Any] = []
        for rows in self._parts.values():
            given += rows[0] if len(rows) == 1 else map(list, zip(*rows, strict=True))
        return statement, in_order([*given, *self._notice])

    def _one_by_one(self, connection: sa.Connection) -> bool:
        waiting_for_fence = self._fenced
        for shape, rows in self._parts.items():
            statement, in_order = alone(shape, "sqlite")
            for row in rows:
                found = statement.count(connection, in_order(row))
                if waiting_for_fence and found == 0:
                    return False
                waiting_for_fence = False
        return True

    def _add(self, shape: Shape, rows: Sequence[Sequence[Any]]) -> None:
        self._parts.setdefault(shape, []).extend(rows)
