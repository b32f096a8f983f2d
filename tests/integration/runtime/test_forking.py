"""What a process that was forked off takes over from its parent: nothing that both could use at once."""

from __future__ import annotations

import ctypes
import gc
import json
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import ConflictError, Manual, Step, Workflow
from flask_squidmesh.storage.tables import dispatches, runs
from flask_squidmesh.testing import drain
from tests.shop import Order, Script, Shop
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")


class Child:
    """A process forked off from this one: does something in several turns, and says what came of each."""

    def __init__(self, does: Callable[[], Iterator[Any]], fork: Callable[[], int] = os.fork) -> None:
        hears, tells = os.pipe()
        waits, begins = os.pipe()
        self._id = fork()
        if self._id == 0:
            os.close(begins)
            self._act(does, waits, tells)
        os.close(waits)
        os.close(tells)
        self._begins, self._hears = os.fdopen(begins, "w"), os.fdopen(hears)

    def turn(self) -> Any:
        """Let it go on, and answer what it says next."""
        self._begins.write("\n")
        self._begins.flush()
        said = json.loads(self._hears.readline() or '{"error": "it has ended"}')
        assert "error" not in said, said["error"]
        return said["answer"]

    def end(self) -> None:
        """Wait for its end."""
        self._begins.close()
        self._hears.close()
        os.waitpid(self._id, 0)

    @staticmethod
    def _act(does: Callable[[], Iterator[Any]], waits: int, tells: int) -> None:
        try:
            with os.fdopen(waits) as begins, os.fdopen(tells, "w") as stream:
                answers = does()
                while begins.readline():
                    print(json.dumps(Child._said(answers)), file=stream, flush=True)
            gc.collect()
        finally:
            os._exit(0)

    @staticmethod
    def _said(answers: Iterator[Any]) -> dict[str, Any]:
        try:
            return {"answer": next(answers)}
        except BaseException:
            return {"error": traceback.format_exc()}


@contextmanager
def child(does: Callable[[], Iterator[Any]], fork: Callable[[], int] = os.fork) -> Iterator[Child]:
    """A child that has ended when the block has."""
    forked = Child(does, fork)
    try:
        yield forked
    finally:
        forked.end()


@pytest.fixture
def shop(open_shop: Callable[..., Shop], script: Script) -> Shop:
    class Greeting(Workflow):
        begin = Manual(Order)
        greet = Step(script.does("greet"))

    return open_shop(Greeting, claim_timeout=1)


def start(shop: Shop) -> str:
    return str(shop.mesh.start_run("greeting", {"order_id": "o-1"}).id)


