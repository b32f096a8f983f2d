"""Workers that die, claims that are lost, and steps whose effect nobody knows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import (
    FailStep,
    Fixed,
    Manual,
    ManualActionError,
    Retry,
    RetryStep,
    Step,
    StepContext,
    TransitionError,
    Wait,
    Workflow,
)
from flask_squidmesh.storage import tables, work_queue
from flask_squidmesh.storage.work_queue import Claim
from flask_squidmesh.storage.write_batch import WriteBatch
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop, error_of

OpenShop = Callable[..., Shop]
TIMEOUT = 30


def claimed(shop: Shop) -> Claim:
    """What a worker holds that then dies."""
    [claim] = shop.claim_due()
    return claim


def charging(script: Script, *outcomes: Any, **options: Any) -> type[Workflow]:
    class Charging(Workflow):
        place = Manual(Order)
        reserve = Step(script.does("reserve"), compensate=script.does("release"))
        charge = Step(script.does("charge", *outcomes), **options)
        receipt = Step(script.does("receipt"))
        flow = [reserve >> charge >> receipt]

    return Charging


# -- dead workers ------------------------------------------------------------------------------------------------


@pytest.mark.rule("claims-taken-over", "audit-who")
def test_a_dead_workers_step_is_taken_over_and_audited(open_shop: OpenShop, script: Script) -> None:
    workflow = charging(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    claimed(shop)
    assert drain() == 0
    shop.later(TIMEOUT / 2)
    assert script.calls == []
    shop.later(TIMEOUT / 2 + 1)
    run = shop.look(run_id)
    assert (run.status, script.calls) == ("completed", ["reserve", "charge", "receipt"])
    [reserve, *_] = run.step_runs or ()
    assert [(each.attempt_number, each.status) for each in reserve.attempts] == [(1, "abandoned"), (2, "completed")]
    [event] = run.audit_events or ()
    assert (event.type, event.step, event.visit) == ("abandoned", "reserve", 1)
    assert script.contexts[0].attempt == 2


@pytest.mark.rule("chain-dies", "worker-base-exception")
def test_a_worker_that_dies_within_a_chain_loses_only_its_step(open_shop: OpenShop, script: Script) -> None:
    class Killed(BaseException):
        """The process is gone."""

    workflow = charging(script, Killed(), {"charge": 1})
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    with pytest.raises(Killed):
        drain()
    assert shop.status(run_id) == "running"
    shop.later(TIMEOUT + 1)
    assert (script.calls, shop.status(run_id)) == (["reserve", "charge", "charge", "receipt"], "completed")
    assert script.contexts[1].idempotency_key == script.contexts[2].idempotency_key


@pytest.mark.rule("interrupted-after")
def test_after_three_lost_attempts_a_person_has_to_look(open_shop: OpenShop, script: Script) -> None:
    workflow = charging(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    for _ in range(3):
        shop.claim_due(take_over=True)
        shop.clock.advance(TIMEOUT + 1)
    assert drain() == 0
    run = shop.look(run_id)
    assert (run.status, run.needs.kind if run.needs else None) == ("paused", "interrupted")
    assert shop.events(run_id) == ["abandoned", "abandoned", "abandoned", "interrupted"]
    shop.mesh.retry_step(run_id, actor="lee")
    drain()
    assert shop.status(run_id) == "completed"
    assert script.contexts[0].attempt == 4


@pytest.mark.rule("interrupted-after")
def test_lost_attempts_count_only_in_a_row(open_shop: OpenShop, script: Script) -> None:
    class Busy(Workflow):
        place = Manual(Order)
        work = Step(script.does("work", RetryStep("busy"), RetryStep("busy"), None), retry=Retry(9, backoff=Fixed(60)))

    shop = open_shop(Busy, max_abandoned=2)
    run_id = shop.start(Busy)
    for _ in range(2):
        claimed(shop)
        shop.later(TIMEOUT + 1)
        assert shop.status(run_id) == "retrying"
        shop.clock.advance(61)
    shop.later(TIMEOUT + 1)
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("claims-counted")
def test_a_lost_attempt_counts_as_one_of_the_attempts(open_shop: OpenShop, script: Script) -> None:
    class Failing(Workflow):
        place = Manual(Order)
        work = Step(script.does("work", OSError("no")), retry=Retry(3))

    shop = open_shop(Failing)
    run_id = shop.start(Failing)
    claimed(shop)
    shop.later(TIMEOUT + 1)
    assert (shop.status(run_id), [context.attempt for context in script.contexts]) == ("failed", [2, 3])


@pytest.mark.rule("claims-fenced", "claims-late-result")
def test_a_late_worker_changes_nothing(open_shop: OpenShop, script: Script, caplog: pytest.LogCaptureFixture) -> None:
    workflow = charging(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    late = claimed(shop)
    shop.later(TIMEOUT + 1)
    before = shop.look(run_id)
    shop.perform(late)
    assert shop.look(run_id) == before
    assert "was lost" in caplog.text
    assert script.calls == ["reserve", "charge", "receipt", "reserve"]


@pytest.mark.rule("claims-fenced")
def test_a_late_worker_changes_nothing_while_the_other_is_at_work(open_shop: OpenShop, script: Script) -> None:
    workflow = charging(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    late = claimed(shop)
    shop.clock.advance(TIMEOUT + 1)
    [other] = shop.claim_due(take_over=True)
    shop.perform(late)
    assert shop.visits(run_id) == [("reserve", "running")]
    shop.perform(other)
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("claims-late-result")
def test_a_late_failure_is_dropped_too(open_shop: OpenShop, script: Script) -> None:
    class Slow(Workflow):
        place = Manual(Order)
        work = Step(script.does("work", None, FailStep("late")))

    shop = open_shop(Slow)
    run_id = shop.start(Slow)
    late = claimed(shop)
    shop.later(TIMEOUT + 1)
    shop.perform(late)
    assert (shop.status(run_id), script.calls) == ("completed", ["work", "work"])


@pytest.mark.rule("ctx")
def test_a_step_can_ask_whether_its_claim_is_lost(open_shop: OpenShop, script: Script) -> None:
    seen = []

    def work(ctx: StepContext) -> None:
        seen.append(ctx.lost)
        if ctx.attempt == 1:
            shop.clock.advance(TIMEOUT + 1)
            shop.claim_due(take_over=True)
            shop.runtime.claims.renew()
            seen.append(ctx.lost)

    class Slow(Workflow):
        place = Manual(Order)
        work_ = Step(work)

    shop: Shop = open_shop(Slow)
    run_id = shop.start(Slow)
    drain()
    assert seen == [False, True]
    shop.later(TIMEOUT + 1)
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("claims-renewed")
def test_a_claim_that_is_renewed_is_kept(open_shop: OpenShop, script: Script) -> None:
    takers = []

    def work(ctx: StepContext) -> None:
        for _ in range(3):
            shop.clock.advance(TIMEOUT - 5)
            shop.runtime.claims.renew()
        takers.extend(shop.claim_due(take_over=True))

    class Slow(Workflow):
        place = Manual(Order)
        work_ = Step(work)

    shop: Shop = open_shop(Slow)
    run_id = shop.run(Slow)
    assert (takers, shop.status(run_id), shop.events(run_id)) == ([], "completed", [])


@pytest.mark.rule("claims-quiet")
def test_renewing_touches_nothing_that_pages_watch(open_shop: OpenShop, script: Script) -> None:
    revisions = []

    def work(ctx: StepContext) -> None:
        before = shop.look(ctx.run_id)
        shop.runtime.claims.renew()
        revisions.append(shop.look(ctx.run_id).revision - before.revision)

    class Slow(Workflow):
        place = Manual(Order)
        work_ = Step(work)

    shop: Shop = open_shop(Slow)
    shop.run(Slow)
    assert revisions == [0]


@pytest.mark.rule("claims-renewed")
def test_a_thread_of_its_own_renews_claims(open_shop: OpenShop, script: Script, eventually: Any) -> None:
    def work(ctx: StepContext) -> None:
        [first] = shop.rows(tables.dispatches)
        eventually(lambda: shop.rows(tables.dispatches)[0].due_at > first.due_at)

    class Slow(Workflow):
        place = Manual(Order)
        work_ = Step(work)

    shop: Shop = open_shop(Slow, claim_timeout=0.3)
    of_others = set(threading.enumerate())
    assert shop.status(shop.run(Slow)) == "completed"
    eventually(lambda: "squidmesh-claims" not in {each.name for each in set(threading.enumerate()) - of_others})


class Unspeakable(BaseException):
    """Nothing that a driver or a listener of the host's should raise."""


