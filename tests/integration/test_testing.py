"""What hosts test their workflows with: an app in memory, a clock that moves, assertions that explain."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from pydantic import BaseModel
from sqlalchemy.orm import Mapped, mapped_column

from flask_squidmesh import (
    Approval,
    ConfigurationError,
    ConflictError,
    Deadline,
    Event,
    FailStep,
    Fixed,
    Manual,
    Notice,
    Retry,
    RetryStep,
    SquidMesh,
    Step,
    StepContext,
    Wait,
    Workflow,
)
from flask_squidmesh.definition.workflow import Registry
from flask_squidmesh.runtime.runtime import current_runtime
from flask_squidmesh.testing import (
    Host,
    SettableClock,
    advance_to_deadline,
    assert_assignee,
    assert_audit,
    assert_compensated,
    assert_outcome,
    assert_status,
    assert_steps,
    drain,
    memory_app,
    work_through,
)
from tests.expense import expense
from tests.shop import Script, single

db = SQLAlchemy()
failures: list[Exception] = []


class Booking(db.Model):  # type: ignore[name-defined,misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[str]


class Order(BaseModel):
    order_id: str = "o-1"


def bookings() -> list[str]:
    return list(db.session.scalars(db.select(Booking.order_id).order_by(Booking.id)))


def reserve() -> dict[str, str]:
    return {"shelf": "4"}


def release() -> None:
    """Undoes `reserve`."""


def charge() -> dict[str, str]:
    if failures:
        raise failures.pop(0)
    return {"charge": "c-1"}


def book(ctx: StepContext, order_id: str) -> dict[str, Any]:
    db.session.add(Booking(order_id=order_id))
    db.session.flush()
    told = {"cancelled": ctx.cancelled, "known": sorted(ctx.state)}
    if failures:
        raise failures.pop(0)
    return told


class Checkout(Workflow):
    subject = "Order {order_id}"
    place = Manual(Order)
    reserve = Step(reserve, compensate=release)
    review = Approval("Charge for {order_id}?")
    settle = Wait(timedelta(hours=3))
    charge = Step(charge, retry=Retry(3, backoff=Fixed(60)))
    decline = Step(release)
    flow = [reserve >> review >> settle >> charge, review.on_reject >> decline]


class Ledger(Workflow):
    place = Manual(Order)
    book = Step(book, transaction=True, retry=Retry(3, backoff=Fixed(60)))


class Restless(Workflow):
    place = Manual(Order)
    charge = Step(charge, retry=Retry(1_000, backoff=Fixed(60)))


@pytest.fixture
def host() -> Iterator[Host]:
    failures.clear()
    with memory_app(Checkout, Ledger, Restless, db=db) as made:
        yield made


def approved(host: Host) -> str:
    """The id of a run that was approved and waits."""
    run_id = host.mesh.start_run(Checkout, {}).id
    drain()
    host.mesh.approve_run(run_id, actor="dana")
    return run_id


# -- the app in memory -------------------------------------------------------------------------------------------


def test_a_run_goes_from_start_to_end(host: Host) -> None:
    run_id = approved(host)
    work_through()
    run = assert_status(run_id, "completed")
    assert (run.context["shelf"], run.context["charge"]) == ("4", "c-1")
    assert_steps(run_id, {"reserve": "completed", "review": "completed", "decline": "waiting"})
    assert_audit(run_id, ["paused", "approved"])


def test_each_app_is_a_world_of_its_own() -> None:
    for _ in range(2):
        with memory_app(Ledger, db=db) as host:
            host.mesh.start_run(Ledger, {})
            drain()
            assert bookings() == ["o-1"]
            assert len(host.mesh.list_runs().runs) == 1


def test_the_host_has_settings_and_an_extension_of_its_own() -> None:
    own = SquidMesh()
    with memory_app(Ledger, db=db, config={"SQUIDMESH_QUEUE": "slow", "SHOP": "tea"}) as host:
        assert own.config.queue == "slow"
        assert current_app.config["SHOP"] == "tea"
        run_id = own.start_run("ledger", {}).id
        work_through()
        assert host.mesh.inspect_run(run_id).status == "completed"


def test_without_a_database_of_the_host_there_is_one() -> None:
    with memory_app(Checkout) as host:
        run_id = approved(host)
        work_through()
        assert_status(run_id, "completed")


def test_pages_can_be_looked_at() -> None:
    with memory_app(Checkout, config={"SQUIDMESH_URL_PREFIX": "/squidmesh"}) as host:
        host.mesh.authorize(lambda action, run, permission: True)
        approved(host)
        assert b"Order o-1" in host.app.test_client().get("/squidmesh/runs").data


# -- one connection for everything ---------------------------------------------------------------------------------


def test_a_transaction_step_keeps_its_rows_while_it_reads_the_run(host: Host) -> None:
    run_id = host.mesh.start_run(Ledger, {}).id
    drain()
    assert assert_status(run_id, "completed").context == {"cancelled": False, "known": ["order_id"]}
    assert bookings() == ["o-1"]


def test_a_transaction_step_that_fails_leaves_no_rows(host: Host) -> None:
    failures.extend([RuntimeError("once"), RuntimeError("twice")])
    run_id = host.mesh.start_run(Ledger, {}).id
    drain()
    assert bookings() == []
    work_through()
    assert bookings() == ["o-1"]
    assert len((assert_status(run_id, "completed").step_runs or ())[0].attempts) == 3


def test_reading_leaves_the_hosts_open_transaction_alone(host: Host) -> None:
    run_id = host.mesh.start_run(Checkout, {}).id
    db.session.add(Booking(order_id="mine"))
    db.session.flush()
    host.mesh.inspect_run(run_id, include_history=True)
    host.mesh.explain_run(run_id)
    host.mesh.list_runs()
    db.session.commit()
    assert bookings() == ["mine"]


def test_a_control_call_is_refused_while_the_host_writes_and_the_hosts_rows_stay(host: Host) -> None:
    run_id = host.mesh.start_run(Checkout, {}).id
    drain()
    db.session.add(Booking(order_id="mine"))
    db.session.flush()
    with pytest.raises(ConflictError, match=r"session=db\.session"):
        host.mesh.approve_run(run_id, actor="dana")
    with pytest.raises(ConflictError, match="Commit first"):
        drain()
    host.mesh.approve_run(run_id, actor="dana", session=db.session)
    db.session.commit()
    assert bookings() == ["mine"]
    assert_audit(run_id, ["paused", "approved"])


@pytest.mark.parametrize("kept", [True, False])
def test_a_run_started_in_the_hosts_transaction_shares_its_end(host: Host, kept: bool) -> None:
    db.session.add(Booking(order_id="mine"))
    host.mesh.start_run(Ledger, {"order_id": "theirs"}, session=db.session)
    if kept:
        db.session.commit()
    else:
        db.session.rollback()
    drain()
    assert bookings() == (["mine", "theirs"] if kept else [])


# -- moving the clock ----------------------------------------------------------------------------------------------


@pytest.mark.rule("testing-drain")
def test_drain_leaves_what_waits_for_later(host: Host) -> None:
    run_id = approved(host)
    drain()
    assert_steps(run_id, {"settle": "pending", "charge": "waiting"})
    host.clock.advance(timedelta(hours=2, minutes=30))
    assert drain() == 0
    host.clock.advance(timedelta(minutes=30))
    assert drain() > 0
    assert_status(run_id, "completed")


@pytest.mark.rule("testing-work-through")
def test_working_through_passes_waits_and_delays_in_order(host: Host) -> None:
    began = host.clock.now()
    run_id = approved(host)
    failures.extend([RuntimeError("busy"), RetryStep("busy", after=3_600)])
    work_through()
    run = assert_status(run_id, "completed")
    passed = host.clock.now() - began
    assert timedelta(hours=4, minutes=1) <= passed < timedelta(hours=4, minutes=2)
    assert run.finished_at is not None
    assert run.finished_at - began >= timedelta(hours=4, minutes=1)


@pytest.mark.rule("testing-work-through")
def test_working_through_stops_where_a_person_is_needed(host: Host) -> None:
    run_id = host.mesh.start_run(Checkout, {}).id
    assert work_through() == 1
    assert_status(run_id, "paused")
    assert work_through() == 0


def test_working_through_takes_over_what_a_dead_worker_held(host: Host) -> None:
    run_id = host.mesh.start_run(Ledger, {}).id
    runtime = current_app.extensions["squidmesh"]
    assert runtime.claimer.claim_due("squidmesh", limit=1), "a worker claims the step and dies"
    assert drain() == 0
    work_through()
    assert_status(run_id, "completed")
    assert_audit(run_id, ["abandoned"])


def test_working_through_leaves_work_that_nobody_here_knows(host: Host) -> None:
    host.mesh.start_run(Ledger, {})
    vars(current_app.extensions["squidmesh"].registry).update(vars(Registry()))
    assert work_through() == 0


@pytest.mark.parametrize("work", [drain, work_through])
def test_endless_work_is_noticed(host: Host, work: Any) -> None:
    host.mesh.start_run(Restless, {})
    failures.extend([RetryStep("again", after=0) if work is drain else RuntimeError("again")] * 20)
    with pytest.raises(RuntimeError, match="looping"):
        work(limit=5)


def test_a_clock_that_cannot_be_moved_is_refused() -> None:
    app, sqlalchemy = Flask("shop"), SQLAlchemy()
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", SQUIDMESH_EXECUTOR="database")
    sqlalchemy.init_app(app)
    SquidMesh(app)
    with app.app_context(), pytest.raises(ConfigurationError, match=r"SquidMesh\(clock=SettableClock\(\)\)"):
        work_through()


def test_the_clock_moves_to_a_time() -> None:
    clock, then = SettableClock(), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    clock.move_to(then)
    assert timedelta(0) <= clock.now() - then < timedelta(minutes=1)
    clock.advance(3_600)
    assert timedelta(hours=1) <= clock.now() - then < timedelta(hours=1, minutes=1)
    with pytest.raises(ValueError, match="no zone"):
        clock.move_to(datetime(2026, 3, 29))


# -- assertions ----------------------------------------------------------------------------------------------------


def complaint(call: Any, *arguments: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.rule("testing-assertions")
def test_a_wrong_status_comes_with_the_reason_the_steps_and_the_last_error(host: Host) -> None:
    run_id = approved(host)
    failures.append(FailStep("card declined", code="declined"))
    work_through()
    said = complaint(assert_status, run_id, "completed")
    assert "expected the run to be completed" in said
    assert f"checkout {run_id} (Order o-1) is failed" in said
    assert "reason: step_failed at charge" in said
    assert "reserve completed, review completed, settle completed, charge failed, decline" in said
    assert "can be done now: replay_run, acknowledge_run" in said
    assert "last error: FailStep: card declined" in said
    assert "raise failures.pop(0)" in said, "the end of the traceback"


def test_a_waiting_run_says_what_it_waits_for(host: Host) -> None:
    run_id = host.mesh.start_run(Checkout, {}).id
    drain()
    said = complaint(assert_status, run_id, "completed")
    assert "at review" in said
    assert "approve_run" in said
    assert "last error" not in said


def test_wrong_steps_are_named_with_what_they_are(host: Host) -> None:
    run_id = host.mesh.start_run(Checkout, {}).id
    drain()
    said = complaint(assert_steps, run_id, {"reserve": "failed", "review": "paused", "ship": "completed"})
    first = said.splitlines()[0]
    assert first == "expected reserve failed (it is completed), ship completed (it is no step of the workflow)"


def test_the_audit_is_compared_whole(host: Host) -> None:
    run_id = approved(host)
    assert "found ['paused', 'approved']" in complaint(assert_audit, run_id, ["approved"])


def test_what_was_undone_is_compared_in_order(host: Host) -> None:
    run_id = approved(host)
    assert "found []" in complaint(assert_compensated, run_id, ["reserve"])
    failures.append(FailStep("no"))
    work_through()
    assert_compensated(run_id, ["reserve"])


@pytest.mark.rule("testing-deadline")
def test_advancing_to_a_deadline_takes_one_thing_that_happens_by_itself_after_the_other() -> None:
    with memory_app(expense(Script())) as host:
        run_id = host.mesh.start_run("reimburse", {}).id
        drain()
        for event in ("reminded", "escalated", "timed_out"):
            assert_assignee(run_id, "hans" if event == "timed_out" else "mia")
            advance_to_deadline()
            assert (host.mesh.inspect_run(run_id, include_history=True).audit_events or ())[-1].type == event
        assert_outcome(run_id, "timed_out")
        with pytest.raises(AssertionError, match="Nothing happens by itself"):
            advance_to_deadline()


@pytest.mark.rule("testing-deadline")
def test_a_deadline_of_a_run_is_one_too() -> None:
    class Slow(Workflow, deadline=Deadline(timedelta(hours=1))):
        place = Manual(Order)
        ask = Approval("Well?")
        work = Step(lambda: None)
        flow = [ask >> work, ask.on_reject >> work]

    with memory_app(Slow) as host:
        run_id = host.mesh.start_run(Slow, {}).id
        advance_to_deadline()
        assert_status(run_id, "failed")


@pytest.mark.rule("testing-drain")
def test_working_through_lets_people_have_their_time() -> None:
    with memory_app(expense(Script())) as host:
        run_id = host.mesh.start_run("reimburse", {}).id
        work_through()
        assert_audit(run_id, ["paused"])
        host.clock.advance(timedelta(hours=24))
        drain()
        assert_audit(run_id, ["paused", "reminded"])


@pytest.mark.rule("testing-assertions")
def test_a_wrong_outcome_or_assignee_says_what_it_is_instead() -> None:
    with memory_app(expense(Script())) as host:
        run_id = host.mesh.start_run("reimburse", {}).id
        drain()
        with pytest.raises(AssertionError, match="expected one wait, lee's; found review to be mia's"):
            assert_assignee(run_id, "lee")
        with pytest.raises(AssertionError, match="expected one wait at pay, mia's; found review to be mia's"):
            assert_assignee(run_id, "mia", step="pay")
        with pytest.raises(AssertionError, match="expected the run to be completed, found paused"):
            assert_outcome(run_id, None)
        host.mesh.decide_run(run_id, "reject", actor="mia", comment="no")
        drain()
        with pytest.raises(AssertionError, match="found completed as rejected_by_manager"):
            assert_outcome(run_id, None)
        with pytest.raises(AssertionError, match="found no open wait"):
            assert_assignee(run_id, None)


def hosts_mesh() -> tuple[SquidMesh, list[str]]:
    """A host's own SquidMesh, and what its subscriber is told."""
    mesh, heard = SquidMesh(), list[str]()
    mesh.register(expense(Script()))
    mesh.subscribe("decision.opened", name="ours")(lambda notice: heard.append(notice.step))

    def post(notice: Notice, receiver: str) -> None:
        raise AssertionError("a test sends nothing")

    mesh.add_channel(post, on="decision.opened", to=lambda notice: notice.assignee, name="post")
    mesh.add_channel(post, on="decision.opened", to="all", digest=timedelta(minutes=10), name="digest")
    mesh.receive("/hooks/answers", verify=lambda _: True)(lambda _: Event("answered", key="1"))
    return mesh, heard


