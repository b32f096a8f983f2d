"""A step becomes another kind while work of it is open: every kind to every other, in both styles."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import cache
from itertools import permutations
from typing import Any, NamedTuple, get_args

import pytest

from flask_squidmesh import (
    Approval,
    Decision,
    Escalate,
    Fixed,
    Log,
    Manual,
    Pause,
    Retry,
    RetryStep,
    Step,
    UnsafeReplayError,
    Wait,
    Workflow,
)
from flask_squidmesh.definition.elements import StepElement
from flask_squidmesh.testing import drain, work_through
from tests.databases import engines_disposed
from tests.shop import Order, Recording, Script, Shop, check_health, check_rows

from .test_fan_outs import calls_of
from .versions import STYLES, Kind, Style

OpenShop = Callable[..., Shop]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Change(NamedTuple):
    """A step that is one kind and becomes another."""

    before: Kind
    after: Kind
    retrying: bool = False

    def __str__(self) -> str:
        return f"{self.before}_to_{self.after}{'_retrying' * self.retrying}"


CHANGES = [
    *(Change(*pair) for pair in permutations(KINDS, 2)),
    *(Change("step", kind, retrying=True) for kind in KINDS if kind != "step"),
]
STATUS = {"wait": "pending", "pause": "paused", "approval": "paused", "decision": "paused"}
CALLS = {"pause": "unblock_run", "approval": "approve_run", "decision": "decide_run"}


def workflow(script: Script, change: Change, kind: Kind, style: Style) -> type[Workflow]:
    """A workflow of `x`, which is of this kind, and `last`."""
    x = _element(script, change, kind, {"after": []} if style == "after" else {})
    last = Step(script.does("last"), after=[x] if style == "after" else None)
    body = {"name": str(change), "place": Manual(Order), "x": x, "last": last}
    lines = [x.on_reject >> last] if isinstance(x, Approval) else []
    onward = [x.on("go") >> last, x.on("back") >> last] if kind == "decision" else [x >> last]
    return type("Changing", (Workflow,), body | ({"flow": [*onward, *lines]} if style == "flow" else {}))


def _element(script: Script, change: Change, kind: Kind, options: dict[str, Any]) -> StepElement:
    match kind:
        case "wait":
            return Wait(3600, **options)
        case "log":
            return Log("x", **options)
        case "pause":
            return Pause("Well?", **options)
        case "approval":
            return Approval("Good?", within=timedelta(hours=1), **options)
        case "decision":
            later = timedelta(hours=9)
            options |= {"assignee": "mia", "groups": ("heads",), "remind": later}
            return Decision("Which?", options=("go", "back"), escalate=Escalate(after=later, assignee="lee"), **options)
        case _:
            outcomes = [RetryStep("busy")] if change.retrying else []
            return Step(script.does("x", *outcomes), retry=Retry(2, backoff=Fixed(60)), **options)


class Seen(NamedTuple):
    """What became of a run. status: of x once the new version had a look at it. call: what a person was asked for."""

    status: str
    call: str | None
    end: str
    calls: list[str]


@pytest.fixture(scope="module")
def changed(shared_url: str) -> Callable[[Style], dict[Change, Seen]]:
    """A function that makes every change at once, in a style, and answers what became of each run."""
    return cache(lambda style: _changed(shared_url, style))


def _changed(url: str, style: Style) -> dict[Change, Seen]:
    script = Script()
    shop = Shop(url, *(workflow(script, each, each.before, style) for each in CHANGES), executor=Recording())
    later = Shop(url, *(workflow(script, each, each.after, style) for each in CHANGES))
    with engines_disposed(), ExitStack() as stack:
        for version in (shop, later):
            stack.callback(version.runtime.database.dispose)
        with shop.app.app_context():
            runs = {change: shop.start(str(change)) for change in CHANGES}
            for change, run_id in runs.items():
                if change.retrying:
                    shop.deliver(run_id, "x")
        with later.app.app_context():
            later.clock.advance(120)
            drain()
            statuses = {change: dict(later.visits(run_id))["x"] for change, run_id in runs.items()}
            asked = {change: _answer(later, run_id) for change, run_id in runs.items()}
            work_through()
            seen = {
                change: Seen(statuses[change], asked[change], later.status(run_id), calls_of(script, run_id))
                for change, run_id in runs.items()
            }
            check_rows(later)
            check_health(later)
    return seen


def _answer(shop: Shop, run_id: str) -> str | None:
    """Approve or resume where a person is asked to; answer which."""
    offered = shop.mesh.explain_run(run_id).next_actions
    asked = [call for call in offered if call in CALLS.values() and call.option in (None, "go")]
    for call in asked:
        getattr(shop.mesh, str(call))(run_id, actor="lee", **({"option": call.option} if call.option else {}))
    return next(map(str, asked), None)


@pytest.mark.rule("deploy-kind")
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("change", [each for each in CHANGES if each.before not in CALLS], ids=str)
def test_a_step_is_performed_as_the_kind_that_it_is_now(
    changed: Callable[[Style], dict[Change, Seen]], change: Change, style: Style
) -> None:
    waits = change.before == "wait" or change.after == "wait"  # which still waits, or waits from then on
    performed = ["x"] * (change.retrying + (change.after == "step"))
    seen = changed(style)[change]
    assert seen.status == ("pending" if waits else STATUS.get(change.after, "completed"))
    if change.before != "wait":
        assert seen == Seen(seen.status, CALLS.get(change.after), "completed", [*performed, "last"])


@pytest.mark.rule("deploy-kind")
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("change", [each for each in CHANGES if each.before in CALLS], ids=str)
def test_an_open_decision_stays_what_was_asked(
    changed: Callable[[Style], dict[Change, Seen]], change: Change, style: Style
) -> None:
    assert changed(style)[change] == Seen("paused", CALLS[change.before], "completed", ["last"])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "wait"])
def test_a_wait_becomes_what_it_is_now_when_its_time_has_come(
    open_shop: OpenShop, script: Script, kind: Kind, style: Style
) -> None:
    change = Change("wait", kind)
    run_id = open_shop(workflow(script, change, "wait", style)).run(str(change))
    later = open_shop(workflow(script, change, kind, style))
    later.later(3601)
    assert _answer(later, run_id) == CALLS.get(kind)
    drain()
    assert (later.status(run_id), script.calls) == ("completed", ["x"] * (kind == "step") + ["last"])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["pause", "approval", "decision", "wait", "log"])
def test_what_a_dead_worker_left_is_performed_as_the_kind_that_it_is_now(
    open_shop: OpenShop, script: Script, kind: Kind, style: Style
) -> None:
    change = Change("step", kind)
    shop = open_shop(workflow(script, change, "step", style))
    run_id = shop.start(str(change))
    assert shop.claim_due()
    later = open_shop(workflow(script, change, kind, style))
    later.later(60)
    assert _answer(later, run_id) == CALLS.get(kind)
    work_through()
    assert (later.status(run_id), script.calls) == ("completed", ["last"])
    assert "abandoned" in later.events(run_id)


@pytest.mark.rule("deploy-kind", "recovery-stored")
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("option", ["irreversible", "compensatable"])
def test_what_an_attempt_may_have_done_stays_what_it_was(
    open_shop: OpenShop, script: Script, option: str, style: Style
) -> None:
    behind: dict[str, Any] = {"after": []} if style == "after" else {}
    settings: dict[str, Any] = {option: option == "irreversible", "retry": Retry(2, backoff=Fixed(60))}
    before = Step(script.does("x", RetryStep("busy")), **settings, **behind)
    run_id = open_shop(_changing(script, before, style)).run("changing")
    later = open_shop(_changing(script, Log("x", **behind), style))
    later.later(61)
    assert (later.status(run_id), script.calls) == ("completed", ["x", "last"])
    with pytest.raises(UnsafeReplayError) as refused:
        later.mesh.replay_run(run_id)
    assert [(each["step"], each["irreversible"]) for each in refused.value.steps] == [("x", option == "irreversible")]


def _changing(script: Script, x: StepElement, style: Style) -> type[Workflow]:
    last = Step(script.does("last"), after=[x] if style == "after" else None)
    body: dict[str, Any] = {"name": "changing", "place": Manual(Order), "x": x, "last": last}
    return type("Changing", (Workflow,), body | ({"flow": [x >> last]} if style == "flow" else {}))


@pytest.mark.rule("decision-within")
@pytest.mark.parametrize("style", STYLES)
def test_a_retried_step_that_becomes_an_approval_has_its_time_from_when_it_is_asked(
    open_shop: OpenShop, script: Script, style: Style
) -> None:
    change = Change("step", "approval", retrying=True)
    run_id = open_shop(workflow(script, change, "step", style)).run(str(change))
    later = open_shop(workflow(script, change, "approval", style))
    later.later(timedelta(days=1))
    asked = later.clock.now()
    needs = later.look(run_id).needs
    assert needs is not None
    assert needs.since is not None
    assert abs(asked - needs.since) < timedelta(minutes=1)
    assert later.mesh.explain_run(run_id).details["deadline"] == "on_time"
    later.clock.advance(timedelta(minutes=50))
    assert later.mesh.explain_run(run_id).details["deadline"] == "due_soon"
    later.mesh.approve_run(run_id, actor="lee")
    attempt = next(step for step in later.look(run_id).steps or () if step.step == "x").attempts[-1]
    assert abs(attempt.started_at - asked) < timedelta(minutes=1)
