"""What happens by itself: reminders, escalations, time-outs and deadlines of runs, each once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import BaseModel

from flask_squidmesh import Approval, Deadline, Decision, End, Escalate, Manual, Pause, Step, Wait, Workflow
from flask_squidmesh.signals import decision_escalated, decision_reminded, decision_timed_out
from flask_squidmesh.storage import tables
from flask_squidmesh.storage.summaries import new_id
from flask_squidmesh.testing import drain
from tests.expense import HOUR, expense
from tests.hearing import told
from tests.shop import Order, Recording, Script, Shop, error_of

OpenShop = Callable[..., Shop]
WORK = tables.dispatches


@pytest.fixture
def shop(open_shop: OpenShop, script: Script) -> Shop:
    return open_shop(expense(script))


def begun(shop: Shop) -> str:
    return shop.run("reimburse", actor="dana")


def timers(shop: Shop) -> list[tuple[str, str]]:
    return sorted((row.kind, row.queue) for row in shop.rows(WORK) if row.kind in ("timer", "deadline"))


def people(shop: Shop, run_id: str) -> tuple[str | None, list[str]]:
    [wait] = shop.rows(tables.waits, tables.waits.c.run_id == run_id)
    groups = shop.rows(tables.wait_groups, tables.wait_groups.c.step_run_id == wait.step_run_id)
    return wait.assignee, sorted(group.name for group in groups)


def outcome(shop: Shop, run_id: str) -> tuple[str, str | None]:
    run = shop.look(run_id)
    return run.status, run.outcome


@pytest.mark.rule("timers-remind")
def test_people_are_reminded_once_and_nothing_else_changes(shop: Shop) -> None:
    run_id = begun(shop)
    before = people(shop, run_id)
    with told(decision_reminded) as heard:
        shop.later(23 * HOUR)
        assert heard == []
        shop.later(HOUR)
        shop.later(HOUR)
    assert [(each["step"], each["assignee"], each["groups"]) for each in heard] == [("review", "mia", ["finance"])]
    assert shop.events(run_id) == ["paused", "reminded"]
    assert people(shop, run_id) == before
    assert shop.look(run_id).decision == "review#1"
    event = (shop.look(run_id).audit_events or ())[-1]
    assert (event.actor, event.step, event.visit) == ("the deadline", "review", 1)


@pytest.mark.rule("timers-escalate")
def test_an_escalation_replaces_the_assignee_and_adds_groups(shop: Shop) -> None:
    run_id = begun(shop)
    with told(decision_escalated) as heard:
        shop.later(36 * HOUR)
    assert people(shop, run_id) == ("hans", ["finance", "heads"])
    assert [(each["from"], each["to"], each["groups"]) for each in heard] == [("mia", "hans", ["heads"])]
    assert shop.events(run_id) == ["paused", "reminded", "escalated"]
    assert shop.look(run_id).decision == "review#1"


@pytest.mark.rule("timers-escalate")
def test_reminders_after_an_escalation_go_to_all(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(expense(script, remind=(HOUR, 40 * HOUR)))
    begun(shop)
    with told(decision_reminded) as heard:
        shop.later(40 * HOUR)
    assert [(each["assignee"], each["groups"]) for each in heard] == [
        ("mia", ["finance"]),
        ("hans", ["finance", "heads"]),
    ]


@pytest.mark.rule("timers-escalate")
def test_escalations_follow_each_other_and_keep_an_assignee_that_they_do_not_name(
    open_shop: OpenShop, script: Script
) -> None:
    steps = (Escalate(after=HOUR, groups=("heads",)), Escalate(after=2 * HOUR, assignee="boss"))
    shop = open_shop(expense(script, escalate=steps))
    run_id = begun(shop)
    shop.later(HOUR)
    assert people(shop, run_id) == ("mia", ["finance", "heads"])
    shop.mesh.assign_run(run_id, to=None, actor="lee")
    shop.later(HOUR)
    assert people(shop, run_id) == ("boss", ["finance", "heads"])


@pytest.mark.rule("timers-escalate")
@pytest.mark.parametrize("theirs", ["by the state", "by a person"])
def test_an_escalation_to_whose_it_is_already_reminds_them(open_shop: OpenShop, script: Script, theirs: str) -> None:
    shop = open_shop(expense(script, escalate=Escalate(after=HOUR, assignee="{head_id}"), remind=()))
    run_id = shop.run("reimburse", {"head_id": "mia" if theirs == "by the state" else "lee"}, actor="dana")
    if theirs == "by a person":
        shop.mesh.assign_run(run_id, to="lee", actor="mia")
    before = people(shop, run_id)
    with told(decision_reminded, decision_escalated) as heard:
        shop.later(HOUR)
    assert [each["assignee"] for each in heard] == [before[0]]
    assert (shop.events(run_id)[-1], people(shop, run_id)) == ("reminded", before)


@pytest.mark.rule("timers-time-out")
def test_a_time_out_ends_the_wait_and_takes_its_route(shop: Shop, script: Script) -> None:
    run_id = begun(shop)
    with told(decision_timed_out) as heard:
        shop.later(48 * HOUR)
    assert [each["step"] for each in heard] == ["review"]
    assert script.calls == ["check", "park"]
    assert outcome(shop, run_id) == ("completed", "timed_out")
    assert script.contexts[-1].state["review"]["option"] == "timed_out"
    assert script.contexts[-1].state["review"]["actor"] == "the deadline"
    assert shop.rows(tables.waits) == []
    assert timers(shop) == []
    visit = next(each for each in shop.look(run_id).step_runs or () if each.step == "review")
    assert visit.status == "completed"


@pytest.mark.rule("timers-late")
def test_what_came_due_while_nobody_worked_happens_in_its_order(shop: Shop) -> None:
    run_id = begun(shop)
    shop.clock.advance(timedelta(days=30))
    drain()
    assert shop.events(run_id) == ["paused", "reminded", "escalated", "timed_out"]


@pytest.mark.rule("timers-late")
def test_a_time_out_by_the_state_may_come_before_a_reminder_which_is_dropped(open_shop: OpenShop) -> None:
    class Told(BaseModel):
        by: Any = 3600

    class Asking(Workflow):
        start = Manual(Told)
        later = Escalate(after=HOUR, assignee="lee")
        ask = Decision("Well?", options=("yes",), within="by", remind=HOUR, escalate=later)
        well, late = Step(lambda: None), Step(lambda: None)
        flow = [ask.on("yes") >> well, ask.on_timeout >> late >> End("late")]

    shop = open_shop(Asking)
    at_once, before = shop.run(Asking), shop.run(Asking, {"by": 60})
    shop.later(60)
    shop.later(HOUR)
    assert shop.events(before) == ["paused", "timed_out"]
    assert shop.events(at_once) == ["paused", "reminded", "escalated", "timed_out"]
    assert [outcome(shop, id) for id in (at_once, before)] == [("completed", "late")] * 2


@pytest.mark.rule("timers-none")
def test_without_a_route_for_it_being_late_ends_nothing(open_shop: OpenShop) -> None:
    class Asking(Workflow):
        start = Manual(Order)
        ask = Decision("Well?", options=("yes",), within=HOUR)
        well = Step(lambda: None)
        flow = [ask.on("yes") >> well]

    shop = open_shop(Asking)
    run_id = shop.run(Asking)
    assert timers(shop) == []
    shop.later(timedelta(days=30))
    assert shop.status(run_id) == "paused"
    shop.mesh.decide_run(run_id, "yes", actor="lee")
    shop.later(0)
    assert outcome(shop, run_id) == ("completed", None)


@pytest.mark.rule("timers-ended")
@pytest.mark.parametrize("ending", ["approve", "cancel"])
def test_a_wait_that_has_ended_leaves_no_timer(shop: Shop, ending: str) -> None:
    run_id = begun(shop)
    assert timers(shop) == [("timer", "")]
    if ending == "cancel":
        shop.mesh.cancel_run(run_id, actor="lee")
    else:
        shop.mesh.decide_run(run_id, "approve", actor="mia")
    assert timers(shop) == []
    shop.later(timedelta(days=30))
    assert not {"reminded", "escalated", "timed_out"} & {*shop.events(run_id)}


@pytest.mark.rule("timers-time-out")
@pytest.mark.parametrize("kind", [Pause, Approval])
def test_pauses_and_approvals_time_out_too(open_shop: OpenShop, kind: Any) -> None:
    ask = kind("Well?", within=HOUR)
    well, late = Step(lambda: None), Step(lambda: None)
    flow = [ask >> well, ask.on_timeout >> late]
    flow += [ask.on_reject >> late] if kind is Approval else []
    steps = {"start": Manual(Order), "ask": ask, "well": well, "late": late, "flow": flow}
    workflow = type("Asking", (Workflow,), steps)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    shop.later(HOUR)
    assert outcome(shop, run_id) == ("completed", "timed_out")


class Failing(Workflow, deadline=Deadline(HOUR)):
    start = Manual(Order)
    reserve = Step(lambda: None, compensate=lambda: None)
    settle = Wait(timedelta(days=9))
    flow = [reserve >> settle]


class Cancelling(Workflow, deadline=Deadline(HOUR, cancel=True)):
    start = Manual(Order)
    reserve = Step(lambda: None, compensate=lambda: None)
    hold = Pause("Well?", remind=2 * HOUR)
    flow = [reserve >> hold]


class Undoing(Workflow, deadline=Deadline(HOUR, cancel=True, compensate=True)):
    start = Manual(Order)
    reserve = Step(lambda: None, compensate=lambda: None)
    hold = Pause("Well?")
    flow = [reserve >> hold]


@pytest.mark.rule("deadline-run")
@pytest.mark.parametrize(
    ("workflow", "status", "compensation"),
    [(Failing, "failed", "completed"), (Cancelling, "cancelled", None), (Undoing, "cancelled", "completed")],
)
def test_a_deadline_fails_or_cancels_a_run_that_is_not_done(
    open_shop: OpenShop, workflow: type[Workflow], status: str, compensation: str | None
) -> None:
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    assert ("deadline", "") in timers(shop)
    shop.later(HOUR - timedelta(minutes=1))
    assert shop.look(run_id).finished_at is None
    shop.later(timedelta(minutes=1))
    run = shop.look(run_id)
    assert (run.status, run.compensation) == (status, compensation)
    assert "deadline_passed" in shop.events(run_id)
    assert timers(shop) == []
    if status == "failed":
        assert error_of(run)["code"] == "deadline"


@pytest.mark.rule("deadline-run")
def test_a_run_that_ended_in_time_leaves_no_deadline(open_shop: OpenShop) -> None:
    shop = open_shop(Undoing)
    ids = [shop.run(Undoing) for _ in range(3)]
    shop.mesh.unblock_run(ids[0])
    shop.mesh.cancel_run(ids[1])
    shop.later(0)
    assert timers(shop) == [("deadline", "")]
    shop.later(2 * HOUR)
    assert [shop.status(id) for id in ids] == ["completed", "cancelled", "cancelled"]
    assert "deadline_passed" not in shop.events(ids[0])


@pytest.mark.rule("deadline-run")
def test_a_run_that_is_complete_with_its_first_step_has_no_deadline_either(open_shop: OpenShop) -> None:
    class Short(Workflow, deadline=Deadline(HOUR)):
        start = Manual(Order)
        work = Step(lambda: None)

    shop = open_shop(Short)
    run_id = shop.start(Short)
    assert timers(shop) == [("deadline", "")]
    drain()
    assert timers(shop) == []
    shop.later(2 * HOUR)
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("deadline-replay")
def test_a_replay_has_a_deadline_of_its_own(open_shop: OpenShop) -> None:
    shop = open_shop(Failing)
    run_id = shop.run(Failing)
    shop.later(HOUR)
    replay = shop.mesh.replay_run(run_id, actor="lee").id
    shop.later(HOUR - timedelta(minutes=1))
    assert shop.look(replay).finished_at is None
    shop.later(timedelta(minutes=1))
    assert shop.status(replay) == "failed"


@pytest.mark.rule("deadline-interrupted")
def test_where_a_deadline_cancels_an_interrupted_irreversible_step_stays_for_a_person(open_shop: OpenShop) -> None:
    class Charging(Workflow, deadline=Deadline(HOUR, cancel=True)):
        start = Manual(Order)
        charge = Step(lambda: None, irreversible=True)
        tell = Step(lambda: None)
        flow = [charge >> tell]

    shop = open_shop(Charging, max_abandoned=1)
    run_id = shop.start(Charging)
    shop.claim_due()
    shop.later(timedelta(minutes=20))
    assert shop.look(run_id).needs.kind == "interrupted"  # type: ignore[union-attr]
    shop.later(HOUR)
    run = shop.look(run_id)
    assert (run.status, run.needs and run.needs.kind) == ("cancelling", "interrupted")
    assert shop.mesh.explain_run(run_id).reason
    shop.mesh.resolve_step(run_id, output={}, actor="lee")
    assert shop.status(run_id) == "cancelled"


@pytest.mark.rule("deadline-executing")
def test_a_step_that_executes_at_the_deadline_ends_and_is_recorded(open_shop: OpenShop, script: Script) -> None:
    class Slow(Workflow, deadline=Deadline(HOUR, cancel=True, compensate=True)):
        start = Manual(Order)
        work = Step(lambda: None, compensate=script.does("undo"))
        more = Step(script.does("more"))
        flow = [work >> more]

    shop = open_shop(Slow, claim_timeout=9_000)
    run_id = shop.start(Slow)
    [claim] = shop.claim_due()
    shop.later(HOUR)
    assert shop.status(run_id) == "cancelling"
    shop.perform(claim)
    drain()
    assert shop.status(run_id) == "cancelled"
    assert script.calls == ["undo"]


@pytest.mark.rule("timers-no-queue")
def test_the_relay_performs_them_and_hands_nothing_over(open_shop: OpenShop, script: Script) -> None:
    executor = Recording()
    shop = open_shop(expense(script), executor=executor)
    run_id = shop.start("reimburse")
    shop.deliver(run_id, "check")
    assert executor.steps == ["check"]
    for hours in (24, 12, 12):
        shop.clock.advance(hours * HOUR)
        shop.relay()
    assert shop.events(run_id) == ["paused", "reminded", "escalated", "timed_out"]
    assert executor.steps == ["check", "park"]
    shop.deliver(run_id, "park")


@pytest.mark.rule("timers-no-queue")
def test_every_worker_performs_them_by_itself(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop.runtime.relay, "once", lambda: 0)
    run_id = begun(shop)
    shop.clock.advance(24 * HOUR)
    worker = shop.runtime.worker(threads=1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        for _ in range(2_000):
            if "reminded" in shop.events(run_id):
                break
            threading.Event().wait(0.01)
    finally:
        worker.stop()
        thread.join()
    assert shop.events(run_id) == ["paused", "reminded"]


def without_park(script: Script) -> type[Workflow]:
    class Reimburse(Workflow):
        start = Manual(Order)
        check = Step(lambda: {"amount": 1})
        review = Decision("Fine?", options=("approve", "reject"))
        pay, tell = (Step(script.does(name)) for name in ("pay", "tell"))
        flow = [check >> review, review.on("approve") >> pay, review.on("reject") >> tell]

    return Reimburse


@pytest.mark.rule("timers-target-gone")
def test_a_time_out_whose_target_is_gone_is_put_off_and_said(open_shop: OpenShop, script: Script) -> None:
    executor = Recording()
    workflow = expense(script)
    before = open_shop(workflow)
    run_id = begun(before)
    deployed = open_shop(without_park(script), executor=executor, clock=before.clock)
    deployed.later(48 * HOUR)
    for _ in range(3):
        deployed.relay()
        deployed.later(timedelta(minutes=5))
    assert deployed.events(run_id) == ["paused", "reminded", "escalated"]
    assert executor.given == []
    [timer] = deployed.rows(WORK)
    assert timer.held == "Workflow reimburse does not declare step park any more."
    assert timer.due_at > deployed.clock.now() - timedelta(minutes=2)
    assert any("does not declare step park" in each.text for each in deployed.runtime.app_check.results())
    explained = deployed.mesh.explain_run(run_id)
    assert explained.reason == "paused_with_invalid_resume_target"
    assert explained.details["put_off"] == timer.held
    rolled_back = open_shop(workflow, clock=before.clock)
    rolled_back.later(timedelta(minutes=2))
    assert outcome(rolled_back, run_id) == ("completed", "timed_out")


@pytest.mark.rule("timers-target-gone")
def test_timers_of_a_workflow_that_is_not_registered_wait_for_a_process_that_knows_it(
    open_shop: OpenShop, script: Script
) -> None:
    workflow = expense(script)
    before = open_shop(workflow)
    run_id = begun(before)
    stranger = open_shop(Failing, clock=before.clock)
    stranger.later(24 * HOUR)
    stranger.relay()
    knowing = open_shop(workflow, clock=before.clock)
    assert knowing.events(run_id) == ["paused"]
    knowing.later(timedelta(minutes=2))
    assert knowing.events(run_id) == ["paused", "reminded"]


@pytest.mark.rule("timers-apart")
def test_one_that_cannot_be_done_keeps_nobody_from_the_others(shop: Shop) -> None:
    bad, good = begun(shop), begun(shop)
    steps, broken = tables.step_runs, {"kind": "decision", "timers": [{"kind": "remind", "at": "whenever"}]}
    mine = (steps.c.run_id == bad) & (steps.c.step == "review")
    [row] = shop.rows(steps, mine)
    with shop.runtime.database.write() as connection:
        connection.execute(sa.update(steps).where(mine).values(decision={**row.decision, **broken}))
    shop.later(24 * HOUR)
    assert shop.events(good) == ["paused", "reminded"]
    [held] = [each for each in shop.rows(WORK) if each.run_id == bad]
    assert held.held == "ValueError: Invalid isoformat string: 'whenever'"
    assert held.due_at > shop.clock.now()
    with shop.runtime.database.write() as connection:
        connection.execute(sa.update(steps).where(mine).values(decision=row.decision))
    shop.later(timedelta(minutes=2))
    assert shop.events(bad) == ["paused", "reminded"]


@pytest.mark.rule("timers-check")
def test_check_says_where_nobody_sees_to_them(shop: Shop) -> None:
    begun(shop)

    def said() -> list[tuple[bool, str]]:
        return [(each.wrong, each.text) for each in shop.runtime.app_check.results() if each.subject == "timers"]

    assert said() == [(False, "none is late; without a worker they wait for the next `flask squidmesh relay`")]
    shop.clock.advance(24 * HOUR + timedelta(minutes=1))
    assert [wrong for wrong, _ in said()] == [False]
    shop.clock.advance(timedelta(minutes=9))
    [(wrong, text)] = said()
    assert wrong
    assert "1 is late, the oldest by 10 minutes" in text
    work = [each.text for each in shop.runtime.app_check.results() if each.subject in ("work", "queues")]
    assert work == ["nothing is overdue"]
    drain()


@pytest.mark.rule("timers-not-work")
def test_a_late_timer_is_no_untaken_work(shop: Shop) -> None:
    run_id = begun(shop)
    shop.clock.advance(timedelta(days=1, hours=2))
    explained = shop.mesh.explain_run(run_id)
    assert explained.reason == "paused_for_decision"
    assert explained.evidence.dispatch is None
    drain()


@pytest.mark.rule("timers-pruned")
def test_pruning_takes_waits_groups_and_timers_along(shop: Shop) -> None:
    run_id = begun(shop)
    with shop.runtime.database.write() as connection:
        runs = tables.runs
        ended = {"status": "failed", "finished_at": shop.clock.now(), "needs": None, "needs_count": 0}
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(ended))
    shop.clock.advance(HOUR)
    assert shop.mesh.prune(older_than=timedelta(0), status="failed").pruned == 1
    for table in (tables.waits, tables.wait_groups, WORK, tables.step_runs):
        assert shop.rows(table) == []


@pytest.mark.rule("timers-cost")
def test_open_timers_cost_an_idle_worker_nothing(shop: Shop) -> None:
    begun(shop)

    def idle() -> dict[str, int]:
        with shop.counted() as counts:
            for _ in range(5):
                shop.runtime.worker(threads=1)._next_due()
                shop.runtime.claimer.claim_due("squidmesh", limit=1)
                shop.runtime.internal_work.perform_due()
        return dict(counts)

    alone = idle()
    [run] = shop.rows(tables.runs)
    [step] = shop.rows(tables.step_runs, tables.step_runs.c.step == "review")
    [timer] = shop.rows(WORK)
    copies = [(new_id(), new_id(), new_id()) for _ in range(500)]
    with shop.runtime.database.write() as connection:
        connection.execute(sa.insert(tables.runs), [{**run._mapping, "id": run_id} for run_id, _, _ in copies])
        visits = [{**step._mapping, "id": id, "run_id": run_id} for run_id, id, _ in copies]
        connection.execute(sa.insert(tables.step_runs), visits)
        more = [{**timer._mapping, "id": id, "run_id": run, "step_run_id": step} for run, step, id in copies]
        connection.execute(sa.insert(WORK), more)
    assert idle() == alone
    with shop.runtime.database.write() as connection:
        connection.execute(sa.delete(tables.runs).where(tables.runs.c.id.in_([run_id for run_id, _, _ in copies])))
