"""What the end of a step changes is in no index, so that PostgreSQL writes none for it."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from flask_squidmesh import Manual, Step, Workflow
from flask_squidmesh.definition.spec import WorkflowSpec
from flask_squidmesh.engine.decide import decide
from flask_squidmesh.engine.facts import AttemptCompleted, DecisionState, Performed
from flask_squidmesh.storage.tables import runs, step_runs
from tests.unit.engine.facts import run, visit

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)


def work() -> None:
    """Some step."""


class Line(Workflow):
    place = Manual()
    a = Step(work)
    b = Step(work)
    flow = [a >> b]


LINE: WorkflowSpec = Line.__squidmesh__


def indexed(table: sa.Table) -> set[str]:
    """The columns whose change is written to an index, be it because of the condition of one."""
    conditions = " ".join(str(index.dialect_options["postgresql"]["where"]) for index in table.indexes).split()
    named = {column.name for index in table.indexes for column in index.columns}
    return {column.name for column in table.columns if column.primary_key or column.name in {*named, *conditions}}


def test_the_end_of_a_step_changes_no_column_of_an_index() -> None:
    before = run(open_steps=1, current_step="a")
    performed = Performed(number=1, worker="w-1", started_at=NOW, input={"x": 1})
    fact = AttemptCompleted(visit("a", settings=LINE.visit_settings["a"]), {"out": 1}, performed)
    changes = decide(DecisionState(LINE, before, NOW, lambda: "new"), fact)
    moved = {name for name, value in changes.run.items() if getattr(before, name) != value}
    assert {"status", "output", "position"} <= changes.updated["id-a"].keys()
    assert {"current_step", "position"} <= moved
    assert changes.updated["id-a"].keys().isdisjoint(indexed(step_runs))
    assert moved.isdisjoint(indexed(runs))
