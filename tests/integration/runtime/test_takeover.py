"""How soon another process goes on with what a dead one held."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import Executor, Manual, Step, Workflow
from flask_squidmesh.clock import SettableClock
from flask_squidmesh.engine.changes import Changes
from flask_squidmesh.engine.decide import decide
from flask_squidmesh.engine.facts import AttemptAbandoned, DecisionState, Fact
from flask_squidmesh.runtime import lost_claims, recorder
from flask_squidmesh.runtime.claimer import Claimer
from flask_squidmesh.runtime.lost_claims import LostWorkLooks, SuspectIsolation
from flask_squidmesh.storage import tables, work_queue
from flask_squidmesh.storage.database import Contact
from flask_squidmesh.storage.work_queue import UnansweredClaim
from flask_squidmesh.testing import drain
from tests.shop import Recording, Script, Shop, shop_on, single

OpenShop = Callable[..., Shop]
TIMEOUT = 30


def lost_among_many(open_shop: OpenShop, script: Script, **settings: Any) -> tuple[Shop, str]:
    """A shop in which a worker has died over one run, before many others that were due while its claim still held."""
    workflow = single(script)
    shop = open_shop(workflow, claim_timeout=TIMEOUT, **settings)
    lost = shop.start(workflow)
    assert shop.claim_due()
    for _ in range(20):
        shop.start(workflow)
    shop.clock.advance(TIMEOUT + 1)
    shop.runtime.lost_work_looks.hurry("squidmesh")
    return shop, lost


@pytest.mark.rule("claims-expired-first")
def test_what_has_expired_is_taken_before_all_that_was_due_earlier(open_shop: OpenShop, script: Script) -> None:
    shop, lost = lost_among_many(open_shop, script)
    claimer = shop.runtime.claimer.fair_claimer("squidmesh")
    assert [claim.run.id for claim in claimer.claim(limit=2)] == [lost]
    assert lost not in [claim.run.id for claim in claimer.claim(limit=2)]


@pytest.mark.rule("claims-expired-first")
def test_looking_for_what_has_expired_costs_a_statement_now_and_then(open_shop: OpenShop, script: Script) -> None:
    shop, _ = lost_among_many(open_shop, script)
    claimer = shop.runtime.claimer.fair_claimer("squidmesh")
    [lost] = claimer.claim(limit=1)
    shop.perform(lost)
    counts = []
    for _ in range(3):
        with shop.counted() as counted:
            assert claimer.claim(limit=1)
        counts.append(counted["statements"])
    assert max(counts[1:]) <= (5 if shop.runtime.database.dialect == "sqlite" else 2)


@pytest.mark.rule("claims-expired-first")
def test_it_is_looked_for_twelve_times_within_a_claim_timeout(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 1_000.0
    monkeypatch.setattr(lost_claims, "time", SimpleNamespace(monotonic=lambda: moment))
    workflow = single(script)
    shop = open_shop(workflow, claim_timeout=TIMEOUT)
    lost = {shop.start(workflow) for _ in range(2)}
    assert len(shop.claim_due(limit=2)) == 2
    for _ in range(20):
        shop.start(workflow)
    shop.clock.advance(TIMEOUT + 1)
    claimer = shop.runtime.claimer.fair_claimer("squidmesh")
    [first] = claimer.claim(limit=1)
    shop.perform(first)
    moment += TIMEOUT / 12 - 0.01
    [other] = claimer.claim(limit=1)
    moment += 0.02
    [second] = claimer.claim(limit=1)
    assert other.run.id not in lost
    assert {first.run.id, second.run.id} == lost


@pytest.mark.rule("work-untakeable")
def test_work_that_cannot_be_taken_up_keeps_nobody_from_the_rest(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop, lost = lost_among_many(open_shop, script)

    def fail(state: DecisionState, fact: Fact) -> Changes:
        if isinstance(fact, AttemptAbandoned):
            raise LookupError("nobody has thought of it")
        return decide(state, fact)

    monkeypatch.setattr(recorder, "decide", fail)
    assert drain() == 20
    assert "could not be taken up" in caplog.text
    assert "(LookupError)" in shop.mesh.explain_run(lost).details["held"]
    assert (shop.status(lost), shop.events(lost)) == ("running", [])
    monkeypatch.undo()
    shop.later(timedelta(minutes=2))
    assert (shop.status(lost), shop.events(lost)) == ("completed", ["abandoned"])


@pytest.mark.rule("work-untakeable")
def test_a_lost_step_that_cannot_be_settled_keeps_a_relay_from_no_other(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(single(script), claim_timeout=TIMEOUT, executor=Recording())
    first, second = shop.start("single"), shop.start("single")
    assert len(shop.claim_due(limit=2)) == 2
    shop.clock.advance(TIMEOUT + 1)

    def fail(state: DecisionState, fact: Fact) -> Changes:
        if state.run.id == first:
            raise LookupError("nobody has thought of it")
        return decide(state, fact)

    monkeypatch.setattr(recorder, "decide", fail)
    assert shop.runtime.relay.take_from_dead_workers() == 1
    assert (shop.events(first), shop.events(second)) == ([], ["abandoned"])


@pytest.mark.rule("claims-expired-first")
def test_a_relay_gives_a_lost_step_its_place_in_the_queue_back(open_shop: OpenShop, script: Script) -> None:
    shop, lost = lost_among_many(open_shop, script, executor=Recording())
    assert shop.runtime.relay.take_from_dead_workers() == 1
    assert [claim.run.id for claim in shop.claim_due()] == [lost]


@pytest.mark.rule("relay-lost-claim")
def test_a_relay_hands_over_at_once_what_a_dead_worker_held(open_shop: OpenShop, script: Script) -> None:
    shop, lost = lost_among_many(open_shop, script, executor=(queue := Recording()))
    queue.given.clear()
    assert shop.runtime.relay.take_from_dead_workers() == 1
    assert [payload["run_id"] for payload, _ in queue.given] == [lost]


@pytest.mark.rule("claims-gap")
def test_a_relay_that_has_just_come_takes_nothing_from_anybody(open_shop: OpenShop, script: Script) -> None:
    shop, lost = lost_among_many(open_shop, script, executor=Recording())
    shop.runtime.database.contact.lost()
    assert shop.runtime.relay.take_from_dead_workers() == 0
    assert (shop.status(lost), shop.events(lost)) == ("running", [])


@pytest.mark.rule("claims-gap")
def test_a_job_takes_nothing_over_in_a_process_that_has_just_come(open_shop: OpenShop, script: Script) -> None:
    shop, lost = lost_among_many(open_shop, script, executor=Recording())
    shop.runtime.database.contact.lost()
    assert shop.deliver(lost, "work").outcome == "too_early"
    assert (shop.status(lost), shop.events(lost)) == ("running", [])


def looks_of_jobs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queues in which jobs look for what dead workers held, from now on."""
    looks: list[str] = []
    plain = Claimer.claim_lost

    def look(self: Claimer, queue: str, **named: Any) -> Any:
        looks.append(queue)
        return plain(self, queue, **named)

    monkeypatch.setattr(Claimer, "claim_lost", look)
    return looks


