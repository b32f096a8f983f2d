from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import BaseModel

from flask_squidmesh import (
    Approval,
    ConfigurationError,
    ConflictError,
    Manual,
    ManualActionError,
    PayloadError,
    Step,
    UnknownTriggerError,
    UnknownWorkflowError,
    Workflow,
)
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]


class Strict(BaseModel):
    order_id: str
    amount: int


def nothing() -> None:
    """A step without effect."""


class Plain(Workflow):
    subject = "Order {order_id}"
    place = Manual(Order)
    by_hand = Manual(Strict)
    work = Step(nothing)


class Reviewed(Workflow):
    place = Manual(Order)
    review = Approval("Ship {order_id}?")
    ship = Step(nothing)
    decline = Step(nothing)
    flow = [review >> ship, review.on_reject >> decline]


@pytest.fixture
def queue() -> Recording:
    return Recording()


@pytest.fixture
def shop(open_shop: OpenShop, queue: Recording) -> Shop:
    return open_shop(Plain, Reviewed, executor=queue)


def count(shop: Shop) -> int:
    return len(shop.rows(tables.runs))


@pytest.mark.rule("starting-one-commit")
def test_a_run_is_written_whole_in_one_commit_and_then_handed_over(shop: Shop, queue: Recording) -> None:
    shop.start(Plain)
    with shop.counted() as counts:
        run = shop.mesh.start_run(Plain, {"order_id": "o-7"}, actor="dana")
    assert counts["commits"] == 1
    assert (run.status, run.current_step, run.subject, run.actor) == ("pending", "work", "Order o-7", "dana")
    assert queue.given[-1] == ({"kind": "step", "run_id": run.id, "step": "work"}, None)


@pytest.mark.rule("starting-status")
def test_a_workflow_that_begins_with_a_decision_waits_at_once(shop: Shop, queue: Recording) -> None:
    run = shop.mesh.start_run(Reviewed, {"order_id": "o-7"})
    assert (run.status, run.needs.kind if run.needs else None, run.decision) == ("paused", "decision", "review#1")
    assert queue.given == []


