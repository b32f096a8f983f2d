"""Windows of a schedule that meet a run which has not ended, and windows that passed while no worker was up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_squidmesh import Cron, Every, Pause, Scope, Step, TransitionError, Workflow
from flask_squidmesh.engine import windows
from flask_squidmesh.runtime import scheduler as scheduler_module
from flask_squidmesh.runtime.scheduler import Scheduler, ScheduleView
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.shop import Recording, Script, Shop

OpenShop = Callable[..., Shop]
NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
AFTER_NOON = NOON + timedelta(seconds=5)


@pytest.fixture
def open_sync(open_shop: OpenShop, migrated_url: str) -> Callable[..., Shop]:
    """A function that opens a shop whose hourly run stays open until somebody resumes it; a worker has seen it."""

    def open_sync(trigger: Any, **settings: Any) -> Shop:
        sync = type("Sync", (Workflow,), {"hourly": trigger, "hold": Pause()})
        shop = open_shop(sync, url=migrated_url, **settings)
        shop.clock.move_to(NOON - HOUR / 2)
        assert shop.runtime.scheduler.fire_due(shop.clock.now()) == []
        shop.clock.move_to(AFTER_NOON)
        return shop

    return open_sync


def hourly(**options: Any) -> Cron:
    return Cron("0 * * * *", **options)


def every_hour(**options: Any) -> Every:
    return Every(HOUR, **options)


def fired(shop: Shop, later: timedelta = timedelta(0)) -> list[str]:
    """What a worker starts that looks so much later."""
    shop.clock.advance(later)
    return shop.runtime.scheduler.fire_due(NOON - HOUR)


def end(shop: Shop, run_id: str) -> None:
    shop.mesh.cancel_run(run_id, actor="dana")


def view(shop: Shop) -> ScheduleView:
    return shop.runtime.scheduler.schedules(Scope.all())[0]


def left_out(shop: Shop) -> list[Any]:
    """What was left out, newest first, by the hour after noon."""
    return [((each.first - NOON) / HOUR, each.count, each.reason) for each in view(shop).left_out]


def told(shop: Shop) -> list[Any]:
    rows = [row for row in shop.rows(tables.audit_events) if row.type in ("schedule_skipped", "schedule_missed")]
    return [(row.type, row.actor, row.workflow, row.metadata["count"], row.metadata["cause"]) for row in rows]


def statuses(shop: Shop) -> list[Any]:
    """The status of every run, in the order of their windows."""
    found = sorted(shop.rows(tables.runs), key=lambda run: (run.schedule["intended_window"], run.created_at))
    return [(int(run.schedule["intended_window"][11:13]) - 12, run.status) for run in found]


# -- overlap -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("cron-overlap")
@pytest.mark.parametrize("trigger", [hourly, every_hour])
def test_a_run_is_started_beside_one_that_has_not_ended(open_sync: Callable[..., Shop], trigger: Any) -> None:
    shop = open_sync(trigger())
    assert len(fired(shop)) == 1
    assert len(fired(shop, HOUR)) == 1
    assert told(shop) == []


@pytest.mark.rule("cron-overlap", "cron-left-out")
@pytest.mark.parametrize("trigger", [hourly, every_hour])
def test_a_window_is_skipped_while_a_run_has_not_ended(open_sync: Callable[..., Shop], trigger: Any) -> None:
    shop = open_sync(trigger(overlap="skip"))
    [first] = fired(shop)
    drain()
    assert fired(shop, HOUR) == fired(shop) == []
    assert left_out(shop) == [(1, 1, "overlap")]
    assert view(shop).left_out[0].run_id == first
    assert told(shop) == [("schedule_skipped", "schedule hourly", "sync", 1, "overlap")]
    end(shop, first)
    assert fired(shop) == []
    assert len(fired(shop, HOUR)) == 1


@pytest.mark.rule("cron-overlap")
def test_what_is_being_undone_has_not_ended(open_shop: OpenShop, script: Script) -> None:
    class Sync(Workflow):
        hourly = Cron("0 * * * *", overlap="skip")
        take = Step(script.does("take"), compensate=script.does("give_back"))
        fail = Step(script.does("fail", ValueError("no")))
        flow = [take >> fail]

    shop = open_shop(Sync)
    shop.clock.move_to(AFTER_NOON)
    [first] = fired(shop)
    while shop.look(first).status != "failed":
        [claim] = shop.runtime.claimer.claim_due("squidmesh", limit=1)
        shop.runtime.deliverer.deliver(claim)
    assert fired(shop, HOUR) == []
    drain()
    assert len(fired(shop, HOUR)) == 1


@pytest.mark.rule("cron-overlap")
def test_a_person_may_start_in_spite_of_it(open_sync: Callable[..., Shop]) -> None:
    shop = open_sync(hourly(overlap="skip"))
    fired(shop)
    assert fired(shop, HOUR) == []
    assert shop.runtime.scheduler.fire("sync", "hourly") is not None
    assert shop.runtime.schedule_commands.run_now("sync", "hourly", actor="dana")
    assert len(shop.rows(tables.runs)) == 3


@pytest.mark.rule("cron-overlap")
def test_runs_of_other_schedules_and_triggers_are_in_nobodys_way(open_shop: OpenShop) -> None:
    class Sync(Workflow):
        hourly = Cron("0 * * * *", overlap="skip")
        daily = Cron("0 12 * * *", overlap="skip")
        hold = Pause()

    shop = open_shop(Sync)
    shop.clock.move_to(AFTER_NOON)
    assert len(fired(shop)) == 2


@pytest.mark.rule("cron-overlap")
@pytest.mark.parametrize("signal_id", [None, "tick"])
def test_what_a_queue_delivers_is_skipped_once(open_sync: Callable[..., Shop], signal_id: str | None) -> None:
    queue = Recording()
    shop = open_sync(hourly(overlap="skip"), executor=queue)
    [first] = fired(shop)
    window = (NOON + HOUR).isoformat()
    payload = {"kind": "cron", "workflow": "sync", "trigger": "hourly", "intended_window": window}
    payload |= {"signal_id": signal_id} if signal_id else {}
    shop.clock.advance(HOUR)
    assert shop.mesh.perform(payload).outcome == "duplicate"
    end(shop, first)
    again = shop.mesh.perform(payload)
    assert (again.outcome, again.run_id) == ("duplicate", None)
    assert left_out(shop) == [(1, 1, "overlap")]
    assert [each[0] for each in told(shop)] == ["schedule_skipped"]


@pytest.mark.rule("cron-overlap")
def test_a_window_that_has_its_run_is_no_overlap_with_it(open_sync: Callable[..., Shop]) -> None:
    shop = open_sync(hourly(overlap="skip"), executor=Recording())
    [first] = fired(shop)
    payload = {"kind": "cron", "workflow": "sync", "trigger": "hourly", "intended_window": NOON.isoformat()}
    assert shop.mesh.perform(payload).run_id == first
    assert told(shop) == []


@pytest.mark.rule("cron-left-out")
def test_only_the_latest_are_remembered_with_the_schedule(open_sync: Callable[..., Shop]) -> None:
    shop = open_sync(hourly(overlap="skip"))
    fired(shop)
    for _ in range(windows.REMEMBERED + 2):
        fired(shop, HOUR)
    assert len(view(shop).left_out) == windows.REMEMBERED
    assert len(told(shop)) == windows.REMEMBERED + 2


@pytest.mark.rule("cron-overlap")
@pytest.mark.parametrize("overlap", ["allow", "skip", "queue", "cancel"])
def test_two_workers_at_one_window_do_it_once(open_sync: Callable[..., Shop], overlap: Any) -> None:
    shop = open_sync(hourly(overlap=overlap))
    fired(shop)
    drain()
    shop.clock.advance(HOUR)
    barrier, found = threading.Barrier(2), []

    def look() -> None:
        with shop.app.app_context():
            barrier.wait(120)
            found.extend(shop.runtime.scheduler.fire_due(NOON - HOUR))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    fired(shop)
    expected = {
        "allow": [(0, "paused"), (1, "paused")],
        "skip": [(0, "paused")],
        "queue": [(0, "paused")],
        "cancel": [(0, "cancelled"), (1, "paused")],
    }
    assert statuses(shop) == expected[overlap]
    assert len(told(shop)) == (overlap == "skip")
    assert len(view(shop).queued) == (overlap == "queue")


# -- queue ---------------------------------------------------------------------------------------------------------


@pytest.mark.rule("cron-overlap")
def test_queued_windows_are_started_in_order_as_runs_end(open_sync: Callable[..., Shop]) -> None:
    shop = open_sync(hourly(overlap="queue"))
    [first] = fired(shop)
    assert fired(shop, HOUR) == fired(shop, HOUR) == []
    assert view(shop).queued == [NOON + HOUR, NOON + 2 * HOUR]
    end(shop, first)
    [second] = fired(shop)
    assert fired(shop) == []
    end(shop, second)
    assert len(shop.runtime.scheduler.start_queued()) == 1
    assert statuses(shop) == [(0, "cancelled"), (1, "cancelled"), (2, "paused")]
    assert (view(shop).queued, told(shop)) == ([], [])


@pytest.mark.rule("cron-overlap", "cron-left-out")
def test_what_does_not_fit_the_queue_is_left_out(
    open_sync: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "MOST_QUEUED", 2)
    shop = open_sync(hourly(overlap="queue"))
    fired(shop)
    for _ in range(3):
        fired(shop, HOUR)
    assert view(shop).queued == [NOON + HOUR, NOON + 2 * HOUR]
    assert left_out(shop) == [(3, 1, "queue_full")]


@pytest.mark.rule("cron-overlap")
def test_what_the_database_executor_delivers_is_queued_with_its_name(open_sync: Callable[..., Shop]) -> None:
    shop = open_sync(hourly(overlap="queue"))
    [first] = fired(shop)
    for _ in range(2):
        shop.mesh.enqueue_cron("sync", "hourly", signal_id="tick", intended_window=NOON + HOUR)
        drain()
    assert view(shop).queued == [NOON + HOUR]
    end(shop, first)
    [run_id] = fired(shop)
    schedule = shop.look(run_id).schedule
    assert schedule is not None
    assert (schedule["signal_id"], view(shop).queued) == ("tick", [])


@pytest.mark.rule("cron-overlap")
def test_a_queued_window_that_a_person_starts_is_not_started_again(open_sync: Callable[..., Shop]) -> None:
    shop = open_sync(hourly(overlap="queue"))
    [first] = fired(shop)
    fired(shop, HOUR)
    by_hand = shop.runtime.scheduler.fire("sync", "hourly", intended_window=NOON + HOUR)
    assert by_hand is not None
    end(shop, first)
    end(shop, by_hand)
    assert fired(shop) == []
    assert (view(shop).queued, len(shop.rows(tables.runs))) == ([], 2)


@pytest.mark.rule("cron-overlap")
def test_what_is_queued_waits_while_the_schedule_is_paused(open_sync: Callable[..., Shop]) -> None:
    shop = open_sync(hourly(overlap="queue"))
    [first] = fired(shop)
    fired(shop, HOUR)
    shop.mesh.pause_schedule("sync", "hourly", actor="dana")
    end(shop, first)
    assert fired(shop, 3 * HOUR) == []
    shop.mesh.resume_schedule("sync", "hourly", actor="dana")
    assert left_out(shop) == [(2, 3, "paused")]
    assert len(fired(shop)) == 1
    assert statuses(shop)[-1][0] == 1


@pytest.mark.rule("cron-overlap")
@pytest.mark.parametrize("overlap", ["allow", "skip", "queue", "cancel"])
def test_what_is_queued_outlives_a_deploy_that_moves_the_schedule(
    open_sync: Callable[..., Shop], open_shop: OpenShop, migrated_url: str, overlap: Any
) -> None:
    old = open_sync(hourly(overlap="queue"))
    [first] = fired(old)
    fired(old, HOUR)
    end(old, first)
    moved = type("Sync", (Workflow,), {"hourly": Cron("30 * * * *", overlap=overlap), "hold": Pause()})
    new = open_shop(moved, url=migrated_url)
    new.clock.move_to(NOON + HOUR * 1.25)
    assert len(fired(new)) == 1
    assert statuses(new) == [(0, "cancelled"), (1, "paused")]


@pytest.mark.rule("cron-overlap")
@pytest.mark.parametrize("overlap", ["queue", "cancel"])
def test_a_process_that_dies_between_deciding_and_starting_loses_no_window(
    open_sync: Callable[..., Shop], overlap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_sync(hourly(overlap=overlap))
    [first] = fired(shop)
    with monkeypatch.context() as patched:
        patched.setattr(Scheduler, "_go_on", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fired(shop, HOUR)
    assert view(shop).queued == [NOON + HOUR]
    if overlap == "queue":
        end(shop, first)
    assert len(fired(shop)) == 1
    assert statuses(shop) == [(0, "cancelled"), (1, "paused")]


# -- cancel --------------------------------------------------------------------------------------------------------


@pytest.mark.rule("cron-overlap")
def test_the_former_run_is_cancelled_and_the_window_started(open_sync: Callable[..., Shop]) -> None:
    shop = open_sync(hourly(overlap="cancel"))
    [first] = fired(shop)
    assert len(fired(shop, HOUR)) == 1
    assert statuses(shop) == [(0, "cancelled"), (1, "paused")]
    [cancelled] = [row for row in shop.rows(tables.audit_events) if row.type == "cancelled"]
    assert (cancelled.run_id, cancelled.actor) == (first, "schedule hourly")
    assert cancelled.comment == scheduler_module.CANCELLED_BY


@pytest.mark.rule("cron-overlap")
def test_a_run_that_cannot_be_cancelled_is_waited_for(open_sync: Callable[..., Shop]) -> None:
    def refuse(*_: str) -> None:
        raise TransitionError("no", status="paused")

    shop = open_sync(hourly(overlap="cancel"))
    [first] = fired(shop)
    shop.runtime.scheduler.cancel_run = refuse
    assert fired(shop, HOUR) == []
    end(shop, first)
    assert len(fired(shop)) == 1


@pytest.mark.rule("cron-overlap", "cron-left-out")
def test_a_run_that_takes_its_time_to_end_is_waited_for_by_the_latest_window(
    open_shop: OpenShop, script: Script
) -> None:
    class Sync(Workflow):
        hourly = Cron("0 * * * *", overlap="cancel")
        work = Step(script.does("work"))

    shop = open_shop(Sync)
    shop.clock.move_to(AFTER_NOON)
    fired(shop)
    [claim] = shop.runtime.claimer.claim_due("squidmesh", limit=1)
    assert fired(shop, HOUR) == fired(shop, HOUR) == []
    assert statuses(shop) == [(0, "cancelling")]
    assert left_out(shop) == [(1, 1, "replaced")]
    shop.runtime.deliverer.deliver(claim)
    assert len(fired(shop)) == 1
    assert statuses(shop) == [(0, "cancelled"), (2, "pending")]


# -- catching up ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("cron-catch-up", "cron-left-out")
def test_the_last_window_is_made_up_for(open_sync: Callable[..., Shop]) -> None:
    shop = open_sync(hourly())
    fired(shop)
    assert len(fired(shop, 3.5 * HOUR)) == 1
    assert fired(shop) == []
    assert [each[0] for each in statuses(shop)] == [0, 3]
    assert left_out(shop) == [(1, 2, "catch_up")]
    assert told(shop) == [("schedule_missed", "schedule hourly", "sync", 2, "catch_up")]


@pytest.mark.rule("cron-catch-up")
@pytest.mark.parametrize("trigger", [hourly, every_hour])
def test_all_windows_are_made_up_for_in_order(open_sync: Callable[..., Shop], trigger: Any) -> None:
    shop = open_sync(trigger(catch_up="all"))
    fired(shop)
    ids = fired(shop, 3.5 * HOUR)
    assert [shop.look(run_id).schedule["intended_window"][11:13] for run_id in ids] == ["13", "14", "15"]  # type: ignore[index]
    assert (fired(shop), told(shop)) == ([], [])


@pytest.mark.rule("cron-catch-up", "cron-left-out")
def test_more_than_a_bound_are_not_made_up_for(open_sync: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "MOST_CAUGHT_UP", 2)
    shop = open_sync(hourly(catch_up="all"))
    fired(shop)
    assert len(fired(shop, 5.5 * HOUR)) == 2
    assert [each[0] for each in statuses(shop)] == [0, 4, 5]
    assert left_out(shop) == [(1, 3, "catch_up")]


@pytest.mark.rule("cron-catch-up", "cron-left-out")
def test_no_window_is_made_up_for(open_sync: Callable[..., Shop]) -> None:
    shop = open_sync(hourly(catch_up="none"))
    assert len(fired(shop, windows.LATE - timedelta(seconds=10))) == 1
    assert fired(shop, 3.5 * HOUR) == fired(shop) == []
    assert left_out(shop) == [(1, 3, "catch_up")]
    assert len(told(shop)) == 1
    shop.clock.move_to(AFTER_NOON + 4 * HOUR)
    assert len(fired(shop)) == 1


@pytest.mark.rule("cron-catch-up")
@pytest.mark.parametrize(
    ("overlap", "expected"),
    [("skip", [1]), ("queue", [1]), ("cancel", [1, 3]), ("allow", [1, 2, 3])],
)
def test_windows_that_are_made_up_for_overlap_too(
    open_sync: Callable[..., Shop], overlap: Any, expected: list[int]
) -> None:
    shop = open_sync(hourly(overlap=overlap, catch_up="all"))
    fired(shop, HOUR * 0)
    end(shop, shop.rows(tables.runs)[0].id)
    fired(shop, 3.5 * HOUR)
    assert [each[0] for each in statuses(shop)][1:] == expected
    assert view(shop).queued == ([NOON + 2 * HOUR, NOON + 3 * HOUR] if overlap == "queue" else [])


@pytest.mark.rule("cron-catch-up")
def test_a_first_deploy_makes_up_for_nothing(open_shop: OpenShop) -> None:
    shop = open_shop(type("Sync", (Workflow,), {"hourly": hourly(catch_up="all"), "hold": Pause()}))
    shop.clock.move_to(NOON + HOUR / 2)
    assert shop.runtime.scheduler.fire_due(shop.clock.now()) == []
    assert told(shop) == []


@pytest.mark.rule("cron-left-out")
def test_a_schedule_that_is_due_more_often_than_workers_look_has_one_stretch_that_grows(
    open_sync: Callable[..., Shop],
) -> None:
    shop = open_sync(Every(timedelta(seconds=1)))
    shop.clock.move_to(NOON - HOUR / 2 + timedelta(seconds=15))
    for _ in range(3):
        assert len(fired(shop, timedelta(seconds=15))) == 1
    assert len(view(shop).left_out) == 1
    assert len(told(shop)) == 1


@pytest.mark.rule("cron-overlap")
def test_a_schedule_without_overlap_asks_for_no_runs(
    open_sync: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "open_runs", lambda *_: pytest.fail("it asked"))
    shop = open_sync(hourly())
    assert len(fired(shop)) == len(fired(shop, HOUR)) == 1
