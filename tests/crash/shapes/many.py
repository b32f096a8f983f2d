"""Shapes in which one action is carried out on many runs."""

from __future__ import annotations

from typing import Any

from flask_squidmesh import Approval, FailStep, Manual, Scope, Step, Workflow
from flask_squidmesh.runtime import bulk_jobs
from flask_squidmesh.storage import tables
from tests.shop import Order

from ..effects import Effects
from ..stage import CLAIM_SECONDS, Act, Stage
from .shape import Shape, shape, work


def approved_in_bulk(effects: Effects) -> Any:
    class ApprovedInBulk(Workflow):
        place = Manual(Order)
        review = Approval("Good?", output="review", after=[])
        a = Step(effects.does("a"), after=[review])

    return ApprovedInBulk


def replayed_in_bulk(effects: Effects) -> Any:
    class ReplayedInBulk(Workflow):
        place = Manual(Order)
        a = Step(effects.does("a", lambda ctx: FailStep("no") if ctx.actor == "dana" else None))

    return ReplayedInBulk


def _start_two(stage: Stage) -> None:
    for name in ("one", "two"):
        stage.say("start_run", stage.workflows[0], {"order_id": name}, actor="dana", idempotency_key=name)


def _begin(action: str) -> Act:
    """Somebody asks for the action on all runs, unless that was written down."""

    def begin(stage: Stage) -> None:
        if not stage.shop.rows(tables.bulk_jobs):
            items = [bulk_jobs.BulkItem(run_id=run.id, token=stage.shop.look(run.id).decision) for run in stage.runs]
            stage.shop.runtime.bulk.begin(action, items, scope=Scope.all(), actor="lee")

    return begin


def _go_on(stage: Stage) -> None:
    """Workers go on with it, each run's call being made once."""
    while any(job.status in bulk_jobs.OPEN for job in stage.shop.rows(tables.bulk_jobs)):
        stage.shop.runtime.bulk.go_on_with_all(5.0)
        stage.shop.clock.advance(CLAIM_SECONDS + 1)
    [row] = stage.shop.rows(tables.bulk_jobs)
    with stage.shop.runtime.database.read() as connection:
        job = bulk_jobs.look(connection, Scope.all(), row.id)
    assert job is not None
    assert job.succeeded == 2, job


SHAPES: tuple[Shape, ...] = (
    shape(approved_in_bulk, _start_two, work, _begin("approve"), _go_on, work),
    shape(replayed_in_bulk, _start_two, work, _begin("replay"), _go_on, work),
)
