"""How large the tables are and how fast they grow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from .tables import Base, Run

GROWTH_DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSize:
    """One table. rows: counted, or the database's own estimate. size: bytes with its indexes, None on SQLite."""

    table: str
    rows: int
    estimated: bool
    size: int | None


def table_sizes(connection: sa.Connection) -> list[TableSize]:
    """The size of each of our tables that is there, in order of name."""
    measure = _measure_postgresql if connection.dialect.name == "postgresql" else _count
    present = sorted(set(Base.metadata.tables) & set(sa.inspect(connection).get_table_names()))
    return [measure(connection, name) for name in present]


def runs_per_day(connection: sa.Connection, now: datetime) -> float:
    """How many runs were started a day over the last week."""
    since = now - timedelta(days=GROWTH_DAYS)
    started = sa.select(sa.func.count()).select_from(Run).where(Run.created_at >= since)
    return int(connection.scalar(started) or 0) / GROWTH_DAYS


def _count(connection: sa.Connection, name: str) -> TableSize:
    rows = connection.scalar(sa.select(sa.func.count()).select_from(sa.table(name)))
    return TableSize(table=name, rows=int(rows or 0), estimated=False, size=None)


def _measure_postgresql(connection: sa.Connection, name: str) -> TableSize:
    facts = sa.text(
        "SELECT CAST(reltuples AS bigint), pg_total_relation_size(oid) FROM pg_class WHERE oid = to_regclass(:name)"
    )
    rows, size = connection.execute(facts, {"name": name}).one()
    if rows > 0:
        return TableSize(table=name, rows=rows, estimated=True, size=size)
    return TableSize(table=name, rows=_count(connection, name).rows, estimated=False, size=size)