@pytest.mark.rule("claims-keeper-stays")
@pytest.mark.parametrize("error", [RuntimeError, Unspeakable])
def test_the_thread_that_renews_claims_outlives_whatever_is_raised(
    open_shop: OpenShop, script: Script, eventually: Any, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    renew = work_queue.renew
    raised: list[type[BaseException]] = []

    def fail_twice(*given: Any) -> Any:
        if len(raised) < 2:
            raised.append(error)
            raise error
        return renew(*given)

    def work(ctx: StepContext) -> None:
        [first] = shop.rows(tables.dispatches)
        eventually(lambda: shop.rows(tables.dispatches)[0].due_at > first.due_at, 20)

    class Slow(Workflow):
        place = Manual(Order)
        work_ = Step(work)

    monkeypatch.setattr(work_queue, "renew", fail_twice)
    shop: Shop = open_shop(Slow, claim_timeout=0.3)
    assert shop.status(shop.run(Slow)) == "completed"
    assert len(raised) == 2


@pytest.mark.rule("claims-gap")
def test_a_process_takes_over_only_after_it_has_reached_the_database_for_one_timeout(
    open_shop: OpenShop, script: Script
) -> None:
    workflow = charging(script)
    shop = open_shop(workflow)
    shop.start(workflow)
    claimed(shop)
    shop.clock.advance(TIMEOUT + 1)
    newcomer = Shop(shop.url, workflow)
    newcomer.clock.advance(TIMEOUT + 1)
    with newcomer.app.app_context():
        assert newcomer.claim_due() == []
        newcomer.clock.advance(TIMEOUT - 1)
        assert newcomer.claim_due() == []
        newcomer.runtime.database.contact.lost()
        assert newcomer.claim_due() == []
        newcomer.clock.advance(2)
        assert newcomer.claim_due() == []
        newcomer.clock.advance(TIMEOUT)
        [claim] = newcomer.claim_due()
        newcomer.perform(claim)
    newcomer.runtime.database.dispose()
    assert script.calls == ["reserve", "charge", "receipt"]


@pytest.mark.rule("clock-claims")
def test_a_wrong_clock_takes_nothing_from_the_living(
    migrated_postgres_url: str, open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(workflow := charging(script), url=migrated_postgres_url)
    shop.start(workflow)
    claimed(shop)
    right = shop.clock.now
    monkeypatch.setattr(shop.clock, "now", lambda: right() + timedelta(hours=1))
    assert shop.claim_due(take_over=True) == []


@pytest.mark.rule("claims-taken-over")
def test_a_redelivered_job_takes_over_as_well(open_shop: OpenShop, script: Script) -> None:
    queue, workflow = Recording(), charging(script)
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    claimed(shop)
    delivery = shop.deliver(run_id, "reserve")
    assert delivery.outcome == "too_early"
    assert queue.given[-1][1] is not None
    shop.clock.advance(TIMEOUT + 1)
    delivery = shop.deliver(run_id, "reserve")
    assert (delivery.outcome, delivery.attempt) == ("executed", 2)


@pytest.mark.rule("claims-waits")
def test_a_wait_and_a_compensation_are_taken_over_too(open_shop: OpenShop, script: Script) -> None:
    class Waiting(Workflow):
        place = Manual(Order)
        reserve = Step(script.does("reserve"), compensate=script.does("release"))
        settle = Wait(60)
        fail = Step(script.does("fail", FailStep("no")))
        flow = [reserve >> settle >> fail]

    shop = open_shop(Waiting)
    run_id = shop.run(Waiting)
    shop.clock.advance(61)
    claimed(shop)
    shop.clock.advance(TIMEOUT + 1)
    [claim] = shop.claim_due(take_over=True)
    shop.perform(claim)
    assert (shop.status(run_id), script.calls) == ("failed", ["reserve", "fail"])
    claimed(shop)
    shop.later(TIMEOUT + 1)
    assert (script.calls, shop.look(run_id).compensation) == (["reserve", "fail", "release"], "completed")


@pytest.mark.rule("interrupted-compensation")
def test_a_compensation_that_is_lost_again_and_again_fails(open_shop: OpenShop, script: Script) -> None:
    workflow = charging(script, FailStep("no"))
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    [claim] = shop.claim_due()
    shop.perform(claim)
    for _ in range(3):
        shop.claim_due(take_over=True)
        shop.clock.advance(TIMEOUT + 1)
    assert drain() == 0
    run = shop.look(run_id)
    assert (run.status, run.compensation, run.needs.kind if run.needs else None) == (
        *("failed", "failed"),
        "compensation_failed",
    )


@pytest.mark.rule("cancelling-lost-worker")
def test_a_step_that_is_lost_while_the_run_is_cancelling_ends_it(open_shop: OpenShop, script: Script) -> None:
    workflow = charging(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    claimed(shop)
    assert shop.mesh.cancel_run(run_id, actor="lee").status == "cancelling"
    shop.later(TIMEOUT + 1)
    assert (shop.status(run_id), script.calls) == ("cancelled", [])
    assert shop.visits(run_id) == [("reserve", "cancelled")]


def test_a_delivery_that_finds_such_a_step_says_so(open_shop: OpenShop, script: Script) -> None:
    workflow = charging(script)
    shop = open_shop(workflow, executor=Recording())
    run_id = shop.start(workflow)
    claimed(shop)
    shop.mesh.cancel_run(run_id, actor="lee")
    shop.clock.advance(TIMEOUT + 1)
    assert shop.deliver(run_id, "reserve").outcome == "cancelled"


@pytest.mark.rule("worker-frees")
def test_work_put_back_unbegun_is_no_attempt(open_shop: OpenShop, script: Script) -> None:
    workflow = charging(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    claim = claimed(shop)
    with shop.runtime.database.write() as connection:
        work_queue.put_back(connection, [claim], shop.clock.now())
    drain()
    assert (shop.status(run_id), script.contexts[0].attempt, shop.events(run_id)) == ("completed", 1, [])
    with shop.runtime.database.write() as connection:
        work_queue.put_back(connection, [claim], shop.clock.now())
    assert shop.visits(run_id)[0] == ("reserve", "completed")


@pytest.mark.rule("worker-frees", "worker-stops")
def test_work_that_another_has_taken_over_meanwhile_is_not_put_back(open_shop: OpenShop, script: Script) -> None:
    workflow = charging(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    late = claimed(shop)
    shop.clock.advance(TIMEOUT + 1)
    [present] = shop.claim_due(take_over=True)
    with shop.runtime.database.write() as connection:
        work_queue.put_back(connection, [late], shop.clock.now())
    assert shop.claim_due() == []
    assert shop.perform(present) == "completed"
    assert (script.calls, shop.events(run_id)) == (["reserve", "charge", "receipt"], ["abandoned"])


# -- irreversible steps ------------------------------------------------------------------------------------------


@pytest.mark.rule("interrupted-irreversible")
def test_an_irreversible_step_is_never_repeated_by_itself_after_a_loss(open_shop: OpenShop, script: Script) -> None:
    workflow = charging(script, irreversible=True)
    shop = open_shop(workflow, delivery_steps=1)
    run_id = shop.start(workflow)
    [claim] = shop.claim_due()
    shop.perform(claim)
    claimed(shop)
    shop.later(TIMEOUT + 1)
    run = shop.look(run_id)
    assert (run.status, run.needs.kind if run.needs else None, run.decision) == ("paused", "interrupted", "charge#1")
    assert script.calls == ["reserve"]
    assert shop.events(run_id) == ["abandoned", "interrupted"]


@pytest.mark.rule("retry-irreversible")
@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (RetryStep("busy"), "retrying"),
        (TimeoutError("named"), "retrying"),
        (FailStep("declined"), "failed"),
        (OSError("unknown"), "paused"),
        ({"at": object()}, "paused"),
    ],
)
def test_an_irreversible_step_is_retried_only_where_its_effect_is_known(
    open_shop: OpenShop, script: Script, outcome: Any, status: str
) -> None:
    policy = Retry(3, backoff=Fixed(60), on=TimeoutError)
    workflow = charging(script, outcome, irreversible=True, retry=policy)
    shop = open_shop(workflow)
    assert shop.status(shop.run(workflow)) == status


@pytest.mark.rule("incident-not-interrupted")
def test_a_missing_input_leaves_no_doubt_about_an_irreversible_step(open_shop: OpenShop, script: Script) -> None:
    def charge(card: str) -> None:
        """Never called."""

    class Charging(Workflow):
        place = Manual(Order)
        first = Step(script.does("first"))
        charge_ = Step(charge, irreversible=True)
        flow = [first >> charge_]

    shop = open_shop(Charging)
    assert shop.mesh.explain_run(shop.run(Charging)).reason == "incident"


def interrupted(open_shop: OpenShop, script: Script, **options: Any) -> tuple[Shop, str]:
    workflow = charging(script, OSError("unknown"), {"charge": "c"}, irreversible=True, **options)
    shop = open_shop(workflow)
    return shop, shop.run(workflow)


@pytest.mark.rule("interrupted-retry", "audit-who")
def test_an_operator_has_an_interrupted_step_tried_again(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = interrupted(open_shop, script)
    answer = shop.mesh.retry_step(run_id, actor="lee", comment="it did not happen", expected="charge#1")
    assert (answer.status, answer.needs) == ("running", None)
    drain()
    run = shop.look(run_id)
    assert (run.status, run.last_error) == ("completed", None)
    assert script.calls == ["reserve", "charge", "charge", "receipt"]
    assert [context.attempt for context in script.contexts if context.step == "charge"] == [1, 2]
    assert shop.events(run_id) == ["interrupted", "retried"]


@pytest.mark.rule("interrupted-resolve")
def test_an_operator_says_that_an_interrupted_step_happened(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = interrupted(open_shop, script, output="payment")
    answer = shop.mesh.resolve_step(run_id, output={"charge": "found"}, actor="lee", metadata={"seen": True})
    assert answer.status == "running"
    assert shop.look(run_id).last_error is None
    drain()
    run = shop.look(run_id)
    assert (run.status, run.context) == ("completed", {"payment": {"charge": "found"}})
    assert script.calls == ["reserve", "charge", "receipt"]
    assert shop.events(run_id) == ["interrupted", "resolved"]


@pytest.mark.rule("interrupted-fail", "audit-who")
def test_an_operator_says_that_an_interrupted_step_failed(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = interrupted(open_shop, script)
    shop.mesh.fail_step(run_id, reason="the bank says no", actor="lee")
    drain()
    run = shop.look(run_id)
    assert (run.status, error_of(run)["message"], run.compensation) == ("failed", "the bank says no", "completed")
    assert script.calls == ["reserve", "charge", "release"]
    assert shop.events(run_id) == ["interrupted", "failed_by_operator"]


@pytest.mark.rule("interrupted-fail")
def test_a_failure_said_by_an_operator_takes_the_error_route(open_shop: OpenShop, script: Script) -> None:
    class Charging(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge", OSError("unknown")), irreversible=True)
        tell = Step(script.does("tell"))
        flow = [charge.on_error >> tell]

    shop = open_shop(Charging)
    run_id = shop.run(Charging)
    shop.mesh.fail_step(run_id, actor="lee", comment="no trace of it")
    drain()
    assert shop.status(run_id) == "completed"
    failure = script.contexts[-1].failure
    assert failure is not None
    assert failure["message"] == "no trace of it"


@pytest.mark.rule("interrupted-resolve")
@pytest.mark.parametrize("output", ["text", 7, {"a": object()}, {"a": "\0"}])
def test_an_output_that_no_step_could_return_is_refused(open_shop: OpenShop, script: Script, output: Any) -> None:
    shop, run_id = interrupted(open_shop, script)
    with pytest.raises(ManualActionError) as caught:
        shop.mesh.resolve_step(run_id, output=output, actor="lee")
    assert caught.value.field == "output"
    with pytest.raises(ManualActionError) as caught:
        shop.mesh.fail_step(run_id, reason="a\0b", actor="lee")
    assert caught.value.field == "reason"
    assert shop.status(run_id) == "paused"


@pytest.mark.rule("interrupted-resolve")
def test_an_output_that_is_too_large_is_refused(open_shop: OpenShop, script: Script) -> None:
    workflow = charging(script, OSError("unknown"), irreversible=True)
    shop = open_shop(workflow, max_payload_bytes=100)
    run_id = shop.run(workflow)
    with pytest.raises(ManualActionError, match="SQUIDMESH_MAX_PAYLOAD_BYTES allows 100") as caught:
        shop.mesh.resolve_step(run_id, output={"much": "x" * 100}, actor="lee")
    assert caught.value.field == "output"


@pytest.mark.rule("any-order", "claims-in-dependencies")
def test_an_interrupted_step_in_a_dependency_run_lets_the_others_go_on(open_shop: OpenShop, script: Script) -> None:
    class Graph(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge", OSError("unknown")), after=[], irreversible=True)
        other = Step(script.does("other"), after=[])
        join = Step(script.does("join"), after=[charge, other])

    shop = open_shop(Graph)
    run_id = shop.run(Graph)
    assert (shop.status(run_id), script.calls) == ("paused", ["charge", "other"])
    shop.mesh.resolve_step(run_id, actor="lee")
    drain()
    assert (shop.status(run_id), script.calls[-1]) == ("completed", "join")


@pytest.mark.rule("interrupted-stays-open")
def test_what_became_of_an_interrupted_step_stays_open_when_a_sibling_fails(
    open_shop: OpenShop, script: Script
) -> None:
    class Graph(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge", OSError("unknown")), irreversible=True, after=[])
        settle = Wait(60, after=[])
        fail = Step(script.does("fail", FailStep("no")), after=[settle])

    shop = open_shop(Graph)
    run_id = shop.run(Graph)
    shop.later(61)
    run = shop.look(run_id)
    assert (run.status, run.needs and (run.needs.kind, run.needs.count)) == ("failed", ("failed", 2))
    assert run.needs.since == run.finished_at  # type: ignore[union-attr]
    explained = shop.mesh.explain_run(run_id)
    assert (explained.reason, explained.step) == ("interrupted", "charge")
    assert {"resolve_step", "fail_step"} <= set(explained.next_actions)
    shop.mesh.resolve_step(run_id, output={"charge": "found"}, actor="lee")
    run = shop.look(run_id)
    assert (run.status, run.needs and run.needs.count, error_of(run)["message"]) == ("failed", 1, "no")
    assert dict(shop.visits(run_id))["charge"] == "completed"


@pytest.mark.rule("interrupted-stays-open")
def test_an_interrupted_step_that_did_happen_is_undone_with_the_others(open_shop: OpenShop, script: Script) -> None:
    class Graph(Workflow):
        place = Manual(Order)
        reserve = Step(script.does("reserve"), after=[], compensate=script.does("undo_reserve"))
        charge = Step(script.does("charge"), after=[reserve], compensate=script.does("undo_charge"))
        settle = Wait(200, after=[reserve])
        fail = Step(script.does("fail", FailStep("no")), after=[settle])

    shop = open_shop(Graph, max_abandoned=1, executor=Recording())
    run_id = shop.start(Graph)
    shop.deliver(run_id, "reserve")
    assert claimed(shop).visit.step == "charge"
    shop.clock.advance(TIMEOUT + 1)
    assert shop.claim_due(take_over=True) == []
    assert shop.look(run_id).needs.kind == "interrupted"  # type: ignore[union-attr]
    shop.clock.advance(200)
    shop.deliver(run_id, "settle")
    shop.deliver(run_id, "fail")
    assert (shop.status(run_id), shop.look(run_id).compensation) == ("failed", "running")
    shop.mesh.resolve_step(run_id, actor="lee")
    assert len(shop.rows(tables.dispatches)) == 1
    shop.deliver(run_id)
    shop.deliver(run_id)
    assert script.calls == ["reserve", "fail", "undo_reserve", "undo_charge"]
    assert shop.look(run_id).compensation == "completed"


@pytest.mark.rule("interrupted-ending")
def test_an_irreversible_sibling_lost_after_the_failure_is_still_asked_about(
    open_shop: OpenShop, script: Script
) -> None:
    class Graph(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge"), after=[], irreversible=True)
        bad = Step(script.does("bad", FailStep("first")), after=[])

    shop = open_shop(Graph, executor=Recording())
    run_id = shop.start(Graph)
    with shop.runtime.database.write() as connection:
        work = work_queue.work_for(connection, shop.runtime.database, run_id, "step", "charge")
        assert work is not None
        batch = WriteBatch()
        assert shop.runtime.claimer.take(connection, work, [], batch) is not None
        batch.execute(connection)
    assert shop.deliver(run_id, "bad").status == "failed"
    shop.later(TIMEOUT + 1)
    run = shop.look(run_id)
    assert (run.status, error_of(run)["message"], run.current_step) == ("failed", "first", "bad")
    with pytest.raises(TransitionError):
        shop.mesh.retry_step(run_id, actor="lee")
    answer = shop.mesh.resolve_step(run_id, actor="lee")
    assert answer.needs is not None
    assert (answer.status, answer.needs.kind) == ("failed", "failed")


# -- definitions that a process does not know --------------------------------------------------------------------


@pytest.mark.rule("registered-only", "deploy-unknown")
@pytest.mark.parametrize("gone", ["workflow", "step"])
def test_work_that_a_process_does_not_know_is_held_and_goes_on_elsewhere(
    open_shop: OpenShop, script: Script, gone: str
) -> None:
    workflow = charging(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)

    class Other(Workflow):
        name = "other" if gone == "workflow" else "charging"
        place = Manual(Order)
        begin = Step(script.does("begin"))

    older = Shop(shop.url, Other, executor=Recording())
    with older.app.app_context():
        assert drain() == 0
        [dispatch] = older.rows(tables.dispatches)
        assert "knows no step reserve" in dispatch.held
        older.clock.advance(30)
        assert older.deliver(run_id, "reserve").outcome == "too_early"
        older.clock.advance(31)
        assert older.deliver(run_id, "reserve").outcome == "held"
    older.runtime.database.dispose()
    assert (shop.status(run_id), script.calls) == ("pending", [])
    shop.later(130)
    assert shop.status(run_id) == "completed"
    assert shop.rows(tables.dispatches) == []


def test_a_lost_irreversible_step_that_was_held_is_not_repeated(open_shop: OpenShop, script: Script) -> None:
    class Charging(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge"), irreversible=True)

    class Other(Workflow):
        place = Manual(Order)
        begin = Step(script.does("begin"))

    shop = open_shop(Charging)
    run_id = shop.start(Charging)
    claimed(shop)
    older = Shop(shop.url, Other)
    older.clock.advance(TIMEOUT + 1)
    with older.app.app_context():
        assert drain() == 0
    older.runtime.database.dispose()
    shop.later(TIMEOUT + 100)
    assert (shop.status(run_id), script.calls) == ("paused", [])


@pytest.mark.rule("deploy-renamed-workflow")
def test_a_renamed_workflow_goes_on_under_its_alias(open_shop: OpenShop, script: Script) -> None:
    workflow = charging(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)

    class Renamed(Workflow):
        aliases = ("charging",)
        place = Manual(Order)
        reserve = Step(script.does("reserve"))
        charge = Step(script.does("charge"))
        flow = [reserve >> charge]

    open_shop(Renamed)
    drain()
    assert (shop.status(run_id), script.calls) == ("completed", ["reserve", "charge"])


@pytest.mark.rule("deploy-reordered")
def test_a_flow_that_was_reordered_under_a_run_makes_new_visits(open_shop: OpenShop, script: Script) -> None:
    class Ordered(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"))
        settle = Wait(60)
        b = Step(script.does("b"))
        flow = [a >> settle >> b]

    shop = open_shop(Ordered)
    run_id = shop.run(Ordered)

    class Reordered(Workflow):
        name = "ordered"
        place = Manual(Order)
        a = Step(script.does("a"))
        settle = Wait(60)
        b = Step(script.does("b"))
        flow = [b >> settle >> a]

    later = open_shop(Reordered)
    later.clock.advance(61)
    drain()
    assert (later.status(run_id), script.calls) == ("completed", ["a", "a"])
    assert [context.visit for context in script.contexts] == [1, 2]
