from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from pydantic import BaseModel, Field

from flask_squidmesh import (
    Cron,
    Manual,
    Scope,
    Step,
    UnknownTriggerError,
    UnknownWorkflowError,
    Workflow,
    scheduled_day,
)
from flask_squidmesh.runtime.scheduler import Scheduler
from flask_squidmesh.storage import tables
from flask_squidmesh.storage.outages import told
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]


class Digest(BaseModel):
    channel: str = "ops"
    day: date = Field(default_factory=scheduled_day)
    made_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


def digesting(script: Script, **options: Any) -> type[Workflow]:
    class Digesting(Workflow):
        by_hand = Manual(Digest)
        daily = Cron("0 9 * * *", Digest, timezone="Europe/Berlin", **options)
        deliver = Step(script.does("deliver", lambda ctx: {"seen": dict(ctx.state)}))

    return Digesting


WINDOW = datetime(2026, 3, 9, 8, 0, tzinfo=UTC)


@pytest.fixture
def fire(open_shop: OpenShop, script: Script) -> Callable[..., Any]:
    """Fire the daily trigger of a shop made with the trigger's options."""
    shops: dict[str, Shop] = {}

    def fire(idempotency: str = "return_existing", **options: Any) -> Any:
        if "shop" not in shops:
            shops["shop"] = open_shop(digesting(script, idempotency=idempotency))
        return shops["shop"].runtime.scheduler.fire("digesting", "daily", **options)

    return fire


def runs(script: Script) -> int:
    return len({context.run_id for context in script.contexts})


@pytest.mark.rule("cron-once-a-window")
def test_a_window_is_started_once(fire: Callable[..., Any], script: Script) -> None:
    first = fire(intended_window=WINDOW)
    assert fire(intended_window=WINDOW) == first
    assert fire(intended_window=WINDOW.astimezone()) == first
    assert fire(intended_window=WINDOW.replace(tzinfo=None)) == first
    assert fire(intended_window=WINDOW + timedelta(days=1)) != first
    drain()
    assert runs(script) == 2


@pytest.mark.rule("cron-once-a-window")
def test_a_second_start_may_be_skipped(fire: Callable[..., Any], script: Script) -> None:
    assert fire("skip", intended_window=WINDOW)
    assert fire("skip", intended_window=WINDOW) is None
    drain()
    assert runs(script) == 1


@pytest.mark.rule("cron-once-a-window")
def test_or_every_start_may_count(fire: Callable[..., Any], script: Script) -> None:
    assert fire("none", intended_window=WINDOW) != fire("none", intended_window=WINDOW)


@pytest.mark.rule("cron-signal")
def test_a_signal_names_the_activation_instead_of_the_window(fire: Callable[..., Any]) -> None:
    first = fire(signal_id="tick-1", intended_window=WINDOW)
    assert fire(signal_id="tick-1", intended_window=WINDOW + timedelta(days=1)) == first
    assert fire(signal_id="tick-2", intended_window=WINDOW) != first