def deliver_another(shop: Shop, lost: str) -> None:
    """Have the host's queue deliver the first job of another run, of the many that it holds."""
    [another, *_] = [row.run_id for row in shop.rows(tables.dispatches) if row.run_id != lost and row.claim_id is None]
    assert shop.deliver(another, "work").status == "completed"


@pytest.mark.rule("takeover-in-job")
@pytest.mark.parametrize("settled_by_relay", [False, True], ids=["expired", "settled by a relay"])
def test_what_a_dead_worker_held_waits_behind_no_job_of_the_hosts_queue(
    open_shop: OpenShop, script: Script, settled_by_relay: bool
) -> None:
    shop, lost = lost_among_many(open_shop, script, executor=Recording(continues=True))
    if settled_by_relay:
        assert shop.runtime.relay.take_from_dead_workers() == 1
    deliver_another(shop, lost)
    assert (shop.status(lost), shop.events(lost)) == ("completed", ["abandoned"])
    assert shop.deliver(lost, "work").outcome == "duplicate"
    assert len(script.calls) == 2


@pytest.mark.rule("takeover-in-job", "claims-gap")
def test_a_process_that_has_just_come_goes_on_with_what_a_relay_has_settled_and_takes_nothing_else(
    open_shop: OpenShop, script: Script
) -> None:
    shop, lost = lost_among_many(open_shop, script, executor=Recording(continues=True))
    shop.runtime.database.contact.lost()
    deliver_another(shop, lost)
    assert (shop.status(lost), shop.events(lost)) == ("running", [])
    shop.clock.advance(TIMEOUT + 1)
    assert shop.runtime.relay.take_from_dead_workers() == 1
    shop.runtime.database.contact.lost()
    shop.runtime.lost_work_looks.hurry("squidmesh")
    deliver_another(shop, lost)
    assert shop.status(lost) == "completed"


