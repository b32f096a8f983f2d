from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest

from flask_squidmesh import FailStep, Manual, Step, Wait, Workflow
from flask_squidmesh.storage import tables
from tests.shop import Order, Recording, Script, Shop, single

OpenShop = Callable[..., Shop]
# By so much a process's clock may be behind the database's.
MOMENT = timedelta(seconds=1)


@pytest.mark.rule("relay-untaken")
def test_what_nobody_takes_is_handed_over_again_less_and_less_often(open_shop: OpenShop, script: Script) -> None:
    queue, workflow = Recording(), single(script)
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    assert shop.relay() == 0
    times = []
    for minute in range(1, 40):
        shop.clock.advance(60)
        if shop.relay():
            times.append(minute)
    assert times[0] <= 2
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[-1] >= 8
    assert len(queue.given) == 1 + len(times)
    assert all(payload == {"kind": "step", "run_id": run_id, "step": "work"} for payload, _ in queue.given)
    assert shop.deliver(run_id, "work").status == "completed"
    assert shop.relay() == 0


@pytest.mark.rule("starting-hand-over-fails", "relay-failed", "retry-hand-over-fails")
def test_a_failed_hand_over_is_made_again_soon(open_shop: OpenShop, script: Script) -> None:
    queue, workflow = Recording(), single(script)
    shop = open_shop(workflow, executor=queue)
    queue.failing = ConnectionError("a\0way")
    shop.start(workflow)
    shop.clock.advance(3)
    assert shop.relay() == 0
    shop.clock.advance(8)
    assert shop.relay() == 1
    shop.clock.advance(12)
    assert shop.relay() == 0
    queue.failing = None
    shop.clock.advance(60)
    assert shop.relay() == 1
    assert queue.steps == ["work"]


@pytest.mark.rule("relay-untaken", "relay-failed")
@pytest.mark.parametrize(
    ("failing", "intervals"),
    [
        (None, [60, 120, 240, 480, 960, 1920, 3600, 3600]),
        (ConnectionError("away"), [20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]),
    ],
    ids=["nobody takes it", "the executor is away"],
)
def test_intervals_double_up_to_an_hour(
    open_shop: OpenShop, script: Script, failing: Exception | None, intervals: list[int]
) -> None:
    queue, workflow = Recording(), single(script)
    queue.failing = failing
    shop = open_shop(workflow, executor=queue)
    shop.start(workflow)
    waited = 60
    for interval in intervals:
        shop.clock.advance(waited)
        earliest = shop.runtime.clock.now()
        assert shop.relay() == 1
        latest = shop.runtime.clock.now()
        [dispatch] = shop.rows(tables.dispatches)
        expected = timedelta(seconds=interval)
        assert earliest + expected - MOMENT <= dispatch.relay_at <= latest + expected + MOMENT
        waited = interval


@pytest.mark.rule("relay-failed", "executor-raises")
def test_a_failed_hand_over_of_one_step_leaves_the_others_alone(open_shop: OpenShop, script: Script) -> None:
    class Fan(Workflow):
        place = Manual(Order)
        settle = Wait(3600, after=[])
        a = Step(script.does("a"), after=[])
        b = Step(script.does("b"), after=[a])

    queue = Recording()
    shop = open_shop(Fan, executor=queue)
    run_id = shop.start(Fan)
    queue.failing = ConnectionError("away")
    shop.deliver(run_id, "a")
    errors = {row.hand_over_error for row in shop.rows(tables.dispatches)}
    assert errors == {None, "ConnectionError: away"}


@pytest.mark.rule("relay-not-before-time")
def test_a_wait_is_not_handed_over_before_its_time(open_shop: OpenShop, script: Script) -> None:
    class Waiting(Workflow):
        place = Manual(Order)
        settle = Wait(3600)

    shop = open_shop(Waiting, executor=Recording())
    shop.start(Waiting)
    shop.clock.advance(3500)
    assert shop.relay() == 0
    shop.clock.advance(161)
    assert shop.relay() == 1


@pytest.mark.rule("relay-lost-claim")
def test_a_lost_claim_is_handed_over_for_others_to_take(open_shop: OpenShop, script: Script) -> None:
    queue, workflow = Recording(), single(script)
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    shop.claim_due()
    shop.clock.advance(91)
    assert shop.relay() == 1
    assert shop.deliver(run_id, "work").attempt == 2


@pytest.mark.rule("relay-lost-claim")
def test_a_claim_that_nobody_could_renew_for_a_while_is_left_to_its_worker_for_a_minute(open_shop: OpenShop) -> None:
    handed_over: list[int] = []

    def work() -> None:
        timeout = shop.runtime.settings.claim_timeout
        shop.clock.advance(timeout - 5)
        shop.runtime.claims.renew()
        shop.clock.advance(timeout + 30)
        shop.runtime.database.contact.lost()
        handed_over.append(shop.relay())
        shop.clock.advance(31)
        shop.runtime.database.contact.lost()
        handed_over.append(shop.relay())

    class Slow(Workflow):
        place = Manual(Order)
        work_ = Step(work)

    shop: Shop = open_shop(Slow, executor=Recording())
    assert shop.deliver(shop.start(Slow), "work_").status == "completed"
    assert handed_over == [0, 1]


def test_compensations_are_handed_over_again_by_their_method(open_shop: OpenShop, script: Script) -> None:
    class Saga(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"), compensate=script.does("undo"))
        b = Step(script.does("b", FailStep("no")))
        flow = [a >> b]

    queue = Recording(continues=True)
    shop = open_shop(Saga, executor=queue)
    shop.deliver(shop.start(Saga), "a")
    shop.clock.advance(61)
    assert shop.relay() == 1
    assert queue.steps == ["a", "undo", "undo"]


@pytest.mark.rule("relay-bounded")
@pytest.mark.parametrize("many", [150])
def test_a_round_is_bounded(open_shop: OpenShop, script: Script, many: int) -> None:
    workflow = single(script)
    shop = open_shop(workflow, executor=Recording())
    for _ in range(many):
        shop.start(workflow)
    shop.clock.advance(61)
    assert [shop.relay(), shop.relay(), shop.relay()] == [100, many - 100, 0]