def seen(shop: Shop) -> set[str]:
    """The runs that somebody sees who connects anew."""
    engine = sa.create_engine(shop.url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return set(connection.scalars(sa.select(runs.c.id)))


def let_go(shop: Shop) -> None:
    """Close every connection of this process, so that on SQLite whoever else closes last takes the log away."""
    shop.db.session.remove()
    shop.db.engine.dispose()
    shop.runtime.database.dispose()


def starting(shop: Shop) -> Iterator[str]:
    """Start a run at each turn, in an app context of the child's own."""
    while True:
        with shop.app.app_context():
            run_id = start(shop)
        yield run_id


def not_at_all(shop: Shop) -> None:
    """Nothing was used."""


def by_us(shop: Shop) -> None:
    drain()


def by_the_host(shop: Shop) -> None:
    shop.db.session.execute(sa.select(runs.c.id)).all()
    shop.db.session.remove()


def in_a_session_that_stays_open(shop: Shop) -> None:
    shop.db.session.execute(sa.select(runs.c.id)).all()


USES = (not_at_all, by_us, by_the_host, in_a_session_that_stays_open)


@pytest.mark.rule("fork-anew")
@pytest.mark.parametrize("used", USES, ids=[use.__name__ for use in USES])
def test_runs_of_a_forked_process_are_seen_by_everybody_however_the_database_was_used_before(
    shop: Shop, used: Callable[[Shop], None]
) -> None:
    used(shop)
    with child(lambda: starting(shop)) as forked:
        let_go(shop)
        mine = {start(shop), forked.turn()}
        assert seen(shop) == mine
        let_go(shop)
        mine |= {forked.turn()}
        assert seen(shop) == mine
        mine |= {start(shop), forked.turn()}
        assert seen(shop) == mine
    let_go(shop)
    assert seen(shop) == mine
    drain()
    assert all(completed(shop, run_id) for run_id in mine)


def longer(rounds: list[str], than: int) -> bool:
    return len(rounds) > than


def completed(shop: Shop, run_id: str) -> bool:
    return shop.status(run_id) == "completed"


@pytest.mark.rule("fork-anew")
def test_a_child_of_a_child_does_as_well(shop: Shop) -> None:
    start(shop)

    def has_a_child() -> Iterator[str]:
        start(shop)
        with child(lambda: starting(shop)) as grandchild:
            let_go(shop)
            yield grandchild.turn()
            yield start(shop)

    with child(has_a_child) as forked:
        let_go(shop)
        assert {forked.turn(), forked.turn()} < seen(shop)
    assert len(seen(shop)) == 4


@pytest.mark.rule("fork-anew")
def test_the_parents_connections_stay_open_and_its_own(shop: Shop) -> None:
    start(shop)
    with shop.db.engine.connect() as connection:
        connection.execute(sa.select(runs.c.id)).all()
        with child(lambda: starting(shop)) as forked:
            theirs = forked.turn()
        assert theirs in set(connection.execute(sa.select(runs.c.id)).scalars()) or connection.in_transaction()
    assert {start(shop), theirs} < seen(shop)


@pytest.mark.rule("fork-session")
def test_a_session_that_was_open_before_the_fork_is_refused(shop: Shop) -> None:
    in_a_session_that_stays_open(shop)

    def joins() -> Iterator[str]:
        with pytest.raises(ConflictError, match="opened before this process was forked off"):
            shop.mesh.start_run("greeting", {}, session=shop.db.session)
        yield start(shop)

    with child(joins) as forked:
        assert {forked.turn()} == seen(shop)


def fork_without_a_word() -> int:
    """Fork as uWSGI does, which calls none of Python's functions for it."""
    interval = sys.getswitchinterval()
    # uWSGI has no other thread; the one that pytest-xdist has must not be asking for the interpreter just now, as the
    # child would hand it over and wait for a thread that it does not have.
    sys.setswitchinterval(1_000)
    try:
        return int(ctypes.PyDLL(None).fork())
    finally:
        sys.setswitchinterval(interval)


def fork_and_tell_the_child() -> int:
    """Fork as uWSGI does with `py-call-osafterfork`."""
    process = fork_without_a_word()
    if process == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    return process


_TELLS_THE_CHILD_ALONE = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="Python ends a child that is told of its fork where the parent was not"
)


@pytest.mark.parametrize(
    "fork", [fork_without_a_word, pytest.param(fork_and_tell_the_child, marks=_TELLS_THE_CHILD_ALONE)]
)
def test_the_hosts_session_takes_no_connection_of_the_parents_however_the_server_forks(
    shop: Shop, fork: Callable[[], int]
) -> None:
    def driver() -> Any:
        with shop.app.app_context():
            return shop.db.session.connection().connection.driver_connection

    parents = driver()
    assert driver() is parents

    def looks() -> Iterator[bool]:
        yield driver() is parents
        yield shop.status(start(shop)) == "pending"

    with child(looks, fork) as forked:
        assert forked.turn() is False
        assert forked.turn()
        assert driver() is parents
    assert shop.status(start(shop)) == "pending"


_TELLS_THE_CHILD_ALONE = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="Python ends a child that is told of its fork where the parent was not"
)


