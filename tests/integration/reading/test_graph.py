from __future__ import annotations

from typing import Any

import pytest

from flask_squidmesh import Manual, Scope, Step, Workflow
from flask_squidmesh.definition.workflow import Registry
from flask_squidmesh.queries.results import Graph, GraphNode
from flask_squidmesh.queries.run_graph import graph
from tests.integration.reading.rows import BOOM, EMPTY_REGISTRY, REGISTRY, Order, Rows, counted, tell


def drawn(rows: Rows, run_id: str) -> Graph:
    return graph(rows.connection, REGISTRY, Scope.all(), run_id)


def node(of: Graph, step: str) -> GraphNode:
    return next(each for each in of.nodes if each.step == step)


def edges(of: Graph) -> dict[str, str]:
    return {edge.id: edge.status for edge in of.edges}


@pytest.mark.rule("inspecting-graph")
def test_ids_are_stable_and_conditions_numbered(rows: Rows) -> None:
    found = drawn(rows, rows.run(status="pending"))

    assert edges(found) == dict.fromkeys(
        [
            "reserve:ok:review",
            "review:ok:settle",
            "review:reject:decline",
            "settle:ok:capture",
            "capture:ok:check",
            "check:ok:hold:condition:0",
            "check:ok:decline:condition:1",
            "check:ok:apologise",
        ],
        "pending",
    )
    condition = next(edge.condition for edge in found.edges if edge.id == "check:ok:hold:condition:0")
    assert condition == {"path": ("quantity",), "operator": "greater_than", "value": 5}


def test_it_takes_four_queries(rows: Rows) -> None:
    run_id = rows.run()

    with counted(rows.connection) as statements:
        drawn(rows, run_id)

    assert len(statements) == 4


@pytest.mark.rule("inspecting-graph")
def test_the_way_that_was_taken(rows: Rows) -> None:
    run_id = rows.run(status="running")
    rows.completed(run_id, "reserve", 1)
    rows.completed(run_id, "review", 2, manual={"event": "approved"})
    rows.claim(run_id, rows.step(run_id, "settle", status="running", attempts=1))

    found = drawn(rows, run_id)

    assert edges(found)["reserve:ok:review"] == "selected"
    assert edges(found)["review:ok:settle"] == "selected"
    assert edges(found)["review:reject:decline"] == "skipped"
    assert edges(found)["settle:ok:capture"] == "pending"
    assert [each.step for each in found.nodes if each.current] == ["settle"]
    assert found.terminal is False


def test_a_rejection_takes_its_own_way(rows: Rows) -> None:
    run_id = rows.run(status="completed")
    rows.completed(run_id, "review", 1, manual={"event": "rejected"})
    rows.completed(run_id, "decline", 2)

    found = edges(drawn(rows, run_id))

    assert (found["review:reject:decline"], found["review:ok:settle"]) == ("selected", "skipped")
    assert found["settle:ok:capture"] == "skipped"


class Routed(Workflow):
    name = "checkout"
    place = Manual(Order)
    check = Step(tell)
    fix = Step(tell)
    hold = Step(tell)
    report = Step(tell)
    flow = [
        check.when("quantity", equals=1) >> fix,
        check >> hold,
        check.when("quantity", equals=2) >> report,
        check.on_error >> fix,
    ]


def test_conditions_are_numbered_wherever_the_plain_route_stands_and_an_error_takes_its_own_way(rows: Rows) -> None:
    registry = Registry()
    registry.register(Routed)
    run_id = rows.run(status="running")
    rows.step(run_id, "check", status="failed")
    rows.step(run_id, "fix")

    assert edges(graph(rows.connection, registry, Scope.all(), run_id)) == {
        "check:ok:fix:condition:0": "skipped",
        "check:ok:hold": "skipped",
        "check:ok:report:condition:1": "skipped",
        "check:error:fix": "selected",
    }


@pytest.mark.rule("inspecting-graph")
@pytest.mark.parametrize(
    ("status", "columns", "shown"),
    [
        ("pending", {}, "pending"),
        ("pending", {"attempts": 1, "error": BOOM}, "retrying"),
        ("running", {"attempts": 1}, "running"),
        ("paused", {}, "paused"),
        ("completed", {}, "completed"),
        ("failed", {}, "failed"),
        ("cancelled", {}, "cancelled"),
    ],
)
def test_nodes_show_the_state_of_their_last_visit(rows: Rows, status: str, columns: dict[str, Any], shown: str) -> None:
    run_id = rows.run()
    rows.completed(run_id, "check", 1)
    rows.step(run_id, "check", visit=2, status=status, **columns)

    found = drawn(rows, run_id)

    assert (node(found, "check").status, node(found, "check").visits) == (shown, 2)
    assert (node(found, "reserve").status, node(found, "reserve").visits) == ("waiting", 0)


def test_a_failed_run_ends_at_its_step_and_blocks_the_rest(rows: Rows) -> None:
    run_id = rows.run(status="failed", current_step="capture")
    rows.completed(run_id, "reserve", 1)
    rows.step(run_id, "reserve", kind="compensation", status="completed")
    rows.step(run_id, "capture", status="failed", attempts=3)

    found = drawn(rows, run_id)

    assert edges(found)["capture:ok:check"] == "blocked"
    assert edges(found)["check:ok:apologise"] == "blocked"
    assert (node(found, "capture").current, node(found, "capture").irreversible) == (True, True)
    assert (node(found, "reserve").compensate, node(found, "reserve").compensation) == ("release", "completed")
    assert found.terminal is True


def test_dependencies_are_selected_once_they_are_done(rows: Rows) -> None:
    run_id = rows.run(workflow="notice", trigger="prepare")
    rows.completed(run_id, "account", 1)
    rows.step(run_id, "invoice", status="running", attempts=1)
    rows.step(run_id, "notify", missing=1)

    found = drawn(rows, run_id)

    assert edges(found) == {"account:dependency:notify": "selected", "invoice:dependency:notify": "pending"}
    assert (node(found, "notify").status, node(found, "notify").current) == ("waiting", False)


def test_a_failed_dependency_blocks(rows: Rows) -> None:
    run_id = rows.run(workflow="notice", trigger="prepare", status="failed", current_step="invoice")
    rows.step(run_id, "invoice", status="failed")

    assert edges(drawn(rows, run_id)) == {
        "account:dependency:notify": "blocked",
        "invoice:dependency:notify": "blocked",
    }


def test_a_workflow_that_is_not_registered_leaves_the_steps_entered(rows: Rows) -> None:
    run_id = rows.run()
    rows.completed(run_id, "reserve", 1)
    rows.step(run_id, "review", status="paused")

    found = graph(rows.connection, EMPTY_REGISTRY, Scope.all(), run_id)

    assert [(each.step, each.kind) for each in found.nodes] == [("reserve", "function"), ("review", "approval")]
    assert found.edges == ()
