"""Approvals that take several people, or somebody other than the person who started the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_squidmesh import Approval, Cron, DefinitionError, Manual, ManualActionError, Person, Step, Workflow
from tests.shop import Order, Script, Shop

OpenShop = Callable[..., Shop]
ORDER = {"order_id": "7", "amount": 5}


def payout(script: Script, **options: Any) -> type[Workflow]:
    class Payout(Workflow):
        place = Manual(Order)
        review = Approval("Pay {amount}?", **options)
        pay = Step(script.does("pay", lambda ctx: {"seen": dict(ctx.state)}))
        decline = Step(script.does("decline"))
        flow = [review >> pay, review.on_reject >> decline]

    return Payout


def started(shop: Shop, workflow: type[Workflow], actor: Any = "kim") -> str:
    return str(shop.mesh.start_run(workflow, ORDER, actor=actor).id)


@pytest.mark.rule("decision-several-people")
def test_it_takes_as_many_people_as_declared(open_shop: OpenShop, script: Script) -> None:
    workflow = payout(script, approvals=2, output="review")
    shop = open_shop(workflow)
    run_id = started(shop, workflow)
    first = shop.mesh.approve_run(run_id, actor="dana", comment="looks right")
    assert (first.status, shop.look(run_id).decision) == ("paused", "review#1")
    shop.mesh.approve_run(run_id, actor="lee")
    shop.later(0)
    run = shop.look(run_id)
    assert run.status == "completed"
    assert [(event.type, event.actor) for event in run.audit_events or ()] == [
        *[("paused", None), ("approved", "dana"), ("approved", "lee")],
    ]
    review = script.contexts[-1].state["review"]
    assert (review["actor"], [each["actor"] for each in review["approved_before"]]) == ("lee", ["dana"])


@pytest.mark.rule("decision-several-people")
@pytest.mark.parametrize("again", ["dana", {"id": "dana", "label": "Dana D."}])
def test_one_person_counts_once(open_shop: OpenShop, script: Script, again: Any) -> None:
    workflow = payout(script, approvals=2)
    shop = open_shop(workflow)
    run_id = started(shop, workflow)
    shop.mesh.approve_run(run_id, actor="dana")
    with pytest.raises(ManualActionError, match="dana has approved step review already") as refused:
        shop.mesh.approve_run(run_id, actor=again)
    assert refused.value.field == "actor"
    assert shop.look(run_id).status == "paused"


def test_a_repeated_key_is_one_approval(open_shop: OpenShop, script: Script) -> None:
    workflow = payout(script, approvals=2)
    shop = open_shop(workflow)
    run_id = started(shop, workflow)
    answers = [shop.mesh.approve_run(run_id, actor="dana", idempotency_key="k") for _ in range(2)]
    assert answers[0] == answers[1]
    assert shop.look(run_id).status == "paused"


def test_a_page_from_before_the_first_approval_still_serves_the_second(open_shop: OpenShop, script: Script) -> None:
    workflow = payout(script, approvals=2)
    shop = open_shop(workflow)
    run_id = started(shop, workflow)
    token = shop.look(run_id).decision
    shop.mesh.approve_run(run_id, actor="dana", expected=token)
    shop.mesh.approve_run(run_id, actor="lee", expected=token)
    shop.later(0)
    assert shop.look(run_id).status == "completed"


@pytest.mark.rule("decision-several-people")
def test_one_rejection_is_enough(open_shop: OpenShop, script: Script) -> None:
    workflow = payout(script, approvals=3)
    shop = open_shop(workflow)
    run_id = started(shop, workflow)
    shop.mesh.approve_run(run_id, actor="dana")
    shop.mesh.reject_run(run_id, actor="dana")
    shop.later(0)
    assert script.calls == ["decline"]


@pytest.mark.rule("decision-not-starter")
@pytest.mark.parametrize("starter", ["kim", {"id": "kim", "label": "Kim"}])
def test_the_starter_may_reject_and_not_approve(open_shop: OpenShop, script: Script, starter: Any) -> None:
    workflow = payout(script, not_starter=True)
    shop = open_shop(workflow)
    run_id = started(shop, workflow, starter)
    with pytest.raises(ManualActionError, match="kim started this run, and step review takes the approval of somebody"):
        shop.mesh.approve_run(run_id, actor="kim")
    assert shop.mesh.reject_run(run_id, actor="kim").status != "paused"


@pytest.mark.rule("decision-not-starter")
def test_a_run_that_the_starter_may_not_approve_has_a_starter(open_shop: OpenShop, script: Script) -> None:
    workflow = payout(script, not_starter=True)
    shop = open_shop(workflow)
    with pytest.raises(ManualActionError, match="pass actor="):
        shop.mesh.start_run(workflow, ORDER)
    assert shop.mesh.list_runs().runs == ()


def test_a_schedule_starts_for_anybody_to_approve(open_shop: OpenShop, script: Script) -> None:
    class Daily(Workflow):
        daily = Cron("0 6 * * *")
        review = Approval("Send?", not_starter=True)
        send = Step(script.does("send"))
        stop = Step(script.does("stop"))
        flow = [review >> send, review.on_reject >> stop]

    shop = open_shop(Daily)
    run = shop.mesh.start_run(Daily)
    assert shop.mesh.approve_run(run.id, actor="dana").status != "paused"


@pytest.mark.rule("decision-not-starter")
def test_who_replays_has_started_the_replay(open_shop: OpenShop, script: Script) -> None:
    workflow = payout(script, not_starter=True)
    shop = open_shop(workflow)
    run_id = started(shop, workflow)
    shop.mesh.cancel_run(run_id, actor="kim")
    again = shop.mesh.replay_run(run_id, actor="dana")
    with pytest.raises(ManualActionError, match="dana started this run"):
        shop.mesh.approve_run(again.id, actor="dana")


SPELLINGS: list[tuple[Any, Any]] = [
    ("dana", " dana\u00a0"),
    ("Zo\u00eb", "Zoe\u0308"),
    ("7", {"id": 7}),
    ({"id": "dana", "label": "D."}, Person(" dana", "Dana")),
    ({"id": "Zo\u00eb", "label": "a"}, {"id": "Zoe\u0308", "label": "b"}),
]


@pytest.mark.rule("actor-one-person")
def test_one_person_is_one_however_their_id_is_spelled(open_shop: OpenShop, script: Script) -> None:
    workflow = payout(script, approvals=2, not_starter=True)
    shop = open_shop(workflow)
    for once, again in SPELLINGS:
        run_id = shop.run(workflow, ORDER, actor=once)
        with pytest.raises(ManualActionError, match="started this run"):
            shop.mesh.approve_run(run_id, actor=again)
        run_id = shop.run(workflow, ORDER, actor="kim")
        shop.mesh.approve_run(run_id, actor=once)
        with pytest.raises(ManualActionError, match="has approved step review already"):
            shop.mesh.approve_run(run_id, actor=again)


@pytest.mark.rule("actor-one-person")
def test_where_people_count_each_needs_an_id(open_shop: OpenShop, script: Script) -> None:
    workflow, lone = payout(script, approvals=2), payout(script, not_starter=True)
    shop = open_shop(workflow)
    run_id = shop.run(workflow, ORDER, actor="kim")
    with pytest.raises(ManualActionError, match='needs an "id"'):
        shop.mesh.approve_run(run_id, actor={"label": "Dana"})
    shop.mesh.reject_run(run_id, actor={"label": "Dana"})
    other = open_shop(lone)
    with pytest.raises(ManualActionError, match='a mapping with an "id"'):
        other.mesh.start_run(lone, ORDER, actor={"label": "Kim"})


@pytest.mark.parametrize(
    "actor", [Person("", "Dana"), Person(" ", "Dana"), {"id": " "}, {"id": True}, {"id": 1.5}, " "]
)
def test_an_id_that_names_nobody_is_refused(open_shop: OpenShop, script: Script, actor: Any) -> None:
    workflow = payout(script)
    shop = open_shop(workflow)
    with pytest.raises(ManualActionError):
        shop.mesh.start_run(workflow, ORDER, actor=actor)


def test_the_explanation_says_who_has_approved(open_shop: OpenShop, script: Script) -> None:
    workflow = payout(script, approvals=2, not_starter=True)
    shop = open_shop(workflow)
    run_id = started(shop, workflow)
    shop.mesh.approve_run(run_id, actor="dana")
    details = shop.mesh.explain_run(run_id).details
    assert (details["approvals"], details["not_starter"]) == (2, True)
    assert [each["actor"] for each in details["given"]] == ["dana"]


@pytest.mark.parametrize(
    ("options", "said"),
    [({"approvals": 0}, "approvals=0 must be a whole number from 1 to 20"), ({"not_starter": "yes"}, "True or False")],
)
def test_what_makes_no_sense_is_refused(script: Script, options: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        payout(script, **options)


def test_a_child_that_its_starter_may_not_approve_has_a_starter_too(open_shop: OpenShop, script: Script) -> None:
    kid = payout(script, not_starter=True)

    class Parent(Workflow):
        place = Manual(Order)
        begin = Step(script.does("begin", lambda ctx: ctx.start_child(kid, ORDER, key="k") and None))

    shop = open_shop(Parent, kid)
    nobodys, kims = (shop.run(Parent, ORDER, actor=actor) for actor in (None, "kim"))
    assert (shop.status(nobodys), shop.status(kims)) == ("failed", "completed")
    [child] = shop.look(kims).children
    with pytest.raises(ManualActionError, match="kim started this run"):
        shop.mesh.approve_run(child, actor="kim")
