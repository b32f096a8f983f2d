"""What must be there once is refused by the database itself, should everything above it fail to look."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from flask_squidmesh import Manual, Pause, Step, StepContext, Workflow
from flask_squidmesh.storage import tables
from flask_squidmesh.storage.summaries import new_id
from flask_squidmesh.testing import drain
from tests.shop import Shop


def start_child(ctx: StepContext) -> None:
    ctx.start_child(Child, {}, key="one")


class Child(Workflow):
    begin = Manual()
    hold = Pause("Go on?")


class Parent(Workflow):
    begin = Manual()
    work = Step(start_child)
    hold = Pause("Go on?")
    more = Step(start_child)
    flow = [work >> hold >> more]


@pytest.mark.rule("doubles-refused")
@pytest.mark.parametrize(
    "once",
    [
        pytest.param((tables.runs, tables.runs.c.child_key.is_not(None)), id="a child of one key"),
        pytest.param((tables.step_runs, sa.true()), id="a visit to a step"),
        pytest.param((tables.attempts, sa.true()), id="an attempt"),
        pytest.param((tables.dispatches, sa.true()), id="the intent to deliver a visit"),
        pytest.param((tables.start_keys, sa.true()), id="a start under one key"),
        pytest.param((tables.control_calls, sa.true()), id="a call under one key"),
    ],
)
def test_the_database_refuses_a_double(migrated_url: str, once: tuple[sa.Table, sa.ColumnElement[bool]]) -> None:
    table, condition = once
    shop = Shop(migrated_url, Parent, Child)
    with shop.app.app_context():
        run_id = shop.start(Parent, idempotency_key="start")
        drain()
        shop.mesh.unblock_run(run_id, idempotency_key="go on")
        row = dict(shop.rows(table, condition)[0]._mapping)
        if "id" in row:
            row["id"] = new_id()
        with pytest.raises(sa.exc.IntegrityError), shop.runtime.database.write() as connection:
            connection.execute(sa.insert(table).values(row))
    shop.runtime.database.dispose()
