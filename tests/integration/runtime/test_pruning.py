"""What goes, what stays and why, and what is remembered of runs that went."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import (
    ConflictError,
    Cron,
    FailStep,
    FilterError,
    Manual,
    Pause,
    RunNotFoundError,
    Step,
    StepContext,
    UnknownWorkflowError,
    Workflow,
)
from flask_squidmesh.runtime.runtime import Runtime
from flask_squidmesh.storage import retained_rows, tables
from flask_squidmesh.storage.retained_rows import BEGINNING, PruneWindow
from tests.shop import Order, Script, Shop

OpenShop = Callable[..., Shop]
AGE = timedelta(days=90)
IMPATIENT = {"connect_args": {"options": "-c lock_timeout=5s"}}


class Greeting(Workflow):
    greet_now = Manual(Order)
    daily = Cron("0 9 * * *", Order)
    greet = Step(lambda: None)


class Failing(Workflow):
    fail_now = Manual(Order)
    fail = Step(Script().does("fail", FailStep("no")))


class Reviewing(Workflow):
    place = Manual(Order)
    review = Pause("Fine?")
    ship = Step(lambda: None)
    flow = [review >> ship]


def start_child(ctx: StepContext) -> dict[str, str]:
    return {"child": ctx.start_child(ctx.state["kind"], key="child")}


class Family(Order):
    kind: str = "greeting"


class Parent(Workflow):
    place = Manual(Family)
    begin = Step(start_child)


ALL = (Greeting, Failing, Reviewing, Parent)


def pruned(shop: Shop, **said: Any) -> Any:
    return shop.mesh.prune(**{"older_than": AGE, "status": ("completed", "failed", "cancelled"), **said})


def reasons(report: Any) -> list[tuple[str, str | None, int]]:
    found = [(group.workflow, group.kept, group.runs) for group in report.groups]
    return sorted(found, key=lambda group: (group[0], group[1] or "~"))


@pytest.mark.rule("pruning-asked")
def test_old_runs_go_with_all_that_is_theirs_and_young_ones_stay(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    old = shop.run(Reviewing)
    shop.mesh.unblock_run(old, actor="dana", idempotency_key="once")
    shop.later(0)
    shop.later(timedelta(days=60))
    young = shop.run(Greeting)
    shop.later(timedelta(days=31))
    report = pruned(shop, actor="dana")
    assert [(group.workflow, group.status, group.runs) for group in report.groups] == [("reviewing", "completed", 1)]
    with pytest.raises(RunNotFoundError):
        shop.look(old)
    assert shop.look(young).status == "completed"
    kept = {row.id for row in shop.rows(tables.step_runs)}
    assert {row.run_id for row in shop.rows(tables.step_runs)} == {young}
    assert {row.step_run_id for row in shop.rows(tables.attempts)} == kept
    assert not shop.rows(tables.control_calls)
    [event] = shop.rows(tables.audit_events)
    assert (event.type, event.run_id, event.actor, event.metadata["runs"]) == ("pruned", None, "dana", 1)


@pytest.mark.rule("pruning-dry")
def test_a_dry_run_says_what_would_go_and_deletes_nothing(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    first, _ = shop.run(Greeting), shop.run(Failing)
    last = shop.run(Greeting)
    shop.later(AGE + timedelta(seconds=1))
    report = pruned(shop, dry_run=True)
    assert reasons(report) == [("failing", "needs", 1), ("greeting", None, 2)]
    assert (report.dry_run, report.pruned, report.kept) == (True, 2, 1)
    [went] = [group for group in report.groups if group.kept is None]
    assert (went.oldest, went.newest) == (shop.look(first).finished_at, shop.look(last).finished_at)
    assert report.to_dict()["groups"][0]["oldest"].endswith("+00:00")
    assert len(shop.rows(tables.runs)) == 3
    assert not [row for row in shop.rows(tables.audit_events) if row.type == "pruned"]


def test_only_what_was_asked_for_goes(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    greeting, failing, cancelled = shop.run(Greeting), shop.run(Failing), shop.run(Reviewing)
    shop.mesh.cancel_run(cancelled)
    shop.mesh.acknowledge_run(failing)
    shop.later(AGE + timedelta(seconds=1))
    assert reasons(shop.mesh.prune(older_than=AGE, workflow=Failing)) == []
    assert reasons(shop.mesh.prune(older_than=AGE, workflow="failing", status="failed")) == [("failing", None, 1)]
    assert {row.id for row in shop.rows(tables.runs)} == {greeting, cancelled}
    assert reasons(shop.mesh.prune(older_than=AGE, status="cancelled")) == [("reviewing", None, 1)]
    assert {row.id for row in shop.rows(tables.runs)} == {greeting}


@pytest.mark.rule("pruning-stays")
def test_a_failure_that_nobody_has_noted_stays_unless_asked_for(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    shop.run(Failing)
    shop.later(AGE + timedelta(seconds=1))
    assert reasons(pruned(shop)) == [("failing", "needs", 1)]
    assert reasons(pruned(shop, including_unacknowledged=True)) == [("failing", None, 1)]
    assert not shop.rows(tables.runs)


@pytest.mark.rule("pruning-stays")
def test_an_open_question_beside_a_failure_stays_even_then(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    run_id = shop.run(Failing)
    shop.later(AGE + timedelta(seconds=1))
    _set(shop, tables.runs, tables.runs.c.id == run_id, needs_count=2)
    assert reasons(pruned(shop, including_unacknowledged=True)) == [("failing", "needs", 1)]
    _set(shop, tables.runs, tables.runs.c.id == run_id, needs_count=1)


@pytest.mark.rule("pruning-stays")
def test_what_is_unfinished_is_never_touched(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    run_id = shop.run(Reviewing)
    shop.later(AGE * 10)
    assert reasons(pruned(shop, including_unacknowledged=True)) == []
    assert shop.status(run_id) == "paused"


@pytest.mark.rule("pruning-stays")
@pytest.mark.parametrize(
    ("columns", "reason"), [({"compensation": "running"}, "undoing"), ({"open_steps": 1}, "executing")]
)
def test_what_is_not_over_although_it_has_ended_stays(open_shop: OpenShop, columns: Any, reason: str) -> None:
    shop = open_shop(*ALL)
    run_id = shop.run(Failing)
    shop.mesh.acknowledge_run(run_id)
    shop.later(AGE + timedelta(seconds=1))
    before = {name: getattr(shop.rows(tables.runs)[0], name) for name in columns}
    _set(shop, tables.runs, tables.runs.c.id == run_id, **columns)
    assert reasons(pruned(shop)) == [("failing", reason, 1)]
    _set(shop, tables.runs, tables.runs.c.id == run_id, **before)


@pytest.mark.rule("pruning-stays")
def test_a_step_that_waited_in_vain_keeps_no_failed_run(open_shop: OpenShop, script: Script) -> None:
    class Joining(Workflow):
        place = Manual(Order)
        good = Step(script.does("good"), after=[])
        bad = Step(script.does("bad", FailStep("no")), after=[good])
        join = Step(script.does("join"), after=[good, bad])

    shop = open_shop(Joining)
    shop.mesh.acknowledge_run(shop.run(Joining))
    shop.later(AGE + timedelta(seconds=1))
    assert reasons(pruned(shop)) == [("joining", None, 1)]


@pytest.mark.rule("pruning-relatives")
def test_parents_stay_while_a_child_lives_and_children_while_the_parent_does(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    parent = shop.run(Parent, {"kind": "reviewing"})
    [child] = shop.look(parent).children
    shop.later(AGE + timedelta(seconds=1))
    assert reasons(pruned(shop)) == [("parent", "child", 1)]
    shop.mesh.unblock_run(child, actor="dana")
    shop.later(0)
    shop.later(AGE + timedelta(seconds=1))
    _set(shop, tables.runs, tables.runs.c.id == parent, status="paused")
    assert reasons(pruned(shop)) == [("reviewing", "parent", 1)]
    _set(shop, tables.runs, tables.runs.c.id == parent, status="completed")
    for run_id, workflow, kept in ((parent, "reviewing", "parent"), (child, "parent", "child")):
        _set(shop, tables.runs, tables.runs.c.id == run_id, compensation="running")
        assert (workflow, kept, 1) in reasons(pruned(shop))
        _set(shop, tables.runs, tables.runs.c.id == run_id, compensation=None)
    assert reasons(pruned(shop)) == [("parent", None, 1), ("reviewing", None, 1)]


@pytest.mark.rule("pruning-relatives")
def test_a_run_stays_while_any_replay_of_it_lives(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    run_id = shop.run(Reviewing)
    shop.mesh.cancel_run(run_id)
    first = shop.mesh.replay_run(run_id).id
    second = shop.mesh.replay_run(run_id).id
    shop.later(0)
    shop.mesh.unblock_run(second, actor="dana")
    shop.later(0)
    shop.later(AGE + timedelta(seconds=1))
    assert reasons(pruned(shop, status="cancelled")) == [("reviewing", "replay", 1)]
    shop.mesh.unblock_run(first, actor="dana")
    shop.later(0)
    assert reasons(pruned(shop, status="cancelled")) == [("reviewing", None, 1)]


@pytest.mark.rule("pruning-ids")
def test_lineage_outlives_pruning(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    parent = shop.run(Parent)
    [child] = shop.look(parent).children
    replay = shop.mesh.replay_run(child).id
    shop.later(0)
    shop.later(AGE + timedelta(seconds=1))
    pruned(shop, workflow=Greeting)
    assert {row.id for row in shop.rows(tables.runs)} == {parent}
    run = shop.look(parent)
    assert (run.children, run.pruned) == ((child,), (child,))
    assert shop.events(parent) == ["child_pruned"]
    assert replay not in run.children
    grandchild = shop.run(Parent)
    pruned(shop, older_than=timedelta(0), workflow=Parent)
    [left] = [row.id for row in shop.rows(tables.runs)]
    assert (shop.look(left).parent_run_id, shop.look(left).pruned) == (grandchild, (grandchild,))


@pytest.mark.rule("pruning-ids")
def test_replays_name_each_other_after_pruning(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    source = shop.run(Greeting)
    shop.later(AGE + timedelta(seconds=1))
    replay = shop.mesh.replay_run(source).id
    shop.later(0)
    assert shop.look(replay).pruned == shop.look(source).pruned == ()
    assert pruned(shop).pruned == 1
    assert (shop.look(replay).replayed_from_id, shop.look(replay).pruned) == (source, (source,))


@pytest.mark.rule("pruning-keys")
def test_the_start_key_of_a_pruned_run_is_remembered_for_a_time(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL, key_retention=timedelta(days=2))
    first = shop.run(Greeting, idempotency_key="o-1")
    shop.later(AGE + timedelta(seconds=1))
    pruned(shop)
    shop.later(timedelta(days=1))
    pruned(shop)
    with pytest.raises(ConflictError, match="has been pruned") as refused:
        shop.start(Greeting, idempotency_key="o-1")
    assert refused.value.current == first
    assert not shop.rows(tables.runs)
    shop.later(timedelta(days=1, seconds=1))
    pruned(shop)
    assert shop.status(shop.run(Greeting, idempotency_key="o-1")) == "completed"


def test_keys_of_runs_that_are_there_are_never_forgotten(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL, key_retention=0)
    first = shop.run(Greeting, idempotency_key="o-1")
    shop.later(AGE - timedelta(hours=1))
    pruned(shop)
    assert shop.start(Greeting, idempotency_key="o-1") == first


@pytest.mark.rule("pruning-keys")
def test_a_window_whose_run_was_pruned_is_not_started_again(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    first = shop.runtime.scheduler.fire("greeting", "daily", signal_id="monday")
    shop.later(0)
    shop.later(AGE + timedelta(seconds=1))
    pruned(shop)
    assert shop.runtime.scheduler.fire("greeting", "daily", signal_id="monday") == first
    assert not shop.rows(tables.runs)


def test_batches_pass_over_what_stays_and_end(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    for workflow in (Failing, Failing, Failing, Greeting, Failing, Failing):
        shop.run(workflow)
    acknowledged = [row.id for row in shop.rows(tables.runs) if row.status == "failed"][3:]
    for run_id in acknowledged:
        shop.mesh.acknowledge_run(run_id)
    shop.later(AGE + timedelta(seconds=1))
    told: list[int] = []
    report = shop.runtime.pruner.prune(older_than=AGE, status=["failed", "completed"], batch=2, progress=told.append)
    assert reasons(report) == [("failing", "needs", 3), ("failing", None, 2), ("greeting", None, 1)]
    assert sum(told) == 3
    assert len(told) == 4


@pytest.mark.rule("pruning-batches")
def test_each_batch_is_a_commit_of_its_own(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    for _ in range(4):
        shop.run(Greeting)
    shop.later(AGE + timedelta(seconds=1))

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.runtime.pruner.prune(older_than=AGE, batch=3, progress=stop)
    assert len(shop.rows(tables.runs)) == 1


@pytest.mark.parametrize(
    "said", [{"status": "running"}, {"status": ()}, {"older_than": timedelta(days=-1)}, {"batch": 0}]
)
def test_what_makes_no_sense_is_refused(open_shop: OpenShop, said: Any) -> None:
    with pytest.raises(FilterError):
        pruned(open_shop(*ALL), **said)


def test_an_unknown_workflow_is_refused_but_not_one_that_was_taken_away(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    with pytest.raises(UnknownWorkflowError):
        pruned(shop, workflow="greetings")
    shop.run(Greeting)
    _set(shop, tables.runs, sa.true(), workflow="greetings")
    shop.later(AGE + timedelta(seconds=1))
    assert reasons(pruned(shop, workflow="greetings")) == [("greetings", None, 1)]


@pytest.mark.rule("pruning-batches")
def test_two_at_once_delete_each_run_once(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    for _ in range(12):
        shop.run(Parent)
    shop.later(AGE + timedelta(seconds=1))
    reports: list[Any] = []

    def work() -> None:
        with shop.app.app_context():
            reports.append(shop.runtime.pruner.prune(older_than=AGE, batch=2))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 2
    pruned(shop)
    assert not shop.rows(tables.runs)


@pytest.mark.rule("pruning-batches")
def test_a_run_that_somebody_holds_is_passed_over(migrated_postgres_url: str) -> None:
    shop = Shop(migrated_postgres_url, *ALL, engine_options=IMPATIENT)
    with shop.app.app_context():
        held, free = shop.run(Greeting), shop.run(Greeting)
        shop.later(AGE + timedelta(seconds=1))
        with shop.runtime.database.write() as connection:
            connection.execute(sa.select(tables.runs.c.id).where(tables.runs.c.id == held).with_for_update())
            assert pruned(shop).pruned == 1
        assert {row.id for row in shop.rows(tables.runs)} == {held} != {free}


@pytest.mark.rule("pruning-batches")
def test_a_child_stays_while_somebody_changes_its_parent(migrated_postgres_url: str) -> None:
    shop = Shop(migrated_postgres_url, *ALL, engine_options=IMPATIENT)
    with shop.app.app_context():
        parent = shop.run(Parent)
        shop.later(AGE + timedelta(seconds=1))
        with shop.runtime.database.write() as connection:
            connection.execute(sa.select(tables.runs.c.id).where(tables.runs.c.id == parent).with_for_update())
            assert reasons(pruned(shop, workflow=Greeting)) == [("greeting", "busy", 1)]


@pytest.mark.rule("pruning-index")
def test_every_query_walks_an_index(open_shop: OpenShop) -> None:
    shop = open_shop(*ALL)
    plans = list(_plans(shop.runtime))
    assert plans
    for plan in plans:
        assert "ix_squidmesh_runs_finished" in plan, plan
        assert "Sort" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan


def _plans(runtime: Runtime) -> Iterator[str]:
    """How the queries that find runs would be answered on a table that is large."""
    asked: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    with runtime.database.read() as connection:
        large = connection.dialect.name == "postgresql"
        if large:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        sa.event.listen(connection, "before_cursor_execute", keep)
        list(retained_rows.workflows(connection))
        [stretch] = runtime.pruner.stretches(["greeting"], ["completed"])
        assert stretch == PruneWindow(workflow="greeting", status="completed")
        now = runtime.clock.now()
        retained_rows.ended(connection, stretch, before=now, after=BEGINNING, limit=5, lock=large)
        sa.event.remove(connection, "before_cursor_execute", keep)
        explain = "EXPLAIN " if large else "EXPLAIN QUERY PLAN "
        for statement, parameters in asked:
            if "squidmesh_runs" in statement:
                rows = connection.exec_driver_sql(explain + statement, parameters)
                yield "\n".join(str(row[-1]) for row in rows)


def _set(shop: Shop, table: sa.Table, where: Any, **columns: Any) -> None:
    with shop.runtime.database.write() as connection:
        connection.execute(sa.update(table).where(where).values(columns))
