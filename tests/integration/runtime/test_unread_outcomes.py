"""Outcomes that are written without reading the run first, and what happens where it has moved meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from flask_squidmesh import Manual, Step, StepContext, Workflow
from flask_squidmesh.storage import tables
from flask_squidmesh.storage.summaries import new_id
from flask_squidmesh.testing import drain
from tests.shop import Order, Script, Shop, single

OpenShop = Callable[..., Shop]


@pytest.mark.rule("decided-on-facts")
def test_an_outcome_is_decided_anew_where_the_run_has_moved(open_shop: OpenShop, script: Script) -> None:
    def cancel(ctx: StepContext) -> dict[str, int]:
        shop.mesh.cancel_run(ctx.run_id, actor="lee", compensate=True)
        return {"charged": 7}

    class Charging(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge", cancel), compensate=script.does("refund"))
        ship = Step(script.does("ship"))
        flow = [charge >> ship]

    shop = open_shop(Charging)
    run_id = shop.start(Charging)
    drain()
    run = shop.look(run_id)
    assert (run.status, run.context, script.calls) == ("cancelled", {"charged": 7}, ["charge", "refund"])


@pytest.mark.rule("decided-on-facts")
def test_a_claim_that_was_taken_away_is_noticed_without_reading(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    [claim] = shop.claim_due()
    with shop.runtime.database.write() as connection:
        connection.execute(sa.update(tables.dispatches).values(claim_id=new_id()))
    assert shop.perform(claim) == "running"
    assert shop.status(run_id) == "running"
    assert len(shop.rows(tables.dispatches)) == 1


@pytest.mark.rule("budget-joins")
def test_before_a_join_too_a_run_that_is_being_cancelled_is_decided_about_anew(
    open_shop: OpenShop, script: Script
) -> None:
    workflow, shop = joining(open_shop, script)
    run_id = shop.start(workflow)
    [left, right] = shop.claim_due(limit=2)
    shop.mesh.cancel_run(run_id)
    assert shop.perform(left) == "cancelling"
    assert shop.perform(right) == "cancelled"
    assert "join" not in script.calls


@pytest.mark.rule("budget-joins")
def test_before_a_join_too_a_claim_that_was_taken_away_leaves_no_outcome(open_shop: OpenShop, script: Script) -> None:
    workflow, shop = joining(open_shop, script)
    run_id = shop.start(workflow)
    [left, right] = shop.claim_due(limit=2)
    with shop.runtime.database.write() as connection:
        mine = tables.dispatches.c.id == left.dispatch_id
        connection.execute(sa.update(tables.dispatches).where(mine).values(claim_id=new_id()))
    assert shop.perform(left) == "running"
    assert shop.perform(right) == "running"
    assert [row.status for row in shop.rows(tables.step_runs) if row.step == left.visit.step] == ["running"]
    assert shop.status(run_id) == "running"


def joining(open_shop: OpenShop, script: Script) -> tuple[type[Workflow], Shop]:
    class Joining(Workflow):
        place = Manual(Order)
        left = Step(script.does("left"), after=[])
        right = Step(script.does("right"), after=[])
        join = Step(script.does("join"), after=[left, right])

    return Joining, open_shop(Joining)


@pytest.mark.parametrize("siblings", [2, 12])
def test_siblings_that_end_in_any_order_all_count(open_shop: OpenShop, script: Script, siblings: int) -> None:
    steps = {f"part_{number}": Step(script.does(f"part_{number}"), after=[]) for number in range(siblings)}
    fan_out = type("FanOut", (Workflow,), {"place": Manual(Order), **steps})
    shop = open_shop(fan_out)
    run_id = shop.start(fan_out)
    claims = [claim for _ in steps for claim in shop.claim_due()]
    for claim in reversed(claims):
        shop.perform(claim)
    assert shop.status(run_id) == "completed"
    assert sorted(script.calls) == sorted(steps)