@pytest.mark.rule("registered-only", "starting-unknown", "starting-nothing-written", "starting-actor")
@pytest.mark.parametrize(
    ("workflow", "payload", "options", "expected"),
    [
        ("nowhere", {}, {}, UnknownWorkflowError),
        ("plain", {}, {"trigger": "nightly"}, UnknownTriggerError),
        ("plain", {"order_id": "x", "colour": "red"}, {}, PayloadError),
        ("plain", ["o-1"], {}, PayloadError),
        ("plain", {}, {"idempotency_key": " "}, ConflictError),
        ("plain", {}, {"idempotency_key": "k" * 201}, ConflictError),
        ("plain", {}, {"actor": object()}, ManualActionError),
        ("plain", {}, {"actor": "da\0na"}, ManualActionError),
    ],
)
def test_what_cannot_be_started_writes_nothing(
    shop: Shop, queue: Recording, workflow: str, payload: Any, options: dict[str, Any], expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        shop.mesh.start_run(workflow, payload, **options)
    assert count(shop) == 0
    assert queue.given == []


@pytest.mark.rule("payload-faults-together")
def test_all_faults_of_a_payload_are_told_at_once(shop: Shop) -> None:
    with pytest.raises(PayloadError) as caught:
        shop.mesh.start_run(Plain, {"amount": "many", "colour": "red"}, trigger="by_hand")
    assert caught.value.missing_fields == ["order_id"]
    assert caught.value.unknown_fields == ["colour"]
    assert list(caught.value.invalid_types) == ["amount"]


@pytest.mark.rule("payload-limit")
def test_a_payload_that_is_too_large_is_refused(open_shop: OpenShop) -> None:
    shop = open_shop(Plain, max_payload_bytes=100)
    with pytest.raises(PayloadError, match="SQUIDMESH_MAX_PAYLOAD_BYTES allows 100"):
        shop.start(Plain, {"order_id": "x" * 100})
    assert count(shop) == 0


@pytest.mark.rule("setup-errors-first")
def test_configuration_errors_come_before_every_other(open_shop: OpenShop) -> None:
    shop = open_shop(Plain, executor=None)
    with pytest.raises(ConfigurationError, match="SQUIDMESH_EXECUTOR"):
        shop.mesh.start_run("nowhere", 7)
    for call in (shop.mesh.approve_run, shop.mesh.cancel_run, shop.mesh.replay_run, shop.mesh.inspect_run):
        with pytest.raises(ConfigurationError):
            call("no id")
    with pytest.raises(ConfigurationError):
        shop.mesh.resolve_step("no id", output=object())
    with pytest.raises(ConfigurationError):
        shop.mesh.perform("nonsense")


# -- idempotency keys ------------------------------------------------------------------------------------------


@pytest.mark.rule("starting-same-key")
def test_the_same_key_and_payload_return_the_first_run(shop: Shop, queue: Recording) -> None:
    first = shop.start(Plain, {"order_id": "o-1"}, idempotency_key="o-1")
    again = shop.start(Plain, Order(order_id="o-1"), idempotency_key="o-1")
    assert first == again
    assert (count(shop), len(queue.given)) == (1, 1)


@pytest.mark.rule("starting-key-conflict")
def test_the_same_key_with_another_payload_is_a_conflict(shop: Shop) -> None:
    first = shop.start(Plain, {"order_id": "o-1"}, idempotency_key="o-1")
    with pytest.raises(ConflictError) as caught:
        shop.start(Plain, {"order_id": "o-2"}, idempotency_key="o-1")
    assert caught.value.current == first
    assert count(shop) == 1


@pytest.mark.rule("starting-key-conflict")
def test_the_same_key_with_another_trigger_is_a_conflict(shop: Shop) -> None:
    payload = {"order_id": "o-1", "amount": 5}
    first = shop.start(Plain, payload, idempotency_key="o-1", trigger="place")
    with pytest.raises(ConflictError) as caught:
        shop.start(Plain, payload, idempotency_key="o-1", trigger="by_hand")
    assert caught.value.current == first
    assert count(shop) == 1


@pytest.mark.rule("starting-key-conflict")
def test_a_key_finds_its_run_when_a_deploy_has_renamed_the_trigger(open_shop: OpenShop) -> None:
    def version(trigger: str) -> type[Workflow]:
        return type("Placed", (Workflow,), {trigger: Manual(Order), "work": Step(nothing)})

    before, after = version("place"), version("submit")
    first = open_shop(before).start(before, {"order_id": "o-1"}, idempotency_key="o-1")
    assert open_shop(after).start(after, {"order_id": "o-1"}, idempotency_key="o-1") == first


@pytest.mark.rule("starting-key-scope")
def test_a_key_belongs_to_its_workflow(shop: Shop) -> None:
    assert shop.start(Plain, idempotency_key="k") != shop.start(Reviewed, idempotency_key="k")


@pytest.mark.rule("starting-key-at-once")
def test_two_starts_at_once_with_one_key_make_one_run(shop: Shop) -> None:
    barrier, found = threading.Barrier(2), []

    def start() -> None:
        with shop.app.app_context():
            barrier.wait(120)
            found.append(shop.start(Plain, {"order_id": "o-1"}, idempotency_key="k"))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(found) == 2
    assert len(set(found)) == 1
    assert count(shop) == 1


@pytest.mark.rule("starting-key-factories")
def test_a_key_holds_when_the_model_fills_in_the_time(shop: Shop) -> None:
    from datetime import datetime

    from pydantic import Field

    class Stamped(BaseModel):
        order_id: str
        placed_at: datetime = Field(default_factory=datetime.now)

    class Stamping(Workflow):
        place = Manual(Stamped)
        work = Step(nothing)

    shop.mesh.register(Stamping)
    first = shop.start(Stamping, {"order_id": "o-1"}, idempotency_key="k")
    assert shop.start(Stamping, {"order_id": "o-1"}, idempotency_key="k") == first
    with pytest.raises(ConflictError):
        shop.start(Stamping, {"order_id": "o-2"}, idempotency_key="k")


@pytest.mark.rule("deploy-renamed-workflow")
def test_a_key_outlives_the_renaming_of_its_workflow(shop: Shop) -> None:
    class Renamed(Workflow):
        aliases = ("plain",)
        place = Manual(Order)
        work = Step(nothing)

    first = shop.start(Plain, idempotency_key="k")
    later = Shop(shop.url, Renamed)
    with later.app.app_context():
        assert later.start(Renamed, idempotency_key="k") == first
    later.runtime.database.dispose()


# -- joining the host's session --------------------------------------------------------------------------------


@pytest.mark.rule("joined-after-commit")
def test_a_joined_start_is_dispatched_after_the_commit_only(shop: Shop, queue: Recording) -> None:
    run = shop.mesh.start_run(Plain, {}, session=shop.db.session)
    assert run.status == "pending"
    assert queue.given == []
    shop.db.session.commit()
    assert queue.steps == ["work"]
    assert shop.status(run.id) == "pending"


@pytest.mark.rule("joined-rollback")
@pytest.mark.parametrize("end", ["rollback", "close", "remove"])
def test_a_joined_start_that_is_not_committed_leaves_nothing(shop: Shop, queue: Recording, end: str) -> None:
    shop.mesh.start_run(Plain, {}, session=shop.db.session)
    getattr(shop.db.session, end)()
    shop.db.session.execute(sa.text("SELECT 1"))
    shop.db.session.commit()
    assert queue.given == []
    assert count(shop) == 0


@pytest.mark.rule("joined-rollback")
def test_a_savepoint_that_is_rolled_back_takes_its_start_with_it(shop: Shop, queue: Recording) -> None:
    kept = shop.mesh.start_run(Plain, {}, session=shop.db.session)
    savepoint = shop.db.session.begin_nested()
    shop.mesh.start_run(Reviewed, {}, session=shop.db.session)
    shop.mesh.start_run(Plain, {"order_id": "dropped"}, session=shop.db.session)
    savepoint.rollback()
    shop.db.session.commit()
    assert [row.id for row in shop.rows(tables.runs)] == [kept.id]
    assert [payload["run_id"] for payload, _ in queue.given] == [kept.id]


@pytest.mark.rule("joined-after-commit")
def test_a_savepoint_that_is_released_waits_for_the_outer_commit(shop: Shop, queue: Recording) -> None:
    with shop.db.session.begin_nested():
        run = shop.mesh.start_run(Plain, {}, session=shop.db.session)
    assert queue.given == []
    shop.db.session.commit()
    assert [payload["run_id"] for payload, _ in queue.given] == [run.id]


@pytest.mark.rule("joined-rollback")
def test_an_outer_rollback_drops_what_a_released_savepoint_held(shop: Shop, queue: Recording) -> None:
    shop.db.session.execute(sa.text("UPDATE squidmesh_runs SET subject = 'x'"))  # SQLite's driver begins with a write
    with shop.db.session.begin_nested():
        shop.mesh.start_run(Plain, {}, session=shop.db.session)
    shop.db.session.rollback()
    shop.mesh.start_run(Plain, {"order_id": "second"}, session=shop.db.session)
    shop.db.session.commit()
    assert len(queue.given) == 1
    assert count(shop) == 1


@pytest.mark.rule("joined-hand-over-fails")
def test_a_joined_start_stands_though_the_hand_over_fails(shop: Shop, queue: Recording) -> None:
    queue.failing = ConnectionError("no queue")
    run = shop.mesh.start_run(Plain, {}, session=shop.db.session)
    shop.db.session.commit()
    [dispatch] = shop.rows(tables.dispatches)
    assert dispatch.run_id == run.id
    assert "no queue" in dispatch.hand_over_error


def test_a_joined_key_is_found_again_within_the_transaction(shop: Shop) -> None:
    first = shop.mesh.start_run(Plain, {}, session=shop.db.session, idempotency_key="k")
    again = shop.mesh.start_run(Plain, {}, session=shop.db.session, idempotency_key="k")
    shop.db.session.commit()
    assert first.id == again.id
    assert count(shop) == 1


def test_uncommitted_writes_of_the_host_are_no_obstacle_where_they_are_joined(shop: Shop) -> None:
    shop.db.session.execute(sa.text("UPDATE squidmesh_runs SET subject = 'x'"))
    run = shop.mesh.start_run(Plain, {}, session=shop.db.session)
    shop.db.session.commit()
    assert shop.status(run.id) == "pending"


@pytest.mark.rule("sqlite-refused-at-once")
def test_on_sqlite_a_write_that_would_wait_for_the_caller_is_refused_at_once(
    migrated_sqlite_url: str, script: Script
) -> None:
    shop = Shop(migrated_sqlite_url, Plain)
    with shop.app.app_context():
        shop.db.session.execute(sa.text("UPDATE squidmesh_runs SET subject = 'x'"))
        with pytest.raises(ConflictError, match=r"pass session=db\.session"):
            shop.start(Plain)
        shop.db.session.rollback()
        assert shop.run(Plain)
    shop.runtime.database.dispose()


@pytest.mark.rule("sqlite-reading")
def test_the_hosts_reading_transaction_is_no_obstacle(shop: Shop) -> None:
    shop.db.session.execute(sa.text("SELECT 1"))
    assert shop.start(Plain)


# -- apps --------------------------------------------------------------------------------------------------------


@pytest.mark.rule("setup-several-apps")
def test_two_apps_in_one_process_keep_apart(
    open_shop: OpenShop, sqlite_databases: Any, migrated_url: str, script: Script
) -> None:
    class Both(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))

    other_url = sqlite_databases.create_migrated()
    other = open_shop(Both, url=other_url)
    shop = open_shop(Both)
    run_id = shop.run(Both)
    assert shop.status(run_id) == "completed"
    with other.app.app_context():
        assert other.rows(tables.runs) == []
        other.run(Both)
    assert count(shop) == 1
    assert script.calls == ["work", "work"]


