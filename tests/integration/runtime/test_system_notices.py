"""What is told of no run: queues without a worker or late, and events that nobody took."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import Notice
from flask_squidmesh.testing import drain
from tests.shop import Recording, Script, Shop, single

OpenShop = Callable[..., Shop]
MINUTE = timedelta(minutes=1)


def told_of(shop: Shop, *kinds: Any) -> list[Notice]:
    told: list[Notice] = []
    shop.mesh.subscribe(*kinds, name="told")(told.append)
    return told


def look(shop: Shop) -> None:
    shop.runtime.queue_watch.look()
    shop.runtime.notice_deliverer.deliver_due()


def lives(shop: Shop) -> None:
    shop.runtime.heartbeats.record("worker", "host:1", queue="squidmesh")


@pytest.mark.rule("telling-queues")
def test_a_queue_without_a_worker_is_told_once(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(single(script), executor=Recording())
    told = told_of(shop, "system.no_worker", "system.queue_late")
    run_id = shop.start("single")
    look(shop)
    assert told == []
    shop.clock.advance(2 * MINUTE)
    for _ in range(3):
        look(shop)
        shop.clock.advance(10 * MINUTE)
    [notice] = told
    assert (notice.kind, notice.subject, notice.run_id, notice.workflow) == (
        "system.no_worker",
        "squidmesh",
        None,
        None,
    )
    assert notice.details is not None
    assert notice.details["queue"] == "squidmesh"
    shop.deliver(run_id, "work")
    shop.start("single")
    shop.clock.advance(2 * MINUTE)
    look(shop)
    assert len(told) == 2
    drain()


@pytest.mark.rule("telling-queues")
def test_a_queue_that_is_late_is_told_once_an_hour(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(single(script), executor=Recording())
    told = told_of(shop, "system.no_worker", "system.queue_late")
    shop.start("single")
    shop.clock.advance(4 * MINUTE)
    lives(shop)
    look(shop)
    assert told == []
    for _ in range(12):
        shop.clock.advance(10 * MINUTE)
        lives(shop)
        look(shop)
    assert {notice.kind for notice in told} == {"system.queue_late"}
    assert 2 <= len(told) <= 3
    drain()


@pytest.mark.rule("telling-queues")
def test_where_nobody_wants_to_be_told_of_queues_nothing_is_asked(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(single(script))
    told_of(shop, "run.failed")
    with shop.counted() as counts:
        shop.runtime.queue_watch.look()
    assert counts == {}


@pytest.mark.rule("telling-untaken")
def test_an_event_that_nobody_took_is_told_when_it_is_forgotten(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(single(script))
    told = told_of(shop, "event.unmatched")
    shop.mesh.send_event("payment.settled", key="p-1", payload={"secret": 1}, event_id="evt-1", tenant="acme")
    drain()
    shop.clock.advance(timedelta(days=8))
    shop.runtime.pruner.forget_events()
    drain()
    [notice] = told
    assert (notice.kind, notice.tenant, notice.run_id) == ("event.unmatched", "acme", None)
    assert {**(notice.details or {}), "sent_at": ""} == {
        "event": "payment.settled",
        "key": "p-1",
        "event_id": "evt-1",
        "sent_at": "",
    }
