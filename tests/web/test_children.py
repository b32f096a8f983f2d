"""A run's page lists the runs it belongs with by subject and state, and says how its children fare."""

from __future__ import annotations

from typing import Any

import pytest

from flask_squidmesh import Approval, FailStep, Manual, Pause, Scope, Step, StepContext, Workflow
from flask_squidmesh.queries.related_runs import MOST_CHILDREN
from tests.web.shop import Order, allow_everything, make_app, mesh_of, start, work
from tests.web.visiting import Visitor, queries, text_of

CHILDREN = 5


def file_all(ctx: StepContext, amount: int) -> None:
    for number in range(amount):
        ctx.start_child(Receipt, {"order_id": f"r{number}", "amount": number}, key=f"r{number}")


def file_one(amount: int) -> None:
    if amount == 3:
        raise FailStep("unreadable scan")


def shelve() -> None:
    """Put it away."""


class Receipt(Workflow):
    subject = "Receipt {order_id}"
    place = Manual(Order)
    file = Step(file_one)
    stamp = Pause(prompt="Stamped?")
    shelve = Step(shelve)
    flow = [file.when("amount", equals=4) >> stamp >> shelve, file >> shelve]


class Receipts(Workflow):
    subject = "Receipts"
    place = Manual(Order)
    archive = Step(file_all)


def family(visitor: Visitor, run_id: str) -> str:
    page = visitor.get(f"/runs/{run_id}").text
    return page.partition('id="family"')[2].partition("</section>")[0]


@pytest.fixture
def everywhere(migrated_url: str) -> Visitor:
    """On SQLite and on PostgreSQL."""
    visitor = Visitor(make_app(migrated_url))
    mesh_of(visitor.app).register(Receipt, Receipts)
    return visitor


def test_children_are_listed_by_subject_and_state_with_how_they_fare(everywhere: Visitor) -> None:
    run_id = start(everywhere.app, Receipts, amount=CHILDREN)
    told = text_of(family(everywhere, run_id))
    assert "3 of 5 completed, 1 failed, 1 waits for somebody" in told
    for number, word in enumerate(("Completed", "Completed", "Completed", "Failed", "Paused")):
        assert f"{word} Receipt r{number} started at archive" in told
    with everywhere.app.app_context():
        children = mesh_of(everywhere.app).inspect_run(run_id).children
    assert all(f'href="/squidmesh/runs/{child}"' in family(everywhere, run_id) for child in children)
    assert "Completed Receipts started this run at archive" in text_of(family(everywhere, children[0]))


def test_many_children_are_counted_and_the_first_shown_in_few_queries(everywhere: Visitor) -> None:
    run_id = start(everywhere.app, Receipts, amount=MOST_CHILDREN + 12)
    told = text_of(family(everywhere, run_id))
    assert f"{MOST_CHILDREN + 10} of {MOST_CHILDREN + 12} completed, 1 failed" in told
    assert "12 more runs were started by this one." in told
    assert told.count("started at archive") == MOST_CHILDREN
    asked = [text for text in queries(everywhere, f"/runs/{run_id}") if "set_config" not in text]
    assert len(asked) <= 8
    assert len(everywhere.get(f"/runs/{run_id}.json").json["children"]) == MOST_CHILDREN + 12  # type: ignore[index]


@pytest.mark.rule("scope-outside")
@pytest.mark.parametrize("scope", [Scope.all(), Scope(workflows=["receipts"])], ids=["all", "outside"])
def test_children_outside_the_scope_are_neither_shown_nor_counted(make: Any, scope: Scope) -> None:
    visitor = make({"authorize": allow_everything, "actor": lambda: "dana", "scope": lambda: scope})
    mesh_of(visitor.app).register(Receipt, Receipts)
    told = text_of(family(visitor, start(visitor.app, Receipts, amount=CHILDREN)))
    assert ("of 5 completed" in told) == scope.is_all
    assert ("Receipt r0" in told) == scope.is_all


def test_a_child_that_the_person_may_not_view_is_not_named(make: Any) -> None:
    def view_some(action: str, run: Any, permission: str | None) -> bool:
        return action != "view" or run is None or run.subject != "Receipt r0"

    visitor = make({"authorize": view_some, "actor": lambda: "dana"})
    mesh_of(visitor.app).register(Receipt, Receipts)
    told = text_of(family(visitor, start(visitor.app, Receipts, amount=CHILDREN)))
    assert "Receipt r0" not in told
    assert "Receipt r1" in told


class Asking(Workflow):
    place = Manual(Order)
    ask = Approval(prompt="Yes?")
    shelve = Step(shelve)
    flow = [ask >> shelve, ask.on_reject >> shelve]


def ask_two(ctx: StepContext) -> None:
    for number in range(2):
        ctx.start_child(Asking, {"order_id": f"a{number}"}, key=f"a{number}")


class Asker(Workflow):
    place = Manual(Order)
    ask_all = Step(ask_two)


def test_a_child_that_was_rejected_is_not_counted_as_completed(visitor: Visitor) -> None:
    mesh = mesh_of(visitor.app)
    mesh.register(Asking, Asker)
    run_id = start(visitor.app, Asker)
    with visitor.app.app_context():
        first, second = mesh.inspect_run(run_id).children
        mesh.reject_run(first, actor="ann", comment="no")
        mesh.approve_run(second, actor="ann")
    work(visitor.app)
    told = text_of(family(visitor, run_id))
    assert "1 of 2 completed, 1 rejected" in told
    assert f"Rejected Asking {first[:13]}…{first[-4:]} started at ask_all" in told


def test_how_children_fare_is_refreshed(everywhere: Visitor) -> None:
    run_id = start(everywhere.app, Receipts, amount=CHILDREN)
    with everywhere.app.app_context():
        mesh = mesh_of(everywhere.app)
        mesh.unblock_run(mesh.inspect_run(run_id).children[4], actor="ann")
    work(everywhere.app)
    assert "4 of 5 completed, 1 failed" in text_of(family(everywhere, run_id))
