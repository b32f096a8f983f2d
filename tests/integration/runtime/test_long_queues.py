"""A long queue is told from a lost hand-over by what was taken meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import Manual, Retry, RetryStep, Step, Wait, Workflow
from flask_squidmesh.runtime import relay as relaying
from flask_squidmesh.storage import tables
from tests.shop import Order, Recording, Script, Shop, single

OpenShop = Callable[..., Shop]


def change(shop: Shop, run_id: str, values: Mapping[str, Any]) -> None:
    """Change the dispatch of the run."""
    with shop.runtime.database.write() as connection:
        connection.execute(sa.update(tables.dispatches).where(tables.dispatches.c.run_id == run_id).values(values))


class Line:
    """Runs of one step in a queue that a relay has looked at once. Each is started 10 seconds after the one before."""

    def __init__(self, open_shop: OpenShop, script: Script) -> None:
        self.queue, self.workflow = Recording(), single(script)
        self.shop = open_shop(self.workflow, executor=self.queue)
        self.join()
        self.shop.clock.advance(61)
        self.shop.relay()
        self.take(self.runs_handed_over()[0])
        self.queue.given.clear()

    def join(self) -> str:
        run_id = self.shop.start(self.workflow)
        self.shop.clock.advance(10)
        return run_id

    def take(self, run_id: str) -> None:
        assert self.shop.deliver(run_id, "work").outcome == "executed"

    def runs_handed_over(self) -> list[str]:
        return [payload["run_id"] for payload, _ in self.queue.given]


@pytest.fixture
def line(open_shop: OpenShop, script: Script) -> Line:
    return Line(open_shop, script)


@pytest.mark.rule("relay-long-queue")
def test_what_waits_in_a_long_queue_is_not_handed_over_again(line: Line) -> None:
    waiting = [line.join() for _ in range(5)]
    for run_id in waiting[:4]:
        line.shop.clock.advance(120)
        line.take(run_id)
        assert line.shop.relay() == 0
    assert line.runs_handed_over() == waiting


@pytest.mark.rule("relay-long-queue")
def test_what_the_queue_has_passed_over_is_handed_over_again(line: Line) -> None:
    *lost, younger, waiting = [line.join() for _ in range(4)]
    line.shop.clock.advance(60)
    line.take(younger)
    assert line.shop.relay() == 2
    again = line.runs_handed_over()[4:]
    assert sorted(again) == sorted(lost)
    assert waiting not in again


@pytest.mark.rule("relay-one-repeat")
def test_one_repeat_is_outstanding_until_the_queue_has_passed_that_too(line: Line) -> None:
    lost, first, second = [line.join() for _ in range(3)]
    line.shop.clock.advance(60)
    line.take(first)
    assert line.shop.relay() == 1
    line.shop.clock.advance(120)
    line.take(second)
    assert line.shop.relay() == 0
    for _ in range(6):
        later = line.join()
    line.shop.clock.advance(60)
    line.take(later)
    line.shop.relay()
    assert line.runs_handed_over().count(lost) == 3


@pytest.mark.rule("relay-long-queue")
def test_where_nothing_is_taken_for_minutes_all_is_handed_over_again(line: Line) -> None:
    taken, lost = line.join(), line.join()
    line.take(taken)
    line.shop.clock.advance(100)
    assert line.shop.relay() == 0
    line.shop.clock.advance(100)
    assert line.shop.relay() == 1
    assert line.runs_handed_over()[-1] == lost


@pytest.mark.rule("relay-in-no-queue")
@pytest.mark.parametrize("obstacle", ["refused", "held", "claim lost"])
def test_what_is_in_no_queue_is_handed_over_however_long_the_queue_is(
    line: Line, open_shop: OpenShop, obstacle: str
) -> None:
    shop, waiting = line.shop, [line.join() for _ in range(8)]
    if obstacle == "refused":
        line.queue.failing = ConnectionError("away")
    obstructed = line.join()
    line.queue.failing = None
    claim = {"claim_id": "0" * 32, "claimed_by": "gone", "claimed_at": shop.clock.now()}
    if obstacle == "held":
        change(shop, obstructed, {"held": "no such step"})
    if obstacle == "claim lost":
        change(shop, obstructed, claim)
    shop.clock.advance(61)
    line.take(waiting[0])
    relaying = open_shop(single(Script(), called="Other"), executor=line.queue) if obstacle == "held" else shop
    relaying.clock.move_to(shop.clock.now())
    relaying.runtime.database.contact.lost()
    assert relaying.relay() == 1
    assert line.runs_handed_over()[-1] == obstructed
    change(shop, obstructed, dict.fromkeys(claim))


@pytest.mark.rule("relay-queue-progress")
@pytest.mark.parametrize("what", ["wait", "retry"])
def test_work_that_had_a_time_of_its_own_says_nothing_of_the_queue(line: Line, script: Script, what: str) -> None:
    class Waiting(Workflow):
        place = Manual(Order)
        settle = Wait(100)

    class Retrying(Workflow):
        place = Manual(Order)
        settle = Step(script.does("settle", RetryStep(after=100), None), retry=Retry(2))

    workflow = Waiting if what == "wait" else Retrying
    line.shop.mesh.register(workflow)
    run_id = line.shop.start(workflow)
    if what == "retry":
        line.shop.deliver(run_id, "settle")
    before = line.shop.rows(tables.queues)
    line.shop.clock.advance(101)
    assert line.shop.deliver(run_id, "settle").status == "completed"
    assert line.shop.rows(tables.queues) == before


@pytest.mark.rule("relay-queue-progress")
def test_progress_is_noted_once_in_a_few_seconds(line: Line) -> None:
    runs = [line.shop.start(line.workflow) for _ in range(3)]
    line.take(runs[0])
    noted = line.shop.rows(tables.queues)
    line.take(runs[1])
    assert line.shop.rows(tables.queues) == noted
    line.shop.clock.advance(6)
    line.take(runs[2])
    assert line.shop.rows(tables.queues)[0].taken_upto > noted[0].taken_upto


@pytest.mark.rule("relay-two-at-once")
def test_two_relays_at_once_hand_everything_over_once(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script)
    shop = open_shop(workflow, executor=Recording())
    started = {shop.start(workflow) for _ in range(30)}
    relays = [Shop(shop.url, workflow, executor=Recording()) for _ in range(2)]
    together, answers = threading.Barrier(2), []

    def round_of(each: Shop) -> None:
        each.clock.advance(61)
        with each.app.app_context():
            together.wait(120)
            answers.append(each.relay())

    threads = [threading.Thread(target=round_of, args=(each,)) for each in relays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    queues: list[Any] = [each.runtime.executor for each in relays]
    given = [payload["run_id"] for queue in queues for payload, _ in queue.given]
    assert sum(answers) == len(given) == 30
    assert set(given) == started
    for each in relays:
        each.runtime.database.dispose()


@pytest.mark.rule("relay-two-at-once")
def test_what_one_relay_is_handing_over_is_passed_over_by_another(migrated_postgres_url: str, script: Script) -> None:
    workflow = single(script)
    first, second = (Shop(migrated_postgres_url, workflow, executor=Recording()) for _ in range(2))
    engine = first.runtime.database.engine
    beside: list[int] = []

    def go_round_beside(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE squidmesh_dispatches") and not beside:
            with second.app.app_context():
                beside.append(second.relay())

    with first.app.app_context():
        for _ in range(3):
            first.start(workflow)
        assert first.relay() == 0
        for each in (first, second):
            each.clock.advance(61)
        sa.event.listen(engine, "before_cursor_execute", go_round_beside)
        assert (first.relay(), beside) == (3, [0])
    for each in (first, second):
        each.runtime.database.dispose()


@pytest.mark.rule("deploy-unknown-held")
def test_lost_work_of_workflows_that_nobody_knows_keeps_no_other_waiting(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))

    monkeypatch.setattr(relaying, "BATCH", 3)
    known = single(script)
    older = open_shop(Gone, executor=Recording())
    for _ in range(4):
        older.start(Gone)
    assert len(older.claim_due(limit=10)) == 4
    shop = open_shop(known, executor=Recording())
    run_id = shop.start(known)
    shop.claim_due()
    shop.clock.advance(31)
    shop.relay()
    shop.relay()
    assert shop.events(run_id) == ["abandoned"]
    assert shop.deliver(run_id, "work").status == "completed"
    held = [row.held for row in shop.rows(tables.dispatches)]
    assert held == ["This process knows no step work of workflow gone."] * 4
