"""Failed runs grouped by equal errors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from flask_squidmesh import FailStep, Manual, Scope, Step, Workflow
from flask_squidmesh.queries import figures
from tests.shop import Order, Script, Shop

OpenShop = Callable[..., Shop]


@pytest.fixture
def shop(open_shop: OpenShop, script: Script) -> Shop:
    class Charging(Workflow):
        place = Manual(Order)
        charge = Step(
            script.does("charge", FailStep("card 4711 declined"), FailStep("card 12 declined"), FailStep("x"))
        )

    return open_shop(Charging)


def order(shop: Shop) -> str:
    return shop.run("charging", {"order_id": "7", "amount": 5})


def look(shop: Shop, **options: str) -> figures.Failures:
    with shop.runtime.database.read() as connection, shop.counted() as counts:
        found = figures.failures(connection, Scope.all(), now=shop.clock.now(), **options)
    assert counts["statements"] <= 3  # one of them opens the transaction on SQLite
    return found


def test_errors_that_differ_in_numbers_are_one_group(shop: Shop) -> None:
    order(shop)
    shop.clock.advance(timedelta(days=2))
    newest = order(shop)
    other = order(shop)
    first, second = sorted(look(shop).groups, key=lambda group: -group.week)
    assert (first.week, first.day, first.hour, first.by_day) == (2, 1, 1, (0, 0, 0, 0, 1, 0, 1))
    assert (first.example.id, first.error and first.error["message"]) == (newest, "card 12 declined")
    assert first.last_seen - first.first_seen >= timedelta(days=2)
    assert (second.example.id, second.week) == (other, 1)


def test_what_failed_earlier_is_left_out(shop: Shop) -> None:
    order(shop)
    shop.clock.advance(timedelta(days=8))
    assert look(shop).groups == ()


def test_it_tells_what_still_needs_somebody(shop: Shop) -> None:
    run_id = order(shop)
    assert look(shop).groups[0].to_note == 1
    shop.mesh.acknowledge_run(run_id, actor="dana")
    assert look(shop).groups[0].to_note == 0


def test_it_is_narrowed_to_a_workflow(shop: Shop) -> None:
    order(shop)
    assert len(look(shop, workflow="charging").groups) == 1
    assert look(shop, workflow="other").groups == ()


def test_it_says_where_it_stopped_counting(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    order(shop)
    assert not look(shop).capped
    monkeypatch.setattr(figures, "MOST_RUNS", 1)
    order(shop)
    assert look(shop).capped
