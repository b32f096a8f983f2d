"""A run looked at whole, and at a glance, is told by the same word as in a list."""

from __future__ import annotations

from typing import Any

import pytest

from flask_squidmesh import Scope
from flask_squidmesh.errors import RunNotFoundError
from flask_squidmesh.queries.explanation import explain
from flask_squidmesh.queries.operator_status import OPERATOR_WORDS
from flask_squidmesh.queries.run_graph import graph
from flask_squidmesh.queries.run_list import list_runs
from flask_squidmesh.queries.run_snapshot import glance_at, inspect, snapshot_of
from tests.integration.reading.rows import BOOM, NOW, REGISTRY, Rows, at, counted

CLAIM = {"claim_id": "00000000-0000-4000-8000-000000000000", "claimed_by": "w", "claimed_at": at(-100)}


@pytest.mark.parametrize(
    ("work", "word"),
    [
        ({"due_at": at(-90)}, "stuck"),
        ({"due_at": at(-30)}, "running"),
        ({"due_at": at(-1), "hand_over_error": "broker is down"}, "stuck"),
        ({"due_at": at(9), "hand_over_error": "broker is down"}, "running"),
        ({"due_at": at(-1), "hand_over_error": "broker was down", **CLAIM}, "running"),
        ({"due_at": at(30), "held": "unknown step"}, "stuck"),
        ({"due_at": at(-90), **CLAIM}, "stuck"),
    ],
)
def test_work_that_nobody_takes_is_told_by_the_same_word_everywhere(
    rows: Rows, work: dict[str, Any], word: str
) -> None:
    run_id = rows.run()
    rows.dispatch(run_id, rows.step(run_id, "reserve"), **work)

    whole = snapshot_of(rows.connection, REGISTRY, Scope.all(), run_id, now=NOW, claim_timeout=30)
    listed = {
        each
        for each in OPERATOR_WORDS
        if list_runs(rows.connection, Scope.all(), word=each, now=NOW, run_id=run_id).runs
    }

    assert (whole.word, glance_at(rows.connection, Scope.all(), run_id, now=NOW)[1], listed) == (word, word, {word})


def test_it_says_what_inspecting_explaining_and_the_graph_say(rows: Rows) -> None:
    run_id = rows.run(status="failed", needs="failed", error=BOOM, finished_at=NOW, replayed_as_id=rows.run())
    rows.attempt(rows.step(run_id, "reserve", status="failed", error=BOOM), 1)
    rows.event(run_id, "child_pruned", metadata={"run_id": "gone"})

    with counted(rows.connection) as statements:
        whole = snapshot_of(rows.connection, REGISTRY, Scope.all(), run_id, now=NOW, claim_timeout=30)

    assert len(statements) == 6
    assert whole.run == inspect(rows.connection, REGISTRY, Scope.all(), run_id, include_history=True)
    assert whole.explanation == explain(rows.connection, REGISTRY, Scope.all(), run_id, now=NOW)
    assert whole.graph() == graph(rows.connection, REGISTRY, Scope.all(), run_id)


def test_a_glance_takes_one_query(rows: Rows) -> None:
    run_id = rows.run()

    with counted(rows.connection) as statements:
        glance_at(rows.connection, Scope.all(), run_id, now=NOW)

    assert len(statements) == 1


@pytest.mark.parametrize("run_id", ["nonsense", "01a203ec-0a04-7839-a6fe-65e9e1b57e80"])
def test_there_is_nothing_to_see_of_a_run_that_is_not_there(rows: Rows, run_id: str) -> None:
    with pytest.raises(RunNotFoundError):
        glance_at(rows.connection, Scope.all(), run_id, now=NOW)
