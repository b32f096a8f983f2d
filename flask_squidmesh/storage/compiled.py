"""Statements that are compiled once and sent past SQLAlchemy, where nobody would miss them there.

They go through a connection of SQLAlchemy's pool and its dialect, and their values through its types. Where something
of the host's would be passed by, SQLAlchemy executes them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, Final, Literal

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import NullType, TypeEngine

from ..definition.values import JsonValue
from .connections import driver_of
from .outages import DRIVERS, told
from .tables import OwnJson, Timestamp

OWN: Final = "squidmesh_own"
"""The execution option of an engine that we have made ourselves."""

_LISTENED: Final = (
    "engine_connect",
    "begin",
    "commit",
    "rollback",
    "before_execute",
    "after_execute",
    "before_cursor_execute",
    "after_cursor_execute",
)
_LISTENED_ON_DIALECT: Final = (
    "do_execute",
    "do_executemany",
    "do_execute_no_params",
    "do_setinputsizes",
    "handle_error",
)
_WITHOUT_EFFECT: Final = frozenset(
    {
        "compiled_cache",
        "insertmanyvalues_page_size",
        "max_row_buffer",
        "preserve_rowcount",
        "stream_results",
        "yield_per",
    }
)

_of_engine, _of_dialect = attrgetter(*_LISTENED), attrgetter(*_LISTENED_ON_DIALECT)


def is_open(target: sa.Engine | sa.Connection) -> bool:
    """Whether the shortcut may be taken: nothing would be passed by."""
    options = target.get_execution_options()
    if options:
        if OWN in options:
            return True
        if not options.keys() <= _WITHOUT_EFFECT:
            return False
    # SQLAlchemy's own mark of what nobody listens to, which is quicker than asking for each event.
    silent = not (
        getattr(target, "_has_events", True)
        or getattr(target.engine, "_has_events", True)
        or getattr(target.dialect, "_has_events", True)
    )
    return (silent or not any(_listeners(target))) and not _is_logged(target)


def passed_by(target: sa.Engine | sa.Connection) -> list[str]:
    """What of the host's on this engine or connection statements would pass by, one phrase each; they go the ordinary
    way where there is anything."""
    return list(_passed_by(target))


def passes_driver_by(driver: object) -> bool:
    """Whether the driver's connection, or the cursors that it makes, are not psycopg's own: a tracer's, say."""
    return type(driver) is not psycopg.Connection or driver.cursor_factory is not psycopg.Cursor


def _passed_by(target: sa.Engine | sa.Connection) -> Iterator[str]:
    options = target.get_execution_options()
    if OWN in options:
        return
    yield from (f"the execution option {name}" for name in options if name not in _WITHOUT_EFFECT)
    found = zip((*_LISTENED, *_LISTENED_ON_DIALECT), _listeners(target), strict=True)
    yield from (f"a listener to {name}" for name, listening in found if listening)
    if _is_logged(target):
        yield "the log of statements (echo)"


def _listeners(target: sa.Engine | sa.Connection) -> tuple[object, ...]:
    return (*_of_engine(target.dispatch), *_of_dialect(target.dialect.dispatch))


def _is_logged(target: sa.Engine | sa.Connection) -> bool:
    engine: Any = target.engine
    return bool(engine.logger.isEnabledFor(logging.INFO))


Encode = Callable[[Any], bytes]

MICROSECOND: Final = timedelta(microseconds=1)
MOMENTS_KEPT: Final = 64

_to_json: Final = json.JSONEncoder().encode


def encoder(type_: TypeEngine[Any]) -> Encode:
    """How values of the type, but for None, become text. Raises TypeError for a type that no column of ours has."""
    if isinstance(type_, sa.ARRAY):
        encode = encoder(type_.item_type)
        return partial(_array, _quoting(encode) if encode in (_text, _json) else encode)
    for known, encode in _ENCODERS:
        if isinstance(type_, known):
            return encode
    raise TypeError(f"Values of the type {type_!r} are not sent.")


def _text(value: str) -> bytes:
    if "\0" in value:  # libpq would take it for the end
        raise psycopg.DataError("PostgreSQL text cannot contain the character U+0000")
    return value.encode()


def _truth(value: bool) -> bytes:
    return b"true" if value else b"false"


def _time(value: datetime) -> bytes:
    return _utc(value if value.tzinfo is UTC else value.astimezone(UTC))


@lru_cache(MOMENTS_KEPT)  # the moment of a decision stands in most of its rows
def _utc(value: datetime) -> bytes:
    return value.isoformat().encode()


