"""What the page of one run shows of its steps, and what that costs."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from flask_squidmesh import Manual, Step, Workflow
from tests.web.shop import Order, Shipping, advance, make_app, mesh_of, start, work
from tests.web.visiting import Visitor, queries


def once(order_id: str) -> dict[str, str]:
    return {"seen": order_id}


def long_workflow() -> type[Workflow]:
    """A chain of 24 steps."""
    steps = {f"step_{number:02}": Step(once) for number in range(24)}
    flow = [left >> right for left, right in pairwise(steps.values())]
    return type("Long", (Workflow,), {"order": Manual(Order), **steps, "flow": flow})


@pytest.fixture
def everywhere(migrated_url: str) -> Visitor:
    """On SQLite and on PostgreSQL."""
    return Visitor(make_app(migrated_url))


@pytest.mark.rule("pages-queries")
@pytest.mark.parametrize("path", ["", "?view=graph", "?step=step_07&visit=1", ".json", "/replay"])
def test_a_run_of_many_steps_needs_few_queries(everywhere: Visitor, path: str) -> None:
    workflow = long_workflow()
    mesh_of(everywhere.app).register(workflow)
    run_id = start(everywhere.app, workflow)
    reading = [text for text in queries(everywhere, f"/runs/{run_id}{path}") if "set_config" not in text]
    assert "SELECT" in reading[0]
    assert len(reading) <= 8


def test_an_interruption_counts_the_attempts_that_were_lost_in_a_row_and_no_others(visitor: Visitor) -> None:
    run_id = start(visitor.app, Shipping, "7")  # whose first attempt fails
    advance(visitor.app, timedelta(minutes=11))
    for _ in range(3):
        with visitor.app.app_context():
            visitor.app.extensions["squidmesh"].claimer.claim_due("squidmesh", limit=1, take_over=True)
        advance(visitor.app, timedelta(seconds=31))
    work(visitor.app)
    assert "call_carrier was interrupted 3 times in a row" in visitor.read(f"/runs/{run_id}")
    with visitor.app.app_context():
        details = mesh_of(visitor.app).explain_run(run_id).details
    assert (details["abandoned"], details["attempts"]) == (3, 4)
