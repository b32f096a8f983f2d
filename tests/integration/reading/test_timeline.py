"""The story of a run, told in order by the real runtime's rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from flask_squidmesh import Approval, FailStep, Manual, Retry, RetryStep, Step, Wait, Workflow
from tests.shop import Script, Shop


@pytest.fixture
def shops(migrated_url: str) -> Iterator[list[Shop]]:
    """Shops whose databases are closed at the end."""
    made: list[Shop] = []
    yield made
    for shop in made:
        shop.runtime.database.dispose()


def told(shop: Shop, run_id: str) -> list[str]:
    timeline = shop.look(run_id).timeline
    assert timeline is not None
    assert [event.at for event in timeline] == sorted(event.at for event in timeline)
    return [" ".join(str(part) for part in (event.step, event.visit, event.type) if part) for event in timeline]


@pytest.mark.rule("inspecting-timeline")
def test_a_run_is_told_from_its_start_to_its_end(migrated_url: str, script: Script, shops: list[Shop]) -> None:
    class Checkout(Workflow):
        begin = Manual()
        reserve = Step(script.does("reserve", RetryStep("busy"), {"ok": 1}), retry=Retry(2))
        review = Approval()
        cool_off = Wait(timedelta(seconds=5))
        ship = Step(script.does("ship"))
        again = Step(script.does("again"))
        flow = [reserve >> review >> cool_off >> ship, review.on_reject >> again >> review]

    shop = Shop(migrated_url, Checkout)
    shops.append(shop)
    with shop.app.app_context():
        run_id = shop.run(Checkout, actor="dana")
        shop.mesh.reject_run(run_id, actor="lee", comment="not yet")
        shop.later(0)
        shop.mesh.approve_run(run_id, actor="lee")
        shop.later(6)

        assert told(shop, run_id) == [
            "started",
            "reserve 1 entered",
            "reserve 1 attempt_started",
            "reserve 1 attempt_failed",
            "reserve 1 attempt_started",
            "reserve 1 attempt_completed",
            "review 1 entered",
            "review 1 paused",
            "review 1 rejected",
            "again 1 entered",
            "again 1 attempt_started",
            "again 1 attempt_completed",
            "review 2 entered",
            "review 2 paused",
            "review 2 approved",
            "cool_off 1 entered",
            "cool_off 1 attempt_started",
            "cool_off 1 attempt_completed",
            "ship 1 entered",
            "ship 1 attempt_started",
            "ship 1 attempt_completed",
            "completed",
        ]
        story = shop.look(run_id).to_dict()["timeline"]
        assert (story[0]["actor"], story[8]["actor"], story[8]["comment"]) == ("dana", "lee", "not yet")


@pytest.mark.rule("inspecting-timeline")
def test_what_was_undone_is_told_after_the_failure(migrated_url: str, script: Script, shops: list[Shop]) -> None:
    class Saga(Workflow):
        begin = Manual()
        reserve = Step(script.does("reserve"), compensate=script.does("release"))
        charge = Step(script.does("charge", FailStep("declined")))
        flow = [reserve >> charge]

    shop = Shop(migrated_url, Saga)
    shops.append(shop)
    with shop.app.app_context():
        run_id = shop.run(Saga)

        assert told(shop, run_id)[-6:] == [
            "charge 1 attempt_started",
            "charge 1 attempt_failed",
            "reserve 1 compensation_planned",
            "charge failed",
            "reserve 1 attempt_started",
            "reserve 1 attempt_completed",
        ]
