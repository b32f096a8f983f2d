from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_squidmesh import (
    Approval,
    Exponential,
    FailStep,
    Fixed,
    Log,
    Manual,
    Pause,
    PayloadError,
    Retry,
    RetryStep,
    Step,
    StepContext,
    Wait,
    Workflow,
)
from flask_squidmesh.runtime import claim_renewal
from flask_squidmesh.runtime.recorder import Recorder
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop, error_of, single

OpenShop = Callable[..., Shop]


def chain(script: Script, length: int) -> type[Workflow]:
    """A workflow of so many steps, one after the other."""
    steps = {f"step_{number}": Step(script.does(f"step_{number}")) for number in range(length)}
    line: Any = steps["step_0"]
    for number in range(1, length):
        line = line >> steps[f"step_{number}"]
    flow = {"flow": [line]} if length > 1 else {}
    return type("Chain", (Workflow,), {"place": Manual(Order), **steps, **flow, "__module__": __name__})


# -- chains ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("in-place")
def test_a_chain_is_performed_in_place_with_one_commit_a_step(open_shop: OpenShop, script: Script) -> None:
    workflow = chain(script, 10)
    shop = open_shop(workflow)
    shop.run(workflow)
    run_id = shop.start(workflow)
    with shop.counted() as counts:
        assert drain() == 1
    claim, look_for_activations = 1, 1
    look_for_steps = 1 if shop.runtime.database.dialect == "sqlite" else 0
    assert counts["commits"] == claim + 10 + look_for_steps + look_for_activations
    assert shop.status(run_id) == "completed"
    assert script.calls[10:] == [f"step_{number}" for number in range(10)]


@pytest.mark.rule("in-place")
def test_a_step_of_a_chain_is_one_statement_on_postgresql(migrated_postgres_url: str, script: Script) -> None:
    def cost(length: int) -> Counter[str]:
        shop = Shop(migrated_postgres_url, workflow := chain(script, length))
        with shop.app.app_context():
            shop.run(workflow)
            shop.start(workflow)
            with shop.counted() as counts:
                drain()
        return counts

    of_ten_steps = cost(12) - cost(2)
    assert of_ten_steps == {"commits": 10, "statements": 10}


@pytest.mark.rule("budget-commits")
def test_a_start_is_one_commit(open_shop: OpenShop, script: Script) -> None:
    workflow = chain(script, 2)
    shop = open_shop(workflow)
    shop.run(workflow)
    with shop.counted() as counts:
        shop.start(workflow)
    assert counts["commits"] == 1


@pytest.mark.rule("in-place-bounded")
def test_a_delivery_stops_after_so_many_steps(open_shop: OpenShop, script: Script) -> None:
    workflow = chain(script, 7)
    shop = open_shop(workflow, delivery_steps=3)
    run_id = shop.start(workflow)
    assert drain() == 3
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("in-place-bounded")
def test_a_delivery_stops_after_so_long(open_shop: OpenShop, script: Script) -> None:
    class Slow(Workflow):
        place = Manual(Order)
        first = Step(script.does("first", lambda ctx: shop.clock.advance(31)))
        second = Step(script.does("second"))
        flow = [first >> second]

    shop = open_shop(Slow)
    run_id = shop.start(Slow)
    assert drain() == 2
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("executor-every-step")
def test_a_queue_that_does_not_continue_is_given_every_step(open_shop: OpenShop, script: Script) -> None:
    queue = Recording()
    workflow = chain(script, 3)
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    for number in range(3):
        assert queue.steps == [f"step_{each}" for each in range(number + 1)]
        delivery = shop.deliver(run_id, f"step_{number}")
        assert (delivery.outcome, delivery.attempt) == ("executed", 1)
    assert delivery.status == "completed"
    assert len(queue.given) == 3


@pytest.mark.rule("executor-every-step")
def test_a_queue_that_continues_is_given_the_first_step_only(open_shop: OpenShop, script: Script) -> None:
    queue = Recording(continues=True)
    workflow = chain(script, 3)
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    assert shop.deliver(run_id, "step_0").status == "completed"
    assert queue.steps == ["step_0"]


