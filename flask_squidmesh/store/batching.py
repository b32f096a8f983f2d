"""Several writes as one statement, which is made once for each shape that they can have.

On PostgreSQL they are common table expressions of one SELECT: one round trip, and all or nothing without a transaction
around them. SQLite takes them one after the other, as PostgreSQL does where they are too many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import UpdateBase

from .prepared import Prepared

INSERTS: Final[Mapping[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
PREFIX: Final = "p0_0_"
NOTICE: Final = "notice"
MOST_PARTS: Final = 16
MOST_ROWS: Final = 4
SHAPES_KEPT: Final = 1_000
INSERTING: Final = ("insert", "insert unless there")

Row = Mapping[str, Any]
Verb = Literal["insert", "insert unless there", "update", "delete"]


@dataclass(frozen=True, slots=True)
class FromNow:
    """A time by the database's own clock: so long after the beginning of the transaction."""

    later: timedelta


class _Later(sa.TypeDecorator[FromNow]):
    """How long after now, as PostgreSQL adds it."""

    impl = sa.Interval
    cache_ok = True

    def process_bind_param(self, value: FromNow | None, dialect: sa.Dialect) -> timedelta | None:
        return None if value is None else value.later


class _Shape(NamedTuple):
    """What of a write is the same whichever rows it is for.

    timed: the columns set to a time from the database's now. where: columns that have one value; among: columns that
    have one of several. holds: a table and the columns of a row of it that has to be there.
    """

    verb: Verb
    table: sa.Table
    columns: tuple[str, ...] = ()
    timed: frozenset[str] = frozenset()
    where: tuple[str, ...] = ()
    among: frozenset[str] = frozenset()
    holds: tuple[sa.Table, tuple[str, ...]] | None = None
    rows: int = 1


class _Part(NamedTuple):
    shape: _Shape
    given: tuple[Row, ...]


class Batch:
    """Writes that belong together.

    fenced: whether the first write is a fence: unless it finds its row, none of the others is made.
    """

    def __init__(self, *, fenced: bool = False) -> None:
        self._fenced = fenced
        self._parts: list[_Part] = []
        self._notice: tuple[str, str] | None = None

    def insert(self, table: sa.Table, rows: Sequence[Row], *, unless_there: bool = False) -> None:
        """Insert rows. A column that is None in all of them is left to its default.

        unless_there: a row whose key exists is left out.
        """
        if rows:
            columns = _given_in(rows)
            verb: Verb = "insert unless there" if unless_there else "insert"
            self._add(_Shape(verb, table, columns, rows=len(rows)), *rows)

    def update(self, table: sa.Table, where: Row, values: Row, *, holds: tuple[sa.Table, Row] | None = None) -> None:
        """Set columns of the row that has these values. holds: only if that table has a row with those values."""
        timed = frozenset(name for name, value in values.items() if isinstance(value, FromNow))
        given = {**{f"w_{name}": value for name, value in where.items()}, **values}
        there = None
        if holds is not None:
            other, row = holds
            there = (other, tuple(row))
            given |= {f"h_{name}": value for name, value in row.items()}
        self._add(_Shape("update", table, tuple(values), timed, tuple(where), holds=there), given)

    def delete(self, table: sa.Table, where: Row) -> None:
        """Delete the rows that have these values; where a value is a list, one of them."""
        among = frozenset(name for name, value in where.items() if isinstance(value, list))
        given = {f"w_{name}": value for name, value in where.items()}
        self._add(_Shape("delete", table, where=tuple(where), among=among), given)

    def notify(self, channel: str, payload: str) -> None:
        """Send a notification with the commit (PostgreSQL)."""
        self._notice = (channel, payload)

    @property
    def is_one_statement(self) -> bool:
        """Whether PostgreSQL takes it as one."""
        return len(self._parts) <= MOST_PARTS and all(shape.rows <= MOST_ROWS for shape, _ in self._parts)

    def execute(self, connection: sa.Connection) -> bool:
        """Make the writes in the connection's transaction. Answer whether the fence has found its row."""
        if not self._parts:
            return True
        if connection.dialect.name == "postgresql" and self.is_one_statement:
            return self.execute_as_one(connection.connection, connection.dialect)
        return self._one_by_one(connection)

    def execute_as_one(self, connection: sa.PoolProxiedConnection, dialect: sa.Dialect) -> bool:
        """The same by one statement, on PostgreSQL."""
        together = _together(tuple(part.shape for part in self._parts), self._fenced, self._notice is not None)
        rows = [part.given for part in self._parts]
        values = [rows[part][row][name] for part, row, name in together.places]
        values.extend(self._notice or ())
        cursor = together.statement.send(connection, dialect, values)
        try:
            [found, *_] = cursor.fetchone()
            return bool(found)
        finally:
            cursor.close()

    def _add(self, shape: _Shape, *given: Row) -> None:
        self._parts.append(_Part(shape, given))

    def _one_by_one(self, connection: sa.Connection) -> bool:
        rest = self._parts
        if self._fenced:
            [shape, given], *rest = rest
            if _execute(connection, shape, given) == 0:
                return False
        alike: dict[_Shape, list[Row]] = {}
        for shape, given in rest:
            alike.setdefault(shape._replace(rows=1), []).extend(given)
        for shape, rows in alike.items():
            _execute(connection, shape, rows)
        if self._notice and connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_notify(*self._notice)))
        return True


