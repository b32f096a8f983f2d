"""No run keeps others waiting, and workers of several versions share a queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_squidmesh import Manual, Retry, Step, Workflow
from flask_squidmesh.storage import tables
from flask_squidmesh.storage.work_queue import Claim
from tests.integration.runtime.test_working import working
from tests.shop import Order, Recording, Script, Shop, single

OpenShop = Callable[..., Shop]


def fan(script: Script, width: int) -> type[Workflow]:
    steps = {f"part_{number}": Step(script.does(f"part_{number}"), after=[]) for number in range(width)}
    return type("Fan", (Workflow,), {"place": Manual(Order), **steps})


def runs_of(claims: list[Claim]) -> list[str]:
    return [claim.run.id for claim in claims]


@pytest.mark.rule("worker-fair")
def test_a_run_with_many_ready_steps_keeps_no_later_run_waiting(open_shop: OpenShop, script: Script) -> None:
    wide, narrow = fan(script, 40), single(script)
    shop = open_shop(wide, narrow)
    first = shop.start(wide)
    later = [shop.start(narrow) for _ in range(5)]
    claimer = shop.runtime.claimer.fair_claimer("squidmesh")
    taken = [run for _ in range(12) for run in runs_of(claimer.claim(limit=1))]
    assert taken[:10] == [run for pair in zip([first] * 5, later, strict=True) for run in pair]
    assert taken[10:] == [first, first]


@pytest.mark.rule("worker-fair")
def test_all_of_a_long_queue_is_taken_in_turn_though_more_comes(open_shop: OpenShop, script: Script) -> None:
    wide, narrow = fan(script, 6), single(script)
    shop = open_shop(wide, narrow)
    first = shop.start(wide)
    claimer, taken = shop.runtime.claimer.fair_claimer("squidmesh"), []
    for _ in range(12):
        shop.start(narrow)
        taken += runs_of(claimer.claim(limit=1))
    assert taken.count(first) == 6


@pytest.mark.rule("worker-fair")
def test_without_a_fan_out_the_oldest_comes_first(open_shop: OpenShop, script: Script) -> None:
    narrow = single(script)
    shop = open_shop(narrow)
    started = [shop.start(narrow) for _ in range(7)]
    claimer = shop.runtime.claimer.fair_claimer("squidmesh")
    taken = [runs_of(claimer.claim(limit=limit)) for limit in (2, 1, 3, 2, 1)]
    assert [run for some in taken for run in some] == started


@pytest.mark.rule("claims-together")
def test_steps_of_one_run_are_claimed_together(open_shop: OpenShop, script: Script) -> None:
    wide, narrow = fan(script, 5), single(script)
    shop = open_shop(wide, narrow)
    first, second = shop.start(wide), shop.start(narrow)
    looked = shop.runtime.claimer.look("squidmesh", limit=4)
    assert (runs_of(looked.claims), looked.left_some) == ([first] * 4, True)
    assert len({claim.visit.step for claim in looked.claims}) == 4
    looked = shop.runtime.claimer.look("squidmesh", limit=4)
    assert (runs_of(looked.claims), looked.left_some) == ([first, second], False)
    for claim in looked.claims:
        shop.perform(claim)
    assert shop.status(second) == "completed"


@pytest.mark.rule("claims-together")
def test_a_run_whose_row_a_claim_writes_is_claimed_once_in_a_look(open_shop: OpenShop, script: Script) -> None:
    """Each retry that begins counts down the run's retrying steps."""

    class Shaky(Workflow):
        place = Manual(Order)
        left = Step(script.does("left", RuntimeError("busy"), None), after=[], retry=Retry(max_attempts=2))
        right = Step(script.does("right", RuntimeError("busy"), None), after=[], retry=Retry(max_attempts=2))

    shop = open_shop(Shaky)
    run_id = shop.start(Shaky)
    for claim in shop.runtime.claimer.look("squidmesh", limit=4).claims:
        shop.perform(claim)
    shop.clock.advance(60)
    claims = [shop.runtime.claimer.look("squidmesh", limit=4).claims for _ in range(2)]
    assert [len(each) for each in claims] == [1, 1]
    for [claim] in claims:
        shop.perform(claim)
    assert shop.status(run_id) == "completed"


def test_behind_a_fan_out_is_looked_again_only_when_there_may_be_news(open_shop: OpenShop, script: Script) -> None:
    wide, narrow = fan(script, 12), single(script)
    shop = open_shop(wide, narrow)
    first = shop.start(wide)
    claimer = shop.runtime.claimer.fair_claimer("squidmesh")

    def looks(news: bool) -> int:
        with shop.counted() as counts:
            assert runs_of(claimer.claim(limit=1, news=news)) == [first]
        return counts["statements"]

    looks(news=True)
    [front_and_behind, *_] = [looks(news=True) for _ in range(2)]
    [front, *others] = [looks(news=False) for _ in range(4)]
    assert others == [front] * 3
    assert looks(news=True) == front_and_behind > front
    later = shop.start(narrow)
    assert runs_of(claimer.claim(limit=1, news=True)) == [later]