@pytest.mark.rule("executor-continue-raises")
def test_an_executor_that_cannot_say_whether_to_continue_loses_no_outcome(open_shop: OpenShop, script: Script) -> None:
    class Broken(Recording):
        def continues(self, run: Any, step: str) -> bool:
            raise RuntimeError("broken")

    queue, workflow = Broken(), chain(script, 2)
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    assert shop.deliver(run_id, "step_0").outcome == "executed"
    assert queue.steps == ["step_0", "step_1"]
    shop.deliver(run_id, "step_1")
    assert script.calls == ["step_0", "step_1"]


@pytest.mark.rule("starting-hand-over-fails", "executor-raises")
def test_a_hand_over_that_fails_fails_no_run(open_shop: OpenShop, script: Script) -> None:
    queue, workflow = Recording(), chain(script, 2)
    shop = open_shop(workflow, executor=queue)
    queue.failing = ConnectionError("the queue is away")
    run_id = shop.start(workflow)
    assert shop.deliver(run_id, "step_0").outcome == "executed"
    [dispatch] = shop.rows(tables.dispatches)
    assert dispatch.hand_over_error == "ConnectionError: the queue is away"
    assert shop.deliver(run_id, "step_1").status == "completed"


# -- deliveries --------------------------------------------------------------------------------------------------


@pytest.mark.rule("perform-malformed")
@pytest.mark.parametrize(
    "payload",
    [
        None,
        "step",
        [],
        {},
        {"kind": "nonsense"},
        {"kind": "step"},
        {"kind": "step", "run_id": "no uuid", "step": "work"},
        {"kind": "step", "run_id": 7, "step": "work"},
        {"kind": "step", "run_id": "01890a5d-ac96-774b-bcce-b302099a8057", "step": ""},
        {"kind": "cron", "workflow": "single"},
        {"kind": "cron", "workflow": "single", "trigger": "nightly", "intended_window": "soon"},
    ],
)
def test_a_malformed_payload_is_refused(migrated_sqlite_url: str, script: Script, payload: Any) -> None:
    shop = Shop(migrated_sqlite_url, single(script))
    with shop.app.app_context(), pytest.raises(PayloadError):
        shop.mesh.perform(payload)
    shop.runtime.database.dispose()


@pytest.mark.rule("perform-returns", "delivery-ended", "delivery-left", "perform-answers")
def test_a_delivery_says_what_it_did(open_shop: OpenShop, script: Script) -> None:
    queue, workflow = Recording(), single(script)
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    assert shop.deliver(str(uuid4()), "work").outcome == "unknown_run"
    assert shop.deliver(run_id, "nothing").outcome == "duplicate"
    done = shop.deliver(run_id, "work")
    assert done.to_dict() == {
        "outcome": "executed",
        "run_id": run_id,
        "step": "work",
        "attempt": 1,
        "status": "completed",
    }
    again = shop.deliver(run_id, "work")
    assert (again.outcome, again.status) == ("duplicate", "completed")
    assert script.calls == ["work"]


@pytest.mark.rule("delivery-paused")
def test_a_delivery_while_a_person_is_asked_does_nothing(open_shop: OpenShop, script: Script) -> None:
    class Pausing(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))
        hold = Pause("Look")
        flow = [work >> hold]

    shop = open_shop(Pausing, executor=Recording())
    run_id = shop.start(Pausing)
    shop.deliver(run_id, "work")
    before = shop.look(run_id)
    for step in ("work", "hold"):
        delivery = shop.deliver(run_id, step)
        assert (delivery.outcome, delivery.status) == ("duplicate", "paused")
    assert (shop.look(run_id), script.calls) == (before, ["work"])


@pytest.mark.rule("delivery-ended")
def test_a_delivery_of_a_cancelled_run_does_nothing(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script)
    shop = open_shop(workflow, executor=Recording())
    run_id = shop.start(workflow)
    shop.mesh.cancel_run(run_id, actor="dana")
    assert shop.deliver(run_id, "work").outcome == "cancelled"
    assert script.calls == []


@pytest.mark.rule("delivery-unknown-run")
def test_a_delivery_before_a_start_has_committed_knows_no_run(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script)
    shop = open_shop(workflow, executor=Recording())
    run = shop.mesh.start_run(workflow, {}, session=shop.db.session)
    if shop.runtime.database.dialect == "postgresql":
        assert shop.deliver(run.id, "work").outcome == "unknown_run"
    shop.db.session.commit()
    assert shop.deliver(run.id, "work").outcome == "executed"


