"""Workers with real threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flask_squidmesh import Manual, Step, StepContext, Wait, Workflow
from flask_squidmesh.runtime.relay import Relay
from flask_squidmesh.runtime.scheduler import Scheduler
from flask_squidmesh.runtime.worker import Worker
from flask_squidmesh.storage import tables
from tests.shop import Order, Script, Shop

OpenShop = Callable[..., Shop]


@contextmanager
def working(shop: Shop, threads: int = 2) -> Iterator[Worker]:
    """A worker in a thread of its own; it is stopped at the end, and must then end."""
    worker = shop.runtime.worker(threads=threads)
    running = threading.Thread(target=worker.run)
    running.start()
    try:
        yield worker
    finally:
        worker.stop()
        running.join(120)
        assert not running.is_alive()


def chain(script: Script) -> type[Workflow]:
    class Chain(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"))
        settle = Wait(0.2)
        b = Step(script.does("b"))
        flow = [a >> settle >> b]

    return Chain


@pytest.mark.rule("worker-several-threads")
def test_a_worker_performs_what_there_is_and_what_comes(
    open_shop: OpenShop, script: Script, eventually: Callable[..., Any]
) -> None:
    workflow = chain(script)
    shop = open_shop(workflow, poll_interval=0.05)
    before = shop.start(workflow)
    with working(shop):
        eventually(lambda: shop.rows(tables.processes))
        later = [shop.start(workflow) for _ in range(5)]
        eventually(lambda: all(shop.status(run_id) == "completed" for run_id in (before, *later)))
    assert len(script.calls) == 12
    assert shop.rows(tables.processes) == []


def test_a_worker_that_begins_takes_the_dead_off_the_list(
    open_shop: OpenShop, script: Script, eventually: Callable[..., Any]
) -> None:
    shop = open_shop(chain(script))
    shop.runtime.heartbeats.record("worker", "died:1", queue="squidmesh")
    shop.clock.advance(23 * 3600)
    shop.runtime.heartbeats.record("worker", "silent:1", queue="squidmesh")
    shop.clock.advance(2 * 3600)
    with working(shop):
        names = ["silent:1", shop.runtime.worker_name]
        eventually(lambda: sorted(row.id for row in shop.rows(tables.processes)) == sorted(names))


def test_what_upkeep_raises_keeps_nothing_else_from_being_done_but_ctrl_c_ends_it(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[BaseException] = [RuntimeError(), KeyboardInterrupt()]
    done: list[str] = []

    def relaying(_relay: Relay) -> None:
        raise raised.pop(0)

    monkeypatch.setattr(Relay, "once", relaying)
    monkeypatch.setattr(Scheduler, "fire_due", lambda *_: done.append("fired"))
    keeping = open_shop(chain(script)).runtime.upkeep(threads=1)
    keeping.once()
    assert done == ["fired"]
    with pytest.raises(KeyboardInterrupt):
        keeping.once()
    assert done == ["fired"]


@pytest.mark.rule("worker-several-threads")
def test_steps_run_side_by_side(open_shop: OpenShop, script: Script, eventually: Callable[..., Any]) -> None:
    meeting = threading.Barrier(3)

    def meet(ctx: StepContext) -> None:
        meeting.wait(120)

    class Meeting(Workflow):
        place = Manual(Order)
        work = Step(meet)

    shop = open_shop(Meeting, poll_interval=0.05)
    runs = [shop.start(Meeting) for _ in range(3)]
    with working(shop, threads=3):
        eventually(lambda: all(shop.status(run_id) == "completed" for run_id in runs))


@pytest.mark.rule("worker-stops")
def test_a_stopped_worker_ends_its_step_and_takes_no_other(
    open_shop: OpenShop, script: Script, eventually: Callable[..., Any]
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow(ctx: StepContext) -> None:
        begun.set()
        assert may_end.wait(120)

    class Slow(Workflow):
        place = Manual(Order)
        work = Step(slow)
        other = Step(script.does("other"))
        flow = [work >> other]

    shop = open_shop(Slow, poll_interval=0.05, delivery_steps=1)
    run_id = shop.start(Slow)
    with working(shop, threads=1) as worker:
        assert begun.wait(120)
        waiting = shop.start(Slow)
        worker.stop()
        may_end.set()
    assert shop.visits(run_id) == [("work", "completed"), ("other", "pending")]
    assert shop.visits(waiting) == [("work", "pending")]
    assert script.calls == []


@pytest.mark.rule("worker-stops")
def test_what_a_stopping_worker_has_claimed_and_not_begun_is_free_at_once(open_shop: OpenShop, script: Script) -> None:

    workflow = chain(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    worker = shop.runtime.worker()
    worker._ready.extend(shop.claim_due())
    worker.stop()
    assert worker._next() is None
    [dispatch] = shop.rows(tables.dispatches)
    assert dispatch.claim_id is None
    assert shop.visits(run_id) == [("a", "pending")]


@pytest.mark.rule("worker-system-exit")
def test_a_step_that_exits_takes_no_thread_with_it(
    open_shop: OpenShop, script: Script, eventually: Callable[..., Any]
) -> None:
    class Exiting(Workflow):
        place = Manual(Order)
        work = Step(script.does("work", SystemExit(1), KeyboardInterrupt(), None))

    shop = open_shop(Exiting, poll_interval=0.05)
    with working(shop, threads=1):
        for status in ("failed", "failed", "completed"):
            run_id = shop.start(Exiting)
            eventually(lambda run_id=run_id, status=status: shop.status(run_id) == status)
