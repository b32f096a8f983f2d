"""Steps that hang in a run that was cancelled: a person may wait no longer, and what they say later is dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from flask_squidmesh import Manual, ManualActionError, Step, StepContext, TransitionError, Workflow
from flask_squidmesh.testing import drain
from tests.shop import Order, Script, Shop, single

OpenShop = Callable[..., Shop]
TIMEOUT = 30


class Hung:
    """A step in whose middle the run is cancelled, and that goes on after some seconds and what somebody does then."""

    def __init__(self, script: Script, *, seconds: float = TIMEOUT + 1, compensate: bool = True) -> None:
        self.script, self.seconds, self.compensate = script, seconds, compensate
        self.shop: Shop | None = None
        self.then: Callable[[Shop, StepContext], Any] = lambda shop, ctx: None

    def __call__(self, ctx: StepContext) -> Any:
        assert self.shop is not None
        self.script.calls.append("hang")
        answer = self.shop.mesh.cancel_run(ctx.run_id, actor="lee", compensate=self.compensate)
        assert answer.status == "cancelling"
        self.shop.clock.advance(self.seconds)
        self.shop.runtime.claims.renew()
        self.then(self.shop, ctx)
        return {"late": True}


def hanging(script: Script, hung: Hung) -> type[Workflow]:
    def hang(ctx: StepContext) -> Any:
        return hung(ctx)

    class Hanging(Workflow):
        place = Manual(Order)
        begin = Step(script.does("begin"), compensate=script.does("undo"))
        work = Step(hang, compensate=script.does("undo_work"))
        behind = Step(script.does("behind"))
        flow = [begin >> work >> behind]

    return Hanging


def performed(open_shop: OpenShop, script: Script, hung: Hung) -> tuple[Shop, str]:
    workflow = hanging(script, hung)
    hung.shop = shop = open_shop(workflow)
    return shop, shop.run(workflow)


@pytest.mark.rule("giving-up")
def test_a_hung_step_is_given_up_and_what_it_says_is_dropped(open_shop: OpenShop, script: Script) -> None:
    hung, seen = Hung(script), dict[str, Any]()

    def give_up(shop: Shop, ctx: StepContext) -> None:
        explained = shop.mesh.explain_run(ctx.run_id)
        seen["offered"] = [action for action in explained.next_actions if action == "fail_step"]
        seen["answer"] = shop.mesh.fail_step(ctx.run_id, actor="lee", reason="the gateway is gone")
        shop.runtime.claims.renew()
        seen["lost"] = ctx.lost

    hung.then = give_up
    shop, run_id = performed(open_shop, script, hung)
    [offered] = seen["offered"]
    assert (offered.step, offered.leads_to) == ("work", {"gives_up": "work", "status": "cancelled"})
    assert (seen["answer"].status, seen["answer"].compensation, seen["lost"]) == ("cancelled", "running", True)
    run = shop.look(run_id)
    assert (run.status, run.compensation, script.calls) == ("cancelled", "completed", ["begin", "hang", "undo"])
    [work] = [each for each in run.step_runs or () if each.step == "work"]
    assert (work.status, work.output, [each.status for each in work.attempts]) == ("failed", None, ["abandoned"])
    assert work.error is not None
    assert work.error["message"] == "the gateway is gone"
    assert shop.events(run_id) == ["cancelled", "given_up", "outcome_dropped"]
    [*_, dropped] = run.audit_events or ()
    assert (dropped.step, dropped.metadata["outcome"]) == ("work", "completed")  # type: ignore[index]


@pytest.mark.rule("giving-up")
def test_nobody_gives_up_what_may_yet_end(open_shop: OpenShop, script: Script) -> None:
    hung = Hung(script, seconds=TIMEOUT / 2)

    def try_to(shop: Shop, ctx: StepContext) -> None:
        explained = shop.mesh.explain_run(ctx.run_id)
        assert (explained.reason, explained.next_actions) == ("cancelling", ())
        assert explained.details["give_up_at"] > shop.clock.now()
        with pytest.raises(TransitionError, match="no interrupted or blocked step open"):
            shop.mesh.fail_step(ctx.run_id, actor="lee")
        script.calls.append("refused")

    hung.then = try_to
    shop, run_id = performed(open_shop, script, hung)
    assert script.calls == ["begin", "hang", "refused", "undo_work", "undo"]
    assert dict(shop.visits(run_id))["work"] == "completed"


@pytest.mark.rule("giving-up")
def test_nothing_is_given_up_in_a_run_that_goes_on(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    [claim] = shop.claim_due()
    shop.clock.advance(10_000)
    with pytest.raises(TransitionError):
        shop.mesh.fail_step(run_id, actor="lee")
    shop.perform(claim)
    assert shop.status(run_id) == "completed"


def charging(open_shop: OpenShop, hung: Hung) -> tuple[Shop, str]:
    def hang(ctx: StepContext) -> Any:
        return hung(ctx)

    class Charging(Workflow):
        place = Manual(Order)
        work = Step(hang, irreversible=True)

    hung.shop = shop = open_shop(Charging)
    return shop, shop.run(Charging)


@pytest.mark.rule("giving-up-irreversible")
@pytest.mark.parametrize("settled", ["resolve_step", "fail_step"])
def test_what_cannot_be_undone_is_interrupted_first(open_shop: OpenShop, script: Script, settled: str) -> None:
    hung = Hung(script)

    def give_up(shop: Shop, ctx: StepContext) -> None:
        answer = shop.mesh.fail_step(ctx.run_id, actor="lee")
        assert (answer.status, answer.needs.kind if answer.needs else None) == ("cancelling", "interrupted")

    hung.then = give_up
    shop, run_id = charging(open_shop, hung)
    explained = shop.mesh.explain_run(run_id)
    assert (explained.reason, set(explained.next_actions)) == ("interrupted", {"resolve_step", "fail_step"})
    answer = getattr(shop.mesh, settled)(run_id, actor="lee")
    assert answer.status == "cancelled"
    drain()
    assert shop.look(run_id).needs is None


def test_of_several_hung_steps_one_has_to_be_named(open_shop: OpenShop, script: Script) -> None:
    class Fanned(Workflow):
        place = Manual(Order)
        one = Step(script.does("one"), after=[])
        other = Step(script.does("other"), after=[])

    shop = open_shop(Fanned)
    run_id = shop.start(Fanned)
    claims = shop.claim_due(limit=2)
    if len(claims) == 1:
        claims += shop.claim_due()
    shop.mesh.cancel_run(run_id, actor="lee")
    shop.clock.advance(TIMEOUT + 1)
    with pytest.raises(ManualActionError, match=r"one, other"):
        shop.mesh.fail_step(run_id, actor="lee")
    assert shop.mesh.fail_step(run_id, step="other", actor="lee").status == "cancelling"
    assert shop.mesh.fail_step(run_id, step="one", actor="lee").status == "cancelled"
    for claim in claims:
        shop.perform(claim)
    assert dict(shop.visits(run_id)) == {"one": "failed", "other": "failed"}
    assert shop.events(run_id)[-2:] == ["outcome_dropped", "outcome_dropped"]


@pytest.mark.rule("giving-up-at-once")
def test_a_form_that_is_sent_twice_gives_up_once(open_shop: OpenShop, script: Script) -> None:
    workflow = single(script)
    shop = open_shop(workflow)
    run_id = shop.start(workflow)
    [claim] = shop.claim_due()
    shop.mesh.cancel_run(run_id, actor="lee")
    shop.clock.advance(TIMEOUT + 1)
    said: dict[str, Any] = {"actor": "lee", "expected": "open", "idempotency_key": "k"}
    first = shop.mesh.fail_step(run_id, **said)
    assert shop.mesh.fail_step(run_id, **said).revision == first.revision
    shop.perform(claim)


@pytest.mark.rule("giving-up-at-once")
def test_of_giving_up_and_the_outcome_one_holds(open_shop: OpenShop, script: Script) -> None:
    class Working(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))

    shop = open_shop(Working)
    for _ in range(4):
        run_id = shop.start(Working)
        [claim] = shop.claim_due()
        shop.mesh.cancel_run(run_id, actor="lee")
        shop.clock.advance(TIMEOUT + 1)
        together, refused = threading.Barrier(2), list[TransitionError]()

        def end(claim: Any = claim, together: threading.Barrier = together) -> None:
            with shop.app.app_context():
                together.wait(120)
                shop.perform(claim)

        ending = threading.Thread(target=end)
        ending.start()
        together.wait(120)
        try:
            shop.mesh.fail_step(run_id, actor="lee")
        except TransitionError as error:
            refused.append(error)
        ending.join(120)
        [work] = shop.look(run_id).step_runs or ()
        assert (shop.status(run_id), work.status) == ("cancelled", "completed" if refused else "failed")
        assert [each.status for each in work.attempts] == ["completed" if refused else "abandoned"]
