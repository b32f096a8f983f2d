"""Two at once on two real connections: one wins, the other is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from flask_squidmesh import (
    Approval,
    ConflictError,
    Deadline,
    Manual,
    Retry,
    RetryStep,
    Step,
    StepContext,
    TransitionError,
    Workflow,
)
from flask_squidmesh.engine.changes import Changes
from flask_squidmesh.engine.decide import decide
from flask_squidmesh.engine.facts import AttemptFailed, DecisionState, Fact
from flask_squidmesh.runtime import recorder
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.expense import HOUR, expense
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]


def reviewing(script: Script) -> type[Workflow]:
    class Reviewing(Workflow):
        place = Manual(Order)
        review = Approval("Capture?")
        capture = Step(script.does("capture"))
        decline = Step(script.does("decline"))
        flow = [review >> capture, review.on_reject >> decline]

    return Reviewing


def at_once(shop: Shop, *calls: Callable[[], Any]) -> list[Any]:
    """Make the calls in threads of their own, at one moment; answer what each returned or raised."""
    barrier = threading.Barrier(len(calls))
    answers: list[Any] = [None] * len(calls)

    def make(number: int, call: Callable[[], Any]) -> None:
        with shop.app.app_context():
            barrier.wait(120)
            try:
                answers[number] = call()
            except Exception as error:
                answers[number] = error

    threads = [threading.Thread(target=make, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return answers


def alone(_: Shop, call: Callable[..., Any], *arguments: Any, **said: Any) -> Callable[[], Any]:
    """The call in a transaction of its own."""
    return partial(call, *arguments, **said)


def joined(shop: Shop, call: Callable[..., Any], *arguments: Any, **said: Any) -> Callable[[], Any]:
    """The call in the host's session, and its commit."""

    def act() -> Any:
        answer = call(*arguments, session=shop.db.session, **said)
        shop.db.session.commit()
        return answer

    return act


@pytest.mark.rule("decision-at-once")
@pytest.mark.parametrize("in_session", [False, True])
@pytest.mark.parametrize("rival", ["approve_run", "reject_run", "cancel_run"])
def test_of_two_decisions_one_wins_and_the_other_is_told(
    open_shop: OpenShop, script: Script, rival: str, in_session: bool
) -> None:
    workflow = reviewing(script)
    shop = open_shop(workflow)
    for _ in range(3):
        run_id = shop.run(workflow)
        calls = [
            (joined if in_session else alone)(shop, call, run_id, actor="lee", expected="review#1")
            for call in (shop.mesh.approve_run, getattr(shop.mesh, rival))
        ]
        answers = at_once(shop, *calls)
        lost = [answer for answer in answers if isinstance(answer, Exception)]
        decided = [event for event in shop.events(run_id) if event != "paused"]
        if rival == "cancel_run" and not lost:
            assert decided == ["approved", "cancelled"]
        else:
            assert len(lost) == 1, answers
            assert isinstance(lost[0], ConflictError), lost
            assert len(decided) == 1
    drain()
    assert all(script.calls.count(step) <= 3 for step in ("capture", "decline"))


@pytest.mark.rule("call-key-once")
def test_of_two_calls_with_one_key_one_acts_and_both_are_answered(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    first, second = at_once(shop, *[partial(shop.mesh.approve_run, run_id, actor="lee", idempotency_key="k")] * 2)
    assert first == second
    assert shop.events(run_id) == ["paused", "approved"]


@pytest.mark.rule("delivery-two-at-once")
def test_of_two_workers_one_gets_the_step(open_shop: OpenShop, script: Script) -> None:
    class Working(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))

    shop = open_shop(Working)
    for _ in range(3):
        shop.start(Working)
        claims = at_once(shop, *[partial(shop.runtime.claimer.claim_due, "squidmesh", limit=1)] * 2)
        assert sorted(map(len, claims)) == [0, 1]
        for claim in [*claims[0], *claims[1]]:
            shop.perform(claim)


@pytest.mark.rule("delivery-two-at-once")
def test_of_two_deliveries_one_is_executed(open_shop: OpenShop, script: Script) -> None:
    class Working(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))

    shop = open_shop(Working, executor=Recording())
    for number in range(1, 4):
        run_id = shop.start(Working)
        deliveries = at_once(shop, *[partial(shop.deliver, run_id, "work")] * 2)
        outcomes = sorted(each.outcome for each in deliveries)
        assert outcomes[0] in ("duplicate", "executed")
        assert "executed" in outcomes
        assert outcomes in (["duplicate", "executed"], ["executed", "too_early"])
        assert len(script.calls) == number


