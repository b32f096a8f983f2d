from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, current_app

from flask_squidmesh import (
    Approval,
    FailStep,
    Fixed,
    Manual,
    Pause,
    Retry,
    RetryStep,
    Step,
    StepContext,
    Workflow,
    signals,
)
from flask_squidmesh.runtime import signal_publisher
from flask_squidmesh.runtime.recorder import Recorder
from flask_squidmesh.storage import fact_rows
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]
NAMES = tuple(name for name in vars(signals) if name.startswith(("run_", "step_", "manual_")))


class Ear:
    """Hears every signal, of every app."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.senders: set[Flask] = set()
        self._hearing = [self._hear(name) for name in NAMES]

    def _hear(self, name: str) -> Callable[..., None]:
        def hear(app: Flask, **facts: Any) -> None:
            self.senders.add(app)
            self.heard.append((name, facts))

        getattr(signals, name).connect(hear)
        return hear

    @property
    def told(self) -> list[str]:
        """Each signal with what it is about."""
        return [f"{name} {self._about(name, facts)}" for name, facts in self.heard]

    @staticmethod
    def _about(name: str, facts: dict[str, Any]) -> str:
        if name == "run_transitioned":
            return f"{facts['from_status']}-{facts['status']}"
        if name in ("run_created", "run_replayed"):
            return str(facts["status"])
        return f"{facts['step']}"


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()
    yield ear
    for name, hear in zip(NAMES, ear._hearing, strict=True):
        getattr(signals, name).disconnect(hear)


@pytest.mark.rule("signals-after-commit", "signals-facts")
def test_a_run_is_told_in_order(open_shop: OpenShop, script: Script, ear: Ear) -> None:
    class Telling(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", RetryStep("busy"), None), retry=Retry(2, backoff=Fixed(5)))
        review = Approval("Good?")
        b = Step(script.does("b", FailStep("no")))
        stop = Step(script.does("stop"))
        flow = [a >> review >> b, review.on_reject >> stop]

    shop = open_shop(Telling)
    run_id = shop.run(Telling)
    shop.later(6)
    shop.mesh.approve_run(run_id, actor="lee", comment="fine")
    drain()
    told = [each for each in ear.told if not each.startswith("run_dispatched")]
    assert told == [
        "run_created pending",
        "run_transitioned pending-running",
        "step_started a",
        "step_failed a",
        "step_retry_scheduled a",
        "run_transitioned running-retrying",
        "run_transitioned retrying-running",
        "step_started a",
        "step_completed a",
        "step_started review",
        "run_transitioned running-paused",
        "manual_action_taken review",
        "step_completed review",
        "run_transitioned paused-running",
        "step_started b",
        "step_failed b",
        "run_transitioned running-failed",
    ]
    attempts = [
        (name, facts["attempt"]) for name, facts in ear.heard if facts.get("step") == "a" and "attempt" in facts
    ]
    assert attempts == [
        ("step_started", 1),
        ("step_failed", 1),
        ("step_retry_scheduled", 1),
        ("step_started", 2),
        ("step_completed", 2),
    ]
    assert ear.senders == {shop.app}
    assert all(facts["run_id"] == run_id and facts["workflow"] == "telling" for _, facts in ear.heard)
    assert all({"trigger", "status", "current_step"} <= facts.keys() for _, facts in ear.heard)
    by_name = dict(ear.heard)
    assert (by_name["step_retry_scheduled"]["delay"], by_name["step_retry_scheduled"]["attempt"]) == (5, 1)
    assert by_name["step_failed"]["error"]["message"] == "no"
    assert by_name["step_failed"]["duration"] >= 0
    assert by_name["manual_action_taken"]["comment"] == "fine"


@pytest.mark.rule("signals-in-order")
def test_threads_tell_of_one_run_in_the_order_in_which_they_decided(
    open_shop: OpenShop, script: Script, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Siblings(Workflow):
        place = Manual(Order)
        slow = Step(script.does("slow"), after=[])
        fast = Step(script.does("fast"), after=[])

    shop = open_shop(Siblings)
    shop.start(Siblings)
    claims = {claim.visit.step: claim for _ in range(2) for claim in shop.claim_due()}
    committed, told, tell = threading.Event(), threading.Event(), Recorder.after_commit

    def tell_later(*recorded: Any) -> None:
        if threading.current_thread().name == "slow":
            committed.set()
            told.wait(0.3)
        tell(*recorded)
        told.set()

    monkeypatch.setattr(Recorder, "after_commit", tell_later)
    ear.heard.clear()
    thread = threading.Thread(target=shop.runtime.deliverer.deliver, args=(claims["slow"],), name="slow")
    thread.start()
    assert committed.wait(120)
    shop.perform(claims["fast"])
    thread.join(120)
    assert ear.told[-3:] == ["step_completed slow", "step_completed fast", "run_transitioned running-completed"]


@pytest.mark.rule("signals-in-order")
def test_a_decision_that_was_never_told_holds_others_up_once_only(
    open_shop: OpenShop, script: Script, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reviewing(Workflow):
        place = Manual(Order)
        hold = Pause("Look")
        again = Pause("Look again")
        flow = [hold >> again]

    monkeypatch.setattr(signal_publisher, "PATIENCE", 0.01)
    shop = open_shop(Reviewing)
    run_id = shop.run(Reviewing)
    with shop.runtime.database.read() as connection:
        run = fact_rows.run_fact(connection, run_id)
    assert run is not None
    thread = threading.Thread(
        target=shop.runtime.publisher.sequencer.take, args=(run._replace(revision=run.revision - 1),)
    )
    thread.start()
    thread.join(120)
    shop.mesh.unblock_run(run_id)
    monkeypatch.setattr(signal_publisher, "PATIENCE", 60)
    began = time.monotonic()
    shop.mesh.unblock_run(run_id)
    assert time.monotonic() - began < 50
    assert ear.told[-1] == "run_transitioned paused-completed"


@pytest.mark.rule("signals-once")
def test_a_failure_with_compensation_is_told_once(open_shop: OpenShop, script: Script, ear: Ear) -> None:
    class Saga(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"), compensate=script.does("undo"))
        b = Step(script.does("b", FailStep("no")))
        flow = [a >> b]

    shop = open_shop(Saga)
    shop.run(Saga)
    assert ear.told.count("run_transitioned running-failed") == 1


@pytest.mark.rule("executor-metadata")
def test_a_dispatch_tells_the_executors_metadata(open_shop: OpenShop, script: Script, ear: Ear) -> None:
    class One(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"))

    shop = open_shop(One, executor=Recording())
    shop.start(One)
    [(_, facts)] = [each for each in ear.heard if each[0] == "run_dispatched"]
    assert (facts["job_id"], facts["step"], facts["schedule_in"]) == (1, "a", None)


@pytest.mark.rule("executor-metadata")
def test_what_an_executor_answers_that_is_no_mapping_is_told_as_its_result(
    open_shop: OpenShop, script: Script, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    class One(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"))

    monkeypatch.setattr(Recording, "enqueue", lambda *_, **__: "job-7")
    shop = open_shop(One, executor=Recording())
    shop.start(One)
    assert dict(ear.heard)["run_dispatched"]["result"] == "job-7"


@pytest.mark.rule("signals-manual")
def test_a_decision_that_a_cancel_closes_is_told_as_cancelled(open_shop: OpenShop, script: Script, ear: Ear) -> None:
    class Pausing(Workflow):
        place = Manual(Order)
        hold = Pause("Look")

    shop = open_shop(Pausing)
    run_id = shop.run(Pausing)
    ear.heard.clear()
    shop.mesh.cancel_run(run_id, actor="lee")
    assert [name for name, _ in ear.heard] == ["manual_action_taken", "run_transitioned"]
    assert ear.heard[0][1]["action"] == "cancelled"


@pytest.mark.rule("signals-rolled-back")
def test_what_was_rolled_back_is_never_told(open_shop: OpenShop, script: Script, ear: Ear) -> None:
    class One(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"))

    shop = open_shop(One)
    shop.mesh.start_run(One, {}, session=shop.db.session)
    assert ear.heard == []
    shop.db.session.rollback()
    assert ear.heard == []
    savepoint = shop.db.session.begin_nested()
    shop.mesh.start_run(One, {}, session=shop.db.session)
    savepoint.rollback()
    shop.db.session.commit()
    assert ear.heard == []
    shop.mesh.start_run(One, {}, session=shop.db.session)
    shop.db.session.commit()
    assert ear.told[0] == "run_created pending"


@pytest.mark.rule("signals-after-commit")
def test_what_is_told_can_be_read_already(open_shop: OpenShop, script: Script) -> None:
    class One(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"))

    shop = open_shop(One)
    seen = []

    def look(app: Flask, *, run_id: str, **_: Any) -> None:
        seen.append(shop.mesh.inspect_run(run_id).status)

    with signals.step_completed.connected_to(look, sender=shop.app):
        shop.run(One)
    assert seen == ["completed"]


@pytest.mark.rule("signals-raise")
@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_subscriber_that_raises_harms_nobody(
    open_shop: OpenShop, script: Script, ear: Ear, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    class One(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"))

    def break_(app: Flask, **_: Any) -> None:
        raise error("broken subscriber")

    shop = open_shop(One)
    with signals.run_created.connected_to(break_), signals.step_completed.connected_to(break_):
        run_id = shop.run(One)
    assert shop.status(run_id) == "completed"
    assert "run_transitioned running-completed" in ear.told
    assert "a subscriber to step_completed raised" in caplog.text


@pytest.mark.rule("signals-raise")
def test_a_subscriber_that_raises_keeps_the_signal_from_nobody(open_shop: OpenShop, script: Script) -> None:
    class One(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"))

    heard: list[int] = []

    def listener(number: int) -> Callable[..., None]:
        def listen(app: Flask, **_: Any) -> None:
            heard.append(number)
            raise RuntimeError("broken subscriber")

        return listen

    shop = open_shop(One)
    with ExitStack() as stack:
        for number in range(5):
            stack.enter_context(signals.step_completed.connected_to(listener(number), sender=shop.app))
        shop.run(One)
    assert sorted(heard) == [0, 1, 2, 3, 4]


@pytest.mark.rule("delivery-taken")
def test_a_delivery_that_meets_a_live_claim_is_told_as_skipped(open_shop: OpenShop, script: Script, ear: Ear) -> None:
    def work(ctx: StepContext) -> None:
        assert shop.deliver(ctx.run_id, "work_").outcome == "too_early"

    class One(Workflow):
        place = Manual(Order)
        work_ = Step(work)

    shop: Shop = open_shop(One, executor=Recording())
    shop.deliver(shop.start(One), "work_")
    [(_, facts)] = [each for each in ear.heard if each[0] == "step_skipped"]
    assert (facts["step"], facts["reason"]) == ("work_", "already_running")


@pytest.mark.rule("signals-replay")
def test_a_replay_is_told_with_its_source(open_shop: OpenShop, script: Script, ear: Ear) -> None:
    class One(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"))

    shop = open_shop(One)
    run_id = shop.run(One)
    again = shop.mesh.replay_run(run_id)
    [(_, facts)] = [each for each in ear.heard if each[0] == "run_replayed"]
    assert (facts["run_id"], facts["replayed_from_id"]) == (again.id, run_id)


@pytest.mark.rule("logs-records")
def test_signals_become_records_with_their_facts(
    open_shop: OpenShop, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    class Logged(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", FailStep("no")))

    shop = open_shop(Logged)
    with caplog.at_level("DEBUG", "flask_squidmesh"):
        run_id = shop.run(Logged)
    records = [each for each in caplog.records if getattr(each, "run_id", None) == run_id]
    assert {"run created", "step started", "step failed", "run went from running to failed"} <= {
        each.getMessage().partition(": ")[2] for each in records
    }
    [failed] = [each for each in records if each.getMessage().endswith(": step failed")]
    told = {key: getattr(failed, key) for key in ("workflow", "step", "attempt")}
    assert (told, failed.levelname) == ({"workflow": "logged", "step": "a", "attempt": 1}, "WARNING")


class Tracker(logging.Handler):
    """Keeps what an error tracker would report: records at ERROR and above, with the exception that came with each."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.reported: list[tuple[Any, str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        exception = record.exc_info[1] if record.exc_info else None
        self.reported.append((getattr(record, "run_id", None), type(exception).__name__, self.format(record)))


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    root, tracker = logging.getLogger(), Tracker()
    root.addHandler(tracker)
    yield tracker
    root.removeHandler(tracker)


