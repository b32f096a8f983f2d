"""A run stays in the queue of the app that started it, whichever app works on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_squidmesh import Approval, Cron, FailStep, Manual, Retry, RetryStep, Step, StepContext, Wait, Workflow
from flask_squidmesh.executor import Payload
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]
Elsewhere = Callable[..., tuple[Shop, str]]

REPORTS = "reports"


class Part(Workflow):
    place = Manual(Order)
    rest = Wait(60)
    flow = [rest]


def reporting(script: Script) -> type[Workflow]:
    def begin(ctx: StepContext) -> dict[str, Any]:
        return {"part": ctx.start_child(Part, {}, key="part")}

    class Reporting(Workflow):
        place = Manual(Order)
        by_clock = Cron("0 9 * * *", Order)
        gather = Step(script.does("gather", begin), compensate=script.does("forget"))
        settle = Wait(60)
        write = Step(script.does("write", RetryStep("busy", after=60), None), retry=Retry(2))
        review = Approval("Send?")
        send = Step(script.does("send", FailStep("no route")))
        drop = Step(script.does("drop"))
        flow = [gather >> settle >> write >> review >> send, review.on_reject >> drop]

    return Reporting


@pytest.fixture
def elsewhere(open_shop: OpenShop) -> Elsewhere:
    """A function that starts a run of the first workflow in an app of the queue "reports", and answers another app on
    the same database, whose own queue is not that, and the run's id."""

    def open_both(*workflows: type[Workflow], **settings: Any) -> tuple[Shop, str]:
        run_id = open_shop(*workflows, queue=REPORTS, **settings).start(workflows[0])
        return open_shop(*workflows, **settings), run_id

    return open_both


def queues(shop: Shop) -> set[str]:
    """The queues that have work."""
    return {row.queue for row in shop.rows(tables.dispatches)}


def work(shop: Shop) -> None:
    """What `flask squidmesh worker --queue reports` does with what is due."""
    while claims := shop.claim_due(queue=REPORTS):
        shop.perform(claims[0])


@pytest.mark.rule("queue-stays")
def test_everything_that_follows_stays_in_the_queue_of_the_start(elsewhere: Elsewhere, script: Script) -> None:
    shop, run_id = elsewhere(reporting(script), Part)
    drain()
    assert script.calls == []
    work(shop)
    assert [row.queue for row in shop.rows(tables.runs)] == [REPORTS, REPORTS]
    assert queues(shop) == {REPORTS}
    for _ in range(2):
        shop.clock.advance(61)
        work(shop)
    assert script.calls == ["gather", "write", "write"]
    shop.mesh.approve_run(run_id, actor="dana")
    assert queues(shop) == {REPORTS}
    work(shop)
    assert script.calls == ["gather", "write", "write", "send", "forget"]
    again = shop.mesh.replay_run(run_id, actor="dana")
    assert again.queue == REPORTS
    assert queues(shop) == {REPORTS}
    assert shop.mesh.inspect_run(shop.start(Part)).queue == "squidmesh"


@pytest.mark.rule("queue-stays")
def test_an_activation_starts_its_run_in_the_queue_that_it_came_through(elsewhere: Elsewhere, script: Script) -> None:
    shop, _ = elsewhere(reporting(script), Part)
    shop.runtime.executor.enqueue(Payload(kind="cron", workflow="reporting", trigger="by_clock", queue=REPORTS))
    assert shop.runtime.scheduler.activate_next(REPORTS)
    assert {row.queue for row in shop.rows(tables.runs)} == {REPORTS}


@pytest.mark.rule("queue-named")
def test_a_hosts_executor_is_told_a_queue_that_is_not_the_apps(elsewhere: Elsewhere, script: Script) -> None:
    queue = Recording()
    shop, run_id = elsewhere(reporting(script), Part, executor=queue)
    step = {"kind": "step", "run_id": run_id}
    assert [given for given, _ in queue.given] == [{**step, "step": "gather"}]
    shop.deliver(run_id, "gather")
    shop.clock.advance(3600)
    shop.relay()
    told = [given for given, _ in queue.given[1:]]
    assert {**step, "step": "settle", "queue": REPORTS} in told
    assert all(given["queue"] == REPORTS for given in told)
    assert shop.mesh.perform({**step, "step": "settle", "queue": REPORTS}).outcome == "executed"


@pytest.mark.rule("queue-stays")
def test_what_the_doctor_mends_goes_to_the_runs_queue(elsewhere: Elsewhere, script: Script) -> None:
    shop, _ = elsewhere(reporting(script), Part)
    with shop.runtime.database.write() as connection:
        connection.execute(tables.dispatches.delete())
    assert list(shop.runtime.doctor.repair(list(shop.runtime.doctor.examine()), actor="dana"))
    assert queues(shop) == {REPORTS}


@pytest.mark.rule("queue-untaken")
def test_a_queue_without_a_worker_is_told(elsewhere: Elsewhere, script: Script) -> None:
    shop, _ = elsewhere(reporting(script), Part)
    shop.clock.advance(3600)
    said = [finding.text for finding in shop.runtime.app_check.results() if finding.subject == "queues"]
    assert said == [
        "Work is due in the queue 'reports', and no worker takes it. Start `flask squidmesh worker` for it too."
    ]
    shop.runtime.heartbeats.record("worker", "elsewhere:1", queue="reports", threads=1)
    assert not [finding for finding in shop.runtime.app_check.results() if finding.subject == "queues"]
