from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, Field

from flask_squidmesh import (
    Approval,
    ConflictError,
    FailStep,
    Manual,
    Step,
    TransitionError,
    UnsafeReplayError,
    Workflow,
)
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]


def paying(script: Script, *last: Any) -> type[Workflow]:
    class Paying(Workflow):
        place = Manual(Order)
        quote = Step(script.does("quote", {"price": 1}))
        charge = Step(script.does("charge", {"charge": "c"}), irreversible=True)
        receipt = Step(script.does("receipt", *last))
        flow = [quote >> charge >> receipt]

    return Paying


@pytest.mark.rule("audit-who", "replaying-new-run")
def test_a_replay_is_a_new_run_linked_both_ways(open_shop: OpenShop, script: Script) -> None:
    class Plain(Workflow):
        place = Manual(Order)
        work = Step(script.does("work", FailStep("no"), None))

    shop = open_shop(Plain)
    run_id = shop.run(Plain, {"order_id": "o-7"}, actor="dana")
    answer = shop.mesh.replay_run(run_id, actor="lee", comment="again")
    assert (answer.status, answer.replayed_from_id, answer.actor) == ("pending", run_id, "lee")
    drain()
    source, again = shop.look(run_id), shop.look(answer.id)
    assert (source.status, source.replayed_as_id, source.needs) == ("failed", answer.id, None)
    assert (again.status, again.payload) == ("completed", {"order_id": "o-7", "amount": 5})
    [replayed] = source.audit_events or ()
    assert (replayed.type, replayed.actor, replayed.comment) == ("replayed", "lee", "again")
    assert replayed.metadata == {"run_id": answer.id}


@pytest.mark.rule("replaying-actor")
def test_without_a_name_the_replay_keeps_the_first_actor(open_shop: OpenShop, script: Script) -> None:
    class Plain(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))

    shop = open_shop(Plain)
    assert shop.mesh.replay_run(shop.run(Plain, actor="dana")).actor == "dana"


@pytest.mark.rule("replaying-finished")
def test_a_run_that_is_not_finished_is_not_replayed(open_shop: OpenShop, script: Script) -> None:
    workflow = paying(script)
    shop = open_shop(workflow)
    with pytest.raises(TransitionError) as caught:
        shop.mesh.replay_run(shop.start(workflow))
    assert caught.value.status == "pending"