@pytest.mark.rule("setup-several-apps")
def test_one_extension_object_serves_several_apps(migrated_sqlite_url: str, sqlite_databases: Any) -> None:
    from flask import Flask

    shop = Shop(migrated_sqlite_url, Plain)
    second = Flask("second")
    second.config.update(SQLALCHEMY_DATABASE_URI=sqlite_databases.create_migrated(), SQUIDMESH_EXECUTOR="database")
    shop.db.init_app(second)
    shop.mesh.init_app(second)
    with second.app_context():
        run_id = shop.mesh.start_run(Plain, {}).id
        assert drain() == 1
        assert shop.mesh.inspect_run(run_id).status == "completed"
        second.extensions["squidmesh"].database.dispose()
    with shop.app.app_context():
        assert count(shop) == 0
    shop.runtime.database.dispose()


@pytest.mark.rule("setup-own-bind")
def test_the_tables_may_be_on_another_bind(migrated_sqlite_url: str, sqlite_databases: Any) -> None:
    from flask import Flask
    from flask_sqlalchemy import SQLAlchemy

    from flask_squidmesh import SquidMesh

    db, mesh, app = SQLAlchemy(), SquidMesh(), Flask("bound")
    mesh.register(Plain)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=sqlite_databases.create(),
        SQLALCHEMY_BINDS={"flows": migrated_sqlite_url},
        SQUIDMESH_BIND="flows",
        SQUIDMESH_EXECUTOR="database",
    )
    db.init_app(app)
    mesh.init_app(app)
    with app.app_context():
        own = mesh.start_run(Plain, {})
        joined = mesh.start_run(Plain, {}, session=db.session)
        db.session.commit()
        drain()
        assert [mesh.inspect_run(run.id).status for run in (own, joined)] == ["completed", "completed"]
        app.extensions["squidmesh"].database.dispose()


