"""Outcomes are recorded, whatever steps, hosts' functions, subscribers and executors say, return or raise."""

from __future__ import annotations

import decimal
import logging
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
import sqlalchemy as sa
from flask import appcontext_pushed

from flask_squidmesh import FailStep, Manual, Retry, Step, Workflow, signals
from flask_squidmesh.runtime.deliveries import Deliverer
from flask_squidmesh.runtime.worker import ThreadsLostError, Worker
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop, error_of
from tests.waiting import eventually

OpenShop = Callable[..., Shop]


class Evil(Exception):
    """Nothing can be had from it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise SystemExit("evil")


def workflow_of(script: Script, *outcomes: Any, **options: Any) -> type[Workflow]:
    class Single(Workflow):
        place = Manual(Order)
        work = Step(script.does("work", *outcomes), **options)
        after = Step(script.does("after"))
        flow = [work >> after]

    return Single


@pytest.mark.rule("errors-any-exception")
def test_a_step_that_raises_what_cannot_be_read_fails_with_it(open_shop: OpenShop, script: Script) -> None:
    workflow = workflow_of(script, Evil())
    shop = open_shop(workflow)
    run = shop.look(shop.run(workflow))
    assert (run.status, error_of(run)["type"]) == ("failed", "Evil")
    assert script.calls == ["work"]


@pytest.mark.rule("errors-database")
def test_an_error_of_the_database_is_kept_and_logged_without_the_row_that_it_quotes(
    open_shop: OpenShop, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"iban": "DE44-SECRET"}

    def open_account(_ctx: Any) -> None:
        with shop.db.engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE accounts (iban TEXT, owner TEXT NOT NULL)"))
            connection.execute(sa.text("INSERT INTO accounts (iban) VALUES (:iban)"), row)

    workflow = workflow_of(script, open_account)
    shop = open_shop(workflow)
    with caplog.at_level(logging.DEBUG):
        run = shop.look(shop.run(workflow))
    assert (run.status, error_of(run)["type"]) == ("failed", "IntegrityError")
    assert "owner" in error_of(run)["message"]
    assert "DE44-SECRET" not in str(run.to_dict())
    assert "Traceback" in caplog.text
    assert "DE44-SECRET" not in caplog.text


@pytest.mark.rule("worker-threads-stay")
@pytest.mark.parametrize("error", [Evil, SystemExit])
@pytest.mark.parametrize(("place", "name"), [(Deliverer, "deliver"), (Worker, "_next")])
def test_a_thread_of_a_worker_outlives_whatever_is_raised(
    open_shop: OpenShop,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    name: str,
    error: type[BaseException],
) -> None:
    workflow = workflow_of(script)
    shop = open_shop(workflow, poll_interval=0.05)
    plain, raised = getattr(place, name), threading.Event()

    def fail_once(*given: Any) -> Any:
        if not raised.is_set():
            raised.set()
            raise error
        return plain(*given)

    monkeypatch.setattr(place, name, fail_once)
    shop.start(workflow)
    working = shop.runtime.worker()
    running = threading.Thread(target=working.run)
    running.start()
    try:
        raised.wait(120)
        run_id = shop.start(workflow)
        eventually(lambda: shop.status(run_id) == "completed")
    finally:
        working.stop()
        running.join()


@pytest.mark.rule("worker-threads-stay")
def test_a_worker_that_has_lost_its_threads_says_so(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(workflow_of(script))
    monkeypatch.setattr(Worker, "_work", lambda self: None)
    with pytest.raises(ThreadsLostError):
        shop.runtime.worker(threads=2).run()


@pytest.mark.rule("step-teardown")
@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_what_a_teardown_raises_is_logged_and_the_outcome_recorded(
    open_shop: OpenShop, script: Script, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    workflow = workflow_of(script, OSError("once"), None, retry=Retry(2))
    shop = open_shop(workflow)
    ended: list[Any] = []

    @shop.app.teardown_appcontext
    def fail(_error: Any) -> None:
        if script.calls:
            ended.append(_error)
            raise error("teardown")

    run_id = shop.start(workflow)
    shop.later(0)
    shop.later(0)
    shop.app.teardown_appcontext_funcs.clear()
    assert shop.status(run_id) == "completed"
    assert script.calls == ["work", "work", "after"]
    assert ended
    assert "the end of an app context of shop raised" in caplog.text


@pytest.mark.rule("step-teardown")
def test_a_session_that_a_teardown_kept_from_being_removed_is_not_met_again(
    open_shop: OpenShop, script: Script
) -> None:
    sessions: list[Any] = []

    def look(_ctx: Any) -> None:
        session = shop.db.session()
        assert session not in sessions
        sessions.append(session)

    workflow = workflow_of(script, look)
    shop = open_shop(workflow)

    @shop.app.teardown_appcontext
    def fail(_error: Any) -> None:
        if sessions:
            raise RuntimeError("teardown")

    mine, known = shop.db.session(), shop.db.session.registry.registry
    try:
        assert [shop.status(shop.run(workflow)) for _ in range(3)] == ["completed"] * 3
        assert list(known.values()) == [mine]
    finally:
        shop.app.teardown_appcontext_funcs.remove(fail)


@pytest.mark.rule("step-teardown")
def test_a_context_that_cannot_begin_fails_the_step_and_leaves_none(open_shop: OpenShop, script: Script) -> None:
    workflow = workflow_of(script, retry=Retry(2))
    shop = open_shop(workflow)
    failing: list[int] = []

    def fail(_app: Any) -> None:
        if failing:
            failing.pop()
            raise RuntimeError("no context")

    appcontext_pushed.connect(fail, shop.app)
    run_id = shop.start(workflow)
    with shop.runtime.in_context():
        failing.append(1)
        with pytest.raises(RuntimeError, match="no context"), shop.runtime.in_context():
            pass
        assert shop.app.name == "shop"
    shop.later(0)
    assert shop.status(run_id) == "completed"


COLOUR: ContextVar[str] = ContextVar("colour", default="none")


@pytest.mark.rule("step-context")
def test_each_attempt_has_context_variables_and_decimal_settings_of_its_own(
    open_shop: OpenShop, script: Script
) -> None:
    seen: list[tuple[str, int]] = []

    def change(_ctx: Any = None) -> None:
        seen.append((COLOUR.get(), decimal.getcontext().prec))
        COLOUR.set("red")
        decimal.getcontext().prec = 5

    async def change_in_turn() -> None:
        change()

    class Changing(Workflow):
        place = Manual(Order)
        one = Step(script.does("one", change))
        two = Step(change_in_turn)
        three = Step(script.does("three", change), transaction=True)
        flow = [one >> two >> three]

    shop = open_shop(Changing)
    before = decimal.getcontext().prec
    assert shop.status(shop.run(Changing)) == "completed"
    assert shop.status(shop.run(Changing)) == "completed"
    assert seen == [("none", before)] * 6


@pytest.fixture
def subscribers() -> Iterator[list[Any]]:
    found: list[Any] = []
    yield found
    for signal, receiver in found:
        signal.disconnect(receiver)


@pytest.mark.rule("starting-raises-nothing-after")
@pytest.mark.parametrize("error", [Evil, SystemExit])
def test_a_start_does_not_raise_after_its_commit(
    open_shop: OpenShop, script: Script, subscribers: list[Any], error: type[BaseException]
) -> None:
    queue = Recording()
    queue.failing = error()  # type: ignore[assignment]
    workflow = workflow_of(script)
    shop = open_shop(workflow, executor=queue)
    told: list[str] = []

    def fail(_app: Any, **_: Any) -> None:
        raise error

    def hear(_app: Any, **facts: Any) -> None:
        told.append(facts["run_id"])

    for receiver in (fail, hear):
        signals.run_created.connect(receiver)
        subscribers.append((signals.run_created, receiver))
    run_id = shop.start(workflow)
    assert told == [run_id]
    assert shop.status(run_id) == "pending"
    assert shop.mesh.explain_run(run_id).status == "pending"


class Interrupted:
    """Does what it is told, and then somebody presses Ctrl-C in the middle of the host's code, once."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, *_: Any, **__: Any) -> Any:
        self.times += 1
        if self.times == 1:
            raise KeyboardInterrupt


