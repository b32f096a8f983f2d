"""The SQL of writes, made once for each shape that they can have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from .compiled import Dialect, Prepared, Values

Insert = postgresql.Insert | sqlite.Insert
INSERTS: Final[Mapping[str, Callable[..., Insert]]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
SHAPES_KEPT: Final = 1_000
Write = sa.Insert | sa.Update | sa.Delete
NOTICE: Final = ("notice_channel", "notice_text")
WHERE: Final = "where_"
HOLDS: Final = "holds_"

Verb = Literal["insert", "insert unless there", "update", "delete"]
ColumnType = sa.types.TypeEngine[Any]
Expressions = Mapping[str, sa.ColumnElement[Any]]


@dataclass(frozen=True, slots=True)
class FromNow:
    """A time by the database's own clock: so long after the beginning of the transaction."""

    later: timedelta


class StatementShape(NamedTuple):
    """What of a write is the same whichever rows it is for; its values come in the order of these columns.

    timed: which columns are set to a time from the database's now. where: the columns that tell the row. holds: a
    table and the columns of a row of it that has to be there. many: whether it is for several rows (PostgreSQL).
    """

    verb: Verb
    table: sa.Table
    columns: tuple[str, ...] = ()
    timed: frozenset[str] = frozenset()
    where: tuple[str, ...] = ()
    holds: tuple[sa.Table, tuple[str, ...]] | None = None
    many: bool = False


class CompiledWrite(NamedTuple):
    """A prepared statement, and what puts the values of its shapes into the order of its parameters."""

    statement: Prepared
    in_order: Callable[[Values], Values]


@lru_cache(SHAPES_KEPT)
def alone(shape: StatementShape, dialect: Dialect) -> CompiledWrite:
    """One write for one row as a statement of its own."""
    return _written([shape], _write(shape, 0, None, dialect), dialect)


@lru_cache(SHAPES_KEPT)
def together(shapes: Sequence[StatementShape], fenced: bool, notifying: bool) -> CompiledWrite:
    """All writes as one statement of PostgreSQL, which answers whether the first has found its row, if that is a fence.

    notifying: the last two values are a channel and a text to send there.
    """
    fence: sa.CTE | None = None
    parts = []
    for number, shape in enumerate(shapes):
        statement = _write(shape, number, fence, "postgresql")
        if fenced and fence is None:
            fence = statement.returning(sa.literal_column("1").label("found")).cte("fence")
        else:
            parts.append(statement.cte(f"part_{number}"))
    found = sa.select(sa.literal_column("1")) if fence is None else sa.select(sa.func.count()).select_from(fence)
    if notifying:
        found = found.add_columns(sa.func.pg_notify(*(sa.bindparam(name) for name in NOTICE)))
    return _written(shapes, found.add_cte(*parts), "postgresql")


def _written(shapes: Sequence[StatementShape], statement: sa.ClauseElement, dialect: Dialect) -> CompiledWrite:
    prepared = Prepared(statement, dialect)
    given = [f"{part}:{name}" for part, shape in enumerate(shapes) for name in _types(shape)]
    place = {name: number for number, name in enumerate([*given, *NOTICE])}
    places = [place[name] for name in prepared.parameters]
    return CompiledWrite(prepared, itemgetter(*places) if len(places) > 1 else list)


def _write(shape: StatementShape, part: int, fence: sa.CTE | None, dialect: str) -> Write:
    given = _given(shape, part)
    conditions = [shape.table.c[name] == given[WHERE + name] for name in shape.where]
    if shape.holds is not None:
        other, names = shape.holds
        conditions.append(_is_there(other, *(other.c[name] == given[HOLDS + name] for name in names)))
    if fence is not None:
        conditions.append(_is_there(fence))
    if shape.verb == "delete":
        return sa.delete(shape.table).where(*conditions)
    values = {name: sa.func.now() + given[name] if name in shape.timed else given[name] for name in shape.columns}
    if shape.verb == "update":
        return sa.update(shape.table).where(*conditions).values(values)
    return _insert(shape, values, conditions, dialect)


def _insert(
    shape: StatementShape, values: Expressions, conditions: Sequence[sa.ColumnElement[bool]], dialect: str
) -> Write:
    statement = INSERTS[dialect](shape.table)
    if shape.verb == "insert unless there":
        statement = statement.on_conflict_do_nothing()
    if conditions or shape.many:
        return statement.from_select(list(values), sa.select(*values.values()).where(*conditions))
    return statement.values(values)


def _is_there(rows: sa.FromClause, *conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.exists(sa.select(sa.literal_column("1")).select_from(rows).where(*conditions))


def _given(shape: StatementShape, part: int) -> Expressions:
    """The values by name: parameters, or where the write is for many rows, columns of parameters that are arrays."""
    types = _types(shape)
    if not shape.many:
        return {name: sa.bindparam(f"{part}:{name}", type_=type_) for name, type_ in types.items()}
    arrays = [
        sa.bindparam(f"{part}:{name}", type_=postgresql.ARRAY(type_, dimensions=1)) for name, type_ in types.items()
    ]
    columns = [sa.column(f"c{number}", type_) for number, type_ in enumerate(types.values())]
    rows = sa.func.unnest(*arrays).table_valued(*columns).render_derived(name=f"given_{part}")
    return {name: rows.c[column.name] for name, column in zip(types, columns, strict=True)}


def _types(shape: StatementShape) -> dict[str, ColumnType]:
    types: dict[str, ColumnType] = {
        name: sa.Interval() if name in shape.timed else shape.table.c[name].type for name in shape.columns
    }
    types |= {WHERE + name: shape.table.c[name].type for name in shape.where}
    if shape.holds is not None:
        other, names = shape.holds
        types |= {HOLDS + name: other.c[name].type for name in names}
    return types
