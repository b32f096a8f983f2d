"""What a definition calls for, given the rows of a run."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from flask_squidmesh import Manual, Step, Workflow
from flask_squidmesh.definition.spec import WorkflowSpec
from flask_squidmesh.engine.adoption import unfit
from flask_squidmesh.engine.decide import Progress
from flask_squidmesh.engine.facts import Performed, RunFact, StepFact, settings_of
from tests.unit.engine.facts import run, visit

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)


def work() -> None: ...


class Graph(Workflow):
    place = Manual()
    a = Step(work, after=[], aliases=("start",))
    b = Step(work, after=[])
    j = Step(work, after=[a, b])


class Line(Workflow):
    place = Manual()
    a = Step(work)
    b = Step(work)
    flow = [a >> b]


GRAPH: WorkflowSpec = Graph.__squidmesh__
LINE: WorkflowSpec = Line.__squidmesh__


def row(step: str, status: str = "pending", **columns: Any) -> StepFact:
    """A visit that has not been attempted, but where it says so."""
    attempts = int(status in ("running", "completed", "failed"))
    settings = settings_of(GRAPH.steps[step]) if step in GRAPH.steps else {"kind": "function"}
    return visit(step, **{"status": status, "attempts": attempts, "settings": settings, **columns})


def adopted(spec: WorkflowSpec, of: RunFact, *rows: StepFact) -> Progress:
    numbers = count(1)
    deciding = Progress(spec, of, now=NOW, new_id=lambda: f"new-{next(numbers)}")
    deciding.adopt(rows, NOW)
    deciding.reconcile()
    return deciding


def test_counts_are_made_anew_whatever_they_were() -> None:
    deciding = adopted(GRAPH, run(open_steps=9, remaining=1, retrying_steps=4), row("a", "completed"), row("b"))
    changed = deciding.changes.run
    assert (changed["open_steps"], changed["retrying_steps"], changed["remaining"]) == (1, 0, 2)
    assert [(each.step, each.missing) for each in deciding.changes.entered] == [("j", 1)]
    assert (changed["follows"], changed["follows_since"], changed["redefined"]) == (GRAPH.fingerprint, NOW, 1)


def test_a_run_of_which_every_step_has_completed_ends() -> None:
    deciding = adopted(GRAPH, run(remaining=3), *(row(name, "completed") for name in "abj"))
    assert deciding.status == "completed"


def test_a_run_that_is_at_a_step_which_is_gone_does_not_end() -> None:
    deciding = adopted(GRAPH, run(remaining=3), *(row(name, "completed") for name in "abj"), row("gone"))
    assert (deciding.status, deciding.changes.run["open_steps"]) == ("running", 1)


def test_what_is_gone_and_only_waited_for_others_is_left_out() -> None:
    deciding = adopted(GRAPH, run(remaining=3), row("a", "completed"), row("b"), row("gone", missing=1))
    assert deciding.changes.updated["id-gone"]["status"] == "cancelled"


def test_a_step_is_found_by_the_name_that_it_had() -> None:
    deciding = adopted(GRAPH, run(remaining=3, current_step="start"), row("start", "completed"), row("b"))
    assert deciding.changes.updated["id-start"]["step"] == "a"
    assert deciding.changes.updated["id-start"]["settings"]["entered_as"] == "start"
    assert [each.step for each in deciding.changes.entered] == ["j"]


def test_a_visit_keeps_its_name_where_the_new_one_has_a_visit_of_that_number() -> None:
    deciding = adopted(GRAPH, run(remaining=3), row("start", "completed"), row("a", "completed"), row("b"))
    assert "id-start" not in deciding.changes.updated


def test_a_flow_stays_with_the_definition_that_declares_the_step_it_is_at() -> None:
    deciding = adopted(LINE, run(open_steps=1), row("gone"))
    assert "follows" not in deciding.changes.run


def test_a_run_that_is_ending_follows_and_enters_nothing() -> None:
    deciding = adopted(GRAPH, run(status="cancelling", remaining=3), row("a", "running"))
    assert deciding.changes.entered == []


@pytest.mark.rule("deploy-completes")
def test_a_run_whose_counts_are_at_odds_with_the_definition_does_not_end() -> None:
    deciding = Progress(GRAPH, run(open_steps=1, remaining=3), now=NOW, new_id=lambda: "new")
    deciding.around = type(deciding.around)(joins={"j": row("j", missing=2)})
    deciding.complete(row("a", "running"), {}, Performed(number=1, worker=None, started_at=NOW))
    assert (deciding.at_odds, deciding.status) == (True, "running")


@pytest.mark.parametrize(
    ("spec", "of", "rows", "why"),
    [
        (LINE, run(remaining=2), [row("a"), row("b")], "several steps at once"),
        (LINE, run(remaining=2), [row("a"), row("b", missing=1)], None),
        (LINE, run(status="cancelling", remaining=2), [row("a"), row("b")], None),
        (LINE, run(remaining=2, follows=LINE.fingerprint), [row("a"), row("b")], None),
        (GRAPH, run(), [row("a", "failed"), row("b")], "came by a flow"),
        (GRAPH, run(), [row("a", "completed", visit=2)], "came by a flow"),
        (GRAPH, run(), [row("a", "completed"), row("b")], None),
    ],
)
def test_which_runs_a_change_of_style_does_not_fit(
    spec: WorkflowSpec, of: RunFact, rows: list[StepFact], why: str | None
) -> None:
    found = unfit(spec, of, rows)
    assert found is None if why is None else why in str(found)
