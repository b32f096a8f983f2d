"""Mending what can be mended safely, one run at a time, under its lock, after a second look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ...store import auditing, loading
from ...store.identity import new_id
from ...store.tables import dispatches, runs, step_runs
from ...store.writing import dispatch_row
from ..deciders import actor_of
from .case import run_rows
from .examining import judged, look, snapshot
from .findings import Finding, Mend
from .strays import strays

if TYPE_CHECKING:
    from ..runtime import Runtime

ROUNDS = 3


def repair(runtime: Runtime, found: Sequence[Finding], *, actor: Any = None) -> Iterator[Finding]:
    """Mend what the findings say, and answer those that were mended. What has changed since is looked at anew."""
    who = actor_of(actor, runtime.settings.max_payload_bytes)
    for run_id in dict.fromkeys(finding.run_id for finding in found if finding.mend and finding.run_id):
        yield from _repair_run(runtime, run_id, who)
    with snapshot(runtime) as connection:
        beside = list(strays(connection, runtime.clock.now()))
    for finding in beside:
        if finding.mend is not None:
            with runtime.database.write() as connection:
                _apply(runtime, connection, finding.mend)
            yield finding


def _repair_run(runtime: Runtime, run_id: str, who: Any) -> list[Finding]:
    """One mend may bring another to light, so we look again until nothing is left."""
    mended: list[Finding] = []
    with runtime.database.write() as connection:
        if loading.run_fact(connection, run_id, lock=True) is None:
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


def _apply(runtime: Runtime, connection: sa.Connection, mend: Mend) -> None:
    if mend.change == "dispatch":
        _deliver(runtime, connection, mend)
        return
    assert mend.table is not None
    assert mend.where is not None
    statement = sa.update(mend.table).values(dict(mend.values)) if mend.change == "update" else sa.delete(mend.table)
    connection.execute(statement.where(mend.where))


def _deliver(runtime: Runtime, connection: sa.Connection, mend: Mend) -> None:
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
    auditing.note(connection, "repaired", actor=who, at=now, run_id=run_id, data={"repairs": said})
    moved = {"revision": runs.c.revision + 1, "updated_at": now}
    connection.execute(sa.update(runs).where(runs.c.id == run_id).values(moved))
