"""Many runs at once, as a shop has them after years: copies of the seeded runs, spread over the past half year."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any, Final

import sqlalchemy as sa
from flask import current_app

from flask_squidmesh.storage import tables
from flask_squidmesh.storage.database import Database
from flask_squidmesh.storage.summaries import new_id

BATCH: Final = 20_000
SPAN: Final = timedelta(days=180)
SHARES: Final = {"completed": 920, "cancelled": 40, "failed": 35, "paused": 5}
LINKS: Final = ("parent_run_id", "parent_step", "child_key", "replayed_from_id", "replayed_as_id")

_scratch = sa.MetaData()
_copies = sa.Table(
    "copied_runs",
    _scratch,
    sa.Column("id", tables.Id, primary_key=True),
    sa.Column("source", tables.Id),
    sa.Column("earlier", sa.Integer),
    prefixes=["TEMPORARY"],
)
_step_copies = sa.Table(
    "copied_steps",
    _scratch,
    sa.Column("id", tables.Id, primary_key=True),
    sa.Column("run_id", tables.Id),
    sa.Column("source", tables.Id, index=True),
    sa.Column("earlier", sa.Integer),
    prefixes=["TEMPORARY"],
)


def seed_many(runs: int) -> Iterator[int]:
    """Add so many runs; how many there are so far after each batch. Nothing of them is due, so no worker takes any."""
    database: Database = current_app.extensions["squidmesh"].database
    random = Random(runs)
    with database.read() as connection:
        sources = _sources(connection)
    for done in range(0, runs, BATCH):
        count = min(BATCH, runs - done)
        with database.write() as connection:
            _scratch.create_all(connection)
            connection.execute(sa.insert(_copies), list(_chosen(sources, random, count)))
            connection.execute(_steps(connection))
            for table in (tables.runs, tables.step_runs, tables.audit_events, tables.attempts):
                connection.execute(_copied(connection, table))
            _scratch.drop_all(connection)
        yield done + count


def _sources(connection: sa.Connection) -> dict[str, list[str]]:
    """The youngest runs that nothing is due of, by status."""
    waiting = sa.select(tables.dispatches.c.run_id).where(tables.dispatches.c.run_id.is_not(None))
    found = sa.select(tables.runs.c.status, tables.runs.c.id).where(tables.runs.c.id.not_in(waiting))
    sources: dict[str, list[str]] = {}
    for status, id in connection.execute(found.order_by(tables.runs.c.created_at.desc()).limit(100)):
        sources.setdefault(status, []).append(id)
    return {status: sources[status] for status in SHARES if status in sources}


def _chosen(sources: Mapping[str, Sequence[str]], random: Random, count: int) -> Iterator[dict[str, Any]]:
    """Which seeded run each new one is a copy of, and how many seconds earlier it was."""
    for status in random.choices(list(sources), [SHARES[status] for status in sources], k=count):
        earlier = random.randrange(int(SPAN.total_seconds()))
        yield {"id": new_id(), "source": random.choice(sources[status]), "earlier": earlier}


def _steps(connection: sa.Connection) -> sa.Insert:
    """Ids for the copied step runs, each beginning like that of its run, as the ids of rows made together do."""
    if connection.dialect.name == "postgresql":
        run = sa.cast(_copies.c.id, sa.Text)
        start = sa.func.left(sa.func.replace(run, "-", ""), 13, type_=sa.Text)
        tail = sa.func.md5(run + sa.cast(tables.step_runs.c.id, sa.Text))
        id: sa.ColumnElement[Any] = sa.cast(start + sa.func.substr(tail, 1, 19, type_=sa.Text), sa.UUID)
    else:
        tail = sa.func.lower(sa.func.hex(sa.func.randomblob(10)))
        id = sa.func.substr(_copies.c.id, 1, 13, type_=sa.Text) + sa.func.substr(tail, 1, 19, type_=sa.Text)
    joined = _copies.join(tables.step_runs, tables.step_runs.c.run_id == _copies.c.source)
    chosen = sa.select(id, _copies.c.id, tables.step_runs.c.id, _copies.c.earlier).select_from(joined)
    return sa.insert(_step_copies).from_select(["id", "run_id", "source", "earlier"], chosen)


def _copied(connection: sa.Connection, table: sa.Table) -> sa.Insert:
    """The rows of the table, again for each copy."""
    of_steps = table in (tables.step_runs, tables.attempts)
    copies = _step_copies if of_steps else _copies
    names = {tables.runs: "id", tables.step_runs: "id", tables.attempts: "step_run_id", tables.audit_events: "run_id"}
    own = names[table]
    columns = [column for column in table.columns if not (table is tables.audit_events and column.name == "id")]
    values: list[Any] = []
    for column in columns:
        if column.name == own:
            values.append(copies.c.id)
        elif column.name == "run_id":
            values.append(_step_copies.c.run_id)
        elif column.name in LINKS:
            values.append(sa.null())
        else:
            values.append(_earlier(connection, column, copies) if _is_time(column) else column)
    joined = copies.join(table, table.c[own] == copies.c.source)
    return sa.insert(table).from_select([column.name for column in columns], sa.select(*values).select_from(joined))


def _is_time(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, tables.Timestamp)


def _earlier(connection: sa.Connection, column: sa.Column[Any], copies: sa.Table) -> sa.ColumnElement[Any]:
    if connection.dialect.name == "postgresql":
        return column - sa.func.make_interval(0, 0, 0, 0, 0, 0, copies.c.earlier)
    shift = "-" + sa.cast(copies.c.earlier, sa.Text) + " seconds"
    return sa.func.strftime("%Y-%m-%d %H:%M:%f", column, shift, type_=sa.Text) + "000"