@pytest.mark.rule("starting-raises-nothing-after")
def test_ctrl_c_in_a_subscriber_ends_a_start_that_is_committed(
    open_shop: OpenShop, script: Script, subscribers: list[Any]
) -> None:
    workflow = workflow_of(script)
    shop = open_shop(workflow, executor=Recording())
    pressed = Interrupted()
    signals.run_created.connect(pressed)
    subscribers.append((signals.run_created, pressed))
    with pytest.raises(KeyboardInterrupt):
        shop.start(workflow)
    [run] = shop.mesh.list_runs().runs
    assert run.status == "pending"


@pytest.mark.rule("starting-raises-nothing-after")
def test_ctrl_c_in_an_executor_ends_a_start_that_the_relay_hands_over(open_shop: OpenShop, script: Script) -> None:
    class Pressed(Recording):
        pressed = Interrupted()

        def enqueue(self, payload: Any, *, schedule_in: float | None = None) -> Any:
            self.pressed()
            return super().enqueue(payload, schedule_in=schedule_in)

    queue, workflow = Pressed(), workflow_of(script)
    shop = open_shop(workflow, executor=queue)
    with pytest.raises(KeyboardInterrupt):
        shop.start(workflow)
    shop.clock.advance(61)
    shop.relay()
    assert queue.steps == ["work"]