@pytest.mark.rule("depending-join")
def test_siblings_that_end_at_once_open_their_join_once(open_shop: OpenShop, script: Script) -> None:
    barrier = threading.Barrier(2)

    def meet(_: StepContext) -> None:
        barrier.wait(120)

    class Joining(Workflow):
        place = Manual(Order)
        left = Step(script.does("left", meet), after=[])
        right = Step(script.does("right", meet), after=[])
        join = Step(script.does("join"), after=[left, right])

    shop = open_shop(Joining, executor=Recording())
    for number in range(1, 4):
        run_id = shop.start(Joining)
        deliveries = at_once(shop, *[partial(shop.deliver, run_id, step) for step in ("left", "right")])
        assert [each.outcome for each in deliveries] == ["executed", "executed"]
        assert shop.deliver(run_id, "join").status == "completed"
        assert script.calls.count("join") == number


def test_a_late_refusal_is_a_transition_error_without_a_token(open_shop: OpenShop, script: Script) -> None:
    workflow = reviewing(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    answers = at_once(
        shop,
        lambda: shop.mesh.approve_run(run_id, actor="lee"),
        lambda: shop.mesh.reject_run(run_id, actor="dana"),
    )
    assert [type(answer) for answer in answers].count(TransitionError) == 1


@pytest.mark.rule("decided-on-facts")
def test_a_run_that_was_read_for_an_outcome_is_moved_by_nobody_until_that_is_written(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fanning(Workflow):
        place = Manual(Order)
        bad = Step(script.does("bad", RetryStep("busy"), None), retry=Retry(2), after=[])
        good = Step(script.does("good"), after=[])

    shop = open_shop(Fanning)
    run_id = shop.start(Fanning)
    claims = {claim.visit.step: claim for claim in shop.claim_due(limit=2)}
    beside: list[threading.Thread] = []

    def perform_beside() -> None:
        with shop.app.app_context():
            shop.perform(claims["good"])

    def decide_slowly(state: DecisionState, fact: Fact) -> Changes:
        if isinstance(fact, AttemptFailed) and not beside:
            beside.append(threading.Thread(target=perform_beside))
            beside[0].start()
            beside[0].join(2)
        return decide(state, fact)

    monkeypatch.setattr(recorder, "decide", decide_slowly)
    shop.perform(claims["bad"])
    beside[0].join(120)
    drain()
    assert shop.status(run_id) == "completed"
    assert sorted(script.calls) == ["bad", "bad", "good"]


def late(open_shop: OpenShop, script: Script, hours: float, **options: Any) -> tuple[Shop, str]:
    """A run at its review, so many hours later, with what is due there still to be done."""
    shop = open_shop(expense(script, **options))
    run_id = shop.run("reimburse", actor="dana")
    shop.clock.advance(hours * HOUR)
    return shop, run_id


def ended(shop: Shop, run_id: str) -> list[str]:
    """How the run's first visit to its review ended, by the events that say so."""
    return [event for event in shop.events(run_id) if event in ("decided", "approved", "rejected", "timed_out")]


@pytest.mark.rule("timers-at-once")
@pytest.mark.parametrize("in_session", [False, True])
def test_of_a_decision_and_a_time_out_one_ends_the_wait(open_shop: OpenShop, script: Script, in_session: bool) -> None:
    winners = []
    for _ in range(4):
        shop, run_id = late(open_shop, script, 48, remind=(), escalate=())
        decide = partial(shop.mesh.decide_run, actor="mia", expected="review#1")
        call = (joined if in_session else alone)(shop, decide, run_id, "approve")
        answer, _ = at_once(shop, call, shop.runtime.internal_work.perform_due)
        drain()
        events = ended(shop, run_id)
        assert len(events) == 1, events
        if events == ["timed_out"]:
            assert isinstance(answer, ConflictError)
            assert answer.current["last_event"]["actor"] == "the deadline"
        else:
            assert not isinstance(answer, Exception)
        winners += events
        assert script.calls[-1] == ("park" if events == ["timed_out"] else "pay")
        assert shop.status(run_id) == "completed"
    assert winners


@pytest.mark.rule("timers-at-once")
@pytest.mark.parametrize("first", ["person", "deadline"])
def test_whoever_holds_the_run_first_ends_the_wait(open_shop: OpenShop, script: Script, first: str) -> None:
    shop, run_id = late(open_shop, script, 48, remind=(), escalate=())
    holding, let_go = threading.Event(), threading.Event()

    def hold() -> Any:
        if first == "person":
            answer = shop.mesh.decide_run(run_id, "approve", actor="mia", session=shop.db.session)
            holding.set()
            let_go.wait(120)
            shop.db.session.commit()
            return answer
        done = shop.runtime.internal_work.perform_due()
        holding.set()
        return done

    def come_second() -> Any:
        holding.wait(120)
        try:
            if first == "person" and shop.runtime.database.dialect == "postgresql":
                return shop.runtime.internal_work.perform_due()
            return first == "deadline" and shop.mesh.decide_run(run_id, "approve", actor="mia")
        finally:
            let_go.set()

    one, two = at_once(shop, hold, come_second)
    assert not isinstance(one, Exception), one
    assert isinstance(two, TransitionError) if first == "deadline" else not two
    drain()
    assert ended(shop, run_id) == (["decided"] if first == "person" else ["timed_out"])


@pytest.mark.rule("assigning-at-once")
def test_of_an_assignment_and_a_decision_both_stand_or_the_wait_has_ended(open_shop: OpenShop, script: Script) -> None:
    for _ in range(4):
        shop, run_id = late(open_shop, script, 0)
        assigned, decided = at_once(
            shop,
            partial(shop.mesh.assign_run, run_id, to="lee", expected_assignee="mia", actor="lee"),
            partial(shop.mesh.decide_run, run_id, "approve", actor="mia", expected="review#1"),
        )
        assert not isinstance(decided, Exception)
        events = [event for event in shop.events(run_id) if event != "paused"]
        if isinstance(assigned, Exception):
            assert isinstance(assigned, TransitionError)
            assert events == ["decided"]
        else:
            assert events == ["assigned", "decided"]
        drain()
        assert shop.status(run_id) == "completed"


@pytest.mark.rule("assigning-at-once")
def test_of_an_escalation_and_an_assignment_the_second_is_told_of_the_first(
    open_shop: OpenShop, script: Script
) -> None:
    for _ in range(4):
        shop, run_id = late(open_shop, script, 36, remind=())
        assigned, _ = at_once(
            shop,
            partial(shop.mesh.assign_run, run_id, to="lee", expected_assignee="mia", actor="lee"),
            shop.runtime.internal_work.perform_due,
        )
        drain()
        events = [event for event in shop.events(run_id) if event != "paused"]
        [wait] = shop.rows(tables.waits, tables.waits.c.run_id == run_id)
        assert wait.assignee == "hans"
        if isinstance(assigned, Exception):
            assert isinstance(assigned, ConflictError)
            assert assigned.current == {"assignee": "hans"}
            assert events == ["escalated"]
        else:
            assert events == ["assigned", "escalated"]


@pytest.mark.rule("deadline-at-once")
@pytest.mark.parametrize("cancel", [False, True])
def test_of_a_runs_deadline_and_its_completion_one_ends_it(open_shop: OpenShop, script: Script, cancel: bool) -> None:
    class Working(Workflow, deadline=Deadline(HOUR, cancel=cancel)):
        place = Manual(Order)
        work = Step(script.does("work"))

    shop = open_shop(Working, claim_timeout=9_000)
    for _ in range(4):
        run_id = shop.start(Working)
        [claim] = shop.claim_due()
        shop.clock.advance(HOUR)
        at_once(shop, partial(shop.perform, claim), shop.runtime.internal_work.perform_due)
        drain()
        passed = "deadline_passed" in shop.events(run_id)
        assert shop.status(run_id) == (("cancelled" if cancel else "failed") if passed else "completed")
        assert [row for row in shop.rows(tables.dispatches) if row.run_id == run_id] == []


@pytest.mark.rule("timers-once")
def test_two_processes_perform_each_timer_once(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(expense(script))
    other = open_shop(expense(script), clock=shop.clock)
    ids = [shop.run("reimburse", actor="dana") for _ in range(12)]
    for hours in (24, 12, 12):
        shop.clock.advance(hours * HOUR)
        calls = [each.runtime.internal_work.perform_due for each in (shop, other, shop, other)]
        assert not [each for each in at_once(shop, *calls) if isinstance(each, Exception)]
        drain()
    for run_id in ids:
        assert shop.events(run_id) == ["paused", "reminded", "escalated", "timed_out"]
    assert script.calls.count("park") == len(ids)