def _duration(value: timedelta) -> bytes:
    return b"%d microseconds" % (value // MICROSECOND)


def _json(value: JsonValue) -> bytes:
    return b"{}" if value == {} else _to_json(value).encode()  # mostly there is nothing in it


def _array(encode: Encode, values: Iterable[object]) -> bytes:
    return b"{%s}" % b",".join([b"NULL" if value is None else encode(value) for value in values])


def _quoting(encode: Encode) -> Encode:
    """For values that may have in them what an array is written with."""
    return lambda value: b'"%s"' % encode(value).replace(b"\\", b"\\\\").replace(b'"', b'\\"')


_ENCODERS: Final[tuple[tuple[type[TypeEngine[Any]] | tuple[type[TypeEngine[Any]], ...], Encode], ...]] = (
    (sa.Uuid, str.encode),
    ((sa.String, NullType), _text),
    (sa.Boolean, _truth),
    (sa.Integer, b"%d".__mod__),
    (Timestamp, _time),
    (sa.Interval, _duration),
    (OwnJson, _json),
)


Dialect = Literal["sqlite", "postgresql"]
Change = Callable[[Any], Any]
Given = Mapping[str, object]
Values = Sequence[object]
Rows = list[list[Any]]
Asked = tuple["Prepared", Given]

_COUNTED: Final = {"preserve_rowcount": True}
DIALECTS: Final[Mapping[str, sa.Dialect]] = {
    "postgresql": PGDialect_psycopg(paramstyle="numeric_dollar"),  # type: ignore[no-untyped-call]
    "sqlite": pysqlite.dialect(paramstyle="qmark"),
}


class Prepared:
    """A statement, compiled for one of the two databases.

    sql: its text. parameters: their names, in the order in which values are taken.
    """

    def __init__(self, statement: sa.ClauseElement, database: Dialect) -> None:
        dialect = DIALECTS[database]
        self._statement: Any = statement
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        self.sql = str(compiled)
        self.parameters = tuple(compiled.positiontup or ())
        self._fixed = {name: bound.value for name, bound in compiled.binds.items() if bound.value is not None}
        types = [compiled.binds[name].type for name in self.parameters]
        changes = [_stored(type_, dialect) for type_ in types]
        self._changes = [(place, change) for place, change in enumerate(changes) if change is not None]
        self._encoders = [encoder(type_) for type_ in types] if database == "postgresql" else []
        columns = statement.selected_columns if isinstance(statement, sa.SelectBase) else ()
        self._found = [_read(column.type, dialect) for column in columns]

    def first(self, connection: sa.Connection, values: Values) -> Sequence[Any] | None:
        """Execute it in the connection's transaction, and answer the first row that it returns."""
        with self._executed(connection, values) as found:
            row: Sequence[Any] | None = found.fetchone()
            return row

    def count(self, connection: sa.Connection, values: Values) -> int:
        """Execute it in the connection's transaction, and answer how many rows were written."""
        with self._executed(connection, values) as found:
            return int(found.rowcount)

    def rows(self, connection: sa.Connection, given: Given) -> Rows:
        """The rows of a SELECT in the connection's transaction."""
        if not is_open(connection):
            return [list(row) for row in connection.execute(self._statement, self._named(self.in_order(given)))]
        with self._executed(connection, self.in_order(given)) as found:
            return self.loaded(found.fetchall())

    def in_order(self, given: Given) -> list[object]:
        """The values of the parameters by their names, in order."""
        return [given.get(name, self._fixed.get(name)) for name in self.parameters]

    def encoded(self, values: Values) -> list[bytes | None]:
        """Values in order as the text that libpq takes."""
        return [None if value is None else encode(value) for encode, value in zip(self._encoders, values, strict=True)]

    def loaded(self, rows: Iterable[Sequence[Any]]) -> Rows:
        """Rows of the driver's as SQLAlchemy's types load them."""
        return [
            [value if change is None else change(value) for change, value in zip(self._found, row, strict=True)]
            for row in rows
        ]

    def _executed(self, connection: sa.Connection, values: Values) -> closing[Any]:
        """A cursor of the driver's, or a result of SQLAlchemy's, to be closed."""
        if not is_open(connection):
            return closing(connection.execute(self._statement, self._named(values), execution_options=_COUNTED))
        pooled, dialect = connection.connection, connection.dialect
        on_postgresql = dialect.name == "postgresql"
        cursor: Any = psycopg.RawCursor(driver_of(pooled)) if on_postgresql else pooled.cursor()
        try:
            with ErrorsTold(self.sql):
                dialect.do_execute(cursor, self.sql, self._changed(values))
        except BaseException:
            cursor.close()
            raise
        return closing(cursor)

    def _named(self, values: Values) -> dict[str, object]:
        return dict(zip(self.parameters, values, strict=True))

    def _changed(self, values: Values) -> list[object]:
        stored = list(values)
        for place, change in self._changes:
            stored[place] = change(stored[place])
        return stored


class ErrorsTold:
    """Have the driver's errors of a statement told as SQLAlchemy's, without the values, in a `with` block."""

    __slots__ = ("_sql",)

    def __init__(self, sql: str) -> None:
        self._sql = sql

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None and isinstance(error, DRIVERS):
            raise told(error, self._sql) from error


def _stored(type_: TypeEngine[Any], dialect: sa.Dialect) -> Change | None:
    """How a value becomes what the driver takes; None where it is the same."""
    return type_.dialect_impl(dialect).bind_processor(dialect)


def _read(type_: TypeEngine[Any], dialect: sa.Dialect) -> Change | None:
    return type_.dialect_impl(dialect).result_processor(dialect, None)
