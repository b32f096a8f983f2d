"""SQUIDMESH_RETENTION, kept to by workers and relays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import FailStep, Manual, Step, Workflow
from flask_squidmesh.runtime.maintenance import pruning
from flask_squidmesh.storage import tables
from tests.shop import Order, Script, Shop
from tests.waiting import eventually

OpenShop = Callable[..., Shop]
DAY = timedelta(days=1)


class Greeting(Workflow):
    aliases = ("hello",)
    greet_now = Manual(Order)
    greet = Step(lambda: None)


class Failing(Workflow):
    fail_now = Manual(Order)
    fail = Step(Script().does("fail", FailStep("no")))


def filled(open_shop: OpenShop, **settings: Any) -> Shop:
    """A shop with a completed, an acknowledged and an unacknowledged run, all ten days old."""
    shop = open_shop(Greeting, Failing, **settings)
    shop.run(Greeting)
    shop.mesh.acknowledge_run(shop.run(Failing))
    shop.run(Failing)
    shop.later(10 * DAY)
    return shop


def left(shop: Shop) -> list[str]:
    return sorted(f"{row.workflow} {row.needs}" for row in shop.rows(tables.runs))


@pytest.mark.rule("pruning-asked")
@pytest.mark.parametrize(
    ("period", "stays"),
    [
        (None, ["failing None", "failing failed", "greeting None"]),
        (DAY * 11, ["failing None", "failing failed", "greeting None"]),
        (DAY, ["failing failed"]),
        ({"completed": DAY}, ["failing None", "failing failed"]),
        ({"failed": DAY}, ["failing failed", "greeting None"]),
        ({"completed": DAY, "failed": DAY, "greeting": None}, ["failing failed", "greeting None"]),
        ({"completed": DAY, "failed": DAY, "hello": None}, ["failing failed", "greeting None"]),
        ({"greeting": DAY}, ["failing None", "failing failed"]),
        ({"completed": DAY * 11, "greeting": DAY}, ["failing None", "failing failed"]),
    ],
)
def test_what_has_been_kept_long_enough_goes(open_shop: OpenShop, period: Any, stays: list[str]) -> None:
    shop = filled(open_shop, retention=period)
    went = shop.runtime.retention.keep(lambda _: None)
    assert left(shop) == stays
    assert went == 3 - len(stays)


@pytest.mark.rule("pruning-workers")
def test_it_goes_on_where_it_stopped_and_rests_at_the_end(open_shop: OpenShop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = filled(open_shop, retention=30.0)
    monkeypatch.setattr(pruning, "SECONDS", 0)
    assert [shop.runtime.retention.keep(lambda _: None) for _ in range(3)] == [1, 1, 0]
    shop.run(Greeting)
    shop.clock.advance(60)
    assert sum(shop.runtime.retention.keep(lambda _: None) for _ in range(3)) == 0
    shop.clock.advance(300)
    assert sum(shop.runtime.retention.keep(lambda _: None) for _ in range(3)) == 1


@pytest.mark.rule("pruning-workers")
def test_others_get_at_the_database_between_two_batches(open_shop: OpenShop) -> None:
    pauses: list[float] = []
    filled(open_shop, retention=DAY).runtime.retention.keep(pauses.append)
    assert len(pauses) == 2
    assert all(seconds > 0 for seconds in pauses)


def test_keys_are_forgotten_although_nothing_is_deleted(open_shop: OpenShop) -> None:
    shop = open_shop(Greeting)
    shop.run(Greeting, idempotency_key="o-1")
    shop.clock.advance(DAY)
    shop.mesh.prune(older_than=timedelta(0))
    shop.clock.advance(29 * DAY)
    assert {row.key for row in shop.rows(tables.start_keys)} == {"o-1"}, "one row for each name of the workflow"
    shop.clock.advance(2 * DAY)
    shop.runtime.retention.keep(lambda _: None)
    assert not shop.rows(tables.start_keys)


@pytest.mark.rule("pruning-asked")
def test_workers_keep_to_it(open_shop: OpenShop) -> None:
    shop = filled(open_shop, retention=DAY)
    worker = shop.runtime.worker()
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        eventually(lambda: left(shop) == ["failing failed"])
    finally:
        worker.stop()
        thread.join()
