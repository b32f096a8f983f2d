"""Looking at every run, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import sqlalchemy as sa

from ...errors import RunNotFoundError
from ...store.identity import read_id
from ...store.tables import runs
from . import counting, delivering, relating
from .case import Case, cases, run_rows
from .findings import Finding
from .strays import strays

if TYPE_CHECKING:
    from ..runtime import Runtime

BATCH: Final = 500
RULES: Final = (
    *(counting.counters, counting.needs, counting.positions, counting.status),
    *(delivering.outstanding, delivering.claims, delivering.undoing, delivering.overdue),
    *(relating.visits, relating.attempts, relating.joins, relating.lineage),
)


def examine(
    runtime: Runtime, run_id: UUID | str | None = None, progress: Callable[[int], object] = lambda _: None
) -> Iterator[Finding]:
    """Everything that cannot be, in all runs and beside them, or in one run. Changes nothing.

    progress: told how many runs each batch held. Raises RunNotFoundError.
    """
    runtime.ensure_configured()
    if run_id is not None:
        yield from _one(runtime, run_id)
        return
    after, size = str(UUID(int=0)), BATCH
    while size == BATCH:
        with snapshot(runtime) as connection:
            batch = look(runtime, connection, run_rows(runs.c.id > after).limit(BATCH))
        for case in batch:
            yield from judged(case)
        size = len(batch)
        after = batch[-1].run.id if batch else after
        progress(size)
    with snapshot(runtime) as connection:
        yield from strays(connection, _now(runtime, connection))


def look(runtime: Runtime, connection: sa.Connection, query: sa.Select[Any]) -> list[Case]:
    """The runs that the query finds, as this transaction sees them."""
    found = connection.execute(query).all()
    return cases(connection, found, runtime.registry, _now(runtime, connection))


def judged(case: Case) -> Iterator[Finding]:
    """What cannot be of one run."""
    for rule in RULES:
        yield from rule(case)


@contextmanager
def snapshot(runtime: Runtime) -> Iterator[sa.Connection]:
    """One moment of the database, however many queries are asked of it."""
    with runtime.database.read(shared=False) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield connection


def _one(runtime: Runtime, run_id: UUID | str) -> Iterator[Finding]:
    id = read_id(run_id)
    if id is None:
        raise RunNotFoundError(run_id)
    with snapshot(runtime) as connection:
        found = look(runtime, connection, run_rows(runs.c.id == id))
    if not found:
        raise RunNotFoundError(run_id)
    yield from judged(found[0])


def _now(runtime: Runtime, connection: sa.Connection) -> datetime:
    now: datetime = connection.execute(sa.select(runtime.database.now())).scalar_one()
    return now
