"""The database is away for a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from types import MappingProxyType
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import FailStep, Manual, Retry, Step, StepContext, Workflow
from flask_squidmesh.engine.transitions import TERMINAL
from flask_squidmesh.runtime import claim_renewal
from flask_squidmesh.runtime.dispatcher import Dispatcher
from flask_squidmesh.runtime.recorder import Recorder
from flask_squidmesh.storage import fact_rows
from flask_squidmesh.testing import drain
from tests.commits import around_commits, statements_told
from tests.shop import Order, Outcome, Recording, Script, Shop

OpenShop = Callable[..., Shop]
AWAY = sa.exc.OperationalError("COMMIT", {}, Exception("the database is away"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at once."""
    monkeypatch.setattr(claim_renewal, "FIRST_PAUSE_SECONDS", 0.01)


def chain(script: Script, first: Outcome = MappingProxyType({"a": 1})) -> type[Workflow]:
    class Chain(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", first))
        b = Step(script.does("b", {"b": 2}))
        flow = [a >> b]

    return Chain


@contextmanager
def failing_commits(engine: sa.Engine, at: int, *, after: bool) -> Iterator[None]:
    """Have one commit fail, with or without effect."""
    seen = [0]

    def around(_dbapi: Any, commit: Callable[[], None]) -> None:
        seen[0] += 1
        if seen[0] != at or after:
            commit()
        if seen[0] == at:
            raise AWAY

    end = around_commits(engine, around)
    try:
        yield
    finally:
        end()


def test_an_outcome_waits_for_the_database(open_shop: OpenShop, script: Script) -> None:
    workflow = chain(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    with failing_commits(shop.runtime.database.engine, 2, after=False):
        drain()
    assert (shop.status(run_id), script.calls) == ("completed", ["a", "b"])


@pytest.mark.rule("outage-claim-unanswered")
def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    open_shop: OpenShop, script: Script, eventually: Callable[..., Any]
) -> None:
    """The step that the claim went on to is given back, as it was never begun."""
    workflow = chain(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    with failing_commits(shop.runtime.database.engine, 2, after=True):
        drain()
    eventually(lambda: drain() or shop.status(run_id) == "completed")
    assert (shop.status(run_id), script.calls, shop.events(run_id)) == ("completed", ["a", "b"], [])
    assert [len(step.attempts) for step in shop.look(run_id).step_runs or ()] == [1, 1]


@pytest.mark.rule("outage-waits")
def test_reading_the_state_waits_for_the_database(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(a: int) -> dict[str, int]:
        return {"seen": a}

    class Reading(Workflow):
        place = Manual(Order)
        first = Step(script.does("first", {"a": 1}))
        work_ = Step(work)
        flow = [first >> work_]

    plain, refusals = fact_rows.outputs, [AWAY, AWAY]

    def away(*given: Any, **named: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return plain(*given, **named)

    shop = open_shop(Reading, delivery_steps=1)
    run_id = shop.start(Reading)
    monkeypatch.setattr(fact_rows, "outputs", away)
    drain()
    run = shop.look(run_id)
    assert (run.status, run.context, refusals) == ("completed", {"a": 1, "seen": 1}, [])
    assert [len(step.attempts) for step in run.step_runs or ()] == [1, 1]


@pytest.mark.rule("outage-claim-unanswered")
def test_work_that_was_claimed_without_an_answer_is_given_back_at_once(
    open_shop: OpenShop, script: Script, eventually: Callable[..., Any]
) -> None:
    workflow = chain(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    with failing_commits(shop.runtime.database.engine, 1, after=True), suppress(sa.exc.OperationalError):
        drain()
    eventually(lambda: drain() or shop.status(run_id) == "completed")
    assert (script.calls, shop.events(run_id)) == (["a", "b"], [])
    assert [len(step.attempts) for step in shop.look(run_id).step_runs or ()] == [1, 1]


def test_a_failure_in_place_of_an_outcome_that_is_refused_for_good_waits_too(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, refusals = Recorder.record, [AWAY, sa.exc.IntegrityError("INSERT", {}, Exception("never")), AWAY]

    def refuse(*given: Any, **named: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return plain(*given, **named)

    workflow = chain(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    monkeypatch.setattr(Recorder, "record", refuse)
    drain()
    assert (shop.status(run_id), script.calls, refusals) == ("failed", ["a"], [])


def seeing(name: str, *, fails_first: bool = False) -> Callable[[StepContext], dict[str, int]]:
    """A step that reads the state, and returns something under a name."""

    def see(ctx: StepContext) -> dict[str, int]:
        if fails_first and ctx.attempt == 1:
            raise OSError("once")
        return {name: len(ctx.state)}

    return see


def flowing(script: Script) -> type[Workflow]:
    class Flowing(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", seeing("a", fails_first=True)), retry=Retry(2))
        b = Step(script.does("b", seeing("b")))
        flow = [a >> b]

    return Flowing


def joining(script: Script) -> type[Workflow]:
    class Joining(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", {"a": 1}), after=[])
        b = Step(script.does("b", {"b": 2}), after=[])
        c = Step(script.does("c", seeing("c")), after=[a, b])

    return Joining


def undoing(script: Script) -> type[Workflow]:
    class Undoing(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", {"a": 1}), compensate=script.does("undo a", seeing("undone", fails_first=True)))
        b = Step(script.does("b", FailStep("no")))
        flow = [a >> b]

    return Undoing


def booking(script: Script) -> type[Workflow]:
    class Booking(Workflow):
        place = Manual(Order)
        a = Step(script.does(BOOK, seeing("a")), transaction=True)
        b = Step(script.does("b", seeing("b")))
        c = Step(script.does(BOOK, FailStep("no")), transaction=True)
        flow = [a >> b >> c]

    return Booking


BOOK = "done in a transaction, so that nothing of it was kept where it is done again"


@contextmanager
def one_refused(shop: Shop, at: int) -> Iterator[list[int]]:
    """Have one of this thread's statements refused, the `at`-th. Answer a list that is empty once it was."""
    me, number, waiting = threading.get_ident(), count(1), [at]

    def tell() -> None:
        if threading.get_ident() == me and next(number) == at:
            waiting.clear()
            raise AWAY

    with ExitStack() as told:
        for engine in {shop.runtime.database.engine, shop.db.engine}:
            told.enter_context(statements_told(engine, tell))
        yield waiting


@pytest.mark.parametrize("form", [flowing, joining, undoing, booking])
def test_any_statement_of_a_delivery_may_be_refused_once(
    open_shop: OpenShop, script: Script, eventually: Callable[..., Any], form: Any
) -> None:
    workflow = form(script)
    shop = open_shop(workflow, delivery_steps=1)

    def has_ended(run_id: str) -> bool:
        # A claim without an answer is given back by a thread of its own, so what it is for may become due later.
        if drain():
            shop.later(2)
        return shop.status(run_id) in TERMINAL

    def end(at: int) -> tuple[list[int], Any]:
        script.calls.clear()
        run_id = shop.start(workflow)
        with one_refused(shop, at) as waiting:
            with suppress(sa.exc.OperationalError):  # when it looked for work
                drain()
            with suppress(sa.exc.OperationalError):
                shop.later(2)
        shop.later(2)
        eventually(lambda: has_ended(run_id))
        run = shop.look(run_id)
        calls = sorted(call for call in script.calls if call != BOOK)
        attempts = sorted((step.step, [each.status for each in step.attempts]) for step in run.step_runs or ())
        return waiting, (run.status, run.context, run.compensation, calls, attempts, shop.events(run_id))

    _, undisturbed = end(0)
    for at in count(1):
        waiting, disturbed = end(at)
        assert disturbed == undisturbed, f"at statement {at}"
        if waiting:
            break


def test_who_has_lost_the_claim_asks_no_more(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def lose(ctx: StepContext) -> None:
        if ctx.attempt == 1:
            shop.clock.advance(shop.runtime.settings.claim_timeout + 1)
            assert shop.claim_due(take_over=True)
            shop.runtime.claims.renew()

    def refuse(*_: Any, **__: Any) -> None:
        tries.append(1)
        assert len(tries) < 5
        raise AWAY

    workflow = chain(script, lose)
    shop = open_shop(workflow)
    shop.start(workflow)
    [claim] = shop.claim_due()
    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "record", refuse)
        shop.perform(claim)
    assert tries == [1]


@pytest.mark.rule("outage-transaction")
def test_a_transaction_step_is_not_done_again_where_the_answer_to_its_commit_was_lost(
    open_shop: OpenShop, script: Script, eventually: Callable[..., Any]
) -> None:
    lost: list[int] = []

    def around(_dbapi: Any, commit: Callable[[], None]) -> None:
        commit()
        if script.calls and not lost:
            lost.append(1)
            raise AWAY

    class Booking(Workflow):
        place = Manual(Order)
        book = Step(script.does("book"), transaction=True)
        send = Step(script.does("send"))
        flow = [book >> send]

    shop = open_shop(Booking)
    run_id = shop.start(Booking)
    end = around_commits(shop.db.engine, around)
    try:
        drain()
    finally:
        end()
    eventually(lambda: drain() or shop.status(run_id) == "completed")
    assert (lost, script.calls) == ([1], ["book", "send"])


def test_a_hand_over_while_the_database_is_away_fails_no_start(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:

    def away(*_: Any, **__: Any) -> None:
        raise AWAY

    workflow = chain(script)
    shop = open_shop(workflow, executor=Recording())
    with monkeypatch.context() as patched:
        patched.setattr(Dispatcher, "_summary", away)
        patched.setattr(Dispatcher, "_note_failure", away)
        run_id = shop.start(workflow)
    assert shop.status(run_id) == "pending"


class CutOff(Recording):
    """Hands over within the transaction, and finds the connection gone at its second hand-over."""

    def enqueue_in(
        self, connection: sa.Connection, payload: Any, *, schedule_in: float | None = None
    ) -> dict[str, Any]:
        self.given.append((dict(payload), schedule_in))
        if len(self.given) == 2:
            connection.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return {}


@pytest.mark.rule("outage-hand-over")
def test_a_connection_lost_in_a_hand_over_is_no_failure_of_the_executor(
    migrated_postgres_url: str, script: Script
) -> None:
    workflow = chain(script)
    queue = CutOff()
    shop = Shop(migrated_postgres_url, workflow, executor=queue)
    with shop.app.app_context():
        run_id = shop.start(workflow)
        drain()
        assert (shop.status(run_id), script.calls, queue.steps) == ("completed", ["a", "b"], ["a", "b", "b"])