@pytest.mark.rule("logs-errors")
def test_an_error_tracker_sees_a_step_that_failed_once_with_its_run_and_its_error(
    open_shop: OpenShop, script: Script, tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    class Logged(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", ValueError("first"), ValueError("the printer is out of paper")), retry=Retry(2))

    shop = open_shop(Logged)
    run_id = shop.run(Logged)
    [(run, kind, text)] = tracker.reported
    assert (run, kind) == (run_id, "ValueError")
    assert text.count("ValueError: the printer is out of paper") == 1
    assert "Traceback (most recent call last)" in text
    failed = [each for each in caplog.records if each.getMessage().endswith(": step failed")]
    assert [(each.levelname, str(each.exc_info[1])) for each in failed if each.exc_info] == [
        ("WARNING", "first"),
        ("ERROR", "the printer is out of paper"),
    ]


@pytest.mark.rule("logs-errors")
def test_what_a_step_says_itself_is_no_error(open_shop: OpenShop, script: Script, tracker: Tracker) -> None:
    class Logged(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", FailStep("declined")))

    open_shop(Logged).run(Logged)
    assert tracker.reported == []


@pytest.mark.rule("logs-errors")
def test_the_log_of_a_failed_step_has_no_parameters_of_statements(open_shop: OpenShop, tracker: Tracker) -> None:
    secret = "c4n4ry"

    def insert(order_id: str) -> None:
        with current_app.extensions["sqlalchemy"].engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE IF NOT EXISTS accounts (iban VARCHAR(40) PRIMARY KEY)"))
        for _ in range(2):
            with current_app.extensions["sqlalchemy"].engine.begin() as connection:
                connection.execute(sa.text("INSERT INTO accounts VALUES (:iban)"), {"iban": secret})

    class Logged(Workflow):
        place = Manual(Order)
        a = Step(insert)

    run_id = open_shop(Logged).run(Logged)
    [(run, kind, text)] = tracker.reported
    assert (run, kind) == (run_id, "IntegrityError")
    assert "accounts" in text
    assert secret not in text
