"""Next actions are exactly the control calls that would succeed, and lead to what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import Approval, Exponential, FailStep, Manual, Pause, Retry, RetryStep, Step, Wait, Workflow
from flask_squidmesh.engine.command_rules import NextAction
from flask_squidmesh.errors import SquidMeshError, TransitionError, UnsafeReplayError
from flask_squidmesh.queries.results import Explanation
from tests.shop import Order, Shop

CALLS = {
    "approve_run",
    "reject_run",
    "unblock_run",
    "retry_step",
    "resolve_step",
    "fail_step",
    "retry_compensation",
    "cancel_run",
    "replay_run",
    "acknowledge_run",
}


class Behaviour:
    """What the steps of the workflows below do; a test sets it."""

    act: Callable[[str], Any] = staticmethod(lambda run_id: {})
    undo: Callable[[], None] = staticmethod(lambda: None)


def begin() -> None: ...


def act(ctx: Any) -> Any:
    return Behaviour.act(ctx.run_id)


def undo() -> None:
    Behaviour.undo()


class Plain(Workflow):
    place = Manual(Order)
    begin = Step(begin, compensate=undo)
    act = Step(act, retry=Retry(2, backoff=Exponential(30, 30)))
    flow = [begin >> act]


class Final(Workflow):
    place = Manual(Order)
    act = Step(act, irreversible=True)
    done = Step(begin)
    flow = [act >> done]


class Reviewed(Workflow):
    place = Manual(Order)
    review = Approval(prompt="Really?")
    charge = Step(begin, irreversible=True)
    decline = Step(begin)
    flow = [review >> charge, review.on_reject >> decline]


class Halting(Workflow):
    place = Manual(Order)
    hold = Pause()
    flow = [hold]


class Slow(Workflow):
    place = Manual(Order)
    settle = Wait(timedelta(hours=1))
    done = Step(begin)
    flow = [settle >> done]


class Twofold(Workflow):
    place = Manual(Order)
    legal = Approval(prompt="Legal?", after=[])
    money = Approval(prompt="Money?", after=[])
    done = Step(begin, after=[legal, money])


WORKFLOWS = (Plain, Final, Reviewed, Halting, Slow, Twofold)


@pytest.fixture
def shop(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A shop of the workflows above, whose steps do nothing yet."""
    monkeypatch.setattr(Behaviour, "act", staticmethod(lambda run_id: {}))
    monkeypatch.setattr(Behaviour, "undo", staticmethod(lambda: None))
    with ExitStack() as stack:
        opened = Shop(migrated_url, *WORKFLOWS)
        stack.callback(opened.runtime.database.dispose)
        stack.enter_context(opened.app.app_context())
        yield opened


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


def check(shop: Shop, run_id: str) -> Explanation:
    """Try every call in a transaction that is rolled back, and compare with what was explained."""
    explained = shop.mesh.explain_run(run_id)
    offered = {str(action) for action in explained.next_actions}
    assert {refusal.call for refusal in explained.refusals} == CALLS - offered
    for action in explained.next_actions:
        _succeeds(shop, run_id, action)
    for call in CALLS - offered:
        with pytest.raises(SquidMeshError) as refused:
            _called(shop, run_id, call)
        if isinstance(refused.value, TransitionError):
            assert set(refused.value.allowed) == offered
        else:
            assert isinstance(refused.value, UnsafeReplayError)
    return explained


def _succeeds(shop: Shop, run_id: str, action: NextAction) -> None:
    answer = _called(shop, run_id, str(action), action.step)
    if "status" in action.leads_to:
        assert answer.status == action.leads_to["status"]
    if "target" in action.leads_to:
        assert answer.current_step == action.leads_to["target"]
    if action.leads_to.get("new_run"):
        assert answer.id != run_id


def _called(shop: Shop, run_id: str, call: str, step: str | None = None) -> Any:
    options: dict[str, Any] = {"actor": "dana", "session": shop.db.session}
    if step is not None:
        options["step"] = step
    try:
        return getattr(shop.mesh, call)(run_id, **options)
    finally:
        shop.db.session.rollback()


def offers(explained: Explanation) -> list[str]:
    return [str(action) for action in explained.next_actions]


def test_a_run_that_has_not_begun(shop: Shop) -> None:
    explained = check(shop, shop.start(Plain))

    assert (explained.reason, offers(explained)) == ("pending_dispatch", ["cancel_run"])


def test_a_timed_wait(shop: Shop) -> None:
    explained = check(shop, shop.run(Slow))

    assert (explained.reason, offers(explained)) == ("waiting_until", ["cancel_run"])
    assert explained.details["seconds"] == pytest.approx(3600, abs=60)


