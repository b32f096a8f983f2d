"""Impossible states, made by hand one at a time: each is found, and mended where that is safe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import (
    Deadline,
    Decision,
    Exponential,
    FailStep,
    Manual,
    Pause,
    Retry,
    RetryStep,
    RunNotFoundError,
    Step,
    Workflow,
)
from flask_squidmesh.runtime.doctor import Finding
from flask_squidmesh.storage import tables
from flask_squidmesh.storage.summaries import new_id
from flask_squidmesh.storage.write_batch import dispatch_row
from tests.shop import Order, Script, Shop

HOURS = timedelta(hours=4)
WAITS, GROUPS = tables.waits, tables.wait_groups
RUNS, STEPS, WORK, KEYS = tables.runs, tables.step_runs, tables.dispatches, tables.start_keys


class Chain(Workflow):
    place = Manual(Order)
    first = Step(lambda: None)
    second = Step(lambda: None)
    flow = [first >> second]


class Charging(Workflow):
    place = Manual(Order)
    charge = Step(lambda: None, irreversible=True)


class Reviewing(Workflow):
    place = Manual(Order)
    review = Pause("Fine?")
    ship = Step(lambda: None)
    flow = [review >> ship]


class Retrying(Workflow):
    place = Manual(Order)
    work = Step(Script().does("work", RetryStep("busy")), retry=Retry(9, backoff=Exponential(600, 600)))


class Timed(Workflow):
    place = Manual(Order)
    work = Step(Script().does("work", RetryStep("busy")), retry=Retry(9, backoff=Exponential(600, 600)), within=HOURS)


class Undoing(Workflow):
    place = Manual(Order)
    one = Step(lambda: None, compensate=Script().does("undo_one"))
    two = Step(lambda: None, compensate=Script().does("undo_two"))
    fail = Step(Script().does("fail", FailStep("no")))
    flow = [one >> two >> fail]


class Joining(Workflow):
    place = Manual(Order)
    left = Step(lambda: None)
    right = Pause("Fine?")
    more = Pause("And this?")
    join = Step(lambda: None, after=[left, right, more])


class Asking(Workflow, deadline=Deadline(timedelta(days=9))):
    place = Manual(Order)
    ask = Decision("Well?", options=("yes",), assignee="mia", groups=("heads",), within=HOURS, remind=HOURS / 2)
    well = Step(lambda: None)
    flow = [ask.on("yes") >> well, ask.on_timeout >> well]


@pytest.fixture
def shop(migrated_url: str) -> Iterator[Shop]:
    """A shop with a run in each state, all of them healthy."""
    shop = Shop(migrated_url, Chain, Charging, Reviewing, Retrying, Undoing, Joining, Asking, Timed)
    with shop.app.app_context():
        yield shop
    shop.runtime.database.dispose()


def write(shop: Shop, *statements: Any) -> None:
    with shop.runtime.database.write() as connection:
        for statement in statements:
            connection.execute(statement)


def change(table: sa.Table, id: str, *where: Any, **columns: Any) -> Any:
    key = table.c.id if table is RUNS else table.c.run_id
    return sa.update(table).where(key == id, *where).values(columns)


def found(shop: Shop, run_id: str | None = None) -> list[Finding]:
    return list(shop.runtime.doctor.examine(run_id))


def about(shop: Shop, run_id: str) -> list[Finding]:
    """What is found of this run, whatever else is in the database."""
    return [finding for finding in found(shop) if finding.run_id == run_id]


def mend(shop: Shop) -> list[str]:
    """The rules of what was mended."""
    return [finding.rule for finding in shop.runtime.doctor.repair(found(shop), actor="dana")]


def undoing(shop: Shop) -> str:
    """A run that failed and whose first compensation is due."""
    run_id = shop.start(Undoing)
    for step in ("one", "two", "fail"):
        shop.deliver(run_id, step)
    return run_id


@pytest.mark.rule("doctor-healthy")
def test_healthy_runs_in_every_state_are_left_alone(shop: Shop) -> None:
    for workflow in (Chain, Charging, Reviewing, Retrying, Undoing, Joining, Asking, Timed):
        shop.run(workflow, idempotency_key="o-1")
    undoing(shop)
    cancelled = shop.run(Reviewing)
    shop.mesh.cancel_run(cancelled)
    shop.mesh.replay_run(cancelled)
    shop.start(Chain)
    shop.claim_due()
    assert [str(finding) for finding in found(shop)] == []


Break = Callable[[Shop], tuple[str, list[Any]]]


def _run(workflow: type[Workflow], *statements: Callable[[str], Any]) -> Break:
    """A run of the workflow, worked on and then changed by hand."""

    def make(shop: Shop) -> tuple[str, list[Any]]:
        run_id = shop.run(workflow)
        return run_id, [statement(run_id) for statement in statements]

    return make


def _started(workflow: type[Workflow], *statements: Callable[[str], Any]) -> Break:
    """A run of the workflow whose first step is due."""

    def make(shop: Shop) -> tuple[str, list[Any]]:
        run_id = shop.start(workflow)
        return run_id, [statement(run_id) for statement in statements]

    return make


def _claimed(workflow: type[Workflow], *statements: Callable[[str], Any]) -> Break:
    """A run of the workflow whose first step is running."""

    def make(shop: Shop) -> tuple[str, list[Any]]:
        run_id = shop.start(workflow)
        shop.claim_due(limit=100)
        return run_id, [statement(run_id) for statement in statements]

    return make


def _undoing(*statements: Callable[[str], Any]) -> Break:
    def make(shop: Shop) -> tuple[str, list[Any]]:
        run_id = undoing(shop)
        return run_id, [statement(run_id) for statement in statements]

    return make


def of_step(step: str) -> Any:
    return STEPS.c.step == step


COMPENSATION = STEPS.c.kind == "compensation"

MENDED: dict[str, tuple[str, Break]] = {
    "open_steps": ("counters", _started(Chain, lambda id: change(RUNS, id, open_steps=7))),
    "retrying_steps": ("counters", _run(Retrying, lambda id: change(RUNS, id, retrying_steps=0))),
    "awaiting_steps": ("counters", _started(Chain, lambda id: change(RUNS, id, awaiting_steps=1))),
    "remaining": ("counters", _run(Joining, lambda id: change(RUNS, id, remaining=1))),
    "needs_count": ("needs", _run(Reviewing, lambda id: change(RUNS, id, needs_count=3))),
    "no needs": ("needs", _run(Reviewing, lambda id: change(RUNS, id, needs=None, needs_count=0))),
    "needs nobody": ("needs", _run(Chain, lambda id: change(RUNS, id, needs="decision", needs_count=1))),
    "no dispatch": ("dispatch", _started(Chain, lambda id: sa.delete(WORK).where(WORK.c.run_id == id))),
    "running without dispatch": ("dispatch", _claimed(Chain, lambda id: sa.delete(WORK).where(WORK.c.run_id == id))),
    "no claim": ("claim", _claimed(Chain, lambda id: change(WORK, id, claim_id=None))),
    "ended with dispatch": (
        "dispatch",
        _started(Chain, lambda id: change(STEPS, id, status="completed", position=1)),
    ),
    "no compensation delivered": ("compensation", _undoing(lambda id: sa.delete(WORK).where(WORK.c.run_id == id))),
    "join": ("join", _run(Joining, lambda id: change(STEPS, id, of_step("join"), missing=1))),
    "dispatch of nothing": ("stray", _started(Chain, lambda id: change(WORK, id, step_run_id=None))),
}


@pytest.mark.rule("doctor-finds")
def test_what_is_mended(shop: Shop) -> None:
    for name, (rule, make) in MENDED.items():
        run_id, statements = make(shop)
        assert about(shop, run_id) == [], name
        write(shop, *statements)
        assert rule in {finding.rule for finding in about(shop, run_id)}, name
        assert rule in [finding.rule for finding in shop.runtime.doctor.repair(about(shop, run_id))], name
        assert not [finding for finding in about(shop, run_id) if finding.mend], name
        write(shop, sa.delete(RUNS).where(RUNS.c.id == run_id))


OF_WAIT: dict[str, tuple[str, Break]] = {
    "listed for nobody": ("wait", _run(Asking, lambda id: sa.delete(WAITS).where(WAITS.c.run_id == id))),
    "listed for another": ("wait", _run(Asking, lambda id: change(WAITS, id, assignee="lee"))),
    "listed as anybody's": ("wait", _run(Asking, lambda id: change(WAITS, id, for_all=True))),
    "listed with another time": ("wait", _run(Asking, lambda id: change(WAITS, id, due_at=None))),
    "listed for no group": ("wait", _run(Asking, lambda id: sa.delete(GROUPS).where(_of_run(id, GROUPS)))),
    "listed for another group": (
        "wait",
        _run(Asking, lambda id: sa.update(GROUPS).where(_of_run(id, GROUPS)).values(name="others")),
    ),
    "listed without asking": ("wait", _run(Chain, lambda id: _wait(id))),
    "a pause that is not listed": ("wait", _run(Reviewing, lambda id: sa.delete(WAITS).where(WAITS.c.run_id == id))),
    "no timer": ("timer", _run(Asking, lambda id: sa.delete(WORK).where(WORK.c.run_id == id, WORK.c.kind == "timer"))),
    "another time": (
        "timer",
        _run(Asking, lambda id: change(WORK, id, WORK.c.kind == "timer", due_at=WORK.c.created_at)),
    ),
    "a timer of nothing": ("timer", _run(Reviewing, lambda id: _timer(id))),
    "no deadline": (
        "timer",
        _run(Asking, lambda id: sa.delete(WORK).where(WORK.c.run_id == id, WORK.c.kind == "deadline")),
    ),
    "another deadline": (
        "timer",
        _run(Asking, lambda id: change(WORK, id, WORK.c.kind == "deadline", due_at=WORK.c.created_at)),
    ),
    "no reminder": (
        "timer",
        _run(Timed, lambda id: sa.delete(WORK).where(WORK.c.run_id == id, WORK.c.kind == "reminder")),
    ),
    "a reminder of nothing": ("timer", _run(Chain, lambda id: _reminder(id))),
    "late without a late step": ("timer", _run(Timed, lambda id: change(RUNS, id, overdue_since=datetime.now(UTC)))),
    "a deadline of none": ("timer", _run(Asking, lambda id: change(RUNS, id, deadline_at=None))),
    "an outcome too early": ("outcome", _run(Reviewing, lambda id: change(RUNS, id, outcome="done"))),
    "an outcome that is not told": ("outcome", _run(Chain, lambda id: change(RUNS, id, diversion="rejected:first"))),
}


def _of_run(run_id: str, table: sa.Table) -> Any:
    return table.c.step_run_id.in_(sa.select(STEPS.c.id).where(STEPS.c.run_id == run_id))


def _wait(run_id: str) -> Any:
    visit = sa.select(STEPS.c.id).where(STEPS.c.run_id == run_id).limit(1).scalar_subquery()
    row = {"run_id": run_id, "tenant": "", "workflow": "chain", "step": "first", "kind": "pause", "for_all": True}
    return sa.insert(WAITS).values({**row, "step_run_id": visit, "opened_at": datetime.now(UTC)})


def _timer(run_id: str) -> Any:
    visit = sa.select(STEPS.c.id).where(STEPS.c.run_id == run_id).scalar_subquery()
    row = dispatch_row(run_id, None, "timer", datetime.now(UTC), "", datetime.now(UTC))
    return sa.insert(WORK).values({**row, "step_run_id": visit})


def _reminder(run_id: str) -> Any:
    visit = sa.select(STEPS.c.id).where(STEPS.c.run_id == run_id).limit(1).scalar_subquery()
    row = dispatch_row(run_id, None, "reminder", datetime.now(UTC), "", datetime.now(UTC), {"reminders": []})
    return sa.insert(WORK).values({**row, "id": visit})


@pytest.mark.rule("doctor-waits")
def test_waits_timers_deadlines_and_outcomes_are_mended(shop: Shop) -> None:
    shop.run(Chain)
    for name, (rule, make) in OF_WAIT.items():
        run_id, statements = make(shop)
        assert about(shop, run_id) == [], name
        before = [_but_for_ids(shop.rows(table)) for table in (WAITS, GROUPS, WORK)]
        write(shop, *statements)
        assert rule in {finding.rule for finding in about(shop, run_id)}, name
        assert rule in [finding.rule for finding in shop.runtime.doctor.repair(about(shop, run_id))], name
        assert about(shop, run_id) == [], name
        if name not in ("a deadline of none",):
            assert [_but_for_ids(shop.rows(table)) for table in (WAITS, GROUPS, WORK)] == before, name
        write(shop, sa.delete(RUNS).where(RUNS.c.id == run_id))


def _but_for_ids(rows: list[Any]) -> list[Any]:
    own = ("id", "created_at", "opened_at", "relay_at")
    kept = [{name: value for name, value in row._mapping.items() if name not in own} for row in rows]
    return sorted(kept, key=str)


NOTED: dict[str, tuple[str, Break]] = {
    "stuck": (
        "stuck",
        _started(Chain, lambda id: sa.delete(STEPS).where(STEPS.c.run_id == id)),
    ),
    "paused while it goes on": ("status", _started(Chain, lambda id: change(RUNS, id, status="paused"))),
    "retrying while it is not": ("status", _started(Chain, lambda id: change(RUNS, id, status="retrying"))),
    "running while it is paused": ("status", _run(Reviewing, lambda id: change(RUNS, id, status="running"))),
    "ended without a time": ("status", _run(Chain, lambda id: change(RUNS, id, finished_at=None))),
    "unfinished with a time": (
        "status",
        _run(Reviewing, lambda id: change(RUNS, id, finished_at=RUNS.c.created_at)),
    ),
    "ended with a pending step": (
        "status",
        _run(Chain, lambda id: change(STEPS, id, of_step("second"), status="pending", position=None)),
    ),
    "a gap in the outputs": ("positions", _run(Chain, lambda id: change(STEPS, id, of_step("second"), position=5))),
    "an output too many": ("positions", _run(Chain, lambda id: change(RUNS, id, position=1))),
    "sees too much": ("positions", _run(Chain, lambda id: change(STEPS, id, of_step("first"), sees=9))),
    "claimed while it is not running": ("claim", _claimed(Chain, lambda id: change(STEPS, id, status="pending"))),
    "undoing and nothing to undo": ("compensation", _run(Undoing, lambda id: change(RUNS, id, compensation="running"))),
    "undone and something to undo": ("compensation", _undoing(lambda id: change(RUNS, id, compensation="completed"))),
    "undoing failed nowhere": ("compensation", _run(Undoing, lambda id: change(RUNS, id, compensation="failed"))),
    "at two steps at once": (
        "visits",
        _started(Chain, lambda id: _copied_visit(id, step="second", visit=1)),
    ),
    "at one step twice": ("visits", _started(Chain, lambda id: _copied_visit(id, step="first", visit=2))),
    "an attempt that never began": ("attempts", _run(Chain, lambda id: _attempt(id, 5))),
    "half a parent": ("lineage", _run(Chain, lambda id: change(RUNS, id, parent_run_id=new_id()))),
    "its own replay": ("lineage", _run(Chain, lambda id: change(RUNS, id, replayed_from_id=id, replayed_as_id=id))),
}


@pytest.mark.rule("doctor-finds")
def test_what_is_found_for_a_person_to_decide(shop: Shop) -> None:
    for name, (rule, make) in NOTED.items():
        run_id, statements = make(shop)
        assert about(shop, run_id) == [], name
        write(shop, *statements)
        told = [finding for finding in about(shop, run_id) if finding.rule == rule]
        assert told, name
        assert told[0].mend is None, name
        assert told[0].advice, name
        write(shop, sa.delete(RUNS).where(RUNS.c.id == run_id))


def _copied_visit(run_id: str, *, step: str, visit: int) -> Any:
    others = [column for column in STEPS.c if column.name not in ("id", "step", "visit")]
    copied = sa.select(sa.literal(new_id(), STEPS.c.id.type), sa.literal(step), sa.literal(visit), *others)
    return sa.insert(STEPS).from_select(
        ["id", "step", "visit", *(column.name for column in others)], copied.where(STEPS.c.run_id == run_id)
    )


def _attempt(run_id: str, number: int) -> Any:
    table = tables.attempts
    columns = [table.c.step_run_id, sa.literal(number), table.c.status, table.c.started_at, table.c.finished_at]
    visits = sa.select(STEPS.c.id).where(STEPS.c.run_id == run_id, STEPS.c.step == "first")
    return sa.insert(table).from_select(
        ["step_run_id", "number", "status", "started_at", "finished_at"],
        sa.select(*columns).where(table.c.step_run_id.in_(visits)),
    )


@pytest.mark.rule("doctor-mends")
def test_a_mended_run_goes_on_and_the_audit_says_what_was_done(shop: Shop) -> None:
    run_id = shop.start(Chain)
    write(shop, sa.delete(WORK), change(RUNS, run_id, open_steps=0))
    before = shop.look(run_id).revision
    assert sorted(mend(shop)) == ["counters", "dispatch"]
    assert shop.look(run_id).revision == before + 1
    [event] = shop.look(run_id).audit_events or ()
    assert (event.type, event.actor) == ("repaired", "dana")
    assert len((event.metadata or {})["repairs"]) == 2
    shop.later(0)
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("doctor-unclaimed")
@pytest.mark.parametrize(("workflow", "status"), [(Chain, "completed"), (Charging, "paused")])
def test_a_lost_step_is_taken_over_like_that_of_a_dead_worker(
    shop: Shop, workflow: type[Workflow], status: str
) -> None:
    run_id = shop.start(workflow)
    shop.claim_due()
    write(shop, sa.delete(WORK))
    assert mend(shop) == ["dispatch"]
    for claim in shop.claim_due(take_over=True):
        assert claim.visit.attempts == 2
        shop.perform(claim)
    assert shop.status(run_id) == status
    assert "abandoned" in shop.events(run_id)
    assert found(shop) == []


def test_work_that_nobody_takes_is_found_after_ten_minutes(shop: Shop) -> None:
    run_id = shop.start(Chain)
    shop.clock.advance(timedelta(minutes=9))
    assert found(shop) == []
    shop.clock.advance(timedelta(minutes=2))
    [late] = found(shop)
    assert (late.rule, late.run_id, late.mend) == ("overdue", run_id, None)
    assert "has been due for 0:11:0" in late.found


def test_a_replay_that_its_source_does_not_know_is_linked(shop: Shop) -> None:
    source = shop.run(Chain)
    replay = shop.mesh.replay_run(source).id
    shop.later(0)
    write(shop, change(RUNS, source, replayed_as_id=None))
    [finding] = found(shop)
    assert (finding.rule, finding.run_id) == ("lineage", replay)
    assert mend(shop) == ["lineage"]
    assert shop.look(source).replayed_as_id == replay


def test_a_replay_that_names_another_source_is_found(shop: Shop) -> None:
    source, other = shop.run(Chain), shop.run(Chain)
    replay = shop.mesh.replay_run(source).id
    shop.later(0)
    write(shop, change(RUNS, replay, replayed_from_id=other))
    assert {(finding.rule, finding.run_id) for finding in found(shop)} == {("lineage", source), ("lineage", replay)}


def test_pruned_relatives_are_no_finding(shop: Shop) -> None:
    source = shop.run(Chain, idempotency_key="o-1")
    replay = shop.mesh.replay_run(source).id
    shop.later(timedelta(days=1))
    write(shop, change(RUNS, replay, finished_at=shop.clock.now()))
    assert shop.mesh.prune(older_than=timedelta(hours=1)).pruned == 1
    assert found(shop) == []


def test_start_keys_lead_to_runs_or_say_pruned(shop: Shop) -> None:
    gone, there = shop.run(Chain, idempotency_key="gone"), shop.run(Chain, idempotency_key="there")
    write(shop, change(KEYS, gone, run_id=new_id()), change(KEYS, there, pruned_at=shop.clock.now()))
    assert [finding.rule for finding in found(shop)] == ["start_key", "start_key"]
    assert mend(shop) == ["start_key", "start_key"]
    assert found(shop) == []
    assert {row.key for row in shop.rows(KEYS) if row.pruned_at} == {"gone"}


def test_a_cron_activation_without_payload_is_deleted(shop: Shop) -> None:
    now = shop.clock.now()
    times = {"due_at": now, "relay_at": now, "created_at": now}
    write(shop, sa.insert(WORK).values(id=new_id(), kind="cron", queue="squidmesh", **times))
    assert mend(shop) == ["stray"]
    assert not shop.rows(WORK)


def test_rows_of_runs_that_are_gone_are_found_on_sqlite(migrated_sqlite_url: str) -> None:
    shop = Shop(migrated_sqlite_url, Chain)
    with shop.app.app_context():
        shop.run(Chain)
        with shop.db.engine.begin() as connection:
            connection.execute(sa.delete(RUNS))
        assert {finding.rule for finding in found(shop)} == {"orphans"}
        assert "2 rows of squidmesh_step_runs belong to no row of squidmesh_runs" in str(found(shop)[0])
        mend(shop)
        assert found(shop) == []
        assert not shop.rows(STEPS)
    shop.runtime.database.dispose()


def test_one_run_only(shop: Shop) -> None:
    healthy, ill = shop.run(Chain), shop.run(Chain)
    write(shop, change(RUNS, ill, open_steps=4))
    assert found(shop, healthy) == []
    assert [finding.run_id for finding in found(shop, ill)] == [ill]
    for unknown in (new_id(), "nonsense"):
        with pytest.raises(RunNotFoundError):
            found(shop, unknown)


def test_more_runs_than_one_batch(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_squidmesh.runtime.doctor.examination.BATCH", 2)
    ids = [shop.run(Chain) for _ in range(4)]
    write(shop, *(change(RUNS, run_id, open_steps=4) for run_id in ids))
    assert [finding.run_id for finding in found(shop)] == ids
