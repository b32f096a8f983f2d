"""Pausing a schedule, resuming it, and starting its run by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_squidmesh import (
    ConflictError,
    Cron,
    ManualActionError,
    Scope,
    Step,
    TransitionError,
    UnknownTriggerError,
    Workflow,
)
from flask_squidmesh.runtime import schedule_commands, schedule_records, scheduler
from flask_squidmesh.runtime.run_starter import RunStarter
from flask_squidmesh.storage import tables
from tests.shop import Script, Shop

OpenShop = Callable[..., Shop]
NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def shop(open_shop: OpenShop, script: Script) -> Shop:
    class Digest(Workflow):
        hourly = Cron("0 * * * *")
        send = Step(script.does("send"))

    shop = open_shop(Digest)
    shop.clock.move_to(NOON)
    return shop


def started(shop: Shop) -> int:
    return len(shop.runtime.scheduler.fire_due(NOON - timedelta(hours=1)))


def audit(shop: Shop) -> list[Any]:
    return [(row.type, row.actor, row.comment, row.metadata) for row in shop.rows(tables.audit_events)]


@pytest.mark.rule("cron-paused")
def test_a_paused_schedule_starts_nothing(shop: Shop) -> None:
    shop.mesh.pause_schedule("digest", "hourly", actor="dana", comment="stock-taking")
    assert started(shop) == 0
    named = {"workflow": "digest", "trigger": "hourly"}
    assert audit(shop) == [("schedule_paused", "dana", "stock-taking", named)]


@pytest.mark.rule("cron-paused")
def test_what_a_queue_delivers_for_a_paused_schedule_is_dropped(shop: Shop) -> None:
    shop.mesh.pause_schedule("digest", "hourly", actor="dana")
    shop.mesh.enqueue_cron("digest", "hourly")
    shop.later(0)
    assert shop.rows(tables.dispatches) == []
    delivery = shop.mesh.perform({"kind": "cron", "workflow": "digest", "trigger": "hourly"})
    assert (delivery.outcome, delivery.run_id) == ("duplicate", None)
    assert shop.rows(tables.runs) == []


@pytest.mark.rule("cron-resumed")
def test_a_resumed_schedule_goes_on_with_its_next_window(shop: Shop) -> None:
    shop.mesh.pause_schedule("digest", "hourly", actor="dana")
    shop.clock.advance(3 * 3600 + 60)
    shop.mesh.resume_schedule("digest", "hourly", actor="dana")
    assert started(shop) == 0
    shop.clock.advance(3600)
    assert started(shop) == 1


@pytest.mark.rule("cron-paused")
def test_a_person_may_start_the_run_meanwhile(shop: Shop) -> None:
    shop.mesh.pause_schedule("digest", "hourly", actor="dana")
    assert shop.runtime.scheduler.fire("digest", "hourly") is not None
    run_id = shop.runtime.schedule_commands.run_now("digest", "hourly", actor="dana")
    assert shop.mesh.inspect_run(run_id).actor == "dana"


@pytest.mark.rule("cron-paused")
def test_running_now_is_one_more_run_each_time(shop: Shop) -> None:
    assert started(shop) == 1
    ids = {shop.runtime.schedule_commands.run_now("digest", "hourly", actor="dana") for _ in range(2)}
    assert len(ids) == 2
    assert shop.runtime.scheduler.schedules(Scope.all())[0].last_run_id in ids
    assert [event[0] for event in audit(shop)] == ["schedule_run", "schedule_run"]


def test_pausing_twice_is_told(shop: Shop) -> None:
    with pytest.raises(TransitionError, match="not paused"):
        shop.mesh.resume_schedule("digest", "hourly", actor="dana")
    shop.mesh.pause_schedule("digest", "hourly", actor="dana")
    with pytest.raises(TransitionError, match="paused already") as refused:
        shop.mesh.pause_schedule("digest", "hourly", actor="lee")
    assert refused.value.allowed == ("resume_schedule",)


def test_it_takes_somebody_and_a_schedule(shop: Shop) -> None:
    with pytest.raises(ManualActionError):
        shop.mesh.pause_schedule("digest", "hourly", actor=None)  # type: ignore[arg-type]
    with pytest.raises(UnknownTriggerError):
        shop.mesh.pause_schedule("digest", "weekly", actor="dana")
    assert audit(shop) == []


@pytest.mark.rule("cron-by-hand")
def test_running_now_takes_the_place_of_no_window(shop: Shop) -> None:
    shop.runtime.schedule_commands.run_now("digest", "hourly", actor="dana")
    assert started(shop) == 1
    shop.clock.advance(3600)
    shop.runtime.schedule_commands.run_now("digest", "hourly", actor="dana")
    assert started(shop) == 1


@pytest.mark.rule("cron-form-twice", "call-key-bound")
def test_running_now_twice_with_one_key_is_one_run(shop: Shop) -> None:
    key = "0b0f6d1e-5a51-4c9c-9d43-0a2f3c1f7a10"
    ids = {shop.runtime.schedule_commands.run_now("digest", "hourly", actor="dana", key=key) for _ in range(2)}
    assert len(ids) == 1
    for otherwise in ({"actor": "lee"}, {"actor": "dana", "comment": "again"}):
        with pytest.raises(ConflictError):
            shop.runtime.schedule_commands.run_now("digest", "hourly", key=key, **otherwise)
    assert [event[0] for event in audit(shop)] == ["schedule_run"]


@pytest.mark.rule("cron-resumed")
def test_a_window_that_passed_before_the_resumption_is_dropped_when_a_queue_delivers_it(shop: Shop) -> None:
    shop.mesh.pause_schedule("digest", "hourly", actor="dana")
    shop.clock.advance(60)
    shop.mesh.resume_schedule("digest", "hourly", actor="dana")
    activation = {"kind": "cron", "workflow": "digest", "trigger": "hourly", "intended_window": NOON.isoformat()}
    assert shop.mesh.perform(activation).outcome == "duplicate"
    shop.mesh.enqueue_cron("digest", "hourly", intended_window=NOON, signal_id="late")
    shop.later(0)
    assert (shop.rows(tables.dispatches), shop.rows(tables.runs)) == ([], [])
    later = {**activation, "intended_window": (NOON + timedelta(hours=1)).isoformat()}
    assert shop.mesh.perform(later).outcome == "executed"


def test_a_signal_without_a_window_is_started_after_the_resumption(shop: Shop) -> None:
    shop.mesh.pause_schedule("digest", "hourly", actor="dana")
    shop.clock.advance(60)
    shop.mesh.resume_schedule("digest", "hourly", actor="dana")
    activation = {"kind": "cron", "workflow": "digest", "trigger": "hourly", "signal_id": "tick"}
    assert shop.mesh.perform(activation).outcome == "executed"


def test_every_activation_takes_the_schedule_before_the_key(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def noted(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*given: Any) -> Any:
            order.append(name)
            return act(*given)

        return noting

    lock, write = noted("schedule", schedule_records.locked_schedule), noted("key", RunStarter.written)
    monkeypatch.setattr(schedule_commands, "locked_schedule", lock)
    monkeypatch.setattr(scheduler, "locked_schedule", lock)
    monkeypatch.setattr(RunStarter, "written", write)
    shop.runtime.scheduler.fire("digest", "hourly", signal_id="tick")
    shop.runtime.schedule_commands.run_now("digest", "hourly", actor="dana")
    shop.mesh.perform({"kind": "cron", "workflow": "digest", "trigger": "hourly", "signal_id": "tock"})
    assert started(shop) == 1
    assert order == ["schedule", "key"] * 4
