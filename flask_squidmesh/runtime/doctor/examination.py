"""Looking at every run, a few at a time, and mending what can be mended safely."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import sqlalchemy as sa

from ...errors import RunNotFoundError
from ...storage import fact_rows
from ...storage.summaries import new_id, read_id
from ...storage.tables import dispatches, runs, step_runs
from ...storage.write_batch import dispatch_row
from ..command_arguments import actor_of
from . import invariants
from .case import Case, Finding, Repair, cases, run_rows
from .orphans import orphans

if TYPE_CHECKING:
    from ..runtime import Runtime

BATCH: Final = 500
RULES: Final = (
    *(invariants.counters, invariants.needs, invariants.positions, invariants.status),
    *(invariants.outstanding, invariants.claims, invariants.undoing, invariants.untaken),
    *(invariants.visits, invariants.attempts, invariants.joins, invariants.lineage),
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
        yield from orphans(connection, _now(runtime, connection))


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


ROUNDS = 3


def repair(runtime: Runtime, found: Sequence[Finding], *, actor: Any = None) -> Iterator[Finding]:
    """Mend what the findings say, and answer those that were mended. What has changed since is looked at anew."""
    who = actor_of(actor, runtime.settings.max_payload_bytes)
    for run_id in dict.fromkeys(finding.run_id for finding in found if finding.mend and finding.run_id):
        yield from _repair_run(runtime, run_id, who)
    with snapshot(runtime) as connection:
        beside = list(orphans(connection, runtime.clock.now()))
    for finding in beside:
        if finding.mend is not None:
            with runtime.database.write() as connection:
                _apply(runtime, connection, finding.mend)
            yield finding


def _repair_run(runtime: Runtime, run_id: str, who: Any) -> list[Finding]:
    """One mend may bring another to light, so we look again until nothing is left."""
    mended: list[Finding] = []
    with runtime.database.write() as connection:
        if fact_rows.run_fact(connection, run_id, lock=True) is None:
            return []
        for _ in range(ROUNDS):
            [case] = look(runtime, connection, run_rows(runs.c.id == run_id))
            due = [(finding, finding.mend) for finding in judged(case) if finding.mend is not None]
            if not due:
                break
            for finding, mend in due:
                _apply(runtime, connection, mend)
                mended.append(finding)
        _audit(runtime, connection, run_id, mended, who)
    return mended


def _apply(runtime: Runtime, connection: sa.Connection, mend: Repair) -> None:
    if mend.change == "dispatch":
        _deliver(runtime, connection, mend)
        return
    assert mend.table is not None
    assert mend.where is not None
    statement = sa.update(mend.table).values(dict(mend.values)) if mend.change == "update" else sa.delete(mend.table)
    connection.execute(statement.where(mend.where))


def _deliver(runtime: Runtime, connection: sa.Connection, mend: Repair) -> None:
    """Make the work due. A step that was running gets a claim that has run out, so that it counts as abandoned."""
    of_run = sa.select(step_runs, runs.c.queue).join(runs, runs.c.id == step_runs.c.run_id)
    row = connection.execute(of_run.where(step_runs.c.id == mend.step_run_id)).one()
    now = runtime.clock.now()
    connection.execute(sa.delete(dispatches).where(dispatches.c.step_run_id == row.id))
    new = dispatch_row(row.run_id, row.id, row.kind, row.due_at or now, row.queue, now)
    lost = {"claim_id": new_id(), "claimed_by": "unknown", "claimed_at": row.started_at or now} if mend.lost else {}
    connection.execute(sa.insert(dispatches).values({**new, **lost}))


def _audit(runtime: Runtime, connection: sa.Connection, run_id: str, mended: Sequence[Finding], who: Any) -> None:
    if not mended:
        return
    now, said = runtime.clock.now(), [f"{each.found}: {each.mend.says}" for each in mended if each.mend]
    fact_rows.note(connection, "repaired", actor=who, at=now, run_id=run_id, data={"repairs": said})
    moved = {"revision": runs.c.revision + 1, "updated_at": now}
    connection.execute(sa.update(runs).where(runs.c.id == run_id).values(moved))