@pytest.mark.rule("replaying-unsafe", "replaying-override")
@pytest.mark.parametrize("override", [False, "true", 1, "yes", None])
def test_what_cannot_be_undone_is_repeated_only_when_told_exactly_true(
    open_shop: OpenShop, script: Script, override: Any
) -> None:
    workflow = paying(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    with pytest.raises(UnsafeReplayError) as caught:
        shop.mesh.replay_run(run_id, allow_irreversible=override)
    assert [step["step"] for step in caught.value.steps] == ["charge"]
    assert shop.look(run_id).replayed_as_id is None


@pytest.mark.rule("replaying-override")
def test_told_exactly_true_it_is_repeated(open_shop: OpenShop, script: Script) -> None:
    workflow = paying(script)
    shop = open_shop(workflow)
    shop.mesh.replay_run(shop.run(workflow), allow_irreversible=True)
    drain()
    assert script.calls.count("charge") == 2


@pytest.mark.rule("replaying-unsafe-unclean")
def test_a_step_that_began_and_did_not_end_blocks_too(open_shop: OpenShop, script: Script) -> None:
    class Charging(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge", OSError("unknown")), irreversible=True)

    shop = open_shop(Charging)
    run_id = shop.run(Charging)
    shop.mesh.cancel_run(run_id, actor="lee")
    with pytest.raises(UnsafeReplayError) as caught:
        shop.mesh.replay_run(run_id)
    assert caught.value.steps[0]["reason"] == "may_have_taken_effect"


@pytest.mark.rule("from-step")
def test_from_a_step_the_outputs_before_it_are_copied(open_shop: OpenShop, script: Script) -> None:
    workflow = paying(script, FailStep("no"), lambda ctx: {"saw": dict(ctx.state)})
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    answer = shop.mesh.replay_run(run_id, from_step="receipt")
    assert answer.current_step == "receipt"
    drain()
    assert script.calls == ["quote", "charge", "receipt", "receipt"]
    again = shop.look(answer.id)
    assert again.context["saw"] == {"order_id": "o-1", "amount": 5, "price": 1, "charge": "c"}
    assert [row.step for row in again.step_runs or ()] == ["quote", "charge", "receipt"]


@pytest.mark.rule("from-step-block")
def test_from_a_step_only_what_would_run_again_counts(open_shop: OpenShop, script: Script) -> None:
    workflow = paying(script)
    shop = open_shop(workflow)
    run_id = shop.run(workflow)
    with pytest.raises(UnsafeReplayError):
        shop.mesh.replay_run(run_id, from_step="charge")
    shop.mesh.replay_run(run_id, from_step="receipt")


@pytest.mark.rule("from-step-place")
@pytest.mark.parametrize("step", ["nowhere", "never"])
def test_a_step_that_was_never_reached_is_no_place_to_begin(open_shop: OpenShop, script: Script, step: str) -> None:
    class Branching(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))
        never = Step(script.does("never"))
        other = Step(script.does("other"))
        flow = [work.when("amount", greater_than=100) >> never, work >> other]

    shop = open_shop(Branching)
    run_id = shop.run(Branching)
    with pytest.raises(TransitionError, match=step):
        shop.mesh.replay_run(run_id, from_step=step)


@pytest.mark.rule("from-step-place")
def test_a_step_that_was_compensated_cannot_be_copied(open_shop: OpenShop, script: Script) -> None:
    class Saga(Workflow):
        place = Manual(Order)
        reserve = Step(script.does("reserve"), compensate=script.does("release"))
        charge = Step(script.does("charge", FailStep("declined")))
        flow = [reserve >> charge]

    shop = open_shop(Saga)
    run_id = shop.run(Saga)
    with pytest.raises(TransitionError, match="reserve"):
        shop.mesh.replay_run(run_id, from_step="charge")
    shop.mesh.replay_run(run_id, from_step="reserve")


@pytest.mark.rule("from-step")
def test_a_replay_begins_at_the_last_visit_of_a_loop(open_shop: OpenShop, script: Script) -> None:
    class Loop(Workflow):
        place = Manual(Order)
        draft = Step(script.does("draft", lambda ctx: {"text": f"v{ctx.visit}"}))
        review = Approval("Good?")
        publish = Step(script.does("publish", FailStep("no"), lambda ctx: {"published": ctx.state["text"]}))
        flow = [draft >> review >> publish, review.on_reject >> draft]

    shop = open_shop(Loop)
    run_id = shop.run(Loop)
    shop.mesh.reject_run(run_id, actor="lee")
    drain()
    shop.mesh.approve_run(run_id, actor="lee")
    drain()
    published = shop.mesh.replay_run(run_id, from_step="publish")
    drain()
    assert shop.look(published.id).context["published"] == "v2"
    reviewed = shop.mesh.replay_run(run_id, from_step="review")
    assert (reviewed.status, shop.look(reviewed.id).decision) == ("paused", "review#2")
    drafted = shop.mesh.replay_run(run_id, from_step="draft")
    drain()
    assert shop.look(drafted.id).context["text"] == "v2"


@pytest.mark.rule("from-step-failure")
def test_a_replay_from_an_error_route_is_told_the_error(open_shop: OpenShop, script: Script) -> None:
    class Routed(Workflow):
        place = Manual(Order)
        charge = Step(script.does("charge", FailStep("declined")))
        tell = Step(script.does("tell", lambda ctx: {"told": ctx.failure and ctx.failure["message"]}))
        flow = [charge.on_error >> tell]

    shop = open_shop(Routed)
    again = shop.mesh.replay_run(shop.run(Routed), from_step="tell")
    drain()
    assert shop.look(again.id).context == {"told": "declined"}


@pytest.mark.rule("from-step")
def test_in_dependency_style_the_ancestors_are_copied(open_shop: OpenShop, script: Script) -> None:
    class Graph(Workflow):
        place = Manual(Order)
        a = Step(script.does("a", {"a": 1}), after=[])
        b = Step(script.does("b", {"b": 1}), after=[a])
        other = Step(script.does("other", {"o": 1}), after=[])
        c = Step(script.does("c", lambda ctx: {"saw": sorted(ctx.state)}), after=[b])
        join = Step(script.does("join", FailStep("no"), None), after=[c, other])

    shop = open_shop(Graph)
    run_id = shop.run(Graph)
    script.calls.clear()
    again = shop.mesh.replay_run(run_id, from_step="c")
    drain()
    run = shop.look(again.id)
    assert (run.status, sorted(script.calls)) == ("completed", ["c", "join", "other"])
    assert run.context["saw"] == ["a", "amount", "b", "order_id"]
    script.calls.clear()
    shop.mesh.replay_run(run_id, from_step="join")
    drain()
    assert script.calls == ["join"]


@pytest.mark.rule("replaying-key")
def test_a_replay_may_be_joined(open_shop: OpenShop, script: Script) -> None:
    class Plain(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))

    queue = Recording()
    shop = open_shop(Plain, executor=queue)
    run_id = shop.start(Plain)
    shop.deliver(run_id, "work")
    shop.mesh.replay_run(run_id, session=shop.db.session)
    assert len(queue.given) == 1
    shop.db.session.rollback()
    assert shop.look(run_id).replayed_as_id is None
    again = shop.mesh.replay_run(run_id, session=shop.db.session)
    shop.db.session.commit()
    assert queue.given[-1][0]["run_id"] == again.id


