"""A relay finds what dead workers held, for hosts whose queue has no process that stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_squidmesh import Manual, Step, Workflow, signals
from tests.shop import Recording, Script, Shop

OpenShop = Callable[..., Shop]


def lost_step(open_shop: OpenShop, script: Script, queue: Recording, *, irreversible: bool = False) -> tuple[Shop, str]:
    """A run whose worker has died in the middle of its step, half a minute ago."""

    class Single(Workflow):
        begin = Manual()
        work = Step(script.does("work"), irreversible=irreversible)
        flow = [work]

    shop = open_shop(Single, executor=queue, claim_timeout=30)
    run_id = shop.start(Single)
    shop.claim_due()
    shop.clock.advance(31)
    return shop, run_id


@pytest.mark.rule("relay-only-settles")
def test_a_relay_has_a_dead_workers_step_delivered_again(open_shop: OpenShop, script: Script) -> None:
    queue = Recording()
    shop, run_id = lost_step(open_shop, script, queue)
    assert queue.steps == ["work"]

    assert shop.relay() == 1
    assert shop.relay() == 0

    assert queue.steps == ["work", "work"]
    assert shop.events(run_id) == ["abandoned"]
    assert shop.deliver(run_id, "work").attempt == 2
    assert shop.status(run_id) == "completed"


def test_a_relay_interrupts_what_cannot_be_undone(open_shop: OpenShop, script: Script) -> None:
    queue = Recording()
    shop, run_id = lost_step(open_shop, script, queue, irreversible=True)

    shop.relay()

    assert shop.events(run_id) == ["abandoned", "interrupted"]
    assert (shop.status(run_id), script.calls) == ("paused", [])


def test_a_relay_that_has_just_come_leaves_claims_alone(open_shop: OpenShop, script: Script) -> None:
    queue = Recording()
    shop, run_id = lost_step(open_shop, script, queue)
    shop.runtime.database.contact.lost()

    assert shop.relay() == 0
    assert shop.events(run_id) == []


def test_a_delivery_to_a_new_process_is_put_off_for_a_whole_timeout(open_shop: OpenShop, script: Script) -> None:
    """Otherwise a queue that makes a process for each job would deliver the same step every second."""
    queue = Recording()
    shop, run_id = lost_step(open_shop, script, queue)
    shop.runtime.database.contact.lost()

    assert shop.deliver(run_id, "work").outcome == "too_early"

    put_off = queue.given[-1][1]
    assert put_off is not None
    assert 15 < put_off <= 30


@pytest.mark.rule("signals-manual")
def test_what_people_do_to_a_whole_run_is_told_too(open_shop: OpenShop, script: Script) -> None:
    class Single(Workflow):
        begin = Manual()
        work = Step(script.does("work"))
        flow = [work]

    shop = open_shop(Single)
    told: list[tuple[str, str]] = []

    def listen(_app: object, **facts: str) -> None:
        told.append((facts["action"], facts["actor"]))

    with signals.manual_action_taken.connected_to(listen, sender=shop.app):
        run_id = shop.start(Single)
        shop.mesh.cancel_run(run_id, actor="lee")
        shop.mesh.replay_run(run_id, actor="dana")

    assert told == [("cancelled", "lee"), ("replayed", "dana")]