def _execute(connection: sa.Connection, shape: _Shape, rows: Sequence[Row]) -> int:
    """Make one write for each of the rows, and answer how many rows the last one found."""
    dialect, found = connection.dialect, 0
    if shape.among and dialect.name == "sqlite":
        write = _write(shape, [PREFIX], None, dialect.name)
        return sum(connection.execute(write, {PREFIX + name: row[name] for name in row}).rowcount for row in rows)
    alone = _alone(shape, dialect.name)
    for row in rows:
        cursor = alone.statement.send(connection.connection, dialect, [row[name] for _, _, name in alone.places])
        found = cursor.rowcount
        cursor.close()
    return found


class _Written(NamedTuple):
    """A prepared statement, and where each of its values is to be found: which part, which row, which name."""

    statement: Prepared
    places: tuple[tuple[int, int, str], ...]


@lru_cache(SHAPES_KEPT)
def _alone(shape: _Shape, dialect: str) -> _Written:
    return _written(_write(shape, [PREFIX], None, dialect), dialect)


@lru_cache(SHAPES_KEPT)
def _together(shapes: Sequence[_Shape], fenced: bool, notifying: bool) -> _Written:
    fence: sa.CTE | None = None
    parts = []
    for number, shape in enumerate(shapes):
        prefixes = [f"p{number}_{place}_" for place in range(shape.rows)]
        statement: Any = _write(shape, prefixes, fence, "postgresql")
        if fenced and fence is None:
            fence = statement.returning(sa.literal_column("1").label("found")).cte("fence")
        else:
            parts.append(statement.cte(f"part_{number}"))
    found = sa.select(sa.literal_column("1")) if fence is None else sa.select(sa.func.count()).select_from(fence)
    if notifying:
        found = found.add_columns(sa.func.pg_notify(sa.bindparam(f"{NOTICE}_channel"), sa.bindparam(f"{NOTICE}_text")))
    return _written(found.add_cte(*parts), "postgresql")


def _written(statement: sa.ClauseElement, dialect: str) -> _Written:
    prepared = Prepared(statement, dialect)
    names = [name.removeprefix("p").split("_", 2) for name in prepared.parameters if not name.startswith(NOTICE)]
    return _Written(prepared, tuple((int(part), int(row), name) for part, row, name in names))


def _given_in(rows: Sequence[Row]) -> tuple[str, ...]:
    if len(rows) == 1:
        return tuple(name for name, value in rows[0].items() if value is not None)
    return tuple(name for name in rows[0] if any(row[name] is not None for row in rows))


def _write(shape: _Shape, prefixes: Sequence[str], fence: sa.CTE | None, dialect: str) -> UpdateBase:
    """The write as SQL; each of its rows has parameters with a prefix of its own."""
    passed = [] if fence is None else [sa.exists(sa.select(sa.literal_column("1")).select_from(fence))]
    if shape.verb in INSERTING:
        return _insert(shape, prefixes, passed, dialect)
    [prefix] = prefixes
    conditions = [*_conditions(shape, prefix, dialect), *passed]
    if shape.verb == "delete":
        return sa.delete(shape.table).where(*conditions)
    values = {name: _given(shape, name, prefix) for name in shape.columns}
    return sa.update(shape.table).where(*conditions).values(values)


def _insert(
    shape: _Shape, prefixes: Sequence[str], passed: Sequence[sa.ColumnElement[bool]], dialect: str
) -> UpdateBase:
    statement = INSERTS[dialect](shape.table)
    if shape.verb == "insert unless there":
        statement = statement.on_conflict_do_nothing()
    if passed or len(prefixes) > 1:
        rows = [[_given(shape, name, prefix) for name in shape.columns] for prefix in prefixes]
        selected = sa.union_all(*(sa.select(*row).where(*passed) for row in rows))
        inserted: UpdateBase = statement.from_select(list(shape.columns), selected)
        return inserted
    single: UpdateBase = statement.values({name: _given(shape, name, prefixes[0]) for name in shape.columns})
    return single


def _given(shape: _Shape, name: str, prefix: str) -> sa.ColumnElement[Any]:
    if name in shape.timed:
        return sa.func.now() + sa.bindparam(prefix + name, type_=_Later)
    return sa.bindparam(prefix + name, type_=shape.table.c[name].type)


def _is_among(column: sa.ColumnElement[Any], given: str, dialect: str) -> sa.ColumnElement[bool]:
    """PostgreSQL takes the values as one array, so that the statement is the same for any number of them."""
    if dialect == "postgresql":
        return column == sa.any_(sa.bindparam(given, type_=postgresql.ARRAY(column.type)))
    return column.in_(sa.bindparam(given, type_=column.type, expanding=True))


def _conditions(shape: _Shape, prefix: str, dialect: str) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    for name in shape.where:
        column, given = shape.table.c[name], f"{prefix}w_{name}"
        if name in shape.among:
            conditions.append(_is_among(column, given, dialect))
        else:
            conditions.append(column == sa.bindparam(given, type_=column.type))
    if shape.holds is not None:
        other, names = shape.holds
        there = [other.c[name] == sa.bindparam(f"{prefix}h_{name}", type_=other.c[name].type) for name in names]
        conditions.append(sa.exists(sa.select(sa.literal_column("1")).select_from(other).where(*there)))
    return conditions