@pytest.mark.rule("replaying-more")
def test_a_run_may_be_replayed_again(open_shop: OpenShop, script: Script) -> None:
    class Single(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))

    shop = open_shop(Single)
    run_id = shop.run(Single)
    first, second = (shop.mesh.replay_run(run_id, actor="lee").id for _ in range(2))
    assert shop.look(run_id).replayed_as_id == second
    assert [(event.metadata or {})["run_id"] for event in shop.look(run_id).audit_events or ()] == [first, second]


@pytest.mark.rule("expected-replayed")
def test_of_two_who_saw_a_run_ended_one_replays_it(open_shop: OpenShop, script: Script) -> None:
    class Single(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))

    shop = open_shop(Single)
    run_id = shop.run(Single)
    seen = shop.look(run_id).decision
    first = shop.mesh.replay_run(run_id, actor="lee", expected=seen)
    with pytest.raises(ConflictError) as caught:
        shop.mesh.replay_run(run_id, actor="dana", expected=seen)
    assert caught.value.current["last_event"]["actor"] == "lee"
    assert shop.look(run_id).replays == (first.id,)
    again = shop.mesh.replay_run(run_id, actor="dana", expected=shop.look(run_id).decision)
    assert shop.look(run_id).replays == (first.id, again.id)


@pytest.mark.rule("replaying-more", "replaying-key")
def test_a_replay_by_key_makes_one_run(open_shop: OpenShop, script: Script) -> None:
    class Plain(Workflow):
        place = Manual(Order)
        work = Step(script.does("work"))

    shop = open_shop(Plain)
    run_id = shop.run(Plain)
    first = shop.mesh.replay_run(run_id, idempotency_key="k", expected="completed")
    assert shop.mesh.replay_run(run_id, idempotency_key="k", expected="completed").id == first.id


@pytest.mark.rule("replaying-payload")
def test_a_replay_takes_the_payload_as_it_was_stored(open_shop: OpenShop, script: Script) -> None:
    numbers = iter(range(1, 9))

    class Numbered(BaseModel):
        number: int = Field(default_factory=lambda: next(numbers), le=1)

    class Counted(Workflow):
        place = Manual(Numbered)
        work = Step(script.does("work"))

    shop = open_shop(Counted)
    run_id = shop.run(Counted)
    again = shop.mesh.replay_run(run_id)
    drain()
    run = shop.look(again.id)
    assert (run.status, run.payload) == ("completed", {"number": 1})
    assert next(numbers) == 2
