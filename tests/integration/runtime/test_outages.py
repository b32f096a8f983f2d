"""The database is away for a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import Manual, Step, Workflow
from flask_squidmesh.runtime import dispatching, patience
from flask_squidmesh.store import loading
from flask_squidmesh.testing import drain
from tests.commits import around_commits
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]
AWAY = sa.exc.OperationalError("COMMIT", {}, Exception("the database is away"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at once."""
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 0.01)


def chain(script: Script) -> type[Workflow]:
    class Chain(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", {"a": 1}))
        b = Step(script.does("b", {"b": 2}))
        flow = [a >> b]

    return Chain


@contextmanager
def failing_commits(engine: sa.Engine, at: int, *, after: bool) -> Iterator[None]:
    """Have one commit fail, with or without effect."""
    seen = [0]

    def around(_dbapi: Any, commit: Callable[[], None]) -> None:
        seen[0] += 1
        if seen[0] != at or after:
            commit()
        if seen[0] == at:
            raise AWAY

    end = around_commits(engine, around)
    try:
        yield
    finally:
        end()


def test_an_outcome_waits_for_the_database(open_shop: OpenShop, script: Script) -> None:
    workflow = chain(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    with failing_commits(shop.runtime.database.engine, 2, after=False):
        drain()
    assert (shop.status(run_id), script.calls) == ("completed", ["a", "b"])


def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    open_shop: OpenShop, script: Script, eventually: Callable[..., Any]
) -> None:
    """The step that the claim went on to is given back, as it was never begun."""
    workflow = chain(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    with failing_commits(shop.runtime.database.engine, 2, after=True):
        drain()
    eventually(lambda: drain() or shop.status(run_id) == "completed")
    assert (shop.status(run_id), script.calls, shop.events(run_id)) == ("completed", ["a", "b"], [])
    assert [len(step.attempts) for step in shop.look(run_id).step_runs or ()] == [1, 1]


def test_reading_the_state_waits_for_the_database(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(a: int) -> dict[str, int]:
        return {"seen": a}

    class Reading(Workflow):
        place = Manual(Order)
        first = Step(script.does("first", {"a": 1}))
        work_ = Step(work)
        flow = [first >> work_]

    plain, refusals = loading.outputs, [AWAY, AWAY]

    def away(*given: Any, **named: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return plain(*given, **named)

    shop = open_shop(Reading, delivery_steps=1)
    run_id = shop.start(Reading)
    monkeypatch.setattr(loading, "outputs", away)
    drain()
    run = shop.look(run_id)
    assert (run.status, run.context, refusals) == ("completed", {"a": 1, "seen": 1}, [])
    assert [len(step.attempts) for step in run.step_runs or ()] == [1, 1]


def test_a_hand_over_while_the_database_is_away_fails_no_start(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:

    def away(*_: Any, **__: Any) -> None:
        raise AWAY

    workflow = chain(script)
    shop = open_shop(workflow, executor=Recording())
    with monkeypatch.context() as patched:
        patched.setattr(dispatching, "summary", away)
        patched.setattr(dispatching, "_note_failure", away)
        run_id = shop.start(workflow)
    assert shop.status(run_id) == "pending"


class CutOff(Recording):
    """Hands over within the transaction, and finds the connection gone at its second hand-over."""

    def enqueue_in(
        self, connection: sa.Connection, payload: Any, *, schedule_in: float | None = None
    ) -> dict[str, Any]:
        self.given.append((dict(payload), schedule_in))
        if len(self.given) == 2:
            connection.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return {}


def test_a_connection_lost_in_a_hand_over_is_no_failure_of_the_executor(
    migrated_postgres_url: str, script: Script
) -> None:
    workflow = chain(script)
    queue = CutOff()
    shop = Shop(migrated_postgres_url, workflow, executor=queue)
    with shop.app.app_context():
        run_id = shop.start(workflow)
        drain()
        assert (shop.status(run_id), script.calls, queue.steps) == ("completed", ["a", "b"], ["a", "b", "b"])
