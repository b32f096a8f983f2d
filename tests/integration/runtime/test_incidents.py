"""Steps that cannot begin, because their input cannot be made: nothing is lost, done twice or undone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, field_validator

from flask_squidmesh import (
    CompensationContext,
    FailStep,
    Fixed,
    Manual,
    PayloadError,
    Retry,
    RetryStep,
    Step,
    StepContext,
    TransitionError,
    Wait,
    Workflow,
)
from flask_squidmesh.signals import run_transitioned, step_failed, step_started
from flask_squidmesh.testing import drain
from tests.shop import Order, Script, Shop, error_of

OpenShop = Callable[..., Shop]


class Shipment(BaseModel):
    order_id: str = "o-1"
    amount: int = 5


class Widened(BaseModel):
    """The same after a deploy that adds a field."""

    order_id: str = "o-1"
    amount: int = 5
    iban: str


class Eased(BaseModel):
    """The same after a deploy that gives the new field a default."""

    order_id: str = "o-1"
    amount: int = 5
    iban: str = "none"


class Odd(BaseModel):
    """A validator of it raises what no validator should."""

    number: int

    @field_validator("number")
    @classmethod
    def look_up(cls, number: int) -> int:
        known: dict[int, int] = {}
        return known[number]


def paying(script: Script, model: type[BaseModel], **options: Any) -> type[Workflow]:
    """A workflow whose second step takes the payload as this model; there is a minute before it."""

    def pay(ctx: StepContext, order: Any) -> Any:
        return script.does("pay")(ctx)

    pay.__annotations__["order"] = model
    settle = Wait(timedelta(seconds=60))
    reserve = Step(script.does("reserve"), compensate=script.does("release"))
    paid = Step(pay, retry=Retry(5), **options)
    told = Step(script.does("tell"))
    parts = {"place": Manual(model), "reserve": reserve, "settle": settle, "pay": paid, "tell": told}
    return type("Paying", (Workflow,), {**parts, "flow": [reserve >> settle >> paid >> told]})


def blocked(open_shop: OpenShop, script: Script, **options: Any) -> tuple[Shop, str]:
    """A run that meets a deploy whose payload has one more field."""
    shop = open_shop(paying(script, Shipment, **options))
    run_id = shop.run("paying")
    later = open_shop(paying(script, Widened, **options), url=shop.url)
    later.later(60)
    return later, run_id


def asks(script: Script, name: str = "work", **options: Any) -> Step:
    """A step that takes what the payload does not hold."""

    def work(order_id: int, ctx: StepContext) -> Any:
        return script.does(name)(ctx)

    return Step(work, **options)


# -- what a deploy leaves without its input ------------------------------------------------------------------------


@pytest.mark.rule("incident-not-begun", "explaining-incident")
def test_a_field_that_a_deploy_adds_blocks_the_step_and_undoes_nothing(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = blocked(open_shop, script)
    run, explained = shop.look(run_id), shop.mesh.explain_run(run_id)
    assert (run.status, run.needs.kind if run.needs else None, run.current_step) == ("paused", "incident", "pay")
    assert script.calls == ["reserve"]
    [pay] = [each for each in run.step_runs or () if each.step == "pay"]
    assert (pay.status, pay.attempts, pay.started_at, pay.visit) == ("paused", (), None, 1)
    assert run.compensation is None
    assert shop.events(run_id)[-1] == "incident"
    assert (explained.reason, explained.step) == ("incident", "pay")
    assert "iban" in str(explained.details["input_errors"])
    assert "iban" in explained.details["last_error"]["message"]
    assert set(explained.next_actions) == {"retry_step", "resolve_step", "fail_step", "cancel_run"}
    assert drain() == 0


@pytest.mark.rule("incident-retry")
def test_the_next_deploy_lets_the_same_visit_begin(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = blocked(open_shop, script)
    shop.mesh.retry_step(run_id, actor="lee")
    drain()
    assert shop.status(run_id) == "paused"
    mended = open_shop(paying(script, Eased), url=shop.url)
    assert mended.mesh.retry_step(run_id, actor="lee").status == "running"
    drain()
    run = mended.look(run_id)
    assert (run.status, run.needs, run.last_error) == ("completed", None, None)
    assert script.calls == ["reserve", "pay", "tell"]
    assert (script.contexts[1].attempt, script.contexts[1].idempotency_key) == (1, f"{run_id}:pay:1")


@pytest.mark.rule("incident-settled")
def test_a_blocked_step_is_counted_as_done(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = blocked(open_shop, script)
    shop.mesh.resolve_step(run_id, actor="lee", output={"paid": True})
    drain()
    run = shop.look(run_id)
    assert (run.status, run.context["paid"]) == ("completed", True)
    assert script.calls == ["reserve", "tell"]


@pytest.mark.rule("incident-settled")
def test_a_blocked_step_is_counted_as_failed_and_then_what_was_done_is_undone(
    open_shop: OpenShop, script: Script
) -> None:
    shop, run_id = blocked(open_shop, script)
    shop.mesh.fail_step(run_id, actor="lee", reason="nobody knows the account")
    drain()
    run = shop.look(run_id)
    assert (run.status, run.compensation, script.calls[-1]) == ("failed", "completed", "release")
    assert error_of(run)["message"] == "nobody knows the account"


@pytest.mark.rule("incident-closed")
@pytest.mark.parametrize("compensate", [False, True])
def test_a_blocked_run_is_cancelled(open_shop: OpenShop, script: Script, compensate: bool) -> None:
    shop, run_id = blocked(open_shop, script)
    assert shop.mesh.cancel_run(run_id, actor="lee", compensate=compensate).status == "cancelled"
    drain()
    assert (shop.look(run_id).needs, script.calls[-1]) == (None, "release" if compensate else "reserve")


@pytest.mark.rule("incident-closed")
def test_what_has_not_begun_may_begin_though_it_cannot_be_undone(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = blocked(open_shop, script, irreversible=True)
    assert shop.look(run_id).needs.kind == "incident"  # type: ignore[union-attr]
    mended = open_shop(paying(script, Eased, irreversible=True), url=shop.url)
    mended.mesh.retry_step(run_id, actor="lee")
    drain()
    assert (mended.status(run_id), script.calls.count("pay")) == ("completed", 1)


@pytest.mark.rule("incident-closed")
def test_what_has_not_begun_stands_in_the_way_of_no_replay(open_shop: OpenShop, script: Script) -> None:
    shop, run_id = blocked(open_shop, script, irreversible=True)
    shop.mesh.cancel_run(run_id, actor="lee")
    mended = open_shop(paying(script, Eased, irreversible=True), url=shop.url)
    again = mended.mesh.replay_run(run_id, actor="lee")
    drain()
    mended.later(60)
    assert mended.status(again.id) == "completed"


@pytest.mark.rule("incident-not-begun")
def test_an_error_route_is_for_steps_that_failed(open_shop: OpenShop, script: Script) -> None:
    class Routed(Workflow):
        place = Manual(Order)
        work = asks(script, retry=Retry(3))
        tell = Step(script.does("tell"))
        flow = [work.on_error >> tell]

    shop = open_shop(Routed)
    run_id = shop.run(Routed)
    assert (shop.status(run_id), script.calls) == ("paused", [])
    [fail] = [action for action in shop.mesh.explain_run(run_id).next_actions if action == "fail_step"]
    assert fail.leads_to == {"target": "tell", "irreversible": False}
    shop.mesh.fail_step(run_id, actor="lee")
    drain()
    assert (shop.status(run_id), script.calls) == ("completed", ["tell"])


@pytest.mark.rule("incident-retry")
def test_an_attempt_that_failed_before_still_counts(open_shop: OpenShop, script: Script) -> None:
    def busy(ready: bool) -> type[Workflow]:
        def work(ctx: StepContext, token: str = "t") -> Any:
            return script.does("work", *([] if ready else [RetryStep("busy")]))(ctx)

        if not ready:
            parts = {"work": Step(work, retry=Retry(2, backoff=Fixed(60)))}
        else:
            parts = {"work": asks(script, retry=Retry(2, backoff=Fixed(60)))}
        return type("Busy", (Workflow,), {"place": Manual(Order), **parts})

    shop = open_shop(busy(ready=False))
    run_id = shop.run("busy")
    later = open_shop(busy(ready=True), url=shop.url)
    later.later(60)
    [work] = later.look(run_id).step_runs or ()
    assert (later.status(run_id), [each.status for each in work.attempts]) == ("paused", ["failed"])
    mended = open_shop(busy(ready=False), url=shop.url)
    mended.mesh.retry_step(run_id, actor="lee")
    drain()
    assert script.contexts[-1].attempt == 2
    assert mended.status(run_id) == "failed"


# -- beside other steps --------------------------------------------------------------------------------------------


def fanned(script: Script, *others: Any) -> type[Workflow]:
    class Fanned(Workflow):
        place = Manual(Order)
        begin = Step(script.does("begin"), compensate=script.does("undo"), after=[])
        work = asks(script, after=[begin], irreversible=True)
        other = Step(script.does("other", *others), after=[begin])
        behind = Step(script.does("behind"), after=[other])
        join = Step(script.does("join"), after=[work, other])

    return Fanned


@pytest.mark.rule("incident-others")
def test_the_others_go_on_beside_a_blocked_step(open_shop: OpenShop, script: Script) -> None:
    workflow = fanned(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    run = shop.look(run_id)
    assert script.calls == ["begin", "other", "behind"]
    assert (run.status, run.needs.kind if run.needs else None, run.current_step) == ("paused", "incident", "work")
    [item] = shop.mesh.list_runs(needs="incident").runs
    assert item.id == run_id
    shop.mesh.resolve_step(run_id, actor="lee")
    drain()
    assert (shop.status(run_id), script.calls[-1]) == ("completed", "join")


@pytest.mark.rule("incident-closed")
def test_a_failure_beside_it_ends_a_step_that_has_not_begun(open_shop: OpenShop, script: Script) -> None:
    workflow = fanned(script, FailStep("no"))
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    run = shop.look(run_id)
    assert (run.status, run.needs.kind if run.needs else None) == ("failed", "failed")
    assert dict(shop.visits(run_id))["work"] == "cancelled"
    assert script.calls[-1] == "undo"
    assert "replay_run" in shop.mesh.explain_run(run_id).next_actions


@pytest.mark.rule("incident-closed")
@pytest.mark.parametrize("compensate", [False, True])
def test_a_cancelled_run_ends_where_the_step_that_a_worker_holds_cannot_begin(
    open_shop: OpenShop, script: Script, compensate: bool
) -> None:
    class Alone(Workflow):
        place = Manual(Order)
        begin = Step(script.does("begin"), compensate=script.does("undo"))
        work = asks(script)
        flow = [begin >> work]

    shop = open_shop(Alone, delivery_steps=1)
    run_id = shop.start(Alone)
    [claim] = shop.claim_due()
    shop.perform(claim)
    [claim] = shop.claim_due()
    assert shop.mesh.cancel_run(run_id, actor="lee", compensate=compensate).status == "cancelling"
    shop.perform(claim)
    assert (shop.status(run_id), shop.look(run_id).needs) == ("cancelled", None)
    drain()
    assert script.calls == ["begin", *(["undo"] if compensate else [])]


# -- every way to prepare a step -------------------------------------------------------------------------------------


@pytest.mark.rule("incident-not-begun")
def test_a_transaction_step_that_cannot_begin_writes_nothing(open_shop: OpenShop, script: Script) -> None:
    class Booking(Workflow):
        place = Manual(Order)
        book = asks(script, transaction=True, retry=Retry(3))

    shop = open_shop(Booking)
    run_id = shop.run(Booking)
    run = shop.look(run_id)
    assert (run.status, run.needs.kind if run.needs else None, script.calls) == ("paused", "incident", [])


@pytest.mark.rule("incident-not-begun")
def test_whatever_a_validator_raises_is_no_failure_of_the_step(open_shop: OpenShop, script: Script) -> None:
    def work(made: Odd) -> None:
        script.calls.append("work")

    class Reading(Workflow):
        place = Manual(Order)
        make = Step(script.does("make", {"made": {"number": 1}}))
        work_ = Step(work, retry=Retry(3))
        flow = [make >> work_]

    shop = open_shop(Reading)
    run_id = shop.run(Reading)
    explained = shop.mesh.explain_run(run_id)
    assert (explained.reason, script.calls) == ("incident", ["make"])
    assert "KeyError" in explained.details["input_errors"]["made"]
    assert "look_up" in explained.details["last_error"]["traceback"]


@pytest.mark.rule("incident-not-begun")
def test_a_function_that_cannot_be_called_here_blocks_its_step(
    open_shop: OpenShop, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        script.calls.append("work")

    class Waiting(Workflow):
        place = Manual(Order)
        work_ = Step(work)

    def refuse(function: object) -> None:
        raise RuntimeError("Install Flask with the 'async' extra")

    shop = open_shop(Waiting)
    with monkeypatch.context() as patched:
        patched.setattr(shop.app, "async_to_sync", refuse)
        run_id = shop.run(Waiting)
    assert "'async' extra" in shop.mesh.explain_run(run_id).details["last_error"]["message"]
    shop.mesh.retry_step(run_id, actor="lee")
    drain()
    assert (shop.status(run_id), script.calls) == ("completed", ["work"])


@pytest.mark.rule("retry-type-error")
@pytest.mark.parametrize("raised", ["TypeError", "ValidationError"])
def test_what_the_function_itself_raises_is_its_failure(open_shop: OpenShop, script: Script, raised: str) -> None:
    def work() -> None:
        script.calls.append("work")
        if raised == "TypeError":
            raise TypeError("work() missing 1 required positional argument: 'reservation'")
        TypeAdapter(int).validate_python("many")

    class Raising(Workflow):
        place = Manual(Order)
        work_ = Step(work, retry=Retry(2))

    shop = open_shop(Raising)
    run = shop.look(shop.run(Raising))
    assert (run.status, error_of(run)["type"], script.calls) == ("failed", raised, ["work", "work"])


def undoing(script: Script, *, gives: bool) -> type[Workflow]:
    """Two steps to undo, the newest of which takes what nothing gives; or does not any more."""

    def release(ctx: CompensationContext, reservation: str = "none") -> Any:
        return script.does("release")(ctx)

    if not gives:
        release.__defaults__ = None
    begin = Step(script.does("begin"), compensate=script.does("unbegin"))
    reserve = Step(script.does("reserve"), compensate=release)
    check = Step(script.does("check", FailStep("no")))
    parts = {"place": Manual(Order), "begin": begin, "reserve": reserve, "check": check}
    return type("Undoing", (Workflow,), {**parts, "flow": [begin >> reserve >> check]})


@pytest.mark.rule("compensating-incident")
def test_what_cannot_begin_to_be_undone_is_told_and_begins_after_the_next_deploy(
    open_shop: OpenShop, script: Script
) -> None:
    shop = open_shop(undoing(script, gives=False))
    run_id = shop.run("undoing")
    run = shop.look(run_id)
    assert script.calls == ["begin", "reserve", "check", "unbegin"]
    assert (run.compensation, run.needs.kind if run.needs else None) == ("failed", "compensation_failed")
    [undo] = [each for each in run.step_runs or () if each.kind == "compensation" and each.step == "reserve"]
    assert (undo.attempts, undo.error and undo.error["type"]) == ((), "InputError")
    mended = open_shop(undoing(script, gives=True), url=shop.url)
    mended.mesh.retry_compensation(run_id, actor="lee")
    drain()
    assert (mended.look(run_id).compensation, script.calls[-1]) == ("completed", "release")
    assert (script.contexts[-1].attempt, script.contexts[-1].idempotency_key) == (1, f"{run_id}:reserve:1:compensation")


@pytest.mark.rule("incident-audited")
def test_no_signal_says_that_a_blocked_step_began_or_failed(open_shop: OpenShop, script: Script) -> None:
    told: list[Any] = []

    def hear(app: Any, **data: Any) -> None:
        told.append(data.get("step") or data.get("status"))

    class Alone(Workflow):
        place = Manual(Order)
        work = asks(script)

    shop = open_shop(Alone)
    for signal in (step_started, step_failed, run_transitioned):
        signal.connect(hear, shop.app)
    shop.run(Alone)
    assert told == ["running", "paused"]


# -- replays -----------------------------------------------------------------------------------------------------------


@pytest.mark.rule("replaying-checked")
def test_a_replay_checks_the_payload_before_anything_is_written(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(paying(script, Shipment))
    run_id = shop.run("paying")
    shop.later(60)
    assert shop.status(run_id) == "completed"
    later = open_shop(paying(script, Widened), url=shop.url)
    for from_step in (None, "tell"):
        with pytest.raises(PayloadError, match="iban") as caught:
            later.mesh.replay_run(run_id, actor="lee", from_step=from_step)
        assert caught.value.missing_fields == ["iban"]
    assert len(later.mesh.list_runs().runs) == 1
    assert later.look(run_id).replayed_as_id is None
    explained = later.mesh.explain_run(run_id)
    assert "replay_run" not in explained.next_actions
    assert explained.details["replay"] == {"allowed": False, "reason": "payload_unfit", "missing_fields": ["iban"]}


@pytest.mark.rule("replaying-new-fields")
def test_a_replay_is_given_what_the_payload_has_gained(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(paying(script, Shipment))
    run_id = shop.run("paying", {"order_id": "o-7"})
    shop.later(60)
    later = open_shop(paying(script, Eased), url=shop.url)
    again = later.mesh.replay_run(run_id, actor="lee")
    drain()
    later.later(60)
    run = later.look(again.id)
    assert (run.status, run.payload) == ("completed", {"order_id": "o-7", "amount": 5, "iban": "none"})


@pytest.mark.rule("replaying-new-fields")
def test_a_replay_keeps_what_the_payload_has_lost(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(paying(script, Eased))
    run_id = shop.run("paying")
    shop.later(60)
    later = open_shop(paying(script, Shipment), url=shop.url)
    again = later.mesh.replay_run(run_id, actor="lee")
    assert later.look(again.id).payload["iban"] == "none"


def test_only_steps_that_stand_still_are_settled(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(paying(script, Shipment))
    run_id = shop.run("paying")
    with pytest.raises(TransitionError, match="no interrupted or blocked step open"):
        shop.mesh.retry_step(run_id, actor="lee")
