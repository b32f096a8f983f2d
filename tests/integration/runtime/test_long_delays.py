"""Delays that an executor is not to hold jobs for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import Manual, Step, Wait, Workflow
from flask_squidmesh.storage import tables
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]


class Forgetful(Recording):
    """A queue that keeps a job for a minute at most."""

    longest_delay = 60.0


def waiting(script: Script, **delay: float) -> type[Workflow]:
    class Waiting(Workflow):
        place = Manual(Order)
        settle = Wait(timedelta(**delay))
        work = Step(script.does("work"))
        flow = [settle >> work]

    return Waiting


@pytest.mark.rule("executor-longest-delay")
def test_a_long_delay_is_handed_over_when_it_has_passed(open_shop: OpenShop, script: Script) -> None:
    queue, workflow = Forgetful(), waiting(script, hours=4)
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    assert queue.given == []
    shop.clock.advance(timedelta(hours=3, minutes=59))
    assert shop.relay() == 0
    shop.clock.advance(timedelta(minutes=1))
    assert shop.relay() == 1
    assert queue.given == [({"kind": "step", "run_id": run_id, "step": "settle"}, None)]


@pytest.mark.rule("executor-longest-delay")
def test_it_is_not_taken_for_work_that_waits_in_a_long_queue(open_shop: OpenShop, script: Script) -> None:
    queue, workflow = Forgetful(), waiting(script, hours=4)
    shop = open_shop(workflow, executor=queue)
    late, early = shop.start(workflow), shop.start(workflow)
    shop.relay()
    shop.clock.advance(timedelta(hours=4))
    shop.deliver(early, "settle")
    shop.deliver(early, "work")
    with shop.runtime.database.write() as connection:
        connection.execute(tables.queues.update().values(taken_upto=shop.clock.now() - timedelta(hours=1)))
    shop.relay()
    assert ({"kind": "step", "run_id": late, "step": "settle"}, None) in queue.given


def test_a_short_delay_is_the_queues(open_shop: OpenShop, script: Script) -> None:
    queue, workflow = Forgetful(), waiting(script, seconds=50)
    shop = open_shop(workflow, executor=queue)
    shop.start(workflow)
    [(_, schedule_in)] = queue.given
    assert schedule_in is not None
    assert 30 < schedule_in <= 50


@pytest.mark.rule("executor-longest-delay")
def test_what_came_too_early_is_left_until_its_time(open_shop: OpenShop, script: Script) -> None:
    queue, workflow = Forgetful(), waiting(script, hours=4)
    shop = open_shop(workflow, executor=queue)
    run_id = shop.start(workflow)
    assert shop.deliver(run_id, "settle").outcome == "too_early"
    assert queue.given == []
    shop.clock.advance(timedelta(hours=4))
    assert shop.relay() == 1


def test_a_queue_holds_for_any_time_unless_it_says_otherwise(open_shop: OpenShop, script: Script) -> None:
    queue: Any = Recording()
    workflow = waiting(script, days=30)
    shop = open_shop(workflow, executor=queue)
    shop.start(workflow)
    assert len(queue.given) == 1
