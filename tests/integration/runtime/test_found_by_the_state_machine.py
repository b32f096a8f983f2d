"""What random workflows under random disturbances brought to light, as ordinary tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_squidmesh import Approval, FailStep, Manual, Step, TransitionError, Workflow
from flask_squidmesh.storage.work_queue import Claim
from tests.shop import Order, Script, Shop

OpenShop = Callable[..., Shop]
TIMEOUT = 30


def claim_of(shop: Shop, step: str) -> Claim:
    """Claim work until the step's is among it; what else was claimed is put off, as by workers that died."""
    claims = [claim for _ in range(9) for claim in shop.claim_due(limit=9)]
    return next(claim for claim in claims if claim.visit.step == step)


def test_a_step_that_was_lost_when_its_run_failed_is_not_offered_again(open_shop: OpenShop, script: Script) -> None:
    class Beside(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge"), irreversible=True, after=[])
        check = Step(script.does("check", FailStep("no")), after=[])

    shop = open_shop(Beside)
    run_id = shop.start(Beside)
    shop.perform(claim_of(shop, "check"))
    shop.later(TIMEOUT + 1)
    assert shop.visits(run_id) == [("charge", "paused"), ("check", "failed")]
    explained = shop.mesh.explain_run(run_id)
    assert [str(action) for action in explained.next_actions] == ["resolve_step", "fail_step", "acknowledge_run"]
    refusal = next(each for each in explained.refusals if each.call == "retry_step")
    assert refusal.reason == "already_finished"
    with pytest.raises(TransitionError) as refused:
        shop.mesh.retry_step(run_id, actor="lee")
    assert refused.value.allowed == ("resolve_step", "fail_step", "acknowledge_run")


def failed_beside_an_interrupted_step(open_shop: OpenShop, script: Script) -> tuple[Shop, str]:
    class Beside(Workflow):
        place = Manual(Order)
        begin = Step(script.does("begin"), compensate=script.does("undo", FailStep("stuck"), None), after=[])
        charge = Step(script.does("charge"), irreversible=True, after=[begin])
        check = Step(script.does("check", FailStep("no")), after=[begin])

    shop = open_shop(Beside, delivery_steps=1)
    run_id = shop.start(Beside)
    shop.perform(claim_of(shop, "begin"))
    shop.perform(claim_of(shop, "check"))
    shop.later(TIMEOUT + 1)
    return shop, run_id


def needs_of(shop: Shop, run_id: str) -> tuple[str, int] | None:
    needs = shop.mesh.inspect_run(run_id).needs
    return (needs.kind, needs.count) if needs else None


@pytest.mark.rule("interrupted-not-hidden")
def test_an_interrupted_step_is_not_hidden_by_taking_note_of_the_failure(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = failed_beside_an_interrupted_step(open_shop, script)
    shop.mesh.acknowledge_run(run_id, actor="lee")
    assert needs_of(shop, run_id) == ("interrupted", 1)
    shop.mesh.fail_step(run_id, actor="lee")
    assert needs_of(shop, run_id) is None


@pytest.mark.rule("interrupted-not-hidden")
def test_an_interrupted_step_is_not_hidden_by_a_replay(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = failed_beside_an_interrupted_step(open_shop, script)
    shop.mesh.replay_run(run_id, actor="lee", allow_irreversible=True)
    assert needs_of(shop, run_id) == ("interrupted", 1)


@pytest.mark.rule("interrupted-not-hidden")
def test_an_interrupted_step_is_not_hidden_by_compensating_again(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = failed_beside_an_interrupted_step(open_shop, script)
    shop.mesh.retry_compensation(run_id, actor="lee")
    shop.later(0)
    assert (shop.look(run_id).compensation, needs_of(shop, run_id)) == ("completed", ("failed", 2))
    shop.mesh.acknowledge_run(run_id, actor="lee")
    assert needs_of(shop, run_id) == ("interrupted", 1)


def test_a_replayed_run_stays_out_of_what_needs_a_person_once_it_is_compensated(
    open_shop: OpenShop, script: Script
) -> None:
    class Failing(Workflow):
        place = Manual(Order)
        begin = Step(script.does("begin"), compensate=script.does("undo", FailStep("stuck"), FailStep("stuck"), None))
        check = Step(script.does("check", FailStep("no"), None))
        flow = [begin >> check]

    shop = open_shop(Failing)
    run_id = shop.run(Failing)
    shop.mesh.replay_run(run_id, actor="lee")
    for compensation, needs in (("failed", ("compensation_failed", 1)), ("completed", None)):
        shop.mesh.retry_compensation(run_id, actor="lee")
        shop.later(0)
        assert (shop.look(run_id).compensation, needs_of(shop, run_id)) == (compensation, needs)


def test_a_decision_behind_a_join_waits_since_it_was_asked_for(open_shop: OpenShop, script: Script) -> None:
    class Joined(Workflow):
        place = Manual(Order)
        left = Step(script.does("left"), after=[])
        right = Step(script.does("right"), after=[])
        legal = Approval("Legal?", after=[left, right])
        money = Approval("Money?", after=[left, right])

    shop = open_shop(Joined)
    run_id = shop.run(Joined)
    before = shop.mesh.inspect_run(run_id).needs
    shop.clock.advance(600)
    shop.mesh.approve_run(run_id, step="legal", actor="lee")
    run = shop.look(run_id)
    assert before is not None
    assert run.needs is not None
    assert run.needs.since == before.since
    [attempt] = next(row.attempts for row in run.step_runs or () if row.step == "legal")
    assert attempt.finished_at is not None
    assert (attempt.finished_at - attempt.started_at).total_seconds() >= 600
