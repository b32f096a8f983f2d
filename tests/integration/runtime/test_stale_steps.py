"""A step that runs for longer than the host allows, and work that this process does not know."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_squidmesh import Manual, Step, Workflow
from flask_squidmesh.storage.work_queue import Claim
from flask_squidmesh.testing import drain
from tests.shop import Script, Shop

OpenShop = Callable[..., Shop]


def one_step(script: Script, *, irreversible: bool = False) -> type[Workflow]:
    class Single(Workflow):
        begin = Manual()
        work = Step(script.does("work", {"done": True}), irreversible=irreversible)
        flow = [work]

    return Single


def named_alike(script: Script) -> type[Workflow]:
    """Another version of `one_step`, which does not know the step."""

    class Single(Workflow):
        begin = Manual()
        work_differently = Step(script.does("work_differently"))
        flow = [work_differently]

    return Single


def claimed(shop: Shop) -> Claim:
    """What a worker holds that has begun the step."""
    (claim,) = shop.claim_due()
    return claim


@pytest.mark.rule("claims-stale")
def test_a_redelivered_job_reclaims_a_stale_step_from_a_living_worker(open_shop: OpenShop, script: Script) -> None:
    workflow = one_step(script)
    shop = open_shop(workflow, stale_step_timeout=20, claim_timeout=60)
    run_id = shop.start(workflow)
    slow = claimed(shop)
    shop.clock.advance(5)
    assert shop.deliver(run_id, "work").outcome == "too_early"
    shop.clock.advance(16)

    delivery = shop.deliver(run_id, "work")

    assert (delivery.outcome, delivery.attempt, delivery.status) == ("executed", 2, "completed")
    assert shop.events(run_id) == ["abandoned"]
    shop.perform(slow)
    [visit] = shop.look(run_id).step_runs or ()
    assert [attempt.status for attempt in visit.attempts] == ["abandoned", "completed"]


@pytest.mark.rule("claims-living-kept")
def test_without_a_stale_timeout_a_living_claim_is_never_taken(open_shop: OpenShop, script: Script) -> None:
    workflow = one_step(script)
    shop = open_shop(workflow, claim_timeout=30)
    run_id = shop.start(workflow)
    claim = claimed(shop)
    shop.clock.advance(10)

    assert shop.deliver(run_id, "work").outcome == "too_early"
    assert script.calls == []
    shop.perform(claim)


@pytest.mark.parametrize("irreversible", [False, True])
def test_a_lost_attempt_is_settled_by_who_knows_the_step(
    open_shop: OpenShop, script: Script, irreversible: bool
) -> None:
    """A process of another version may find the expired claim first; it must not make the attempt forgotten."""
    workflow = one_step(script, irreversible=irreversible)
    other = open_shop(named_alike(script), claim_timeout=30)
    shop = open_shop(workflow, claim_timeout=30)
    run_id = shop.start(workflow)
    claimed(shop)
    for each in (other, shop):
        each.clock.advance(31)
    with other.app.app_context():
        assert drain() == 0
    assert shop.mesh.explain_run(run_id).reason == "definition_mismatch"
    shop.later(61)

    assert shop.events(run_id) == (["abandoned", "interrupted"] if irreversible else ["abandoned"])
    assert script.calls == ([] if irreversible else ["work"])
