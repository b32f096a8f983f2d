"""A relative that was pruned is named, and leads nowhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import Manual, Scope, Step, StepContext, Workflow
from tests.web.shop import Billing, Order, advance, allow_everything, mesh_of, start, work
from tests.web.visiting import Visitor


def test_a_pruned_relative_is_shown_without_a_link(visitor: Visitor) -> None:
    app, billed = visitor.app, start(visitor.app, Billing, "7")
    with app.app_context():
        mesh_of(app).acknowledge_run(billed)
        again = mesh_of(app).replay_run(billed).id
    assert billed in _links(visitor, again)
    work(app)
    advance(app, timedelta(days=2))
    with app.app_context():
        mesh_of(app).prune(older_than=timedelta(days=1), status="failed")
    assert billed not in _links(visitor, again)
    assert f"{billed} replayed by this run (pruned)" in visitor.read(f"/runs/{again}")


class Printing(Workflow):
    place = Manual(Order)
    print_label = Step(lambda: None)


def print_label(ctx: StepContext) -> None:
    ctx.start_child(Printing, {"order_id": "7"}, key="label")


class Parcelling(Workflow):
    place = Manual(Order)
    label = Step(print_label)


@pytest.mark.rule("scope-outside")
@pytest.mark.parametrize("scope", [Scope.all(), Scope(workflows=["parcelling"])], ids=["all", "outside"])
def test_a_pruned_child_is_named_to_those_alone_who_might_have_known_of_it(make: Any, scope: Scope) -> None:
    visitor = make({"authorize": allow_everything, "actor": lambda: "dana", "scope": lambda: scope})
    app = visitor.app
    mesh_of(app).register(Parcelling, Printing)
    parent = start(app, Parcelling)
    with app.app_context():
        [child] = mesh_of(app).inspect_run(parent).children
    advance(app, timedelta(days=2))
    with app.app_context():
        assert mesh_of(app).prune(older_than=timedelta(days=1), workflow=Printing).pruned == 1
    assert (child in visitor.get(f"/runs/{parent}").text) == scope.is_all


def _links(visitor: Visitor, run_id: str) -> set[str]:
    page = visitor.get(f"/runs/{run_id}").text
    return {part.split('"')[0] for part in page.split('href="/squidmesh/runs/')[1:]}
