"""What a process that was forked off takes over from its parent: nothing that both could use at once."""

from __future__ import annotations

from collections.abc import Callable

from flask_squidmesh import Manual, Step, Workflow
from tests.shop import Order, Script, Shop


def test_a_forked_process_has_connections_and_a_name_of_its_own(open_shop: Callable[..., Shop], script: Script) -> None:
    class Greeting(Workflow):
        begin = Manual(Order)
        greet = Step(script.does("greet"))

    shop = open_shop(Greeting)
    run_id = shop.start(Greeting)
    runtime = shop.runtime
    with runtime.database.engine.connect() as of_parent:
        parents = of_parent.connection.driver_connection
    before = (runtime.worker_name, runtime.claims, runtime.bell, runtime.database, runtime.executor)
    pool_of_host = shop.db.engine.pool
    runtime.forked()
    after = (runtime.worker_name, runtime.claims, runtime.bell, runtime.database, runtime.executor)
    assert not any(old is new for old, new in zip(before, after, strict=True))
    assert shop.db.engine.pool is not pool_of_host
    with runtime.database.engine.connect() as of_child:
        assert of_child.connection.driver_connection is not parents
    assert parents is not None
    assert parents.execute("SELECT 1").fetchone() == (1,), "the parent's connection was closed"
    parents.close()
    assert shop.later(0) == 1
    assert shop.status(run_id) == "completed"
