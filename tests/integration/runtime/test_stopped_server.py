"""A real server that is stopped, restarted and frozen while steps run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import Manual, Step, Workflow
from flask_squidmesh.testing import drain
from tests import postgres
from tests.databases import create_tables, engines_disposed
from tests.requirements import missing
from tests.shop import Order, Recording, Script, Shop

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the server's processes in /proc")

HONEST = {"max_connections": "50", "shared_buffers": "32MB"}
"""What is committed is kept, also where the server is stopped at once."""


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    binaries = postgres.find_binaries() or missing(postgres.HOW_TO_GET)
    with postgres.running_server(binaries, HONEST) as running, engines_disposed():
        create_tables(running.url)
        yield running


def interrupt(server: postgres.Server, how: str) -> Callable[[], None]:
    """Begin it, and answer what ends it."""
    if how == "frozen":
        server.freeze()
        return server.thaw
    if how == "stopped at once":
        server.stop_immediately()
    else:
        server.stop()
    return server.start


@pytest.mark.parametrize("delivery", ["worker", "queue"])
@pytest.mark.parametrize("transaction", [False, True], ids=["plain", "transaction"])
@pytest.mark.parametrize("how", ["stopped at once", "stopped in good order", "frozen"])
def test_a_step_that_ends_while_the_server_is_away_is_recorded_once(
    server: postgres.Server, script: Script, how: str, transaction: bool, delivery: str
) -> None:
    began, goes_on = threading.Event(), threading.Event()

    def work(_ctx: Any) -> dict[str, int]:
        began.set()
        assert goes_on.wait(120)
        return {"done": 1}

    class Working(Workflow):
        place = Manual(Order)
        work_ = Step(script.does("work", work), transaction=transaction)
        after = Step(script.does("after"))
        flow = [work_ >> after]

    queue = Recording() if delivery == "queue" else None
    shop = Shop(server.url, Working, executor=queue or "database")
    failures: list[BaseException] = []

    def deliver() -> None:
        try:
            with shop.app.app_context():
                while queue is not None and queue.given:
                    shop.mesh.perform(queue.given.pop(0)[0])
                drain()
        except BaseException as error:
            failures.append(error)

    with shop.app.app_context():
        run_id = shop.start(Working)
        delivering = threading.Thread(target=deliver)
        delivering.start()
        assert began.wait(120)
        end = interrupt(server, how)
        goes_on.set()
        delivering.join(0.7)
        assert delivering.is_alive()
        if how != "frozen":
            with pytest.raises(sa.exc.OperationalError):
                shop.start(Working)
        end()
        delivering.join(120)
        assert failures == []
        run = shop.look(run_id)
        attempts = [[each.status for each in step.attempts] for step in run.step_runs or ()]
        assert (run.status, attempts) == ("completed", [["completed"], ["completed"]])
        assert script.calls.count("work") == (2 if transaction and how != "frozen" else 1)
    shop.runtime.database.dispose()
    with shop.app.app_context():
        shop.db.engine.dispose()
