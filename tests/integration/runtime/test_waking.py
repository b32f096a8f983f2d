"""Work of another process wakes a worker long before it would look by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from flask_squidmesh import Manual, Step, Wait, Workflow
from flask_squidmesh.runtime import waking, worker
from flask_squidmesh.runtime.waking import WakeSignal
from tests.commits import statements_told
from tests.integration.runtime.test_working import working
from tests.shop import Order, Script, Shop, single

OpenShop = Callable[..., Shop]
Eventually = Callable[..., Any]
NEVER = 3_600.0


@pytest.fixture(autouse=True)
def _no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "NOTIFIED_POLL_SECONDS", NEVER)


def asleep(shop: Shop, eventually: Eventually) -> None:
    """Wait until the worker has done a first run and looked for more in vain."""
    first = shop.start(next(iter(shop.runtime.registry)).name)
    eventually(lambda: shop.status(first) == "completed")
    waits: list[float] = []
    waiting = shop.runtime.wake_signal.wait

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return waiting(seconds)

    shop.runtime.wake_signal.wait = wait  # type: ignore[method-assign]
    shop.runtime.wake_signal.set()
    eventually(lambda: waits and waits[-1] == NEVER)


@pytest.mark.rule("worker-woken")
def test_a_run_that_another_process_starts_wakes_a_sleeping_worker(
    open_shop: OpenShop, script: Script, eventually: Eventually
) -> None:
    workflow = single(script)
    elsewhere = open_shop(workflow, poll_interval=NEVER)
    here = open_shop(workflow, poll_interval=NEVER)
    assert elsewhere.runtime.wake_signal is not here.runtime.wake_signal
    with working(here, threads=1):
        asleep(here, eventually)
        with elsewhere.app.app_context():
            run_id = elsewhere.start(workflow)
        eventually(lambda: here.status(run_id) == "completed")


def test_a_run_of_this_process_wakes_a_sleeping_worker(
    open_shop: OpenShop, script: Script, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "GLANCE_SECONDS", NEVER)
    monkeypatch.setattr(worker, "watch", lambda *_: None)
    workflow = single(script)
    shop = open_shop(workflow, poll_interval=NEVER)
    with working(shop, threads=1):
        asleep(shop, eventually)
        run_id = shop.start(workflow)
        eventually(lambda: shop.status(run_id) == "completed")


@pytest.mark.rule("worker-idle")
def test_an_idle_worker_asks_one_thing_a_poll(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(single(script), poll_interval=NEVER)
    waiting, polls, asked, enough = shop.runtime.wake_signal.wait, count(1), [], threading.Event()

    def wait(seconds: float) -> bool:
        if next(polls) <= 20:
            return False
        enough.set()
        return waiting(seconds)

    def ask() -> None:
        if threading.current_thread().name.startswith("squidmesh-worker") and not enough.is_set():
            asked.append("")

    shop.runtime.wake_signal.wait = wait  # type: ignore[method-assign]
    with working(shop, threads=1), statements_told(shop.runtime.database.engine, ask):
        assert enough.wait(120)
    first_looks = 10
    assert 20 <= len(asked) <= 20 + first_looks


def test_a_bell_answers_whether_it_rang() -> None:
    bell = WakeSignal()
    assert not bell.wait(0)
    bell.set()
    assert bell.wait(0)
    assert not bell.wait(0)


def test_a_short_wait_of_another_process_is_not_slept_over(
    open_shop: OpenShop, script: Script, eventually: Eventually
) -> None:
    class Soon(Workflow):
        place = Manual(Order)
        first = Wait(0.2)
        work = Step(script.does("work"))
        flow = [first >> work]

    elsewhere = open_shop(Soon, poll_interval=NEVER)
    here = open_shop(single(script), Soon, poll_interval=NEVER)
    with working(here, threads=1):
        asleep(here, eventually)
        with elsewhere.app.app_context():
            run_id = elsewhere.start(Soon)
        eventually(lambda: here.status(run_id) == "completed")
