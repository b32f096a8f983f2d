"""Schedules whose expression, time zone or workflow's name a deploy changes: no window twice, none lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_squidmesh import ConflictError, Cron, Manual, Scope, Step, Workflow
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]
DAY = timedelta(days=1)


def digesting(script: Script, expression: str = "0 9 * * *", *, named: str = "digesting", **options: Any) -> Any:
    """A workflow with a schedule; with another name it keeps the old one as an alias."""
    parts = {"by_hand": Manual(Order), "daily": Cron(expression, **options), "work": Step(script.does("work"))}
    aliases = {"aliases": ("digesting",)} if named != "digesting" else {}
    return type("Digesting", (Workflow,), {**parts, "name": named, **aliases})


def renamed(script: Script, **options: Any) -> Any:
    return digesting(script, named="reporting", **options)


def morning(days: int = 0) -> datetime:
    """Six in the morning of a coming day."""
    return (datetime.now(UTC) + (1 + days) * DAY).replace(hour=6, minute=0, second=0, microsecond=0)


def at(hours: float, days: int = 0) -> datetime:
    return morning(days).replace(hour=0) + timedelta(hours=hours)


@pytest.fixture
def deploy(open_shop: OpenShop, migrated_url: str) -> Callable[..., Shop]:
    """A function that deploys workflows at a time, on the same database; a worker of theirs looks at once."""

    def deploy(workflow: Any, when: datetime, **settings: Any) -> Shop:
        shop = open_shop(workflow, url=migrated_url, **settings)
        fires(shop, when)
        return shop

    return deploy


def fires(shop: Shop, when: datetime) -> list[str]:
    """The runs that a worker starts which began before and looks now."""
    shop.clock.move_to(when)
    return shop.runtime.scheduler.fire_due(when)


# -- another expression --------------------------------------------------------------------------------------------


@pytest.mark.rule("cron-moved")
@pytest.mark.parametrize(
    "moved",
    [("30 9 * * *", "UTC"), ("0 9 * * *", "Atlantic/Azores"), ("45 9 * * 1-7", "UTC")],
    ids=["expression", "zone", "weekdays"],
)
def test_a_schedule_that_is_moved_fires_no_second_time_that_day(
    deploy: Callable[..., Shop], script: Script, moved: tuple[str, str]
) -> None:
    old = deploy(digesting(script), at(6))
    assert len(fires(old, at(9.01))) == 1
    new = deploy(digesting(script, moved[0], timezone=moved[1]), at(12))
    assert fires(new, at(12.1)) == []
    assert len(new.mesh.list_runs().runs) == 1
    assert len(fires(new, at(12, days=1))) == 1
    assert fires(new, at(12.1, days=1)) == []


@pytest.mark.rule("cron-moved-loses-none")
def test_a_window_that_comes_after_the_move_is_not_lost(deploy: Callable[..., Shop], script: Script) -> None:
    old = deploy(digesting(script), at(6))
    assert len(fires(old, at(9.01))) == 1
    new = deploy(digesting(script, "30 14 * * *"), at(12))
    assert len(fires(new, at(14.6))) == 1


@pytest.mark.rule("cron-moved")
def test_an_expression_that_is_changed_back_makes_up_for_nothing(deploy: Callable[..., Shop], script: Script) -> None:
    deploy(digesting(script, "0 9 * * *"), at(6))
    new = deploy(digesting(script, "0 15 * * *"), at(7))
    for minute in range(1, 8):
        fires(new, at(7) + timedelta(minutes=minute))
    back = deploy(digesting(script, "0 9 * * *"), at(12))
    assert fires(back, at(12.1)) == []
    assert len(fires(back, at(9.1, days=1))) == 1


@pytest.mark.rule("cron-moved-loses-none")
def test_workers_that_are_down_lose_no_window_of_an_expression_that_stays(
    deploy: Callable[..., Shop], script: Script
) -> None:
    deploy(digesting(script), at(6))
    new = deploy(digesting(script), at(10))
    assert len(new.runtime.scheduler.schedules(Scope.all())) == 1
    assert new.runtime.scheduler.schedules(Scope.all())[0].last_run_id is not None
    assert fires(new, at(10.1)) == []


@pytest.mark.rule("cron-moved-loses-none")
def test_a_rolling_deploy_loses_no_window(deploy: Callable[..., Shop], script: Script) -> None:
    old = deploy(digesting(script), at(6))
    assert len(fires(old, at(9.01))) == 1
    new = deploy(digesting(script, "30 9 * * *"), at(9.4))
    fired = [*fires(old, at(9.45)), *fires(new, at(9.46)), *fires(old, at(9.52)), *fires(new, at(9.53))]
    assert len(fired) == 1


@pytest.mark.rule("cron-moved")
def test_a_queue_that_brings_no_window_starts_none_from_before_the_move(
    deploy: Callable[..., Shop], script: Script
) -> None:
    old = deploy(digesting(script), at(6), executor=Recording())
    [first] = fires(old, at(9.01))
    new = deploy(digesting(script, "30 9 * * *"), at(12), executor=Recording())
    payload = {"kind": "cron", "workflow": "digesting", "trigger": "daily"}
    again = new.mesh.perform(payload)
    assert (again.outcome, again.run_id) == ("duplicate", first)
    assert new.runtime.scheduler.fire("digesting", "daily") == first
    new.clock.move_to(at(9.6, days=1))
    assert new.mesh.perform(payload).outcome == "executed"


# -- another name --------------------------------------------------------------------------------------------------


@pytest.mark.rule("cron-renamed")
def test_a_renamed_workflow_stays_paused(deploy: Callable[..., Shop], script: Script) -> None:
    old = deploy(digesting(script), at(6))
    old.runtime.schedule_commands.pause("digesting", "daily", actor="lee")
    new = deploy(renamed(script), at(7))
    assert fires(new, at(9.1)) == []
    assert new.runtime.scheduler.schedules(Scope.all())[0].paused_at is not None
    new.runtime.schedule_commands.resume("reporting", "daily", actor="lee")
    assert old.runtime.scheduler.schedules(Scope.all())[0].paused_at is None
    assert len(fires(new, at(9.1, days=1))) == 1
    old.clock.move_to(at(10, days=1))
    old.runtime.schedule_commands.pause("digesting", "daily", actor="lee")
    assert new.runtime.scheduler.schedules(Scope.all())[0].paused_at is not None


@pytest.mark.rule("cron-renamed")
def test_a_rename_fires_no_window_twice_and_loses_none(deploy: Callable[..., Shop], script: Script) -> None:
    old = deploy(digesting(script), at(6))
    assert len(fires(old, at(9.01))) == 1
    new = deploy(renamed(script), at(9.02))
    assert fires(new, at(9.03)) == []
    later = deploy(renamed(script), at(10, days=1))
    [schedule] = later.runtime.scheduler.schedules(Scope.all())
    assert schedule.fired_at is not None
    assert schedule.fired_at > at(9.5, days=1)
    assert len(later.mesh.list_runs().runs) == 2


@pytest.mark.rule("cron-renamed")
@pytest.mark.parametrize("idempotency", ["return_existing", "none"])
def test_workers_of_both_names_fire_a_window_once(
    deploy: Callable[..., Shop], script: Script, idempotency: Any
) -> None:
    old = deploy(digesting(script, idempotency=idempotency), at(6))
    new = deploy(renamed(script, idempotency=idempotency), at(7))
    assert len(fires(new, at(9.01))) == 1
    assert fires(old, at(9.02)) == []
    assert len(fires(old, at(9.01, days=1))) == 1
    assert fires(new, at(9.02, days=1)) == []
    together, fired = threading.Barrier(2), []

    def fire(shop: Shop) -> None:
        with shop.app.app_context():
            shop.clock.move_to(at(9.01, days=2))
            together.wait(120)
            fired.extend(shop.runtime.scheduler.fire_due(shop.clock.now()))

    threads = [threading.Thread(target=fire, args=[shop]) for shop in (old, new)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(fired) == 1


@pytest.mark.rule("cron-renamed")
def test_an_activation_under_the_old_name_is_the_same_window(deploy: Callable[..., Shop], script: Script) -> None:
    old = deploy(digesting(script), at(6), executor=Recording())
    payload = {"kind": "cron", "workflow": "digesting", "trigger": "daily", "intended_window": at(9).isoformat()}
    old.clock.move_to(at(9.1))
    first = old.mesh.perform(payload)
    new = deploy(renamed(script), at(9.2), executor=Recording())
    for name in ("digesting", "reporting"):
        again = new.mesh.perform({**payload, "workflow": name})
        assert (again.outcome, again.run_id) == ("duplicate", first.run_id)


def started(shop: Shop, workflow: str, key: str, payload: Any = None) -> str:
    """A run that a process of this shop starts with the key."""
    with shop.app.app_context():
        return shop.start(workflow, payload, idempotency_key=key)


@pytest.mark.rule("starting-key-renamed")
def test_a_key_starts_one_run_under_either_name(open_shop: OpenShop, script: Script) -> None:
    old = open_shop(digesting(script))
    new = open_shop(renamed(script), url=old.url)
    before = started(old, "digesting", "before")
    assert started(new, "reporting", "before") == before
    after = started(new, "reporting", "after")
    assert started(old, "digesting", "after") == after
    assert started(new, "digesting", "after") == after
    for shop in (old, new):
        with pytest.raises(ConflictError):
            started(shop, "digesting", "after", {"amount": 9})
    drain()
    assert len(script.calls) == 2


@pytest.mark.rule("starting-key-renamed")
def test_of_two_processes_that_start_one_key_under_both_names_one_does(open_shop: OpenShop, script: Script) -> None:
    old = open_shop(digesting(script))
    shops = [old, open_shop(renamed(script), url=old.url)]
    for number in range(4):
        together, started = threading.Barrier(2), []

        def start(shop: Shop) -> None:
            with shop.app.app_context():
                together.wait(120)  # noqa: B023 - the threads end within the round
                started.append(shop.start("digesting", idempotency_key=f"k-{number}"))  # noqa: B023

        threads = [threading.Thread(target=start, args=[shop]) for shop in shops]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert len(started) == 2
        assert len(set(started)) == 1
