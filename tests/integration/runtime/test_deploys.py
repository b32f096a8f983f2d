"""Runs that are there when a deploy takes away what they count on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_squidmesh import (
    Approval,
    FailStep,
    FilterError,
    Manual,
    Step,
    TransitionError,
    UnknownWorkflowError,
    UnsafeReplayError,
    Workflow,
)
from tests.shop import Order, Script, Shop, error_of

OpenShop = Callable[..., Shop]


def charging(script: Script, step: str, style: str) -> type[Workflow]:
    """A workflow whose irreversible step has this name."""
    alone = style == "flow"
    charge = Step(script.does(step, OSError("unknown")), irreversible=True, after=None if alone else [])
    tell = Step(script.does("tell"), after=None if alone else [charge])
    flow = {"flow": [charge >> tell]} if alone else {}
    return type("Charging", (Workflow,), {"place": Manual(Order), step: charge, "tell": tell, **flow})


@pytest.mark.rule("deploy-interrupted-gone")
@pytest.mark.parametrize("style", ["flow", "dependency"])
def test_an_interrupted_step_that_is_gone_can_only_be_given_up(open_shop: OpenShop, script: Script, style: str) -> None:
    shop = open_shop(charging(script, "charge", style))
    run_id = shop.run("charging")
    later = open_shop(charging(script, "pay", style), url=shop.url)
    assert set(later.mesh.explain_run(run_id).next_actions) == {"fail_step", "cancel_run"}
    for call in (later.mesh.retry_step, later.mesh.resolve_step):
        with pytest.raises(TransitionError, match="does not declare step charge any more") as caught:
            call(run_id, actor="lee")
        assert set(caught.value.allowed) == {"fail_step", "cancel_run"}
    later.mesh.fail_step(run_id, reason="nobody charges any more", actor="lee")
    assert error_of(later.look(run_id))["message"] == "nobody charges any more"


@pytest.mark.rule("interrupted-cancelled", "deploy-interrupted-gone")
def test_an_interrupted_step_that_is_gone_does_not_hinder_a_run_that_is_ending(
    open_shop: OpenShop, script: Script
) -> None:
    shop = open_shop(charging(script, "charge", "flow"))
    run_id = shop.run("charging")
    later = open_shop(charging(script, "pay", "flow"), url=shop.url)
    later.mesh.cancel_run(run_id, actor="lee")
    assert later.status(run_id) == "cancelled"


@pytest.mark.rule("deploy-routes")
def test_fail_step_takes_the_error_route_of_today(open_shop: OpenShop, script: Script) -> None:
    def routed(route: str) -> type[Workflow]:
        charge = Step(script.does("charge", OSError("unknown")), irreversible=True)
        tell = Step(script.does(route))
        parts = {"place": Manual(Order), "charge": charge, route: tell, "flow": [charge.on_error >> tell]}
        return type("Charging", (Workflow,), parts)

    shop = open_shop(routed("tell"))
    run_id = shop.run("charging")
    later = open_shop(routed("report"), url=shop.url)
    [fail] = [action for action in later.mesh.explain_run(run_id).next_actions if action == "fail_step"]
    assert fail.leads_to == {"target": "report", "irreversible": False}
    assert later.mesh.fail_step(run_id, actor="lee").current_step == "report"


def reviewing(script: Script, review: str) -> type[Workflow]:
    """A dependency workflow whose approval has this name."""
    work = Step(script.does("work"), after=[])
    asked = Approval("Good?", after=[])
    join = Step(script.does("join"), after=[work, asked])
    return type("Reviewing", (Workflow,), {"place": Manual(Order), "work": work, review: asked, "join": join})


@pytest.mark.rule("deploy-approval-gone")
def test_an_approval_that_is_gone_from_a_dependency_workflow_can_be_rejected(
    open_shop: OpenShop, script: Script
) -> None:
    shop = open_shop(reviewing(script, "review"))
    run_id = shop.run("reviewing")
    later = open_shop(reviewing(script, "look"), url=shop.url)
    assert set(later.mesh.explain_run(run_id).next_actions) == {"reject_run", "cancel_run"}
    with pytest.raises(TransitionError, match="does not declare step review any more"):
        later.mesh.approve_run(run_id, actor="lee")
    assert later.mesh.reject_run(run_id, actor="lee").status == "failed"


@pytest.mark.rule("deploy-replay")
def test_a_run_is_replayed_though_its_trigger_is_gone(open_shop: OpenShop, script: Script) -> None:
    def working(*triggers: str) -> type[Workflow]:
        parts = {name: Manual(Order) for name in triggers}
        return type("Working", (Workflow,), {**parts, "work": Step(script.does("work"))})

    shop = open_shop(working("place", "import_order"))
    run_id = shop.run("working", trigger="import_order")
    later = open_shop(working("place"), url=shop.url)
    assert "replay_run" in later.mesh.explain_run(run_id).next_actions
    assert later.mesh.replay_run(run_id, actor="lee").trigger == "import_order"
    later.later(0)
    assert script.calls == ["work", "work"]


@pytest.mark.rule("deploy-replay")
def test_a_replay_follows_the_definition_of_today(open_shop: OpenShop, script: Script) -> None:
    def working(*steps: str) -> type[Workflow]:
        made = [Step(script.does(name)) for name in steps]
        parts = dict(zip(steps, made, strict=True))
        flow = {"flow": [made[0] >> made[1]]} if len(made) > 1 else {}
        return type("Working", (Workflow,), {"place": Manual(Order), **parts, **flow})

    shop = open_shop(working("work"))
    run_id = shop.run("working")
    later = open_shop(working("check", "work"), url=shop.url)
    later.mesh.replay_run(run_id, actor="lee")
    later.later(0)
    assert script.calls == ["work", "check", "work"]


@pytest.mark.rule("replaying-unsafe-gone")
def test_what_cannot_be_undone_blocks_a_replay_though_its_step_is_gone(open_shop: OpenShop, script: Script) -> None:
    def working(name: str) -> type[Workflow]:
        parts = {"place": Manual(Order), name: Step(script.does(name), irreversible=True)}
        return type("Working", (Workflow,), parts)

    shop = open_shop(working("charge"))
    run_id = shop.run("working")
    later = open_shop(working("pay"), url=shop.url)
    with pytest.raises(UnsafeReplayError) as caught:
        later.mesh.replay_run(run_id, actor="lee")
    assert [step["step"] for step in caught.value.steps] == ["charge"]


@pytest.mark.rule("deploy-unregistered")
def test_runs_of_a_workflow_that_is_gone_are_still_found(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(reviewing(script, "review"))
    run_id = shop.run("reviewing")
    later = open_shop(charging(script, "charge", "flow"), url=shop.url)
    assert [run.id for run in later.mesh.list_runs(workflow="reviewing").runs] == [run_id]
    assert later.mesh.list_runs(workflow="charging").runs == ()
    assert [run.id for run in later.mesh.list_runs(workflow=["reviewing", "charging"]).runs] == [run_id]
    with pytest.raises(FilterError):
        later.mesh.list_runs(workflow=7)  # type: ignore[arg-type]
    for call in (later.mesh.approve_run, later.mesh.reject_run):
        with pytest.raises(UnknownWorkflowError):
            call(run_id, actor="lee")
    assert later.mesh.explain_run(run_id).next_actions == ("cancel_run",)
    assert later.mesh.cancel_run(run_id, actor="lee").status == "cancelled"


def test_undoing_is_tried_again_only_where_the_workflow_is_known(open_shop: OpenShop, script: Script) -> None:
    class Stuck(Workflow):
        place = Manual(Order)
        begin = Step(script.does("begin"), compensate=script.does("undo", FailStep("stuck")))
        check = Step(script.does("check", FailStep("no")))
        flow = [begin >> check]

    shop = open_shop(Stuck)
    run_id = shop.run(Stuck)
    later = open_shop(charging(script, "charge", "flow"), url=shop.url)
    assert "retry_compensation" not in later.mesh.explain_run(run_id).next_actions
    with pytest.raises(UnknownWorkflowError):
        later.mesh.retry_compensation(run_id, actor="lee")
    assert later.look(run_id).compensation == "failed"
