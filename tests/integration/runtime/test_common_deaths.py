"""A step that kills its process, and those that were at work beside it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

import pytest

from flask_squidmesh import Manual, Step, StepContext, Workflow
from tests.shop import Order, Shop
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")


def work_until(shop: Shop, settled: Callable[[], bool]) -> NoReturn:
    """Work in this process, which a step may end, until all is settled; then end it."""
    try:
        worker = shop.runtime.worker(threads=4)
        working = threading.Thread(target=worker.run)
        working.start()
        with shop.app.app_context():
            eventually(settled)
        worker.stop()
        working.join()
        os._exit(0)
    finally:
        os._exit(2)


@pytest.mark.rule("interrupted-alone")
def test_only_the_step_that_kills_its_process_comes_to_be_interrupted(open_shop: Callable[..., Shop]) -> None:
    beside = threading.Semaphore(0)

    def work(ctx: StepContext) -> None:
        if ctx.attempt == 1:
            beside.release()
            threading.Event().wait(120)

    def kill(ctx: StepContext) -> None:
        for _ in range(3 if ctx.attempt == 1 else 0):
            beside.acquire(timeout=60)
        os._exit(1)

    class Innocent(Workflow):
        place = Manual(Order)
        work_ = Step(work)

    class Guilty(Workflow):
        place = Manual(Order)
        kill_ = Step(kill)

    shop = open_shop(Innocent, Guilty, claim_timeout=1, poll_interval=0.1)
    innocent = [shop.start(Innocent) for _ in range(3)]
    guilty = shop.start(Guilty)

    def settled() -> bool:
        return {shop.status(run_id) for run_id in (guilty, *innocent)} <= {"completed", "paused"}

    for _ in range(6):
        process = os.fork()
        if process == 0:
            work_until(shop, settled)
        if os.waitpid(process, 0)[1] == 0:
            break
    assert [shop.status(run_id) for run_id in innocent] == ["completed"] * 3
    run = shop.look(guilty)
    assert (run.status, run.needs.kind if run.needs else None) == ("paused", "interrupted")
    deaths = [shop.events(run_id).count("abandoned") for run_id in (guilty, *innocent)]
    assert deaths == [3, 1, 1, 1]