@pytest.mark.rule("delivery-too-early")
def test_a_delivery_that_comes_too_early_is_put_off_for_the_rest_of_the_time(
    open_shop: OpenShop, script: Script
) -> None:
    queue, workflow = Recording(), single(script, RetryStep("busy", after=40), None, retry=Retry(2))
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    assert shop.deliver(run_id, "work").status == "retrying"
    shop.clock.advance(10)
    assert shop.deliver(run_id, "work").outcome == "too_early"
    payload, seconds = queue.given[-1]
    assert payload == {"kind": "step", "run_id": run_id, "step": "work"}
    assert seconds is not None
    assert 15 < seconds <= 30
    shop.clock.advance(31)
    assert shop.deliver(run_id, "work").status == "completed"


def test_a_host_object_with_four_methods_is_asked_again_too(open_shop: OpenShop, script: Script) -> None:
    class Foreign:
        def __init__(self) -> None:
            self.steps: list[tuple[str, float | None]] = []

        def enqueue_step(self, run: Any, step: str, *, schedule_in: float | None) -> dict[str, Any]:
            self.steps.append((step, schedule_in))
            return {}

        def enqueue_steps(self, run: Any, steps: Any, *, schedule_in: float | None) -> list[Any]:
            return [self.enqueue_step(run, step, schedule_in=schedule_in) for step in steps]

        def enqueue_compensation(self, run: Any, *, schedule_in: float | None) -> dict[str, Any]:
            return {}

        def enqueue_cron(self, *_: Any, **__: Any) -> dict[str, Any]:
            return {}

    queue, workflow = Foreign(), single(script, RetryStep("busy", after=40), None, retry=Retry(2))
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    shop.deliver(run_id, "work")
    assert shop.deliver(run_id, "work").outcome == "too_early"
    assert [step for step, _ in queue.steps] == ["work", "work", "work"]


# -- retries -----------------------------------------------------------------------------------------------------


def delay_of(shop: Shop, run_id: str) -> float:
    """Seconds from the end of the last attempt, or else from when the step was entered, until the step is due."""
    visit = (shop.look(run_id).step_runs or ())[-1]
    since = visit.attempts[-1].finished_at if visit.attempts else visit.created_at
    assert visit.due_at is not None
    assert since is not None
    return (visit.due_at - since).total_seconds()


@pytest.mark.rule("retry-exponential")
def test_backoff_doubles_up_to_the_most(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script, OSError("no"), retry=Retry(5, backoff=Exponential(200, 1000)))
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    for delay in (200, 400, 800, 1000):
        assert shop.status(run_id) == "retrying"
        assert delay_of(shop, run_id) == delay
        shop.later(delay - 100)
        calls = len(script.calls)
        shop.later(100)
        assert len(script.calls) == calls + 1
    assert shop.status(run_id) == "failed"
    assert [context.attempt for context in script.contexts] == [1, 2, 3, 4, 5]
    assert len({context.idempotency_key for context in script.contexts}) == 1


@pytest.mark.rule("retry-exponential")
def test_a_retry_without_backoff_follows_at_once(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script, OSError("no"), OSError("no"), {"done": True}, retry=Retry(3))
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    [visit] = shop.look(run_id).step_runs or ()
    assert [attempt.status for attempt in visit.attempts] == ["failed", "failed", "completed"]
    assert shop.look(run_id).last_error is None


def test_a_step_may_say_when_it_is_to_be_tried_again(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script, RetryStep("busy", after=600), None, retry=Retry(2, backoff=Fixed(1)))
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    assert delay_of(shop, run_id) == 600
    shop.later(500)
    assert shop.status(run_id) == "retrying"
    shop.later(100)
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("retry-none")
def test_without_a_policy_nothing_is_tried_again(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script, RetryStep("busy"))
    shop = open_shop(workflow)
    assert shop.status(shop.run(workflow)) == "failed"
    assert script.calls == ["work"]


@pytest.mark.rule("fail-step")
def test_a_final_failure_is_not_tried_again(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script, FailStep("declined", code="declined", details={"limit": 5}), retry=Retry(3))
    shop = open_shop(workflow)
    run = shop.look(shop.run(workflow))
    assert script.calls == ["work"]
    assert run.status == "failed"
    assert {name: error_of(run)[name] for name in ("type", "message", "code", "details", "retryable")} == {
        "type": "FailStep",
        "message": "declined",
        "code": "declined",
        "details": {"limit": 5},
        "retryable": False,
    }
    assert (run.needs.kind if run.needs else None, run.current_step) == ("failed", "work")


