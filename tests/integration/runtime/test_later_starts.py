"""Runs that begin later: `start_run(at=...)`."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import (
    Approval,
    CancelOn,
    Deadline,
    End,
    Manual,
    ManualActionError,
    PayloadError,
    Step,
    TransitionError,
    Wait,
    Workflow,
)
from flask_squidmesh.queries.operator_status import OPERATOR_WORDS
from flask_squidmesh.queries.run_list import list_runs
from flask_squidmesh.storage import tables
from flask_squidmesh.storage.scope import Scope
from flask_squidmesh.testing import drain, work_through
from tests.shop import Order, Recording, Script, Shop, single

OpenShop = Callable[..., Shop]
HOUR = timedelta(hours=1)


def beginnings(shop: Shop) -> list[Any]:
    return shop.rows(tables.dispatches, tables.dispatches.c.kind == "beginning")


@pytest.mark.rule("start-at")
@pytest.mark.parametrize("as_time", [False, True])
def test_a_run_begins_when_it_was_said_to(open_shop: OpenShop, script: Script, as_time: bool) -> None:
    shop = open_shop(workflow := single(script))
    due = shop.clock.now() + HOUR
    run = shop.mesh.start_run(workflow, {"order_id": "7"}, at=due if as_time else HOUR)
    assert (run.status, run.current_step) == ("pending", None)
    assert run.due_at is not None
    assert timedelta(0) <= run.due_at - due < HOUR / 4
    assert drain() == 0
    assert shop.later(HOUR / 2) == 0
    assert script.calls == []
    shop.later(HOUR)
    assert (shop.status(run.id), script.calls) == ("completed", ["work"])
    assert beginnings(shop) == []
    assert shop.look(run.id).due_at is None


@pytest.mark.rule("start-at")
def test_work_through_passes_the_time_until_then(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(workflow := single(script))
    run_id = shop.start(workflow, at=timedelta(days=30))
    work_through()
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("start-at")
def test_its_first_steps_may_wait_and_ask(open_shop: OpenShop, script: Script) -> None:
    class Later(Workflow):
        place = Manual(Order)
        rest = Wait(HOUR)
        work = Step(script.does("work"))
        flow = [rest >> work]

    class Asking(Workflow):
        place = Manual(Order)
        ask = Approval("Pay {amount}?")
        work = Step(script.does("work"))
        flow = [ask >> work, ask.on_reject >> End("refused")]

    shop = open_shop(Later, Asking)
    resting, asking = (shop.start(each, at=HOUR) for each in (Later, Asking))
    shop.later(HOUR)
    assert [shop.status(each) for each in (resting, asking)] == ["pending", "paused"]
    assert '"prompt": "Pay 5?"' in json.dumps(shop.mesh.explain_run(asking).to_dict())
    assert beginnings(shop) == []
    shop.later(HOUR)
    assert shop.status(resting) == "completed"


@pytest.mark.rule("start-at")
def test_the_same_key_finds_the_run_that_has_not_begun(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(workflow := single(script))
    first = shop.start(workflow, at=HOUR, idempotency_key="k")
    assert shop.start(workflow, at=2 * HOUR, idempotency_key="k") == first
    shop.later(HOUR)
    assert shop.status(first) == "completed"


@pytest.mark.rule("start-at")
def test_before_it_begins_it_can_be_cancelled(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(workflow := single(script))
    run_id = shop.start(workflow, at=HOUR)
    shop.mesh.note_run(run_id, "Wait for it.", actor="dana")
    assert len(beginnings(shop)) == 1
    assert shop.mesh.cancel_run(run_id, actor="dana").status == "cancelled"
    assert beginnings(shop) == []
    shop.later(2 * HOUR)
    assert (shop.status(run_id), script.calls) == ("cancelled", [])


@pytest.mark.rule("start-at")
def test_an_event_may_cancel_it_before(open_shop: OpenShop, script: Script) -> None:
    class Hearing(Workflow, cancel_on=CancelOn("withdrawn", key="{order_id}")):
        place = Manual(Order)
        work = Step(script.does("work"))

    shop = open_shop(Hearing)
    run_id = shop.start(Hearing, {"order_id": "7"}, at=HOUR)
    shop.mesh.send_event("withdrawn", key="7")
    drain()
    assert (shop.status(run_id), beginnings(shop)) == ("cancelled", [])


@pytest.mark.rule("start-at")
def test_its_deadline_counts_from_when_it_begins(open_shop: OpenShop, script: Script) -> None:
    class Brief(Workflow, deadline=Deadline(HOUR)):
        place = Manual(Order)
        ask = Approval("Pay?")
        work = Step(script.does("work"))
        flow = [ask >> work, ask.on_reject >> End("refused")]

    shop = open_shop(Brief)
    run_id = shop.start(Brief, at=3 * HOUR)
    shop.later(3 * HOUR)
    assert shop.status(run_id) == "paused"
    shop.later(HOUR)
    assert shop.status(run_id) == "failed"


@pytest.mark.rule("start-at")
def test_it_begins_with_what_is_deployed_by_then(open_shop: OpenShop, script: Script) -> None:
    def declared(*names: str, joined: bool) -> type[Workflow]:
        steps = {name: Step(script.does(name), after=[] if joined else None) for name in names}
        return type("Job", (Workflow,), {"place": Manual(Order), **steps})

    before = open_shop(declared("first", joined=False))
    runs = [before.start("job", at=HOUR) for _ in range(2)]
    after = open_shop(declared("second", "third", joined=True), clock=before.clock)
    after.mesh.note_run(runs[1], "Seen by the new version.", actor="dana")
    after.later(HOUR)
    assert [after.status(each) for each in runs] == ["completed", "completed"]
    assert sorted(script.calls) == ["second", "second", "third", "third"]


@pytest.mark.rule("start-at")
def test_what_is_not_committed_never_begins(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(workflow := single(script))
    shop.mesh.start_run(workflow, {}, at=HOUR, session=shop.db.session)
    shop.db.session.rollback()
    kept = shop.mesh.start_run(workflow, {}, at=HOUR, session=shop.db.session)
    shop.db.session.commit()
    shop.later(HOUR)
    assert (shop.status(kept.id), script.calls) == ("completed", ["work"])


@pytest.mark.rule("start-at")
@pytest.mark.parametrize(
    ("at", "why"),
    [
        ("tomorrow", "is no time"),
        (True, "is no time"),
        (datetime(2030, 1, 1), "has no time zone"),
        (timedelta(seconds=-1), "is before now"),
        (timedelta(days=40_000), "too far"),
        (datetime.max.replace(tzinfo=UTC), "too far"),
        (datetime(2001, 1, 1, tzinfo=UTC), "has passed"),
    ],
)
def test_a_time_that_is_none_is_refused(open_shop: OpenShop, script: Script, at: Any, why: str) -> None:
    shop = open_shop(workflow := single(script))
    with pytest.raises(PayloadError, match=why) as raised:
        shop.start(workflow, at=at)
    assert list(raised.value.invalid_types) == ["at"]
    assert shop.rows(tables.runs) == []


@pytest.mark.rule("start-at")
def test_now_and_a_moment_ago_are_at_once(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(workflow := single(script))
    runs = [shop.start(workflow, at=at) for at in (timedelta(0), shop.clock.now() - timedelta(seconds=5))]
    drain()
    assert [shop.status(each) for each in runs] == ["completed", "completed"]
    assert beginnings(shop) == []


@pytest.mark.rule("start-at")
def test_its_steps_are_handed_to_the_hosts_queue_once_it_begins(open_shop: OpenShop, script: Script) -> None:
    queue = Recording()
    shop = open_shop(workflow := single(script), executor=queue)
    run_id = shop.start(workflow, at=HOUR)
    assert queue.given == []
    shop.clock.advance(HOUR)
    shop.runtime.internal_work.perform_due()
    assert queue.steps == ["work"]
    shop.deliver(run_id, "work")
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("start-at")
def test_of_two_processes_that_find_it_due_one_has_it_begin(migrated_url: str, script: Script) -> None:
    workflow = single(script)
    shops = [Shop(migrated_url, workflow) for _ in range(2)]
    with shops[0].app.app_context():
        run_id = shops[0].start(workflow, at=HOUR)
    for shop in shops:
        shop.clock.advance(HOUR)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda shop: shop.runtime.internal_work.perform_due(), shops))
    with shops[0].app.app_context():
        drain()
        assert (sum(done), shops[0].status(run_id), script.calls) == (1, "completed", ["work"])
    for shop in shops:
        shop.runtime.database.dispose()


@pytest.mark.rule("start-at")
@pytest.mark.parametrize("harm", ["lost", "moved", "left"])
def test_the_doctor_sees_to_its_beginning(open_shop: OpenShop, script: Script, harm: str) -> None:
    shop = open_shop(workflow := single(script))
    run_id = shop.start(workflow, at=HOUR)
    of_run = tables.dispatches.c.run_id == run_id
    harms = {
        "lost": sa.delete(tables.dispatches).where(of_run),
        "moved": sa.update(tables.dispatches).where(of_run).values(due_at=shop.clock.now() + 3 * HOUR),
        "left": sa.update(tables.runs).values(status="cancelled", finished_at=shop.clock.now(), due_at=None),
    }
    with shop.runtime.database.write() as connection:
        connection.execute(harms[harm])
    [finding] = list(shop.runtime.doctor.examine())
    assert (finding.rule, finding.run_id) == ("timer", run_id)
    list(shop.runtime.doctor.repair([finding], actor="dana"))
    assert list(shop.runtime.doctor.examine()) == []
    shop.later(HOUR)
    assert shop.status(run_id) == ("cancelled" if harm == "left" else "completed")


@pytest.mark.rule("start-at")
def test_it_is_told_as_scheduled(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(workflow := single(script))
    later, soon = shop.start(workflow, at=HOUR), shop.start(workflow)
    explained = shop.mesh.explain_run(later)
    assert (explained.reason, explained.details["begins_at"]) == ("scheduled", shop.look(later).due_at)
    assert [str(each) for each in explained.next_actions] == ["reschedule_run", "cancel_run"]
    assert "reschedule_run" not in [str(each) for each in shop.mesh.explain_run(soon).next_actions]
    with shop.runtime.database.read() as connection:
        now = shop.clock.now()
        listed = {word: list_runs(connection, Scope.all(), word=word, now=now).runs for word in OPERATOR_WORDS}
    found = {word: [each.id for each in runs] for word, runs in listed.items()}
    assert {word: ids for word, ids in found.items() if ids} == {"scheduled": [later], "pending": [soon]}


@pytest.mark.rule("start-at")
def test_a_beginning_that_nobody_here_can_make_says_why(open_shop: OpenShop, script: Script) -> None:
    class Other(Workflow):
        place = Manual(Order)
        work = Step(script.does("other"))

    shop = open_shop(workflow := single(script))
    run_id = shop.start(workflow, at=HOUR)
    older = open_shop(Other, clock=shop.clock)
    older.later(HOUR)
    assert "No workflow 'single'" in str(shop.mesh.explain_run(run_id).details["held"])
    with shop.app.app_context():
        shop.later(HOUR)
        assert shop.status(run_id) == "completed"


@pytest.mark.rule("reschedule")
def test_it_may_begin_at_another_time(open_shop: OpenShop, script: Script) -> None:
    class Brief(Workflow, deadline=Deadline(HOUR)):
        place = Manual(Order)
        work = Step(script.does("work"))

    shop = open_shop(Brief)
    run = shop.mesh.start_run(Brief, {}, at=HOUR)
    assert run.due_at is not None
    after = shop.mesh.reschedule_run(run.id, 5 * HOUR, actor="dana", comment="The shop is closed.")
    assert after.due_at is not None
    assert 3 * HOUR < after.due_at - run.due_at <= 4 * HOUR + HOUR / 4
    [event] = shop.look(run.id).audit_events or ()
    assert (event.type, event.actor, event.comment) == ("rescheduled", "dana", "The shop is closed.")
    assert event.metadata == {"from": run.due_at.isoformat(), "to": after.due_at.isoformat()}
    assert shop.later(4 * HOUR) == 0
    assert list(shop.runtime.doctor.examine()) == []
    shop.later(HOUR)
    assert shop.status(run.id) == "completed"


@pytest.mark.rule("reschedule")
def test_now_is_another_time_too(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(workflow := single(script))
    run_id = shop.start(workflow, at=HOUR)
    shop.mesh.reschedule_run(run_id, timedelta(0), actor="dana")
    drain()
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("reschedule")
def test_what_has_begun_and_what_is_no_time_is_refused(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(workflow := single(script))
    begun, later = shop.start(workflow), shop.start(workflow, at=HOUR)
    with pytest.raises(TransitionError, match="the run has begun"):
        shop.mesh.reschedule_run(begun, HOUR, actor="dana")
    with pytest.raises(ManualActionError, match="no time zone") as raised:
        shop.mesh.reschedule_run(later, datetime(2030, 1, 1), actor="dana")
    assert raised.value.field == "at"
    assert shop.look(later).audit_events == ()
