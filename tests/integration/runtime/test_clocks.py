"""Machines whose clocks are wrong, on one database whose clock is right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from flask_squidmesh import Approval, Cron, Exponential, Manual, Retry, RetryStep, Step, Wait, Workflow
from flask_squidmesh.clock import ReferenceClock
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import SettableClock, drain
from tests.shop import Order, Script, Shop

OpenShop = Callable[..., Shop]

NEARLY = timedelta(seconds=30)
ON_POSTGRESQL = pytest.mark.parametrize("databases", ["postgres"], indirect=True)
WRONG = [
    pytest.param(timedelta(minutes=-10), id="ten minutes behind"),
    pytest.param(timedelta(minutes=10), id="ten minutes ahead"),
    pytest.param(timedelta(days=-1500), id="years behind"),
    pytest.param(timedelta(days=1500), id="years ahead"),
]


@pytest.fixture
def set_machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Shop, timedelta], None]:
    """A function that sets the clock of the machine of a shop, whose own offset knows nothing of that."""

    def set_clock(shop: Shop, by: timedelta) -> None:
        plain = SettableClock.now
        monkeypatch.setattr(shop.clock, "now", lambda: plain(shop.clock) + by)

    return set_clock


SetMachine = Callable[[Shop, timedelta], None]


def settling(script: Script) -> type[Workflow]:
    class Settling(Workflow):
        place = Manual(Order)
        by_clock = Cron("0 9 * * *", Order)
        settle = Wait(60)
        charge = Step(
            script.does("charge", RetryStep("busy", after=120), {"charged": True}), retry=Retry(2, Exponential(1, 300))
        )
        review = Approval("Ship?", within=timedelta(hours=1))
        ship = Step(script.does("ship"))
        refund = Step(script.does("refund"))
        flow = [settle >> charge >> review >> ship, review.on_reject >> refund]

    return Settling


def database_now(shop: Shop) -> datetime:
    with shop.runtime.database.read() as connection:
        now: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return now + shop.clock.offset


def is_now(shop: Shop, time: datetime | None, later: timedelta = timedelta(0)) -> bool:
    assert time is not None
    return abs(time - database_now(shop) - later) < NEARLY


@pytest.mark.rule("clock-database")
@ON_POSTGRESQL
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("through", ["own", "session"])
def test_a_run_goes_by_the_databases_time(
    open_shop: OpenShop,
    script: Script,
    set_machine: SetMachine,
    wrong: timedelta,
    through: str,
) -> None:
    shop = open_shop(workflow := settling(script))
    set_machine(shop, wrong)
    run_id = shop.start(workflow, session=shop.db.session if through == "session" else None)
    shop.db.session.commit()
    assert is_now(shop, shop.look(run_id).created_at)
    drain()
    assert script.calls == []
    [waiting] = shop.rows(tables.dispatches)
    assert is_now(shop, waiting.due_at, timedelta(seconds=60))
    shop.later(61)
    assert script.calls == ["charge"]
    [retrying] = shop.rows(tables.dispatches)
    assert is_now(shop, retrying.due_at, timedelta(seconds=120))
    shop.later(121)
    [asking] = shop.rows(tables.step_runs, tables.step_runs.c.status == "paused")
    assert is_now(shop, asking.decide_by, timedelta(hours=1))
    shop.mesh.approve_run(run_id, actor="dana")
    drain()
    assert shop.status(run_id) == "completed"
    assert is_now(shop, shop.look(run_id).finished_at)


@pytest.mark.rule("clock-database")
@ON_POSTGRESQL
@pytest.mark.parametrize("wrong", WRONG)
def test_machines_that_disagree_perform_a_run_together(
    open_shop: OpenShop, script: Script, set_machine: SetMachine, wrong: timedelta
) -> None:
    workflow = settling(script)
    first = open_shop(workflow)
    second = Shop(first.url, workflow)
    set_machine(first, wrong)
    set_machine(second, -wrong)
    run_id = first.start(workflow)
    with second.app.app_context():
        drain()
        assert script.calls == []
        second.clock.advance(61)
        drain()
    assert script.calls == ["charge"]
    first.clock.advance(61 + 121)
    drain()
    assert script.calls == ["charge", "charge"]
    assert first.status(run_id) == "paused"


@pytest.mark.rule("clock-database")
@ON_POSTGRESQL
@pytest.mark.parametrize("wrong", WRONG)
def test_a_clock_that_is_set_while_the_process_runs_changes_nothing(
    open_shop: OpenShop, script: Script, set_machine: SetMachine, wrong: timedelta
) -> None:
    shop = open_shop(workflow := settling(script))
    shop.start(workflow)
    set_machine(shop, wrong)
    assert is_now(shop, shop.runtime.clock.now())
    assert is_now(shop, shop.look(shop.start(workflow)).created_at)
    set_machine(shop, timedelta(0))
    assert is_now(shop, shop.look(shop.start(workflow)).created_at)


@pytest.mark.rule("clock-database")
@ON_POSTGRESQL
@pytest.mark.parametrize("wrong", WRONG)
def test_schedules_fire_at_the_databases_time(
    open_shop: OpenShop, script: Script, set_machine: SetMachine, wrong: timedelta
) -> None:
    shop = open_shop(settling(script))
    shop.clock.move_to(datetime(2026, 3, 9, 9, 0, 30, tzinfo=UTC))
    set_machine(shop, wrong)
    before = datetime(2026, 3, 9, 8, 0, tzinfo=UTC)
    assert len(shop.runtime.scheduler.fire_due(before)) == 1
    assert shop.runtime.scheduler.fire_due(before) == []
    [row] = shop.rows(tables.schedules)
    assert row.fired_window == datetime(2026, 3, 9, 9, 0, tzinfo=UTC)


@pytest.mark.rule("clock-schedules")
@pytest.mark.parametrize("column", ["fired_window", "resumed_at"])
def test_a_time_that_has_yet_to_come_silences_no_schedule(open_shop: OpenShop, script: Script, column: str) -> None:
    shop = open_shop(settling(script))
    shop.clock.move_to(datetime(2026, 3, 9, 9, 0, 30, tzinfo=UTC))
    future = datetime(2030, 1, 1, 9, 0, tzinfo=UTC)
    with shop.runtime.database.write() as connection:
        row = {"workflow": "settling", "trigger": "by_clock", column: future, "fired_at": future}
        connection.execute(sa.insert(tables.schedules).values(row))
    found = [finding.text for finding in shop.runtime.app_check.results() if finding.subject == "schedules"]
    assert [text.partition(", ")[0] for text in found] == [
        "The schedule by_clock of settling remembers 2030-01-01 09:00 UTC"
    ]
    before = datetime(2026, 3, 9, 8, 0, tzinfo=UTC)
    assert len(shop.runtime.scheduler.fire_due(before)) == 1
    assert shop.runtime.scheduler.fire_due(before) == []
    shop.clock.advance(timedelta(days=1))
    assert len(shop.runtime.scheduler.fire_due(before)) == 1


@pytest.mark.rule("clock-schedules")
def test_two_clocks_that_differ_by_a_moment_fire_once(open_shop: OpenShop, script: Script) -> None:
    class Often(Workflow):
        daily = Cron("0 9 * * *", Order, idempotency="none")
        act = Step(script.does("act"))
        flow = [act]

    shop = open_shop(Often)
    before = datetime(2026, 3, 1, tzinfo=UTC)
    shop.clock.move_to(datetime(2026, 3, 9, 9, 0, tzinfo=UTC))
    assert len(shop.runtime.scheduler.fire_due(before)) == 1
    shop.clock.advance(-1)
    assert shop.runtime.scheduler.fire_due(before) == []


@pytest.mark.rule("clock-check")
@ON_POSTGRESQL
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (timedelta(seconds=-90.5), "This machine's clock is 90 seconds behind the database's."),
        (timedelta(minutes=10), "This machine's clock is 10 minutes ahead of the database's."),
        (timedelta(seconds=1), "this machine's agrees with the database's"),
    ],
)
def test_check_tells_of_a_machine_whose_clock_is_wrong(
    open_shop: OpenShop,
    script: Script,
    set_machine: SetMachine,
    wrong: timedelta,
    said: str,
) -> None:
    shop = open_shop(settling(script))
    set_machine(shop, wrong)
    [clock] = [finding for finding in shop.runtime.app_check.results() if finding.subject == "clock"]
    assert clock.text.startswith(said)
    assert clock.wrong == (abs(wrong) > timedelta(seconds=5))


class Machine(SettableClock):
    """The machine's clock, and a reference that is some seconds ahead of it."""

    ahead = timedelta(0)

    def reference(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.mark.rule("clock-behind")
def test_the_time_never_runs_ahead_of_the_reference() -> None:
    machine = Machine()
    clock = ReferenceClock(machine, lambda: None)
    for seconds in (0, 3, 2.5, -7, 0):
        machine.ahead = timedelta(seconds=seconds)
        clock.compare(machine.reference)
        told = clock.now()
        assert told <= machine.reference()
        assert machine.reference() - told < timedelta(seconds=1)


def test_a_machine_that_agrees_with_the_reference_tells_its_own_time() -> None:
    machine = Machine()
    clock = ReferenceClock(machine, lambda: None)
    machine.move_to(datetime(2030, 1, 1, tzinfo=UTC))
    clock.compare(machine.reference)
    assert clock.lag == timedelta(0)


def test_a_reference_out_of_reach_leaves_the_machines_time() -> None:
    def reach() -> None:
        raise ConnectionError

    clock = ReferenceClock(machine := Machine(), reach)
    assert machine.now() <= clock.now() <= machine.now()
    clock.compare(lambda: None)
    assert not clock.is_fresh