@pytest.mark.rule("testing-told")
def test_the_hosts_own_object_says_who_is_told_and_nothing_is_sent() -> None:
    mesh, heard = hosts_mesh()
    with memory_app(mesh=mesh) as host:
        run_id = host.mesh.start_run("reimburse", {}).id
        drain()
        assert heard == ["review"]
        assert [(each.channel, each.receiver) for each in host.told] == [("post", "mia")]
        assert [(each.run_id, each.kind) for each in host.told[0].notices] == [(run_id, "decision.opened")]
        host.mesh.start_run("reimburse", {})
        drain()
        host.clock.advance(timedelta(minutes=11))
        drain()
        assert [(each.channel, len(each.notices)) for each in host.told] == [("post", 1), ("post", 1), ("digest", 2)]
        assert host.app.test_client().post("/hooks/answers").status_code == 202


@pytest.mark.rule("testing-told")
def test_what_a_test_registers_is_gone_with_its_app() -> None:
    mesh, heard = hosts_mesh()
    with memory_app(single(Script()), mesh=mesh) as host:
        host.mesh.add_channel(lambda notice, receiver: heard.append(receiver), on="run.completed", to="me", name="own")
        host.mesh.start_run("single", {})
        drain()
        assert heard == ["me"]
    with memory_app(mesh=mesh) as host:
        assert host.told == []
        assert "single" not in [each.name for each in current_runtime().registry]
        assert [each.name for each in current_runtime().subscriptions] == ["ours", "post", "digest"]
    with memory_app() as host:
        assert not current_runtime().subscriptions
    mesh.receive("/hooks/more", verify=lambda _: True)(lambda _: None)