@pytest.mark.parametrize(
    "fork", [fork_without_a_word, pytest.param(fork_and_tell_the_child, marks=_TELLS_THE_CHILD_ALONE)]
)
def test_a_request_takes_no_connection_of_the_parents_even_past_the_session(
    shop: Shop, fork: Callable[[], int]
) -> None:
    drivers: list[Any] = []

    def view() -> str:
        with shop.db.engine.connect() as connection:
            drivers.append(connection.connection.driver_connection)
        return ""

    shop.app.add_url_rule("/", view_func=view)

    def asked() -> Any:
        assert shop.app.test_client().get("/").status_code == 200
        return drivers[-1]

    parents = asked()
    assert asked() is parents

    with child(lambda: iter([asked() is parents]), fork) as forked:
        assert forked.turn() is False
    assert asked() is parents


@pytest.mark.rule("fork-anew")
def test_claims_are_kept_in_a_process_that_was_forked_while_its_parent_kept_some(
    open_shop: Callable[..., Shop],
) -> None:
    def renewed() -> None:
        for _ in range(2):
            before = due_at()
            eventually(partial(moved, before))

    def moved(before: Any) -> bool:
        return bool(due_at() != before)

    def due_at() -> Any:
        with shop.runtime.database.read() as connection:
            return connection.scalar(sa.select(dispatches.c.due_at))

    class Long(Workflow):
        begin = Manual(Order)
        wait = Step(renewed)

    shop = open_shop(Long, claim_timeout=1)
    assert shop.status(shop.run(Long)) == "completed", "and the thread that keeps claims lives"

    def performs() -> Iterator[str]:
        with shop.app.app_context():
            yield shop.status(shop.run(Long))

    with child(performs) as forked:
        assert forked.turn() == "completed"


@pytest.mark.rule("fork-anew")
def test_a_process_may_fork_while_its_threads_are_at_work(shop: Shop) -> None:
    ended, rounds = threading.Event(), []

    def keep_at_it() -> None:
        with shop.app.app_context():
            while not ended.is_set():
                rounds.append(shop.mesh.start_run("greeting", {}, idempotency_key="one").id)

    worker = shop.runtime.worker(threads=2)
    threads = [threading.Thread(target=each) for each in (keep_at_it, keep_at_it, worker.run)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            eventually(partial(longer, rounds, len(rounds) + 3))
            with child(lambda: starting(shop)) as forked:
                theirs = forked.turn()
            eventually(partial(completed, shop, theirs))
    finally:
        ended.set()
        worker.stop()
        for thread in threads:
            thread.join()
    assert completed(shop, rounds[0])


@pytest.mark.rule("fork-in-step")
def test_a_step_may_fork_with_multiprocessing(open_shop: Callable[..., Shop], script: Script) -> None:
    def begin_one() -> None:
        with host.app.app_context():
            start(host)

    def fan_out(ctx: Any) -> dict[str, Any]:
        host.db.session.execute(sa.select(runs.c.id)).all()
        processes = [multiprocessing.get_context("fork").Process(target=begin_one) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return {"codes": [process.exitcode for process in processes]}

    class Greeting(Workflow):
        begin = Manual(Order)
        greet = Step(script.does("greet"))

    class Spread(Workflow):
        begin = Manual(Order)
        spread = Step(script.does("spread", fan_out))

    host = open_shop(Greeting, Spread)
    run_id = host.run(Spread)
    assert host.look(run_id).context["codes"] == [0, 0]
    let_go(host)
    drain()
    assert script.calls == ["spread", "greet", "greet"]


@pytest.mark.rule("fork-in-step")
@pytest.mark.parametrize("comes_back", [lambda: None, sys.exit, lambda: 1 / 0], ids=["returns", "exits", "raises"])
def test_a_process_that_a_step_forks_off_records_nothing(
    open_shop: Callable[..., Shop], script: Script, comes_back: Callable[[], Any]
) -> None:
    def forks(ctx: Any) -> dict[str, Any]:
        process = os.fork()
        if process == 0:
            comes_back()
            return {"by": "child"}
        os.waitpid(process, 0)
        return {"by": "parent"}

    class Forking(Workflow):
        begin = Manual(Order)
        fork = Step(script.does("fork", forks))

    shop = open_shop(Forking)
    run_id = shop.run(Forking)
    [step_run] = shop.look(run_id).step_runs or ()
    assert (shop.look(run_id).context["by"], len(step_run.attempts)) == ("parent", 1)
    assert script.calls == ["fork"]