@pytest.mark.rule("retry-on")
def test_a_policy_that_names_exceptions_retries_only_those(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script, TimeoutError("slow"), ValueError("bad"), retry=Retry(5, on=(TimeoutError,)))
    shop = open_shop(workflow)
    assert shop.status(shop.run(workflow)) == "failed"
    assert script.calls == ["work", "work"]


@pytest.mark.rule("incident-not-begun")
def test_a_missing_input_blocks_the_step_before_the_call(open_shop: OpenShop, script: Script) -> None:
    called = []

    def work(reservation: str, amount: int) -> None:
        called.append(reservation)

    class Binding(Workflow):
        place = Manual(Order)
        first = Step(script.does("first", {"amount": "many"}))
        work_ = Step(work, retry=Retry(3))
        flow = [first >> work_]

    shop = open_shop(Binding)
    run = shop.look(shop.run(Binding))
    assert called == []
    assert (run.status, run.needs.kind if run.needs else None) == ("paused", "incident")
    assert error_of(run)["type"] == "InputError"
    assert sorted(error_of(run)["details"]["validation_errors"]) == ["amount", "reservation"]


@pytest.mark.rule("output-json")
@pytest.mark.parametrize("output", [{"at": object()}, {"rate": float("nan")}, {"text": "a\0b"}, {"text": "\ud800"}])
def test_what_json_cannot_hold_fails_the_step_at_once(open_shop: OpenShop, script: Script, output: Any) -> None:
    workflow = single(script, output, retry=Retry(3))
    shop = open_shop(workflow)
    run = shop.look(shop.run(workflow))
    assert run.status == "failed"
    assert error_of(run)["type"] == "OutputError"
    assert script.calls == ["work"]


@pytest.mark.rule("output-kinds")
@pytest.mark.parametrize("output", ["text", 7, ["a"]])
def test_what_is_no_mapping_fails_the_step(open_shop: OpenShop, script: Script, output: Any) -> None:
    workflow = single(script, output)
    shop = open_shop(workflow)
    assert shop.look(shop.run(workflow)).status == "failed"


@pytest.mark.rule("output-limit")
def test_an_output_that_is_too_large_fails_the_step(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script, {"text": "x" * 1000})
    shop = open_shop(workflow, max_payload_bytes=500)
    run = shop.look(shop.run(workflow))
    assert "SQUIDMESH_MAX_PAYLOAD_BYTES" in error_of(run)["message"]


@pytest.mark.rule("output-limit")
def test_an_output_of_just_the_limit_is_kept(open_shop: OpenShop, script: Script) -> None:
    output = {"text": "x" * 500}
    workflow = single(script, output)
    shop = open_shop(workflow, max_payload_bytes=len(json.dumps(output)))
    assert shop.status(shop.run(workflow)) == "completed"