def test_a_retry_that_waits(shop: Shop) -> None:
    Behaviour.act = staticmethod(failing(RuntimeError("busy")))

    explained = check(shop, shop.run(Plain))

    assert (explained.reason, explained.step) == ("waiting_for_retry", "act")
    assert explained.details["next_attempt_number"] == 2


def test_a_running_step_and_then_a_run_that_is_being_cancelled(shop: Shop) -> None:
    seen: list[tuple[str, str | None, list[str]]] = []

    def look(run_id: str) -> None:
        for _ in range(2):
            explained = check(shop, run_id)
            seen.append((explained.reason, explained.step, offers(explained)))
            if explained.status == "running":
                shop.mesh.cancel_run(run_id, actor="dana")

    Behaviour.act = staticmethod(look)
    run_id = shop.run(Plain)

    assert seen == [("step_running", "act", ["cancel_run"]), ("cancelling", "act", [])]
    assert (check(shop, run_id).reason, offers(check(shop, run_id))) == ("cancelled", ["replay_run"])


def test_an_approval(shop: Shop) -> None:
    explained = check(shop, shop.run(Reviewed))

    assert (explained.reason, explained.step) == ("paused_for_approval", "review")
    assert offers(explained) == ["approve_run", "reject_run", "cancel_run"]
    assert explained.next_actions[0].leads_to == {"target": "charge", "irreversible": True}


def test_a_pause(shop: Shop) -> None:
    explained = check(shop, shop.run(Halting))

    assert (explained.reason, offers(explained)) == ("paused_for_manual_action", ["unblock_run", "cancel_run"])
    assert explained.next_actions[0].leads_to == {"status": "completed"}


def test_two_approvals_at_once(shop: Shop) -> None:
    run_id = shop.run(Twofold)
    explained = shop.mesh.explain_run(run_id)

    assert [(str(action), action.step) for action in explained.next_actions][:2] == [
        ("approve_run", "legal"),
        ("approve_run", "money"),
    ]
    for action in explained.next_actions:
        _succeeds(shop, run_id, action)


def test_an_interrupted_step(shop: Shop) -> None:
    Behaviour.act = staticmethod(failing(RuntimeError("connection lost")))

    explained = check(shop, shop.run(Final))

    assert (explained.reason, explained.step) == ("interrupted", "act")
    assert offers(explained) == ["retry_step", "resolve_step", "fail_step", "cancel_run"]


def test_a_run_that_completed(shop: Shop) -> None:
    explained = check(shop, shop.run(Plain))

    assert (explained.reason, offers(explained)) == ("completed", ["replay_run"])


def test_a_run_that_completed_and_cannot_be_undone(shop: Shop) -> None:
    explained = check(shop, shop.run(Final))

    assert offers(explained) == []
    assert explained.details["replay"]["required_override"] == "allow_irreversible"


def test_a_run_that_failed_and_was_compensated(shop: Shop) -> None:
    Behaviour.act = staticmethod(failing(FailStep("declined")))
    run_id = shop.run(Plain)

    explained = check(shop, run_id)

    assert (explained.reason, offers(explained)) == ("step_failed", ["replay_run", "acknowledge_run"])
    shop.mesh.acknowledge_run(run_id, actor="dana")
    assert offers(check(shop, run_id)) == ["replay_run"]


def test_retries_that_came_to_their_end(shop: Shop) -> None:
    Behaviour.act = staticmethod(failing(RetryStep("busy")))
    run_id = shop.run(Plain)
    shop.later(60)

    assert check(shop, run_id).reason == "retry_exhausted"


def test_a_run_that_was_replayed(shop: Shop) -> None:
    Behaviour.act = staticmethod(failing(FailStep("declined")))
    run_id = shop.run(Plain)
    shop.mesh.replay_run(run_id, actor="dana")

    assert offers(check(shop, run_id)) == ["replay_run"]


def test_compensation_that_is_under_way(shop: Shop) -> None:
    reasons: list[tuple[str, list[str]]] = []
    run_ids: list[str] = []

    def look() -> None:
        explained = check(shop, run_ids[0])
        reasons.append((explained.reason, offers(explained)))

    Behaviour.act = staticmethod(failing(FailStep("declined")))
    Behaviour.undo = staticmethod(look)
    run_ids.append(shop.start(Plain))
    shop.later(0)

    assert reasons == [("compensating", ["acknowledge_run"])]


def test_compensation_that_failed(shop: Shop) -> None:
    Behaviour.act = staticmethod(failing(FailStep("declined")))
    Behaviour.undo = staticmethod(failing(RuntimeError("no way back")))

    explained = check(shop, shop.run(Plain))

    assert (explained.reason, explained.step) == ("compensation_failed", "begin")
    assert offers(explained) == ["retry_compensation", "replay_run", "acknowledge_run"]