@pytest.mark.rule("starting-first-trigger")
def test_without_a_name_the_first_trigger_is_taken(shop: Shop) -> None:
    assert shop.mesh.start_run(Plain).trigger == "place"
    assert shop.mesh.start_run(Plain, {"order_id": "o", "amount": 1}, trigger="by_hand").trigger == "by_hand"


def test_nobody_takes_the_key_of_a_schedules_window(shop: Shop) -> None:
    with pytest.raises(ConflictError, match="a schedule's"):
        shop.mesh.start_run(Plain, {"order_id": "o-1"}, idempotency_key="cron:hourly:2027-03-01T12:00")
    assert shop.rows(tables.runs) == []


@pytest.mark.parametrize("given", [{"session": True}, {"key": "k-1"}, {}])
@pytest.mark.parametrize("workflow", [Plain, Reviewed])
def test_what_a_start_answers_is_what_is_stored(
    open_shop: OpenShop, workflow: type[Workflow], given: dict[str, Any]
) -> None:
    shop = open_shop(Plain, Reviewed)
    payload = {"order_id": "o-7", "amount": 12}
    session = shop.runtime.host_db.session if given.get("session") else None
    run = shop.mesh.start_run(
        workflow, payload, actor={"id": "dana"}, idempotency_key=given.get("key"), session=session
    )
    if session is not None:
        session.commit()
    assert run == shop.mesh.inspect_run(run.id)
