"""Looking at every run, a few at a time, and mending what can be mended safely."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from ...clock import Clock
from ...definition.values import JsonValue
from ...definition.workflow import Registry
from ...errors import RunNotFoundError
from ...storage import fact_rows
from ...storage.database import Database
from ...storage.queues import HANDED_OVER
from ...storage.summaries import new_id, read_id
from ...storage.tables import dispatches, runs, step_runs
from ...storage.write_batch import dispatch_row
from ..command_arguments import actor_of
from . import invariants, wait_invariants
from .case import Case, Finding, Redelivery, Repair, RowDeletion, RowInsertion, RowUpdate, cases, run_rows
from .orphans import orphans

BATCH: Final = 500
RULES: Final = (
    *(invariants.counters, invariants.needs, invariants.positions, invariants.status),
    *(invariants.outstanding, invariants.claims, invariants.undoing, invariants.untaken),
    *(invariants.visits, invariants.attempts, invariants.joins, invariants.lineage),
    *(wait_invariants.open_waits, wait_invariants.timers, wait_invariants.reminders, wait_invariants.run_deadline),
    *(wait_invariants.beginning, wait_invariants.outcome),
)


class Doctor:
    """Looks for rows that cannot be, and mends what can be mended safely. most: bytes of JSON that an actor may
    take.
    """

    def __init__(self, *, database: Database, clock: Clock, registry: Registry, most: int) -> None:
        self._database, self._clock, self._registry, self._most = database, clock, registry, most

    def examine(
        self, run_id: UUID | str | None = None, progress: Callable[[int], object] = lambda _: None
    ) -> Iterator[Finding]:
        """Everything that cannot be, in all runs and beside them, or in one run. Changes nothing.

        progress: told how many runs each batch held. Raises RunNotFoundError.
        """
        if run_id is not None:
            yield from self._one(run_id)
            return
        after, size = str(UUID(int=0)), BATCH
        while size == BATCH:
            with self._snapshot() as connection:
                batch = self._look(connection, run_rows(runs.c.id > after).limit(BATCH))
            for case in batch:
                yield from judged(case)
            size = len(batch)
            after = batch[-1].run.id if batch else after
            progress(size)
        with self._snapshot() as connection:
            yield from orphans(connection, self._now(connection))

    def repair(self, found: Sequence[Finding], *, actor: object = None) -> Iterator[Finding]:
        """Mend what the findings say, and answer those that were mended. What has changed since is looked at anew."""
        who = actor_of(actor, self._most)
        for run_id in dict.fromkeys(finding.run_id for finding in found if finding.mend and finding.run_id):
            yield from self._repair_run(run_id, who)
        with self._snapshot() as connection:
            beside = list(orphans(connection, self._clock.now()))
        for finding in beside:
            if finding.mend is not None:
                with self._database.write() as connection:
                    self._apply(connection, finding.mend)
                yield finding

    def _look(self, connection: sa.Connection, query: sa.Select[Any]) -> list[Case]:
        """The runs that the query finds, as this transaction sees them."""
        found = connection.execute(query).all()
        return cases(connection, found, self._registry, self._now(connection))

    @contextmanager
    def _snapshot(self) -> Iterator[sa.Connection]:
        """One moment of the database, however many queries are asked of it."""
        with self._database.read(shared=False) as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield connection

    def _one(self, run_id: UUID | str) -> Iterator[Finding]:
        id = read_id(run_id)
        if id is None:
            raise RunNotFoundError(run_id)
        with self._snapshot() as connection:
            found = self._look(connection, run_rows(runs.c.id == id))
        if not found:
            raise RunNotFoundError(run_id)
        yield from judged(found[0])

    def _now(self, connection: sa.Connection) -> datetime:
        now: datetime = connection.execute(sa.select(self._database.now())).scalar_one()
        return now

    def _repair_run(self, run_id: str, who: JsonValue) -> list[Finding]:
        """One mend may bring another to light, so we look again until nothing is left."""
        mended: list[Finding] = []
        with self._database.write() as connection:
            if fact_rows.run_fact(connection, run_id, lock=True) is None:
                return []
            for _ in range(ROUNDS):
                [case] = self._look(connection, run_rows(runs.c.id == run_id))
                due = [(finding, finding.mend) for finding in judged(case) if finding.mend is not None]
                if not due:
                    break
                for finding, mend in due:
                    self._apply(connection, mend)
                    mended.append(finding)
            self._audit(connection, run_id, mended, who)
        return mended

    def _apply(self, connection: sa.Connection, mend: Repair) -> None:
        match mend:
            case RowUpdate():
                connection.execute(sa.update(mend.table).where(mend.where).values(dict(mend.values)))
            case RowDeletion():
                connection.execute(sa.delete(mend.table).where(mend.where))
            case RowInsertion():
                connection.execute(sa.insert(mend.table).values(dict(mend.values)))
            case Redelivery():
                self._deliver(connection, mend)

    def _deliver(self, connection: sa.Connection, mend: Redelivery) -> None:
        """Make the work due. A step that was running gets a claim that has run out, so that it counts as abandoned."""
        of_run = sa.select(step_runs, runs.c.queue).join(runs, runs.c.id == step_runs.c.run_id)
        row = connection.execute(of_run.where(step_runs.c.id == mend.step_run_id)).one()
        now = self._clock.now()
        connection.execute(sa.delete(dispatches).where(dispatches.c.step_run_id == row.id, HANDED_OVER))
        new = dispatch_row(row.run_id, row.id, row.kind, row.due_at or now, row.queue, now)
        lost = {"claim_id": new_id(), "claimed_by": "unknown", "claimed_at": row.started_at or now} if mend.lost else {}
        connection.execute(sa.insert(dispatches).values({**new, **lost}))

    def _audit(self, connection: sa.Connection, run_id: str, mended: Sequence[Finding], who: JsonValue) -> None:
        if not mended:
            return
        now, said = self._clock.now(), [f"{each.found}: {each.mend.says}" for each in mended if each.mend]
        fact_rows.note(connection, "repaired", actor=who, at=now, run_id=run_id, data={"repairs": said})
        moved = {"revision": runs.c.revision + 1, "updated_at": now}
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(moved))


def judged(case: Case) -> Iterator[Finding]:
    """What cannot be of one run."""
    for rule in RULES:
        yield from rule(case)


ROUNDS = 3
