"""What was approved is approved for its own run: replays that would pass a decision over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_squidmesh import (
    Approval,
    Manual,
    ManualActionError,
    Pause,
    Scope,
    Step,
    StepContext,
    UnsafeReplayError,
    Workflow,
)
from flask_squidmesh.testing import drain
from tests.shop import Order, Script, Shop

OpenShop = Callable[..., Shop]


def paying(script: Script, **options: Any) -> type[Workflow]:
    class Paying(Workflow):
        place = Manual(Order)
        check = Step(script.does("check"))
        review = Approval("Pay {amount}?", **options)
        book = Step(script.does("book"))
        pay = Step(script.does("pay"))
        decline = Step(script.does("decline"))
        flow = [check >> review >> book >> pay, review.on_reject >> decline]

    return Paying


def paid(open_shop: OpenShop, script: Script, *approvers: str, **options: Any) -> tuple[Shop, str]:
    """A run that was started by kim, approved and paid."""
    workflow = paying(script, **options)
    shop = open_shop(workflow)
    run_id = shop.run(workflow, actor="kim")
    for person in approvers:
        shop.mesh.approve_run(run_id, actor=person)
    drain()
    assert shop.status(run_id) == "completed"
    return shop, run_id


def replayed(shop: Shop, run_id: str, actor: str, **options: Any) -> str:
    again = shop.mesh.replay_run(run_id, actor=actor, from_step="pay", **options)
    drain()
    return again.id


def audited(shop: Shop, run_id: str) -> dict[str, Any]:
    """What the audit says of how the run was replayed."""
    [event] = [event for event in shop.look(run_id).audit_events or () if event.type == "replayed"]
    return dict(event.metadata or {})


# -- by Python, which trusts its caller ----------------------------------------------------------------------------


@pytest.mark.rule("from-step-pages")
def test_a_program_may_pass_over_a_decision_and_the_audit_says_so(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = paid(open_shop, script, "dana")
    again = replayed(shop, run_id, "max")
    assert (shop.status(again), script.calls.count("pay")) == ("completed", 2)
    assert audited(shop, run_id) == {"run_id": again, "from_step": "pay", "decisions_taken_over": ["review"]}


@pytest.mark.rule("from-step-approvals")
@pytest.mark.parametrize("options", [{"approvals": 2}, {"not_starter": True}], ids=["two people", "not the starter"])
@pytest.mark.parametrize("actor", ["max", "kim", "dana"], ids=["another", "the starter", "an approver"])
def test_four_eyes_look_again_whoever_replays(
    open_shop: OpenShop, script: Script, options: dict[str, Any], actor: str
) -> None:
    shop, run_id = paid(open_shop, script, *(["dana", "lee"] if "approvals" in options else ["dana"]), **options)
    for _ in range(2):
        again = replayed(shop, run_id, actor)
        run = shop.look(again)
        assert (run.status, run.current_step, run.needs.kind if run.needs else None) == ("paused", "review", "decision")
    assert (script.calls.count("check"), script.calls.count("pay")) == (1, 1)
    assert shop.look(run_id).replayed_as_id == again
    shop.mesh.approve_run(again, actor="rob")
    if "approvals" in options:
        shop.mesh.approve_run(again, actor="sue")
    drain()
    assert (shop.status(again), script.calls.count("book"), script.calls.count("pay")) == ("completed", 2, 2)


@pytest.mark.rule("decision-not-starter")
def test_everybody_who_started_or_replayed_counts_as_the_starter(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = paid(open_shop, script, "dana", not_starter=True)
    second = shop.mesh.replay_run(run_id, actor="max").id
    drain()
    shop.mesh.approve_run(second, actor="dana")
    drain()
    third = replayed(shop, second, "rob")
    for person in ("kim", "max", "rob", {"id": "kim", "label": "Kim"}):
        with pytest.raises(ManualActionError, match="started this run"):
            shop.mesh.approve_run(third, actor=person)
    assert shop.mesh.approve_run(third, actor="dana").status == "running"


@pytest.mark.rule("decision-not-starter")
def test_a_child_of_a_replay_has_its_starters(open_shop: OpenShop, script: Script) -> None:
    class Part(Workflow):
        place = Manual(Order)
        review = Approval("Good?", not_starter=True)
        done = Step(script.does("done"))
        flow = [review >> done, review.on_reject >> done]

    def order(ctx: StepContext) -> None:
        ctx.start_child(Part, {}, key="part")

    class Ordering(Workflow):
        place = Manual(Order)
        order_ = Step(order)

    shop = open_shop(Ordering, Part)
    run_id = shop.run(Ordering, actor="kim")
    again = shop.mesh.replay_run(run_id, actor="max").id
    drain()
    [child] = shop.look(again).children or ()
    for person in ("kim", "max"):
        with pytest.raises(ManualActionError, match="started this run"):
            shop.mesh.approve_run(child, actor=person)
    assert shop.mesh.approve_run(child, actor="dana").status == "running"


@pytest.mark.rule("from-step-approvals")
@pytest.mark.parametrize(
    ("options", "approvers"),
    [({"approvals": 2}, ["dana", "lee"]), ({"not_starter": True}, ["dana"])],
    ids=["two people", "not the starter"],
)
def test_what_took_four_eyes_is_asked_again_though_two_would_do_today(
    open_shop: OpenShop, script: Script, options: dict[str, Any], approvers: list[str]
) -> None:
    _, run_id = paid(open_shop, script, *approvers, **options)
    shop = open_shop(paying(script))
    run = shop.look(replayed(shop, run_id, "max"))
    assert (run.status, run.current_step, script.calls.count("pay")) == ("paused", "review", 1)


@pytest.mark.rule("from-step-approvals")
def test_a_replay_that_asks_again_is_guarded_by_what_runs_again(open_shop: OpenShop, script: Script) -> None:
    class Booking(Workflow):
        place = Manual(Order)
        review = Approval("Pay?", approvals=2)
        book = Step(script.does("book"), irreversible=True)
        tell = Step(script.does("tell"))
        flow = [review >> book >> tell, review.on_reject >> tell]

    shop = open_shop(Booking)
    run_id = shop.run(Booking, actor="kim")
    for person in ("dana", "lee"):
        shop.mesh.approve_run(run_id, actor=person)
    drain()
    with pytest.raises(UnsafeReplayError):
        shop.mesh.replay_run(run_id, actor="max", from_step="tell")
    again = shop.mesh.replay_run(run_id, actor="max", from_step="tell", allow_irreversible=True)
    assert again.current_step == "review"


@pytest.mark.rule("from-step-approvals")
def test_in_dependency_style_only_what_hangs_on_the_decision_runs_again(open_shop: OpenShop, script: Script) -> None:
    class Fanned(Workflow):
        place = Manual(Order)
        load = Step(script.does("load"), after=[])
        review = Approval("Good?", after=[load], approvals=2)
        book = Step(script.does("book"), after=[review])
        other = Step(script.does("other"), after=[])
        pay = Step(script.does("pay"), after=[book, other])

    shop = open_shop(Fanned)
    run_id = shop.run(Fanned, actor="kim")
    for person in ("dana", "lee"):
        shop.mesh.approve_run(run_id, actor=person)
    drain()
    again = replayed(shop, run_id, "max")
    assert (shop.status(again), sorted(script.calls)) == ("paused", ["book", "load", "other", "pay"])
    for person in ("dana", "lee"):
        shop.mesh.approve_run(again, actor=person)
    drain()
    assert (shop.status(again), sorted(script.calls)) == ("completed", ["book", "book", "load", "other", "pay", "pay"])


# -- by somebody whose rights are asked -----------------------------------------------------------------------------


def by(shop: Shop, run_id: str, undecided: tuple[str, ...], from_step: str = "pay") -> str:
    """A replay by somebody who may not take these decisions."""
    again = shop.runtime.commands.replay(
        run_id, scope=Scope.all(), actor="max", from_step=from_step, undecided=undecided
    )
    drain()
    return again.id


@pytest.mark.rule("from-step-pages")
def test_a_decision_that_one_may_not_take_is_asked_again(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = paid(open_shop, script, "dana")
    again = by(shop, run_id, ("review",))
    assert (shop.look(again).current_step, script.calls.count("pay")) == ("review", 1)
    assert audited(shop, run_id) == {"run_id": again, "from_step": "review", "asked_again": ["review"]}


@pytest.mark.rule("from-step-pages")
def test_of_several_decisions_the_last_that_one_may_not_take_is_asked_again(
    open_shop: OpenShop, script: Script
) -> None:
    class Twice(Workflow):
        place = Manual(Order)
        check = Pause()
        first = Approval("Good?")
        second = Approval("Sure?")
        pay = Step(script.does("pay"))
        decline = Step(script.does("decline"))
        flow = [check >> first >> second >> pay, first.on_reject >> decline, second.on_reject >> decline]

    shop = open_shop(Twice)
    run_id = shop.run(Twice, actor="kim")
    shop.mesh.unblock_run(run_id, actor="dana")
    for _ in range(2):
        shop.mesh.approve_run(run_id, actor="dana")
    drain()
    for undecided, begins in [
        (("check", "first", "second"), "second"),
        (("check", "first"), "first"),
        (("check",), "check"),
        ((), None),
    ]:
        assert shop.look(by(shop, run_id, undecided)).current_step == begins


def test_a_decision_that_a_condition_led_to_is_asked_again(open_shop: OpenShop, script: Script) -> None:
    class Sorting(Workflow):
        place = Manual(Order)
        classify = Step(script.does("classify", {"kind": "large"}, {"kind": "small"}))
        review = Approval("Pay?")
        pay = Step(script.does("pay"))
        decline = Step(script.does("decline"))
        flow = [
            classify.when("kind", equals="large") >> review >> pay,
            classify >> pay,
            review.on_reject >> decline,
        ]

    shop = open_shop(Sorting)
    run_id = shop.run(Sorting, actor="kim")
    shop.mesh.approve_run(run_id, actor="dana")
    drain()
    again = by(shop, run_id, ("review",))
    assert shop.look(again).current_step == "review"
    assert script.calls == ["classify", "pay"]


def test_a_decision_in_a_loop_is_asked_again_as_it_was_asked_last(open_shop: OpenShop, script: Script) -> None:
    class Reworking(Workflow):
        place = Manual(Order)
        write = Step(script.does("write"))
        review = Approval("Good?")
        send = Step(script.does("send"))
        flow = [write >> review >> send, review.on_reject >> write]

    shop = open_shop(Reworking)
    run_id = shop.run(Reworking, actor="kim")
    shop.mesh.reject_run(run_id, actor="dana")
    drain()
    shop.mesh.approve_run(run_id, actor="dana")
    drain()
    again = by(shop, run_id, ("review",), from_step="send")
    assert (shop.look(again).current_step, script.calls) == ("review", ["write", "write", "send"])
