"""Turning due work into claims: what a lost claim leaves behind is settled first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..engine.changes import Changes
from ..engine.neighbourhood import Neighbourhood
from ..engine.progress import Progress
from ..engine.status import TERMINAL
from ..errors import UnknownWorkflowError
from ..store import claiming, loading
from ..store.claiming import Claim, Work
from ..store.identity import new_id
from ..store.tables import dispatches, runs
from ..workflow.spec import WorkflowSpec
from .dispatching import HandOver
from .performing import Recorded, after_commit, write

if TYPE_CHECKING:
    from .runtime import Runtime


HOLD = timedelta(seconds=60)


def claim_due(runtime: Runtime, queue: str, *, limit: int, take_over: bool | None = None) -> list[Claim]:
    """Claim due work of the queue, one step run of a run at a time, and commit.

    take_over: whether expired claims are taken; None leaves it to how long this process has reached the database.
    """
    if take_over is None:
        take_over = runtime.database.contact.unbroken_for(runtime.settings.claim_timeout)
    settled: list[Recorded] = []
    with runtime.database.write() as connection:
        found = claiming.due_work(connection, runtime.database, queue, limit=limit, take_over=take_over)
        claims = [claim for work in one_a_run(found) if (claim := take(runtime, connection, work, settled))]
    for recorded in settled:
        after_commit(runtime, recorded)
    return claims


def one_a_run(found: Iterable[Work]) -> list[Work]:
    """The facts of the run hold for one decision only."""
    return list({work.run.id: work for work in reversed(list(found))}.values())[::-1]


def take(runtime: Runtime, connection: sa.Connection, work: Work, settled: list[Recorded]) -> Claim | None:
    """Claim the work, or settle it where it cannot be performed. What was settled is told after the commit."""
    spec = _known_or_held(runtime, connection, work)
    if spec is None:
        return None
    if work.claim_id is not None:
        if not give_up_lost(runtime, connection, work, settled):
            return None
        work = replace(work, run=loading.run_fact(connection, work.run.id) or work.run)
    if work.visit.kind == "step" and work.run.status in TERMINAL | {"cancelling"}:
        connection.execute(sa.delete(dispatches).where(dispatches.c.id == work.dispatch_id))
        return None
    runtime.queue_progress.taken(runtime, connection, work)
    return _claim(runtime, connection, spec, work, settled)


def give_up_lost(runtime: Runtime, connection: sa.Connection, work: Work, settled: list[Recorded]) -> bool:
    """Settle the attempt whose claim was lost, and answer whether the step may be attempted again."""
    spec = _known_or_held(runtime, connection, work)
    if spec is None:
        return False
    recorded, again = _abandon(runtime, connection, spec, work)
    settled.append(recorded)
    return again


def _known_or_held(runtime: Runtime, connection: sa.Connection, work: Work) -> WorkflowSpec | None:
    """The workflow of the work; where this process does not know it the work is put back, so that others come first."""
    spec = _known(runtime, work)
    if spec is None:
        reason = f"This process knows no step {work.visit.step} of workflow {work.run.workflow}."
        claiming.hold(connection, work, reason, runtime.clock.now() + HOLD)
    return spec


def _known(runtime: Runtime, work: Work) -> WorkflowSpec | None:
    try:
        spec = runtime.registry.get(work.run.workflow)
    except UnknownWorkflowError:
        return None
    return spec if work.visit.step in spec.steps else None


def _abandon(runtime: Runtime, connection: sa.Connection, spec: WorkflowSpec, work: Work) -> tuple[Recorded, bool]:
    around = Neighbourhood(
        compensations=loading.compensations(connection, work.run.id) if work.visit.kind == "compensation" else ()
    )
    progress = Progress(spec, work.run, now=runtime.clock.now(), new_id=new_id, around=around)
    again = progress.abandon(work.visit, work.lost, most=runtime.settings.max_abandoned)
    return write(runtime, connection, progress), again


def _claim(
    runtime: Runtime, connection: sa.Connection, spec: WorkflowSpec, work: Work, settled: list[Recorded]
) -> Claim:
    now = runtime.clock.now()
    visit = replace(work.visit, status="running", attempts=work.visit.attempts + 1, due_at=None)
    moved = _moved(spec, work, visit.attempts)
    if work.run.started_at is None:
        moved["started_at"] = now
    claim = Claim(
        dispatch_id=work.dispatch_id,
        claim_id=new_id(),
        worker=runtime.worker_name,
        run=replace(work.run, **{key: value for key, value in moved.items() if key not in ("attempt", "due_at")}),
        visit=visit,
        payload=work.payload,
        schedule=work.schedule,
        started_at=now,
    )
    for statement in claiming.claiming(claim, runtime.database, timedelta(seconds=runtime.settings.claim_timeout)):
        connection.execute(statement)
    if moved:
        touched: dict[str, Any] = {"revision": runs.c.revision + 1, "updated_at": now}
        connection.execute(sa.update(runs).where(runs.c.id == work.run.id).values(**touched, **moved))
        runtime.turns.take(work.run)
        settled.append(Recorded(run=work.run, changes=[Changes(run=moved)], handed=HandOver(), onward=None))
    return claim


def _moved(spec: WorkflowSpec, work: Work, attempt: int) -> dict[str, Any]:
    """What a claim changes on the run's row."""
    if work.visit.kind != "step":
        return {}
    moved: dict[str, Any] = {"due_at": None, "attempt": attempt} if spec.style == "flow" else {}
    if work.visit.waits_for_retry:
        moved["retrying_steps"] = work.run.retrying_steps - 1
    if work.run.status in ("pending", "retrying"):
        moved["status"] = "running"
    return moved
