"""What random workflows under random disturbances brought to light, as ordinary tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_squidmesh import FailStep, Manual, Step, TransitionError, Workflow
from flask_squidmesh.runtime.claiming_work import claim_due
from flask_squidmesh.runtime.performing import deliver
from flask_squidmesh.store.claiming import Claim
from tests.shop import Order, Script, Shop

OpenShop = Callable[..., Shop]
TIMEOUT = 30


def claim_of(shop: Shop, step: str) -> Claim:
    """Claim work until the step's is among it; what else was claimed is put off, as by workers that died."""
    claims = [claim for _ in range(9) for claim in claim_due(shop.runtime, "squidmesh", limit=9)]
    return next(claim for claim in claims if claim.visit.step == step)


def test_a_step_that_was_lost_when_its_run_failed_is_not_offered_again(open_shop: OpenShop, script: Script) -> None:
    class Beside(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge"), irreversible=True, after=[])
        check = Step(script.does("check", FailStep("no")), after=[])

    shop = open_shop(Beside)
    run_id = shop.start(Beside)
    deliver(shop.runtime, claim_of(shop, "check"))
    shop.later(TIMEOUT + 1)
    assert shop.visits(run_id) == [("charge", "paused"), ("check", "failed")]
    explained = shop.mesh.explain_run(run_id)
    assert [str(action) for action in explained.next_actions] == ["resolve_step", "fail_step", "acknowledge_run"]
    refusal = next(each for each in explained.refusals if each.call == "retry_step")
    assert refusal.reason == "already_finished"
    with pytest.raises(TransitionError) as refused:
        shop.mesh.retry_step(run_id, actor="lee")
    assert refused.value.allowed == ("resolve_step", "fail_step", "acknowledge_run")