@pytest.mark.rule("takeover-in-job")
def test_several_that_a_dead_worker_held_follow_one_job_each(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(single(script), claim_timeout=TIMEOUT, executor=Recording(continues=True))
    lost = [shop.start("single") for _ in range(3)]
    assert len(shop.claim_due(limit=3)) == 3
    others = [shop.start("single") for _ in range(4)]
    shop.clock.advance(TIMEOUT + 1)
    shop.runtime.lost_work_looks.hurry("squidmesh")
    done = []
    for each in others:
        shop.deliver(each, "work")
        done.append([shop.status(run_id) for run_id in lost].count("completed"))
    assert done == [1, 2, 3, 3]


@pytest.mark.rule("takeover-in-job")
def test_an_executor_that_gives_each_step_a_job_of_its_own_has_none_taken_over_in_another(
    open_shop: OpenShop, script: Script
) -> None:
    shop, lost = lost_among_many(open_shop, script, executor=Recording())
    deliver_another(shop, lost)
    assert (shop.status(lost), shop.events(lost)) == ("running", [])


@pytest.mark.rule("takeover-in-job")
def test_an_executor_may_have_lost_steps_taken_over_though_it_continues_none(
    open_shop: OpenShop, script: Script
) -> None:
    class Indifferent(Recording):
        def takes_over(self, run: Any, step: str) -> bool:
            return (run.workflow, step) == ("single", "work")

    shop, lost = lost_among_many(open_shop, script, executor=Indifferent())
    deliver_another(shop, lost)
    assert shop.status(lost) == "completed"


@pytest.mark.rule("takeover-in-job")
def test_an_executor_that_cannot_say_whether_to_take_over_harms_no_job(
    open_shop: OpenShop, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Recording):
        def takes_over(self, run: Any, step: str) -> bool:
            raise RuntimeError("broken")

    shop, lost = lost_among_many(open_shop, script, executor=Broken())
    deliver_another(shop, lost)
    assert "could not say whether to take over step work" in caplog.text
    assert shop.status(lost) == "running"


@pytest.mark.rule("takeover-in-job")
def test_taking_over_that_fails_harms_no_job(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise LookupError("nobody has thought of it")

    shop, lost = lost_among_many(open_shop, script, executor=Recording(continues=True))
    monkeypatch.setattr(Claimer, "claim_lost", fail)
    deliver_another(shop, lost)
    assert "what a dead worker held could not be taken over" in caplog.text


@pytest.mark.rule("takeover-in-job", "in-place-bounded")
def test_a_job_that_may_do_one_step_takes_over_none(open_shop: OpenShop, script: Script) -> None:
    shop, lost = lost_among_many(open_shop, script, executor=Recording(continues=True), delivery_steps=1)
    deliver_another(shop, lost)
    assert shop.status(lost) == "running"


@pytest.mark.rule("takeover-in-job", "in-place-bounded")
def test_a_job_that_took_long_takes_over_none(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, lost = lost_among_many(open_shop, script, executor=Recording(continues=True), delivery_seconds=5)
    leave = SuspectIsolation.leave

    def slowly(*given: Any) -> None:
        shop.clock.advance(6)
        leave(*given)

    monkeypatch.setattr(SuspectIsolation, "leave", slowly)
    deliver_another(shop, lost)
    assert shop.status(lost) == "running"


@pytest.mark.rule("takeover-in-job")
def test_a_lost_step_waits_for_what_its_process_is_doing_and_comes_next(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have killed its worker, and is attempted alone. Meanwhile not every job looks for it."""
    moment = 1_000.0
    monkeypatch.setattr(lost_claims, "time", SimpleNamespace(monotonic=lambda: moment))
    shop, lost = lost_among_many(open_shop, script, executor=Recording(continues=True))
    [company] = shop.claim_due(take_over=False)
    shop.runtime.isolation.enter(company)
    looks = looks_of_jobs(monkeypatch)
    deliver_another(shop, lost)
    assert (shop.status(lost), shop.events(lost)) == ("running", [])
    [another, *_] = [row.run_id for row in shop.rows(tables.dispatches) if row.claim_id is None]
    assert [shop.deliver(another, "work").outcome for _ in range(3)] == ["too_early"] * 3
    assert len(looks) == 1
    shop.runtime.isolation.leave(company)
    moment += 0.21
    assert shop.deliver(another, "work").outcome == "too_early"
    assert shop.status(lost) == "completed"


@pytest.mark.rule("takeover-in-job", "interrupted-alone")
@pytest.mark.parametrize("own_job", [False, True], ids=["another's job", "its own job"])
def test_a_lost_step_that_is_not_attempted_again_keeps_no_job_waiting(
    open_shop: OpenShop, script: Script, own_job: bool
) -> None:
    shop = open_shop(single(script, irreversible=True), claim_timeout=TIMEOUT, executor=Recording(continues=True))
    lost, first, second = (shop.start("single") for _ in range(3))
    [claim] = shop.claim_due()
    assert claim.run.id == lost
    shop.clock.advance(TIMEOUT + 1)
    shop.runtime.lost_work_looks.hurry("squidmesh")
    shop.deliver(lost if own_job else first, "work")
    assert (shop.status(lost), shop.events(lost)) == ("paused", ["abandoned", "interrupted"])
    assert shop.deliver(second, "work").outcome == "executed"


@pytest.mark.rule("takeover-in-job")
def test_an_older_versions_job_leaves_a_lost_step_that_it_does_not_know_to_those_who_do(
    open_shop: OpenShop, script: Script
) -> None:
    def version(step: str) -> type[Workflow]:
        return type("Changing", (Workflow,), {"place": Manual(), step: Step(script.does(step))})

    settings = {"claim_timeout": TIMEOUT, "executor": Recording(continues=True)}
    newer = open_shop(version("charge"), **settings)
    lost, another = newer.start("changing"), newer.start("changing")
    assert newer.claim_due()
    older = open_shop(version("pay"), single(script), url=newer.url, clock=newer.clock, **settings)
    own = older.start("single")
    newer.clock.advance(TIMEOUT + 1)
    older.runtime.lost_work_looks.hurry("squidmesh")
    assert older.deliver(own, "work").status == "completed"
    with newer.app.app_context():
        assert newer.mesh.explain_run(lost).reason != "definition_mismatch"
        newer.runtime.lost_work_looks.hurry("squidmesh")
        assert newer.deliver(another, "charge").status == "completed"
        assert newer.status(lost) == "completed"


@pytest.mark.rule("takeover-in-job")
def test_looking_for_it_costs_a_job_a_statement_now_and_then(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 1_000.0
    monkeypatch.setattr(lost_claims, "time", SimpleNamespace(monotonic=lambda: moment))
    shop = open_shop(single(script), claim_timeout=TIMEOUT, executor=Recording(continues=True))
    runs = [shop.start("single") for _ in range(4)]
    counts = []
    for run_id, passed in zip(runs, (0.0, 0.0, TIMEOUT / 12 + 0.01, 0.0), strict=True):
        moment += passed
        with shop.counted() as counted:
            shop.deliver(run_id, "work")
        counts.append(counted["statements"])
    _, early, looking, late = counts
    assert early == late < looking, "the first look of a process is due an interval after it began"


@pytest.mark.rule("takeover-in-job")
def test_it_is_looked_for_in_each_queue() -> None:
    looks = LostWorkLooks(TIMEOUT, at_once=True)
    assert [looks.is_due(queue) for queue in ("one", "one", "other", "other")] == [True, False, True, False]
    looks.hurry("other")
    assert [looks.is_due(queue) for queue in ("one", "other")] == [False, True]


@pytest.mark.rule("takeover-in-job")
def test_nothing_is_looked_for_where_the_executor_can_only_say_no(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Plain(Executor):
        def enqueue(self, payload: Any, *, schedule_in: float | None = None) -> dict[str, Any]:
            return {}

    shop, lost = lost_among_many(open_shop, script, executor=Plain())
    looks = looks_of_jobs(monkeypatch)
    deliver_another(shop, lost)
    assert looks == []


def another_and_a_lost_step_that_raises(open_shop: OpenShop, script: Script, raised: BaseException) -> tuple[Shop, str]:
    """A run to deliver, and one of a dead worker whose step raises this at its second attempt."""
    shop = open_shop(single(script, None, raised), claim_timeout=TIMEOUT, executor=Recording(continues=True))
    _, another = shop.start("single"), shop.start("single")
    assert shop.claim_due()
    shop.clock.advance(TIMEOUT + 1)
    shop.runtime.lost_work_looks.hurry("squidmesh")
    return shop, another


class Gone(BaseException):
    """Such as those that end a greenlet."""


@pytest.mark.rule("takeover-in-job", "worker-base-exception")
def test_a_lost_step_that_ends_its_delivery_harms_no_job(
    open_shop: OpenShop, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    shop, another = another_and_a_lost_step_that_raises(open_shop, script, Gone())
    assert shop.deliver(another, "work").outcome == "executed"
    assert "what a dead worker held could not be taken over" in caplog.text


@pytest.mark.rule("takeover-in-job", "worker-shutdown")
@pytest.mark.parametrize("shutdown", [SystemExit, KeyboardInterrupt])
def test_a_shutdown_that_hits_a_lost_step_is_let_through(
    open_shop: OpenShop, script: Script, shutdown: type[BaseException]
) -> None:
    shop, another = another_and_a_lost_step_that_raises(open_shop, script, shutdown())
    with pytest.raises(shutdown):
        shop.deliver(another, "work")
    assert shop.status(another) == "completed"


@pytest.mark.rule("worker-frees", "claims-expired-first")
@pytest.mark.parametrize("unanswered", [False, True], ids=["unbegun", "unanswered"])
def test_what_a_dead_worker_held_and_another_gives_back_stays_before_all_that_is_due(
    open_shop: OpenShop, script: Script, unanswered: bool
) -> None:
    shop, lost = lost_among_many(open_shop, script, executor=Recording(continues=True))
    [claim] = shop.runtime.claimer.look_for_lost("squidmesh", limit=1)
    shop.runtime.isolation.withdraw(claim.visit.id)
    with shop.runtime.database.write() as connection:
        if unanswered:
            work_queue.put_back_unanswered(connection, [UnansweredClaim(claim, performed=False)], shop.clock.now())
        else:
            work_queue.put_back(connection, [claim], shop.clock.now())
    deliver_another(shop, lost)
    assert (shop.status(lost), script.contexts[-1].attempt) == ("completed", 2)


def test_looking_for_what_dead_workers_held_leads_past_nothing_else_that_is_due_on_sqlite(
    migrated_sqlite_url: str, script: Script
) -> None:
    asked: list[str] = []
    with shop_on(migrated_sqlite_url, single(script)) as shop, shop.runtime.database.read() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(asked.append)
        assert work_queue.due_work(connection, shop.runtime.database, "squidmesh", limit=5, which="lost") == []
        driver.set_trace_callback(None)
        plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[-1]}")]
    assert [line for line in plan if "ix_squidmesh_dispatches_given_up" in line]
    assert not [line for line in plan if "ix_squidmesh_dispatches_due" in line], plan


def test_a_lost_step_that_somebody_settles_at_this_moment_is_left_alone_on_postgresql(
    migrated_postgres_url: str, script: Script
) -> None:
    brief = {"options": "-c lock_timeout=5s"}  # so that a look that waits fails
    with shop_on(migrated_postgres_url, single(script), connect_args=brief) as shop:
        shop.start("single")
        assert shop.claim_due()
        shop.clock.advance(TIMEOUT + 1)
        with shop.runtime.database.write() as other:
            other.execute(sa.select(tables.step_runs.c.id).with_for_update())
            assert shop.runtime.claimer.look_for_lost("squidmesh", limit=1) == []
        assert shop.runtime.claimer.look_for_lost("squidmesh", limit=1)


@pytest.mark.rule("outage-standstill")
def test_a_claim_that_expired_while_the_database_was_silent_is_left_to_its_worker(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The query for due work itself was long in coming, as on a server that stood still."""
    shop, _ = lost_among_many(open_shop, script)
    plain, silence = work_queue.due_work, [TIMEOUT * 0.7]

    def slowly(*given: Any, **named: Any) -> Any:
        found = plain(*given, **named)
        later = time.monotonic() + silence.pop() if silence else time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: later)
        return found

    assert shop.runtime.database.contact.unbroken_for(TIMEOUT)
    with monkeypatch.context() as patched:
        patched.setattr(work_queue, "due_work", slowly)
        assert shop.runtime.claimer.look_for_lost("squidmesh", limit=5) == []
    assert not shop.runtime.database.contact.unbroken_for(TIMEOUT)


@pytest.mark.rule("outage-standstill")
def test_only_writing_ends_an_outage_of_writing() -> None:
    clock = SettableClock()
    met = Contact(clock)
    met.made()
    clock.advance(TIMEOUT)
    assert met.unbroken_for(TIMEOUT)
    met.lost()
    met.made(written=False)
    clock.advance(TIMEOUT)
    assert not met.unbroken_for(TIMEOUT)
    met.made()
    clock.advance(TIMEOUT)
    assert met.unbroken_for(TIMEOUT)
