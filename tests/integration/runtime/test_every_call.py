"""What holds for every control call alike: sessions, idempotency keys, decision tokens, the audit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_squidmesh import Approval, ConflictError, FailStep, Manual, Pause, Step, Workflow
from tests.shop import Order, Script, Shop

OpenShop = Callable[..., Shop]

CALLS = {
    "approve_run": ("reviewing", "approved"),
    "reject_run": ("reviewing", "rejected"),
    "unblock_run": ("pausing", "resumed"),
    "cancel_run": ("reviewing", "cancelled"),
    "replay_run": ("working", "replayed"),
    "acknowledge_run": ("failing", "acknowledged"),
    "retry_step": ("charging", "retried"),
    "resolve_step": ("charging", "resolved"),
    "fail_step": ("charging", "failed_by_operator"),
    "retry_compensation": ("failing", "compensation_retried"),
}


def workflows(script: Script) -> list[type[Workflow]]:
    class Reviewing(Workflow):
        place = Manual(Order)
        review = Approval("Good?")
        go_on = Step(script.does("go_on"))
        stop = Step(script.does("stop"))
        flow = [review >> go_on, review.on_reject >> stop]

    class Pausing(Workflow):
        place = Manual(Order)
        hold = Pause("Look")
        go_on = Step(script.does("go_on"))
        flow = [hold >> go_on]

    class Working(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))

    class Failing(Workflow):
        place = Manual(Order)
        reserve = Step(script.does("reserve"), compensate=script.does("release", OSError("away")))
        fail = Step(script.does("fail", FailStep("no")))
        flow = [reserve >> fail]

    class Charging(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge", OSError("unknown")), irreversible=True)

    return [Reviewing, Pausing, Working, Failing, Charging]


@pytest.fixture(params=list(CALLS))
def ready(request: pytest.FixtureRequest, open_shop: OpenShop, script: Script) -> tuple[Shop, str, Any, str]:
    """A shop, a run on which the call is possible, the call, and the audit event that it leaves."""
    shop = open_shop(*workflows(script))
    workflow, event = CALLS[request.param]
    run_id = shop.run(shop.runtime.registry.get(workflow).name)
    return shop, run_id, getattr(shop.mesh, request.param), event


@pytest.mark.rule("call-alike")
def test_every_call_belongs_to_the_session_it_is_given(ready: tuple[Shop, str, Any, str]) -> None:
    shop, run_id, call, event = ready
    before = shop.look(run_id)
    call(run_id, actor="lee", session=shop.db.session)
    shop.db.session.rollback()
    assert shop.look(run_id) == before
    call(run_id, actor={"name": "lee"}, comment="so be it", metadata={"ticket": 7}, session=shop.db.session)
    shop.db.session.commit()
    last = (shop.look(run_id).audit_events or ())[-1]
    assert (last.type, last.actor, last.comment) == (event, {"name": "lee"}, "so be it")
    assert {**(last.metadata or {}), "ticket": 7} == last.metadata


@pytest.mark.rule("call-key-bound", "call-key-before-token", "call-alike")
def test_every_call_minds_the_decision_token_and_is_done_once_for_one_key(ready: tuple[Shop, str, Any, str]) -> None:
    shop, run_id, call, event = ready
    before = shop.look(run_id)
    assert before.decision
    if event != "cancelled":
        with pytest.raises(ConflictError, match="moved on") as caught:
            call(run_id, actor="lee", expected="other#1", idempotency_key="k")
        assert caught.value.current["decision"] == before.decision
        assert shop.look(run_id) == before
    first = call(run_id, actor="lee", expected=before.decision, idempotency_key="k")
    assert call(run_id, actor="lee", expected="other#1", idempotency_key="k") == first
    with pytest.raises(ConflictError, match="somebody else"):
        call(run_id, actor="kim", expected="other#1", idempotency_key="k")
    assert shop.events(run_id).count(event) == 1
