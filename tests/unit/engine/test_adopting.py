"""What a definition calls for, given the rows of a run."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from flask_squidmesh import Manual, Step, Workflow
from flask_squidmesh.definition.spec import VisitSettings, WorkflowSpec
from flask_squidmesh.engine.adoption import unfit
from flask_squidmesh.engine.changes import Changes
from flask_squidmesh.engine.decide import decide
from flask_squidmesh.engine.facts import (
    Adoption,
    AttemptCompleted,
    DecisionContext,
    DecisionState,
    DefinitionChanged,
    Performed,
    RunFact,
    StepFact,
)
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
    settings = GRAPH.visit_settings.get(step, VisitSettings(kind="function"))
    return visit(step, **{"status": status, "attempts": attempts, "settings": settings, **columns})


def adopted(spec: WorkflowSpec, of: RunFact, *rows: StepFact) -> Changes:
    numbers = count(1)
    context = DecisionContext(adoption=Adoption(rows, NOW))
    return decide(DecisionState(spec, of, NOW, lambda: f"new-{next(numbers)}", context), DefinitionChanged())


def test_counts_are_made_anew_whatever_they_were() -> None:
    changes = adopted(GRAPH, run(open_steps=9, remaining=1, retrying_steps=4), row("a", "completed"), row("b"))
    changed = changes.run
    assert (changed["open_steps"], changed["retrying_steps"], changed["remaining"]) == (1, 0, 2)
    assert [(each.step, each.missing) for each in changes.entered] == [("j", 1)]
    assert (changed["follows"], changed["follows_since"], changed["redefined"]) == (GRAPH.fingerprint, NOW, 1)


def test_a_run_of_which_every_step_has_completed_ends() -> None:
    changes = adopted(GRAPH, run(remaining=3), *(row(name, "completed") for name in "abj"))
    assert changes.run["status"] == "completed"


def test_a_run_that_is_at_a_step_which_is_gone_does_not_end() -> None:
    changes = adopted(GRAPH, run(remaining=3), *(row(name, "completed") for name in "abj"), row("gone"))
    assert ("status" in changes.run, changes.run["open_steps"]) == (False, 1)


def test_what_is_gone_and_only_waited_for_others_is_left_out() -> None:
    changes = adopted(GRAPH, run(remaining=3), row("a", "completed"), row("b"), row("gone", missing=1))
    assert changes.updated["id-gone"]["status"] == "cancelled"


def test_a_step_is_found_by_the_name_that_it_had() -> None:
    changes = adopted(GRAPH, run(remaining=3, current_step="start"), row("start", "completed"), row("b"))
    assert changes.updated["id-start"]["step"] == "a"
    assert changes.updated["id-start"]["settings"].entered_as == "start"
    assert [each.step for each in changes.entered] == ["j"]


def test_a_visit_keeps_its_name_where_the_new_one_has_a_visit_of_that_number() -> None:
    changes = adopted(GRAPH, run(remaining=3), row("start", "completed"), row("a", "completed"), row("b"))
    assert "id-start" not in changes.updated


def test_a_flow_stays_with_the_definition_that_declares_the_step_it_is_at() -> None:
    changes = adopted(LINE, run(open_steps=1), row("gone"))
    assert "follows" not in changes.run


def test_a_run_that_is_ending_follows_and_enters_nothing() -> None:
    changes = adopted(GRAPH, run(status="cancelling", remaining=3), row("a", "running"))
    assert changes.entered == []


@pytest.mark.rule("deploy-completes")
def test_a_run_whose_counts_are_at_odds_with_the_definition_does_not_end() -> None:
    context = DecisionContext(joins={"j": row("j", missing=2)})
    state = DecisionState(GRAPH, run(open_steps=1, remaining=3), NOW, lambda: "new", context)
    changes = decide(state, AttemptCompleted(row("a", "running"), {}, Performed(1, worker=None, started_at=NOW)))
    assert (changes.reads, "status" in changes.run) == (("all",), False)


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
