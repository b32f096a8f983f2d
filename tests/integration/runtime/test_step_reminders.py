"""Steps that take long: people are told of them, and nothing else happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from flask_squidmesh import Fixed, Manual, Pause, Retry, Step, Workflow
from flask_squidmesh.signals import step_overdue, step_reminded
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import advance_to_deadline, drain
from tests.expense import HOUR
from tests.hearing import told
from tests.shop import Order, Recording, Script, Shop, single

OpenShop = Callable[..., Shop]
TWICE = Retry(3, backoff=Fixed(90 * 60))
FLAKY = (RuntimeError("busy"), RuntimeError("busy"), None)
WORK = tables.dispatches


def reminders(shop: Shop) -> list[str]:
    """The visits of which people are told."""
    return [row.id for row in shop.rows(WORK) if row.kind == "reminder"]


def slow(script: Script, *outcomes: Any, **options: Any) -> type[Workflow]:
    return single(script, *(outcomes or FLAKY), called="Slow", **{"within": 2 * HOUR, "remind": HOUR, **options})


@pytest.mark.rule("reminding-of-steps")
def test_people_are_told_of_a_step_that_takes_long_and_nothing_else_happens(
    open_shop: OpenShop, script: Script
) -> None:
    workflow = slow(script, retry=TWICE)
    shop = open_shop(workflow)
    start = shop.clock.now()
    with told(step_reminded, step_overdue) as heard:
        run_id = shop.run(workflow)
        shop.later(HOUR - timedelta(minutes=5))
        assert shop.events(run_id) == []
        shop.later(timedelta(minutes=5))
        assert shop.events(run_id) == ["reminded"]
        assert shop.look(run_id).overdue_since is None
        shop.later(HOUR)
        assert (shop.events(run_id), shop.status(run_id)) == (["reminded", "overdue"], "retrying")
        assert script.calls == ["work", "work"]
        shop.later(HOUR / 2)
    due = heard[0]["due_at"]
    assert timedelta(0) <= due - start - 2 * HOUR < timedelta(minutes=1)
    assert [(each["step"], each["visit"], each["due_at"]) for each in heard] == [("work", 1, due)] * 2
    run = shop.look(run_id)
    assert (run.status, script.calls) == ("retrying", ["work"] * 2)
    assert run.overdue_since == due
    event = (run.audit_events or ())[-1]
    assert (event.actor, event.step, event.visit, event.metadata) == (
        "the deadline",
        "work",
        1,
        {"due_at": due.isoformat()},
    )
    shop.later(HOUR)
    run = shop.look(run_id)
    assert (run.status, run.overdue_since, script.calls) == ("completed", None, ["work"] * 3)
    assert shop.events(run_id) == ["reminded", "overdue"]
    assert shop.visits(run_id) == [("work", "completed")]


@pytest.mark.rule("reminding-of-steps")
def test_a_step_that_ends_in_time_is_not_told_of(open_shop: OpenShop, script: Script) -> None:
    workflow = slow(script, RuntimeError("busy"), None, retry=Retry(2, backoff=Fixed(60)))
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    assert len(reminders(shop)) == 1
    shop.later(60)
    assert (shop.status(run_id), shop.rows(WORK)) == ("completed", [])
    shop.later(3 * HOUR)
    assert shop.events(run_id) == []


@pytest.mark.rule("reminding-ends")
@pytest.mark.parametrize("ending", ["completes", "fails", "is cancelled"])
def test_a_step_that_has_ended_leaves_no_reminder(open_shop: OpenShop, script: Script, ending: str) -> None:
    outcome = RuntimeError("broken") if ending == "fails" else None
    workflow = slow(script, outcome, compensate=script.does("undo"))
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    assert len(reminders(shop)) == 1
    if ending == "is cancelled":
        shop.mesh.cancel_run(run_id, actor="lee")
    drain()
    assert reminders(shop) == []
    shop.later(3 * HOUR)
    assert not {"reminded", "overdue"} & {*shop.events(run_id)}


@pytest.mark.rule("reminding-ends")
def test_undoing_a_step_is_not_told_of(open_shop: OpenShop, script: Script) -> None:
    class Undoing(Workflow):
        start = Manual(Order)
        book = Step(
            script.does("book"),
            within=HOUR,
            compensate=script.does("undo", RuntimeError("busy")),
            compensate_retry=Retry(9, backoff=Fixed(2 * 3600)),
        )
        pay = Step(script.does("pay", RuntimeError("broken")))
        flow = [book >> pay]

    shop = open_shop(Undoing)
    run_id = shop.run(Undoing)
    assert shop.look(run_id).compensation == "running"
    shop.later(3 * HOUR)
    assert (shop.events(run_id), reminders(shop)) == ([], [])
    shop.later(30 * HOUR)


@pytest.mark.rule("reminding-same-visit")
def test_a_step_that_a_dead_worker_held_is_still_due_when_it_was(open_shop: OpenShop, script: Script) -> None:
    workflow = slow(script, None)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    [before] = shop.rows(WORK, WORK.c.kind == "reminder")
    shop.claim_due()
    shop.clock.advance(HOUR)
    assert shop.relay() == 1
    assert sorted(shop.events(run_id)) == ["abandoned", "reminded"]
    [after] = shop.rows(WORK, WORK.c.kind == "reminder")
    assert after.id == before.id
    assert after.due_at - before.due_at == HOUR
    drain()
    assert (shop.status(run_id), reminders(shop)) == ("completed", [])


@pytest.mark.rule("reminding-same-visit")
def test_an_interrupted_step_goes_on_being_due(open_shop: OpenShop, script: Script) -> None:
    workflow = slow(script, RuntimeError("unsure"), irreversible=True)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    run = shop.look(run_id)
    assert run.needs is not None
    assert (run.needs.kind, len(reminders(shop))) == ("interrupted", 1)
    shop.later(2 * HOUR)
    run = shop.look(run_id)
    assert shop.events(run_id) == ["interrupted", "reminded", "overdue"]
    assert run.needs is not None
    assert run.needs.due_at == run.overdue_since is not None
    shop.mesh.resolve_step(run_id, output={}, actor="lee")
    run = shop.look(run_id)
    assert (run.status, run.overdue_since, reminders(shop)) == ("completed", None, [])


@pytest.mark.rule("reminding-same-visit")
def test_a_lost_claim_that_interrupts_keeps_the_reminder(open_shop: OpenShop, script: Script) -> None:
    workflow = slow(script, None)
    shop = open_shop(workflow, max_abandoned=1)
    run_id = shop.start(workflow)
    shop.claim_due()
    shop.later(timedelta(minutes=20))
    assert shop.look(run_id).needs.kind == "interrupted"  # type: ignore[union-attr]
    assert len(reminders(shop)) == 1
    shop.mesh.retry_step(run_id, actor="lee")
    drain()
    assert (shop.status(run_id), reminders(shop)) == ("completed", [])


@pytest.mark.rule("reminding-of-steps")
def test_each_visit_and_each_replay_has_a_time_of_its_own(open_shop: OpenShop, script: Script) -> None:
    class Twice(Workflow):
        start = Manual(Order)
        ask = Pause()
        call = Step(script.does("call", {"again": True}, RuntimeError("broken")), within=HOUR, retry=Retry(1))
        flow = [ask >> call, call.when("again", equals=True) >> ask, call >> ask]

    shop = open_shop(Twice)
    run_id = shop.run(Twice)
    shop.later(5 * HOUR)
    for _ in range(2):
        shop.mesh.unblock_run(run_id, actor="lee")
        drain()
    assert shop.status(run_id) == "failed"
    replay = shop.mesh.replay_run(run_id, from_step="call", actor="lee").id
    [reminder] = shop.rows(WORK, WORK.c.kind == "reminder")
    assert reminder.run_id == replay
    assert timedelta(0) <= shop.clock.now() + HOUR - reminder.due_at < timedelta(minutes=1)
    drain()
    shop.later(2 * HOUR)
    assert "overdue" not in [*shop.events(run_id), *shop.events(replay)]


class Dated(BaseModel):
    by: Any = None


@pytest.mark.rule("reminding-by-path")
def test_a_time_by_a_path_that_has_passed_is_told_of_at_once_and_stops_nothing(
    open_shop: OpenShop, script: Script
) -> None:
    function = script.does("call", RuntimeError("busy"), None)
    call = Step(function, within="by", remind=HOUR, retry=Retry(2, backoff=Fixed(60)))
    workflow = type("Calling", (Workflow,), {"start": Manual(Dated), "call": call})
    shop = open_shop(workflow)
    run_id = shop.run(workflow, {"by": "2020-01-01"})
    assert shop.events(run_id) == ["overdue"]
    assert shop.look(run_id).overdue_since == datetime(2020, 1, 1, tzinfo=UTC)
    shop.later(60)
    assert (shop.status(run_id), shop.events(run_id)) == ("completed", ["overdue"])


@pytest.mark.rule("reminding-by-path")
@pytest.mark.parametrize("style", ["flow", "dependency"])
def test_a_time_that_the_state_does_not_hold_is_an_incident_and_a_retry_looks_again(
    open_shop: OpenShop, script: Script, style: str
) -> None:
    def workflow(**options: Any) -> type[Workflow]:
        after: dict[str, Any] = {"after": []} if style == "dependency" else {}
        call = Step(script.does("call"), **options, **after)
        return type("Calling", (Workflow,), {"start": Manual(Dated), "call": call})

    before = open_shop(workflow(within="by"))
    run_id = before.run("calling", {"by": "soon"})
    run = before.look(run_id)
    assert run.needs is not None
    assert (run.needs.kind, script.calls) == ("incident", [])
    assert "within='by' finds 'soon'" in str(run.last_error)
    before.mesh.retry_step(run_id, actor="lee")
    assert before.look(run_id).needs is not None
    mended = open_shop(workflow(within=HOUR), clock=before.clock)
    mended.mesh.retry_step(run_id, actor="lee")
    assert len(reminders(mended)) == 1
    drain()
    assert (mended.status(run_id), reminders(mended)) == ("completed", [])


@pytest.mark.rule("reminding-stored")
@pytest.mark.parametrize("within", [None, 9 * HOUR])
def test_a_deploy_does_not_change_by_when_a_step_that_was_entered_should_end(
    open_shop: OpenShop, script: Script, within: Any
) -> None:
    before = open_shop(slow(script, retry=TWICE))
    run_id = before.run("slow")
    deployed = open_shop(slow(script, None, retry=TWICE, within=within, remind=()), clock=before.clock)
    deployed.clock.advance(2 * HOUR)
    for _ in range(2):
        deployed.relay()
    assert deployed.events(run_id) == ["reminded", "overdue"]
    drain()
    assert (deployed.status(run_id), reminders(deployed)) == ("completed", [])
    deployed.start("slow")
    assert len(reminders(deployed)) == (within is not None)
    drain()


@pytest.mark.rule("reminding-stored")
def test_a_step_that_a_deploy_has_made_a_question_is_not_told_of(open_shop: OpenShop, script: Script) -> None:
    before = open_shop(slow(script, retry=TWICE))
    run_id = before.run("slow")
    asking = type("Slow", (Workflow,), {"place": Manual(Order), "work": Pause("Well?", within=5 * HOUR)})
    deployed = open_shop(asking, clock=before.clock)
    deployed.later(90 * 60)
    assert deployed.look(run_id).needs.kind == "resume"  # type: ignore[union-attr]
    assert reminders(deployed) == []
    deployed.later(HOUR)
    assert deployed.events(run_id) == ["reminded", "paused"]
    deployed.mesh.unblock_run(run_id, actor="lee")


@pytest.mark.rule("reminding-of-steps")
def test_of_steps_side_by_side_the_run_is_late_while_one_is(open_shop: OpenShop, script: Script) -> None:
    class Wide(Workflow):
        start = Manual(Order)
        one = Step(script.does("one", *FLAKY), within=HOUR, retry=Retry(3, backoff=Fixed(3600)), after=[])
        two = Step(script.does("two", *FLAKY, None), within=2 * HOUR, retry=Retry(3, backoff=Fixed(2 * 3600)), after=[])
        both = Step(script.does("both", RuntimeError("busy"), None), within=HOUR, retry=TWICE, after=[one, two])

    shop = open_shop(Wide)
    run_id = shop.run(Wide)
    since = []
    for _ in range(5):
        shop.later(HOUR)
        since.append(shop.look(run_id).overdue_since)
    begun = min(row.created_at for row in shop.rows(tables.step_runs))
    passed = [None if at is None else round((at - begun) / HOUR) for at in since]
    assert passed == [1, 2, 2, None, 5]
    assert shop.events(run_id) == ["overdue"] * 3
    shop.later(HOUR)
    assert (shop.status(run_id), shop.look(run_id).overdue_since) == ("completed", None)


@pytest.mark.rule("reminding-of-steps")
def test_a_run_that_is_over_is_not_late(open_shop: OpenShop, script: Script) -> None:
    workflow = slow(script, RuntimeError("busy"), retry=Retry(2, backoff=Fixed(3 * 3600)))
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    shop.later(2 * HOUR)
    assert shop.look(run_id).overdue_since is not None
    shop.later(HOUR)
    assert (shop.status(run_id), shop.look(run_id).overdue_since) == ("failed", None)


@pytest.mark.rule("reminding-explained")
def test_the_explanation_says_by_when_it_should_end_and_that_it_is_late(open_shop: OpenShop, script: Script) -> None:
    workflow = slow(script, retry=TWICE)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    explained = shop.mesh.explain_run(run_id)
    due = explained.details["finish_by"]
    assert (explained.reason, explained.details["overdue"]) == ("waiting_for_retry", False)
    shop.later(2 * HOUR)
    explained = shop.mesh.explain_run(run_id)
    assert (explained.details["finish_by"], explained.details["overdue"]) == (due, True)
    shop.later(2 * HOUR)
    assert "finish_by" not in shop.mesh.explain_run(run_id).details


@pytest.mark.rule("reminding-no-queue")
def test_the_relay_tells_and_hands_nothing_over(open_shop: OpenShop, script: Script) -> None:
    executor = Recording()
    shop = open_shop(slow(script, None), executor=executor)
    run_id = shop.start("slow")
    shop.clock.advance(2 * HOUR)
    for _ in range(2):
        shop.relay()
    assert shop.events(run_id) == ["reminded", "overdue"]
    assert {*executor.steps} == {"work"}
    shop.deliver(run_id, "work")
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("reminding-no-queue")
def test_a_test_can_move_on_to_when_a_step_is_told_of(open_shop: OpenShop, script: Script) -> None:
    workflow = slow(script, retry=TWICE)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    advance_to_deadline()
    advance_to_deadline()
    assert shop.events(run_id) == ["reminded", "overdue"]
    with pytest.raises(AssertionError, match="no step under way a within="):
        advance_to_deadline()
    shop.later(9 * HOUR)


@pytest.mark.rule("reminding-cost")
def test_a_step_that_is_told_of_costs_a_row_and_no_commit(open_shop: OpenShop, script: Script) -> None:
    plain, timed = single(script, None, called="Plain"), slow(script, None)
    shop = open_shop(plain, timed)
    found = []
    for workflow in (plain, timed, plain, timed):
        with shop.counted() as counts:
            shop.run(workflow)
        found.append(dict(counts))
    assert found[2]["commits"] == found[3]["commits"]
    more = found[3]["statements"] - found[2]["statements"]
    assert more == (0 if shop.runtime.database.dialect == "postgresql" else 2)