@pytest.mark.rule("worker-shutdown")
@pytest.mark.parametrize("where", ["step_started", "step_completed", "continues", "teardown"])
def test_ctrl_c_in_the_hosts_code_gives_what_is_open_to_others_at_once(
    open_shop: OpenShop, script: Script, subscribers: list[Any], where: str
) -> None:
    class Chain(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))
        pay = Step(script.does("pay"), irreversible=True)
        flow = [work >> pay]

    class Pressed(Recording):
        def continues(self, run: Any, step: str) -> bool:
            if where == "continues":
                pressed()
            return True

    pressed = Interrupted()
    shop = open_shop(Chain, executor=Pressed())
    run_id = shop.start(Chain)
    if where == "teardown":
        shop.app.teardown_appcontext(lambda _error: pressed() if script.calls else None)
    elif where != "continues":
        signal = getattr(signals, where)
        signal.connect(pressed)
        subscribers.append((signal, pressed))
    with pytest.raises(KeyboardInterrupt):
        shop.deliver(run_id, "work")
    drain()
    shop.app.teardown_appcontext_funcs.clear()
    assert (shop.status(run_id), script.calls.count("pay")) == ("completed", 1)
    assert "interrupted" not in shop.events(run_id)


@pytest.mark.rule("executor-metadata")
@pytest.mark.parametrize(
    "metadata", [{1: 2}, {"app": 1}, {"job": 1}, {"run_id": "other"}, None, 7, [1], {"step": Evil()}]
)
def test_no_metadata_of_an_executor_keeps_a_signal_from_anybody(
    open_shop: OpenShop, script: Script, subscribers: list[Any], metadata: Any
) -> None:
    class Odd(Recording):
        def enqueue(self, payload: Any, *, schedule_in: float | None = None) -> Any:
            super().enqueue(payload, schedule_in=schedule_in)
            return metadata

    workflow = workflow_of(script)
    shop = open_shop(workflow, executor=Odd())
    told: list[Any] = []

    def hear(app: Any, **facts: Any) -> None:
        told.append((app, facts["run_id"], facts["step"]))

    def hear_otherwise(job: Any, **facts: Any) -> None:
        told.append((job, facts["run_id"], facts["step"]))

    for receiver in (hear, hear_otherwise):
        signals.run_dispatched.connect(receiver)
        subscribers.append((signals.run_dispatched, receiver))
    run_id = shop.start(workflow)
    assert told == [(shop.app, run_id, "work")] * 2


@pytest.mark.rule("errors-limit")
def test_details_that_are_too_large_are_kept_nowhere(open_shop: OpenShop, script: Script) -> None:
    workflow = workflow_of(script, FailStep("no", details={"a": "x" * 2_000}))
    shop = open_shop(workflow, max_payload_bytes=1_000)
    run = shop.look(shop.run(workflow))
    assert "SQUIDMESH_MAX_PAYLOAD_BYTES allows 1000" in error_of(run)["details"]["omitted"]


@pytest.mark.rule("errors-limit")
def test_bulky_details_are_kept_once_and_told_to_an_error_route(open_shop: OpenShop, script: Script) -> None:
    class Routed(Workflow):
        place = Manual(Order)
        work = Step(script.does("work", FailStep("no", details={"a": "x" * 20_000})), retry=Retry(1))
        rescue = Step(script.does("rescue", FailStep("no")))
        flow = [work.on_error >> rescue]

    single = workflow_of(script, OSError("busy"), FailStep("no", details={"a": "x" * 20_000}), retry=Retry(2))
    shop = open_shop(single, Routed)
    run = shop.look(shop.run(single))
    [step_run] = [each for each in run.step_runs or () if each.step == "work"]
    omitted = {"omitted": "They are 20009 bytes of JSON and stand with attempt 2."}
    assert [error_of(run)["details"], step_run.error and step_run.error["details"]] == [omitted] * 2
    last = step_run.attempts[1].error
    assert last is not None
    assert last["details"] == {"a": "x" * 20_000}
    shop.run(Routed)
    failure = script.contexts[-1].failure
    assert failure is not None
    assert failure["details"] == {"a": "x" * 20_000}


def test_a_coroutine_that_a_plain_function_returns_is_refused(
    open_shop: OpenShop, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    async def later() -> None:
        pass

    caplog.set_level(logging.DEBUG)
    workflow = workflow_of(script, lambda ctx: later())
    shop = open_shop(workflow)
    error = error_of(shop.look(shop.run(workflow)))
    assert (error["type"], "returned a coroutine" in error["message"]) == ("OutputError", True)