@pytest.mark.rule("cron-signal")
def test_without_a_window_the_last_due_time_is_it(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(workflow := digesting(script))
    first = shop.runtime.scheduler.fire("digesting", "daily")
    assert shop.runtime.scheduler.fire("digesting", "daily") == first
    shop.clock.advance(timedelta(days=1))
    assert shop.runtime.scheduler.fire("digesting", "daily") != first
    assert workflow


@pytest.mark.rule("cron-payload", "cron-facts")
def test_the_payload_comes_from_defaults_and_knows_the_scheduled_day(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(digesting(script))
    run_id = shop.runtime.scheduler.fire(
        "digesting", "daily", intended_window=datetime(2026, 3, 9, 23, 30, tzinfo=UTC), signal_id="t"
    )
    assert run_id is not None
    drain()
    run = shop.look(run_id)
    assert (run.payload["day"], run.payload["channel"], run.trigger) == ("2026-03-10", "ops", "daily")
    assert run.schedule is not None
    assert run.schedule["intended_window"] == "2026-03-09T23:30:00+00:00"
    assert (run.schedule["signal_id"], run.schedule["timezone"]) == ("t", "Europe/Berlin")
    assert run.context["seen"]["schedule"]["trigger"] == "daily"
    assert "schedule" not in run.payload


@pytest.mark.rule("cron-replay")
def test_a_replay_keeps_what_the_schedule_said(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(digesting(script))
    run_id = shop.runtime.scheduler.fire("digesting", "daily", intended_window=WINDOW, signal_id="t")
    assert run_id is not None
    drain()
    again = shop.mesh.replay_run(run_id, actor="lee").id
    drain()
    assert shop.look(again).context["seen"]["schedule"] == shop.look(run_id).context["seen"]["schedule"]
    assert shop.runtime.scheduler.fire("digesting", "daily", signal_id="t") == run_id


@pytest.mark.rule("cron-by-hand")
def test_a_person_may_start_by_a_cron_trigger(open_shop: OpenShop, script: Script) -> None:
    workflow = digesting(script)
    shop = open_shop(workflow)
    run = shop.look(shop.run(workflow, trigger="daily", actor="lee"))
    now = shop.clock.now()
    assert run.context["seen"]["schedule"]["expression"] == "0 9 * * *"
    assert now - timedelta(minutes=1) < datetime.fromisoformat(run.context["seen"]["schedule"]["intended_window"]) < now
    assert run.actor == "lee"
    drain()
    assert shop.runtime.scheduler.fire("digesting", "daily") != run.id
    assert shop.look(shop.run(workflow)).schedule is None


def test_what_fired_last_is_remembered(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(digesting(script))
    [before] = shop.runtime.scheduler.schedules(Scope.all())
    assert (before.fired_at, before.expression) == (None, "0 9 * * *")
    run_id = shop.runtime.scheduler.fire("digesting", "daily", intended_window=WINDOW)
    [after] = shop.runtime.scheduler.schedules(Scope.all())
    assert after.fired_at is not None
    assert after.last_run_id == run_id
    assert after.next_due is not None
    assert after.next_due > shop.clock.now()


@pytest.mark.rule("cron-two-at-once")
def test_two_processes_that_fire_at_once_start_one_run(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(digesting(script))
    barrier, fired = threading.Barrier(2), []

    def fire(window: datetime) -> None:
        with shop.app.app_context():
            barrier.wait(120)
            fired.append(shop.runtime.scheduler.fire("digesting", "daily", intended_window=window))

    for windows in ([WINDOW, WINDOW], [WINDOW + timedelta(days=1), WINDOW + timedelta(days=2)]):
        threads = [threading.Thread(target=fire, args=[window]) for window in windows]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert len(fired) == 4
    assert len(set(fired)) == 3


@pytest.mark.rule("cron-two-at-once", "cron-fired-by-workers")
def test_a_window_that_another_process_is_just_firing_is_not_fired_again(open_shop: OpenShop) -> None:
    """With idempotency "none" no start key keeps the second one back."""
    fired: list[str] = []
    beside: list[threading.Thread] = []
    is_second_window = threading.Event()

    def fire() -> None:
        with shop.app.app_context():
            fired.extend(shop.runtime.scheduler.fire_due(since))

    def while_it_is_fired() -> str:
        if is_second_window.is_set() and not beside:
            beside.append(threading.Thread(target=fire))
            beside[0].start()
            beside[0].join(2)
        return "ops"

    class Report(BaseModel):
        channel: str = Field(default_factory=while_it_is_fired)

    class Reporting(Workflow):
        daily = Cron("0 9 * * *", Report, idempotency="none")
        deliver = Step(lambda: None)

    shop = open_shop(Reporting)
    since = shop.clock.now()
    shop.clock.advance(timedelta(days=1))
    fire()
    assert len(fired) == 1
    shop.clock.advance(timedelta(days=1))
    is_second_window.set()
    fire()
    beside[0].join(120)
    assert len(fired) == 2


@pytest.mark.rule("cron-once-a-window", "cron-declared-only")
@pytest.mark.parametrize(
    ("workflow", "trigger", "expected"),
    [
        ("nowhere", "daily", UnknownWorkflowError),
        ("digesting", "nightly", UnknownTriggerError),
        ("digesting", "by_hand", UnknownTriggerError),
    ],
)
def test_only_declared_cron_triggers_fire(
    migrated_sqlite_url: str, script: Script, workflow: str, trigger: str, expected: type[Exception]
) -> None:
    shop = Shop(migrated_sqlite_url, digesting(script))
    with shop.app.app_context(), pytest.raises(expected):
        shop.runtime.scheduler.fire(workflow, trigger)
    shop.runtime.database.dispose()


# -- by way of the executor --------------------------------------------------------------------------------------


def test_a_queue_is_given_the_activation_and_brings_it_back(open_shop: OpenShop, script: Script) -> None:
    queue = Recording()
    shop = open_shop(workflow := digesting(script), executor=queue)
    shop.mesh.enqueue_cron(workflow, "daily", intended_window=WINDOW, signal_id="tick")
    [(payload, _)] = queue.given
    assert payload == {
        "kind": "cron",
        "workflow": "digesting",
        "trigger": "daily",
        "intended_window": WINDOW.isoformat(),
        "signal_id": "tick",
    }
    delivery = shop.mesh.perform(payload)
    assert (delivery.outcome, delivery.status) == ("executed", "pending")
    again = shop.mesh.perform(payload)
    assert (again.outcome, again.run_id) == ("duplicate", delivery.run_id)


@pytest.mark.rule("cron-held")
@pytest.mark.parametrize(("workflow", "trigger"), [("nowhere", "daily"), ("digesting", "by_hand")])
def test_an_activation_that_the_process_of_a_queue_does_not_know_is_put_back(
    open_shop: OpenShop, script: Script, workflow: str, trigger: str
) -> None:
    queue = Recording()
    shop = open_shop(digesting(script), executor=queue)
    payload = {"kind": "cron", "workflow": workflow, "trigger": trigger, "intended_window": WINDOW.isoformat()}
    assert shop.mesh.perform(payload).outcome == "held"
    assert queue.given == [(payload, 60)]
    queue.failing = OSError("the queue is away")
    with pytest.raises(OSError, match="away"):
        shop.mesh.perform(payload)


def test_a_plain_activation_works(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(workflow := digesting(script), executor=Recording())
    shop.mesh.enqueue_cron(workflow, "daily")
    assert shop.mesh.perform({"kind": "cron", "workflow": "digesting", "trigger": "daily"}).outcome == "executed"


def test_the_database_executor_keeps_activations_until_they_are_due(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(workflow := digesting(script))
    shop.mesh.enqueue_cron(workflow, "daily", schedule_in=60)
    shop.mesh.enqueue_cron(workflow, "daily", signal_id="now")
    drain()
    assert runs(script) == 1
    shop.later(61)
    assert runs(script) == 2
    assert shop.rows(tables.dispatches) == []


@pytest.mark.rule("cron-unknown")
def test_an_activation_that_this_process_does_not_know_is_put_off_and_not_lost(
    open_shop: OpenShop, script: Script
) -> None:
    class Other(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))

    shop = open_shop(workflow := digesting(script))
    shop.mesh.enqueue_cron(workflow, "daily")
    older = Shop(shop.url, Other)
    with older.app.app_context():
        drain()
        [dispatch] = older.rows(tables.dispatches)
        assert "digesting" in dispatch.held
    older.runtime.database.dispose()
    shop.later(61)
    assert runs(script) == 1


@pytest.mark.rule("cron-one-commit")
def test_an_activation_goes_with_the_runs_own_transaction(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(workflow := digesting(script, idempotency="none"))
    shop.mesh.enqueue_cron(workflow, "daily")
    with monkeypatch.context() as patched:
        patched.setattr(Scheduler, "_remember", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            drain()
    assert shop.rows(tables.runs) == []
    drain()
    assert runs(script) == 1


@pytest.mark.rule("cron-fired-by-workers")
def test_a_worker_fires_a_schedule_when_its_window_comes(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(digesting(script))
    since = shop.clock.now()
    assert shop.runtime.scheduler.fire_due(since) == []
    shop.clock.advance(timedelta(days=1))

    (run_id,) = shop.runtime.scheduler.fire_due(since)
    assert shop.runtime.scheduler.fire_due(since) == []

    run = shop.look(run_id)
    assert run.schedule is not None
    assert since < datetime.fromisoformat(run.schedule["intended_window"]) <= shop.clock.now()
    shop.clock.advance(timedelta(days=3))
    assert len(shop.runtime.scheduler.fire_due(shop.clock.now())) == 1


@pytest.mark.rule("cron-fired-by-workers")
def test_a_first_worker_starts_nothing_old(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(digesting(script))
    shop.clock.advance(timedelta(days=2))

    assert shop.runtime.scheduler.fire_due(shop.clock.now()) == []


@pytest.mark.rule("cron-fired-by-workers")
@pytest.mark.parametrize("idempotency", ["return_existing", "skip", "none"])
def test_of_two_workers_one_fires_a_window(open_shop: OpenShop, script: Script, idempotency: str) -> None:
    shop = open_shop(digesting(script, idempotency=idempotency))
    since = shop.clock.now()
    shop.clock.advance(timedelta(days=1))
    together, fired = threading.Barrier(2), []

    def fire() -> None:
        with shop.app.app_context():
            together.wait(120)
            fired.extend(shop.runtime.scheduler.fire_due(since))

    threads = [threading.Thread(target=fire) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(fired) == 1


@pytest.mark.rule("cron-moved-loses-none")
def test_a_window_that_no_worker_saw_is_made_up_for_though_no_expression_is_on_record(
    open_shop: OpenShop, script: Script
) -> None:
    shop = open_shop(digesting(script))
    with shop.runtime.database.write() as connection:
        row = {"workflow": "digesting", "trigger": "daily", "fired_window": shop.clock.now()}
        connection.execute(tables.schedules.insert().values(row))
    shop.clock.advance(timedelta(days=1))

    assert len(shop.runtime.scheduler.fire_due(shop.clock.now())) == 1


def test_a_paused_schedule_is_not_fired(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(digesting(script))
    since = shop.clock.now()
    with shop.runtime.database.write() as connection:
        row = {"workflow": "digesting", "trigger": "daily", "paused_at": since}
        connection.execute(tables.schedules.insert().values(row))
    shop.clock.advance(timedelta(days=1))

    assert shop.runtime.scheduler.fire_due(since) == []


def test_only_cron_triggers_are_handed_to_the_executor(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(digesting(script), executor=Recording())
    with pytest.raises(UnknownTriggerError, match="no cron trigger"):
        shop.mesh.enqueue_cron("digesting", "by_hand")
    with pytest.raises(UnknownTriggerError, match="has no trigger"):
        shop.mesh.enqueue_cron("digesting", "nightly")


@pytest.mark.rule("cron-by-hand")
def test_an_older_or_a_coming_window_started_by_hand_takes_the_place_of_no_other(
    open_shop: OpenShop, script: Script
) -> None:
    shop = open_shop(digesting(script, idempotency="none"))
    since = shop.clock.now()
    shop.clock.advance(timedelta(days=1))
    for window in (since - timedelta(days=5), shop.clock.now() + timedelta(days=1)):
        shop.runtime.scheduler.fire("digesting", "daily", intended_window=window)
    assert len(shop.runtime.scheduler.fire_due(since)) == 1
    shop.runtime.scheduler.fire("digesting", "daily", intended_window=since - timedelta(days=6))
    assert shop.runtime.scheduler.fire_due(since) == []


@pytest.mark.rule("cron-by-hand")
def test_a_run_written_when_the_next_window_has_begun_does_not_lose_it(open_shop: OpenShop, script: Script) -> None:
    class Ticking(Workflow):
        each_minute = Cron("* * * * *")
        work = Step(script.does("work"))

    shop = open_shop(Ticking)
    shop.clock.move_to(WINDOW + timedelta(seconds=61))
    assert shop.runtime.scheduler.fire("ticking", "each_minute", intended_window=WINDOW)
    assert len(shop.runtime.scheduler.fire_due(WINDOW)) == 1


class Broken(BaseModel):
    day: str = Field(default_factory=lambda: str(1 // 0))


@pytest.mark.rule("cron-raises")
def test_a_schedule_that_raises_stops_no_other(
    open_shop: OpenShop, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    class Alarming(Workflow):
        broken = Cron("0 9 * * *", Broken)
        sound = Cron("0 9 * * *")
        work = Step(script.does("work"))

    shop = open_shop(Alarming)
    since = shop.clock.now()
    shop.clock.advance(timedelta(days=1))
    assert len(shop.runtime.scheduler.fire_due(since)) == 1
    assert "schedule broken of alarming could not be fired (ZeroDivisionError)" in caplog.text


@pytest.mark.rule("cron-raises")
def test_an_activation_that_raises_is_put_off(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(workflow := digesting(script))
    shop.mesh.enqueue_cron(workflow, "daily")
    with monkeypatch.context() as patched:
        patched.setattr(Scheduler, "_remember", lambda *_: 1 // 0)
        drain()
    assert shop.rows(tables.runs) == []
    assert [row.held for row in shop.rows(tables.dispatches)] == ["It raised ZeroDivisionError."]
    shop.later(61)
    assert runs(script) == 1


class ReadOnly(psycopg.InternalError):
    sqlstate = "25006"


class TooComplex(psycopg.OperationalError):
    sqlstate = "54001"


def test_an_activation_that_the_database_refuses_for_good_is_put_off(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise told(TooComplex("stack depth limit exceeded"))

    shop = open_shop(workflow := digesting(script))
    shop.mesh.enqueue_cron(workflow, "daily")
    with monkeypatch.context() as patched:
        patched.setattr(Scheduler, "_remember", refuse)
        drain()
    assert [row.held for row in shop.rows(tables.dispatches)] == ["It raised OperationalError."]


@pytest.mark.parametrize("refusal", [OSError("away"), ReadOnly("a standby")])
def test_an_activation_stays_as_it_is_while_the_database_is_away(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    def away(*_: Any) -> None:
        raise told(refusal) if isinstance(refusal, psycopg.Error) else sa.exc.OperationalError("", None, refusal)

    shop = open_shop(workflow := digesting(script))
    shop.mesh.enqueue_cron(workflow, "daily")
    with monkeypatch.context() as patched:
        patched.setattr(Scheduler, "_remember", away)
        with pytest.raises(sa.exc.DBAPIError):
            drain()
    assert [row.held for row in shop.rows(tables.dispatches)] == [None]
    drain()
    assert runs(script) == 1