class Unprintable(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    @property
    def code(self) -> str:
        raise RuntimeError("no code")


@pytest.mark.rule("errors-any-exception")
@pytest.mark.parametrize(
    "exception",
    [
        ValueError("a\0b"),
        ValueError("lone \ud800 surrogate"),
        ValueError("x" * 100_000),
        FailStep("no", code="a\0b", details={"a": "\0"}),
        FailStep("no", details={"a": object()}),
        Unprintable(),
        asyncio.CancelledError(),
        ExceptionGroup("many", [ValueError("\0")]),
    ],
)
def test_every_exception_can_be_stored(open_shop: OpenShop, script: Script, exception: BaseException) -> None:
    workflow = single(script, exception)
    shop = open_shop(workflow)
    run = shop.look(shop.run(workflow))
    assert run.status == "failed"
    assert error_of(run)["type"] == type(exception).__name__


@pytest.mark.rule("step-async")
def test_coroutine_functions_are_steps_too(open_shop: OpenShop) -> None:
    async def work(order_id: str) -> dict[str, str]:
        await asyncio.sleep(0)
        return {"seen": order_id}

    class Waiting(Workflow):
        place = Manual(Order)
        work_ = Step(work)

    shop = open_shop(Waiting)
    run = shop.mesh.inspect_run(shop.run(Waiting))
    assert run.status == "completed", run.last_error


@pytest.mark.rule("retry-stored")
def test_the_retry_policy_stored_with_the_visit_holds_after_a_deploy(
    open_shop: OpenShop, migrated_url: str, script: Script
) -> None:
    class Paying(Workflow):
        place = Manual(Order)
        work = Step(script.does("work", OSError("no")), retry=Retry(3, backoff=Fixed(60)))

    shop = open_shop(Paying)
    run_id = shop.run(Paying)

    class Deployed(Workflow):
        name = "paying"
        place = Manual(Order)
        work = Step(script.does("work", OSError("no")))

    later = open_shop(Deployed)
    for _ in range(2):
        later.clock.advance(61)
        drain()
    assert shop.status(run_id) == "failed"
    assert len(script.calls) == 3


# -- routes ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("error-route-failure")
def test_an_error_route_is_told_the_error(open_shop: OpenShop, script: Script) -> None:
    class Routed(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge", FailStep("declined", code="declined")), retry=Retry(3))
        tell = Step(script.does("tell"))
        flow = [charge.on_error >> tell]

    shop = open_shop(Routed)
    run_id = shop.run(Routed)
    run = shop.look(run_id)
    assert (run.status, run.last_error, run.needs) == ("completed", None, None)
    failure = script.contexts[-1].failure
    assert failure is not None
    assert (failure["message"], failure["code"]) == ("declined", "declined")
    assert shop.visits(run_id) == [("charge", "failed"), ("tell", "completed")]
    assert shop.events(run_id) == []


@pytest.mark.rule("error-route-marker")
@pytest.mark.parametrize(("recovery", "event"), [("compensation", "compensation_routed"), ("undo", "undo_routed")])
def test_a_recovery_marker_is_audited_and_undoes_nothing(
    open_shop: OpenShop, script: Script, recovery: Any, event: str
) -> None:
    class Marked(Workflow):
        place = Manual(Order)
        reserve = Step(script.does("reserve"), compensate=script.does("release"))
        charge = Step(script.does("charge", FailStep("declined")))
        credit = Step(script.does("credit"))
        flow = [reserve >> charge, charge.on_error(recovery=recovery) >> credit]

    shop = open_shop(Marked)
    run = shop.look(run_id := shop.run(Marked))
    assert script.calls == ["reserve", "charge", "credit"]
    [audited] = run.audit_events or ()
    assert (audited.type, audited.step, audited.metadata) == (event, "charge", {"target": "credit"})
    [row] = shop.rows(tables.step_runs, tables.step_runs.c.step == "charge")
    assert row.recovery == recovery
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("error-route-failure")
def test_a_step_after_the_error_route_is_not_told_the_error(open_shop: OpenShop, script: Script) -> None:
    class Routed(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge", FailStep("declined")))
        tell = Step(script.does("tell"))
        close = Step(script.does("close"))
        flow = [charge.on_error >> tell, tell >> close]

    shop = open_shop(Routed)
    shop.run(Routed)
    assert script.contexts[-1].failure is None


def branching(script: Script, output: Any) -> type[Workflow]:
    class Branching(Workflow):
        place = Manual(Order)
        classify = Step(script.does("classify", output))
        automatic = Step(script.does("automatic"))
        expensive = Step(script.does("expensive"))
        by_hand = Step(script.does("by_hand"))
        flow = [
            classify.when("routing.decision", equals="auto") >> automatic,
            classify.when("amount", greater_than=100) >> expensive,
            classify >> by_hand,
        ]

    return Branching


@pytest.mark.rule("when-first")
@pytest.mark.parametrize(
    ("output", "payload", "taken"),
    [
        ({"routing": {"decision": "auto"}}, {"amount": 500}, "automatic"),
        ({"routing": {"decision": "other"}}, {"amount": 500}, "expensive"),
        ({"amount": "100.01"}, {}, "expensive"),
        ({"amount": 100}, {"amount": 500}, "by_hand"),
        ({}, {}, "by_hand"),
    ],
)
def test_the_first_condition_that_holds_is_taken(
    open_shop: OpenShop, script: Script, output: Any, payload: Any, taken: str
) -> None:
    workflow = branching(script, output)
    shop = open_shop(workflow)
    shop.run(workflow, payload)
    assert script.calls == ["classify", taken]


@pytest.mark.rule("when-incomparable")
def test_values_that_cannot_be_compared_fail_the_run(open_shop: OpenShop, script: Script) -> None:
    workflow = branching(script, {"amount": "many"})
    shop = open_shop(workflow)
    run = shop.look(run_id := shop.run(workflow))
    assert run.status == "failed"
    assert error_of(run)["type"] == "ConditionError"
    assert shop.visits(run_id) == [("classify", "completed")]


@pytest.mark.rule("when-nothing-holds")
def test_a_run_fails_where_no_condition_holds_and_there_is_no_fallback(open_shop: OpenShop, script: Script) -> None:
    class Narrow(Workflow):
        place = Manual(Order)
        classify = Step(script.does("classify"))
        automatic = Step(script.does("automatic"))
        flow = [classify.when("routing", equals="auto") >> automatic]

    shop = open_shop(Narrow)
    run = shop.look(shop.run(Narrow))
    assert run.status == "failed"
    assert error_of(run)["code"] == "no_matching_transition"


# -- loops -------------------------------------------------------------------------------------------------------


def rework(script: Script, most: int = 100) -> type[Workflow]:
    class Rework(Workflow):
        max_visits = most
        place = Manual(Order)
        draft = Step(script.does("draft", lambda ctx: {"text": f"v{ctx.visit}"}))
        review = Approval("Publish {text}?", output="review")
        publish = Step(script.does("publish", lambda ctx: {"published": ctx.state["text"]}))
        flow = [draft >> review >> publish, review.on_reject >> draft]

    return Rework


@pytest.mark.rule("visits")
def test_every_entry_into_a_step_is_a_visit_of_its_own(open_shop: OpenShop, script: Script) -> None:
    workflow = rework(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    for number in (1, 2):
        assert shop.look(run_id).decision == f"review#{number}"
        shop.mesh.reject_run(run_id, actor="lee")
        drain()
    shop.mesh.approve_run(run_id, actor="lee")
    drain()
    run = shop.look(run_id)
    assert run.status == "completed"
    assert [(row.step, row.visit) for row in run.step_runs or ()] == [
        *(("draft", 1), ("review", 1), ("draft", 2), ("review", 2), ("draft", 3), ("review", 3)),
        ("publish", 1),
    ]
    assert len({context.idempotency_key for context in script.contexts}) == 4
    [*_, publish] = run.step_runs or ()
    assert publish.output == {"published": "v3"}


@pytest.mark.rule("loops-bounded")
def test_a_loop_ends_after_max_visits(open_shop: OpenShop, script: Script) -> None:
    workflow = rework(script, most=2)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    for _ in range(2):
        shop.mesh.reject_run(run_id, actor="lee")
        drain()
    run = shop.look(run_id)
    assert run.status == "failed"
    assert (error_of(run)["type"], run.current_step) == ("MaxVisitsExceeded", "draft")


# -- built-in steps ----------------------------------------------------------------------------------------------


@pytest.mark.rule("wait")
def test_a_wait_holds_the_next_step_back(open_shop: OpenShop, script: Script) -> None:
    class Waiting(Workflow):
        place = Manual(Order)
        settle = Wait(timedelta(minutes=5))
        work = Step(script.does("work"))
        flow = [settle >> work]

    shop = open_shop(Waiting)
    run_id = shop.run(Waiting)
    assert delay_of(shop, run_id) == 300
    shop.later(200)
    assert script.calls == []
    shop.later(100)
    assert (script.calls, shop.status(run_id)) == (["work"], "completed")


@pytest.mark.rule("dispatch-delay", "wait-not-by-output")
def test_a_wait_is_handed_over_with_its_delay(open_shop: OpenShop, script: Script) -> None:
    class Waiting(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))
        settle = Wait(60)
        flow = [work >> settle]

    queue = Recording()
    shop = open_shop(Waiting, executor=queue)
    run_id = shop.start(Waiting)
    shop.deliver(run_id, "work")
    payload, seconds = queue.given[-1]
    assert payload["step"] == "settle"
    assert seconds is not None
    assert 30 < seconds <= 60


@pytest.mark.rule("log-step")
def test_a_log_step_writes_its_message(open_shop: OpenShop, script: Script, caplog: pytest.LogCaptureFixture) -> None:
    class Logging(Workflow):
        place = Manual(Order)
        tell = Log("Order {order_id} of {amount}", level="warning")

    shop = open_shop(Logging)
    with caplog.at_level("INFO", "flask_squidmesh.steps"):
        shop.run(Logging, {"order_id": "o-9"})
    [record] = [each for each in caplog.records if each.name == "flask_squidmesh.steps"]
    assert (record.levelname, record.getMessage()) == ("WARNING", "Order o-9 of 5")


# -- what a step is told -----------------------------------------------------------------------------------------


@pytest.mark.rule("ctx")
def test_a_step_is_told_about_its_run(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script, lambda ctx: {"state": dict(ctx.state)})
    shop = open_shop(workflow)
    run_id = shop.run(workflow, {"order_id": "o-3"}, actor={"name": "dana"})
    [context] = script.contexts
    assert (context.run_id, context.workflow, context.step, context.visit) == (run_id, "single", "work", 1)
    assert (context.actor, context.failure, context.lost) == ({"name": "dana"}, None, False)
    [visit] = shop.look(run_id).step_runs or ()
    assert visit.output == {"state": {"order_id": "o-3", "amount": 5}}


@pytest.mark.rule("output-merged")
def test_the_newest_output_wins_and_payloads_stay(open_shop: OpenShop, script: Script) -> None:
    class Merging(Workflow):
        place = Manual(Order)
        first = Step(script.does("first", {"amount": 6, "a": 1}))
        second = Step(script.does("second", {"amount": 7}))
        under = Step(script.does("under", {"amount": 8}), output="under")
        last = Step(script.does("last", lambda ctx: {"seen": dict(ctx.state)}))
        flow = [first >> second >> under >> last]

    shop = open_shop(Merging, delivery_steps=2)
    run = shop.look(shop.run(Merging))
    [*_, last] = run.step_runs or ()
    assert last.output == {"seen": {"order_id": "o-1", "amount": 7, "a": 1, "under": {"amount": 8}}}
    assert run.payload == {"order_id": "o-1", "amount": 5}


@pytest.mark.rule("state-fixed", "retry-same-state")
def test_a_retried_step_sees_the_same_state_again(open_shop: OpenShop) -> None:
    seen = []

    def work(ctx: StepContext, amount: int) -> None:
        seen.append((amount, ctx.idempotency_key))
        raise RetryStep("again")

    class Retrying(Workflow):
        place = Manual(Order)
        first = Step(lambda: {"amount": 6})
        work_ = Step(work, retry=Retry(3, backoff=Fixed(5)))
        flow = [first >> work_]

    shop = open_shop(Retrying)
    run_id = shop.run(Retrying)
    shop.later(5)
    shop.later(5)
    assert len(seen) == 3
    assert len(set(seen)) == 1
    [*_, visit] = shop.look(run_id).step_runs or ()
    assert visit.input == {"amount": 6}


@pytest.mark.rule("decision-pauses")
def test_a_pause_in_a_chain_ends_the_delivery(open_shop: OpenShop, script: Script) -> None:
    class Pausing(Workflow):
        place = Manual(Order)
        first = Step(script.does("first"))
        hold = Pause("Go on with {order_id}?")
        last = Step(script.does("last"))
        flow = [first >> hold >> last]

    shop = open_shop(Pausing)
    run_id = shop.run(Pausing)
    assert shop.status(run_id) == "paused"
    shop.mesh.unblock_run(run_id)
    drain()
    assert script.calls == ["first", "last"]


@pytest.mark.rule("step-own-session")
def test_steps_have_a_database_session_of_their_own(open_shop: OpenShop, script: Script) -> None:
    sessions = []
    workflow = single(script, lambda ctx: sessions.append(shop.db.session()))
    shop: Shop = open_shop(workflow)
    mine = shop.db.session()
    shop.run(workflow)
    assert sessions[0] is not mine


@pytest.mark.rule("wait", "wait-join")
def test_a_run_that_ends_with_a_wait_completes_after_it(open_shop: OpenShop, script: Script) -> None:
    class Resting(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))
        rest = Wait(60)
        flow = [work >> rest]

    shop = open_shop(Resting)
    run_id = shop.run(Resting)
    shop.later(30)
    assert shop.status(run_id) == "running"
    shop.later(30)
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("worker-shutdown")
def test_a_shutdown_in_the_middle_of_a_step_frees_the_step_at_once(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script, KeyboardInterrupt(), None)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    with pytest.raises(KeyboardInterrupt):
        shop.deliver(run_id, "work")
    [claim] = shop.claim_due(take_over=True)
    assert (claim.visit.step, claim.visit.attempts) == ("work", 2)
    assert shop.events(run_id) == ["abandoned"]
    assert shop.perform(claim) == "completed"


@pytest.mark.rule("outage-waits")
def test_an_outcome_is_recorded_once_the_database_is_back(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = single(script)
    shop = open_shop(workflow)
    away = [sa.exc.OperationalError("COMMIT", {}, OSError("gone")) for _ in range(2)]
    record = Recorder.record

    def patient(*given: Any, **more: Any) -> Any:
        if away:
            raise away.pop()
        return record(*given, **more)

    monkeypatch.setattr(Recorder, "record", patient)
    monkeypatch.setattr(claim_renewal, "FIRST_PAUSE_SECONDS", 0.01)
    assert shop.status(shop.run(workflow)) == "completed"
    assert script.calls == ["work"]


@pytest.mark.rule("executor-savepoint")
def test_an_executor_that_fails_within_the_transaction_spoils_nothing(open_shop: OpenShop, script: Script) -> None:
    class Spoiling(Recording):
        def enqueue_in(self, connection: sa.Connection, payload: Any, *, schedule_in: float | None) -> dict[str, Any]:
            connection.execute(sa.text("SELECT * FROM no_such_table"))
            return {}

    queue, workflow = Spoiling(), single(script)
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    assert queue.steps == ["work"]
    assert shop.deliver(run_id, "work").status == "completed"


@pytest.mark.rule("step-outside-transaction")
def test_a_step_runs_outside_every_transaction(open_shop: OpenShop, script: Script) -> None:
    def connections(_: StepContext) -> dict[str, int]:
        pool: Any = shop.runtime.database.engine.pool
        return {"open": pool.checkedout()}

    workflow = single(script, connections)
    shop: Shop = open_shop(workflow)
    assert shop.look(shop.run(workflow)).context == {"open": 0}


@pytest.mark.rule("retry-status")
def test_success_after_a_retry_clears_the_error(open_shop: OpenShop, script: Script) -> None:
    class Recovering(Workflow):
        place = Manual(Order)
        work = Step(script.does("work", RetryStep("busy", after=60), None), retry=Retry(2))
        hold = Pause()
        flow = [work >> hold]

    shop = open_shop(Recovering)
    run_id = shop.run(Recovering)
    run = shop.look(run_id)
    assert (run.status, run.current_step, error_of(run)["message"]) == ("retrying", "work", "busy")
    shop.later(61)
    run = shop.look(run_id)
    assert (run.status, run.last_error) == ("paused", None)


@pytest.mark.rule("delivery-completed", "attempts-numbered")
def test_attempts_are_numbered_from_one_and_a_completed_step_is_not_repeated(
    open_shop: OpenShop, script: Script
) -> None:
    workflow = single(script, OSError("1"), OSError("2"), None, retry=Retry(5))
    shop = open_shop(workflow, executor=Recording())
    run_id = shop.start(workflow)
    outcomes = [shop.deliver(run_id, "work").outcome for _ in range(6)]
    assert outcomes == ["executed"] * 3 + ["duplicate"] * 3
    [visit] = shop.look(run_id).step_runs or ()
    assert [(each.attempt_number, each.status) for each in visit.attempts] == [
        *((1, "failed"), (2, "failed"), (3, "completed")),
    ]
    assert script.calls == ["work"] * 3


def test_an_app_that_is_gone_is_not_kept_for_the_functions_of_its_steps(
    migrated_url: str, eventually: Callable[..., Any]
) -> None:
    def performed() -> weakref.ref[Flask]:
        def work(ctx: StepContext) -> dict[str, object]:
            seen.append(ctx)
            return {}

        seen: list[StepContext] = []
        workflow = single(Script(), work)
        shop = Shop(migrated_url, workflow, claim_timeout=1)
        with shop.app.app_context():
            shop.run(workflow)
        shop.runtime.database.dispose()
        assert seen
        return weakref.ref(shop.app)

    kept = performed()
    eventually(lambda: gc.collect() and kept() is None)