def test_a_look_behind_sees_what_is_due_later_only(open_shop: OpenShop, script: Script) -> None:
    narrow = single(script)
    shop = open_shop(narrow)
    older, younger = shop.start(narrow), shop.start(narrow)
    due = {row.run_id: row.due_at for row in shop.rows(tables.dispatches)}
    looked = shop.runtime.claimer.look("squidmesh", limit=1, after=due[older])
    assert (runs_of(looked.claims), looked.last) == ([younger], None)


# -- workers of several versions ---------------------------------------------------------------------------------


@pytest.mark.rule("deploy-side-by-side")
@pytest.mark.parametrize("new", ["workflow", "step"])
def test_while_versions_overlap_old_workers_leave_new_work_to_new_ones(
    open_shop: OpenShop, script: Script, eventually: Callable[..., Any], new: str
) -> None:
    known = single(script)
    added = single(script, called="Added")
    if new == "step":
        added = type("Single", (Workflow,), {"place": Manual(Order), "more": Step(script.does("more"))})
    newer = open_shop(*([known, added] if new == "workflow" else [added]), poll_interval=0.05)
    run_id = newer.start(added)
    older = open_shop(known, poll_interval=0.05)
    with working(older, threads=1):
        common = older.start(known)
        eventually(lambda: older.status(common) == "completed")
        assert newer.status(run_id) == "pending"
        for each in (newer, older):
            each.clock.advance(10)
        [row] = eventually(lambda: [row for row in older.rows(tables.dispatches) if row.held])
        assert newer.mesh.explain_run(run_id).reason == "definition_mismatch"
        with newer.app.app_context(), working(newer, threads=1):
            assert row.due_at > newer.clock.now()
            eventually(lambda: newer.status(run_id) == "completed")


@pytest.mark.rule("deploy-unknown-left")
def test_an_old_worker_gives_new_ones_time_to_take_what_it_does_not_know(open_shop: OpenShop, script: Script) -> None:
    known, gone = single(script), single(script, called="Gone")
    newer = open_shop(known, gone)
    run_id = newer.start(gone)
    older = open_shop(known)
    assert older.claim_due() == []
    [row] = older.rows(tables.dispatches)
    assert (row.held, row.claim_id) == (None, None)
    for each in (newer, older):
        each.clock.advance(10)
    assert older.claim_due() == []
    [row] = older.rows(tables.dispatches)
    assert "knows no step work" in row.held

    assert newer.relay() == 1
    assert older.claim_due() == []
    assert runs_of(newer.claim_due()) == [run_id]


@pytest.mark.rule("deploy-unknown-held")
def test_work_that_nobody_knows_keeps_no_other_waiting(open_shop: OpenShop, script: Script) -> None:
    known, gone = single(script), single(script, called="Gone")
    past = open_shop(known, gone)
    for _ in range(30):
        past.start(gone)
    run_id = past.start(known)
    shop = open_shop(known)
    assert runs_of(shop.runtime.claimer.fair_claimer("squidmesh").claim(limit=1)) == [run_id]


@pytest.mark.rule("deploy-unknown-held")
def test_unknown_work_is_put_back_for_longer_the_older_it_is(open_shop: OpenShop, script: Script) -> None:
    known, gone = single(script), single(script, called="Gone")
    open_shop(known, gone).start(gone)
    shop = open_shop(known)
    for age, hold in ((10, 60), (3_600, 1_800), (86_400, 3_600)):
        shop.clock.advance(age)
        shop.runtime.claimer.fair_claimer("squidmesh").claim(limit=1)
        [row] = shop.rows(tables.dispatches)
        assert (row.due_at - shop.clock.now()).total_seconds() == pytest.approx(hold, abs=20)


@pytest.mark.rule("deploy-side-by-side")
def test_a_relay_queues_what_was_put_back_once_it_knows_it(open_shop: OpenShop, script: Script) -> None:
    known, added = single(script), single(script, called="Added")
    newer = open_shop(known, added, executor=Recording())
    run_id = newer.start(added)
    older = open_shop(known, executor=Recording())
    assert older.deliver(run_id, "work").outcome == "held"
    assert older.relay() == 0
    with newer.app.app_context():
        assert newer.relay() == 1
        assert newer.runtime.executor.given[-1][0]["run_id"] == run_id  # type: ignore[attr-defined]
        assert newer.deliver(run_id, "work").status == "completed"
