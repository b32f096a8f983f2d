"""Steps that a deploy renamed, of which runs have open work, decisions, outputs and compensations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import (
    Approval,
    Decision,
    FailStep,
    Fixed,
    Manual,
    Pause,
    Retry,
    RetryStep,
    Step,
    StepContext,
    Wait,
    Workflow,
)
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import drain, work_through
from tests.shop import Order, Recording, Script, Shop

from .versions import STYLES, Style

OpenShop = Callable[..., Shop]
NAMES: Mapping[str, str] = {"load": "fetch", "hold": "stop", "rest": "settle", "review": "look", "pay": "capture"}


def workflow(script: Script, style: Style, *, renamed: bool) -> type[Workflow]:
    """Load, pause, wait, have it reviewed, pay by the amount that was loaded, and tell."""

    def pay(ctx: StepContext, amount: int) -> dict[str, Any]:
        return script.does("pay", {"paid": amount})(ctx)  # type: ignore[no-any-return]

    made: list[Any] = [
        Step(script.does("load", {"amount": 7}), aliases=("load",) * renamed),
        Pause("Well?", aliases=("hold",) * renamed),
        Wait(60, aliases=("rest",) * renamed),
        Approval("Pay {amount}?", output="review", aliases=("review",) * renamed),
        Step(pay, aliases=("pay",) * renamed),
        Step(script.does("tell")),
    ]
    if style == "after":
        for place, step in enumerate(made):
            step.after = made[max(place - 1, 0) : place]
    old = ["load", "hold", "rest", "review", "pay", "tell"]
    steps = {NAMES.get(name, name) if renamed else name: step for name, step in zip(old, made, strict=True)}
    body: dict[str, Any] = {"place": Manual(Order), **steps}
    if style == "flow":
        load, hold, rest, review, pay_, tell = made
        body["flow"] = [load >> hold >> rest >> review >> pay_ >> tell, review.on_reject >> tell]
    return type("Paying", (Workflow,), body)


def answered(shop: Shop, run_id: str) -> None:
    """Drain, resume and approve until nothing is left."""
    for _ in range(4):
        work_through()
        for call in shop.mesh.explain_run(run_id).next_actions:
            if call in ("unblock_run", "approve_run"):
                getattr(shop.mesh, call)(run_id, actor="lee", step=call.step)


@pytest.mark.rule("deploy-renamed-step")
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("open_at", ["load", "hold", "rest", "review", "pay"])
def test_open_work_and_decisions_go_on_under_the_new_name(
    open_shop: OpenShop, script: Script, style: Style, open_at: str
) -> None:
    shop = open_shop(workflow(script, style, renamed=False), executor=Recording())
    run_id = shop.start("paying")
    for name in ("load", "hold", "rest", "review", "pay"):
        if name == open_at:
            break
        if name == "hold":
            shop.mesh.unblock_run(run_id, actor="lee")
        elif name == "review":
            shop.mesh.approve_run(run_id, actor="lee")
        else:
            shop.clock.advance(60)
            shop.deliver(run_id, name)
    later = open_shop(workflow(script, style, renamed=True))
    later.clock.advance(shop.clock.offset)
    assert later.mesh.inspect_graph(run_id).nodes
    assert {step.step for step in later.look(run_id).steps or ()} == {*NAMES.values(), "tell"}
    answered(later, run_id)
    run = later.look(run_id)
    assert (run.status, script.calls) == ("completed", ["load", "pay", "tell"])
    assert (run.context["paid"], run.context["review"]["decision"]) == (7, "approved")
    assert [(step.step, step.status) for step in run.steps or ()] == [
        (name, "completed") for name in (*NAMES.values(), "tell")
    ]


@pytest.mark.parametrize("called", ["review", "look"])
def test_a_decision_is_taken_by_either_name(open_shop: OpenShop, script: Script, called: str) -> None:
    shop = open_shop(workflow(script, "flow", renamed=False))
    run_id = shop.run("paying")
    shop.mesh.unblock_run(run_id, actor="lee")
    shop.clock.advance(60)
    drain()
    token = shop.look(run_id).decision
    later = open_shop(workflow(script, "flow", renamed=True))
    [approve] = [action for action in later.mesh.explain_run(run_id).next_actions if action == "approve_run"]
    assert (approve.step, dict(approve.leads_to)) == ("look", {"target": "capture", "irreversible": False})
    later.mesh.approve_run(run_id, actor="lee", step=called, expected=token)
    drain()
    assert later.status(run_id) == "completed"


@pytest.mark.rule("deploy-renamed-key")
@pytest.mark.parametrize("style", STYLES)
def test_a_retry_keeps_its_key(open_shop: OpenShop, script: Script, style: Style) -> None:
    def retrying(name: str, *outcomes: Any, **options: Any) -> type[Workflow]:
        step = Step(script.does(name, *outcomes), retry=Retry(3, backoff=Fixed(60)), **options)
        last = Step(script.does("last"), after=[step] if style == "after" else None)
        flow = {"flow": [step >> last]} if style == "flow" else {}
        return type("Retrying", (Workflow,), {"place": Manual(Order), name: step, "last": last, **flow})

    root: dict[str, Any] = {"after": []} if style == "after" else {}
    run_id = open_shop(retrying("pay", RetryStep("busy"), **root)).run("retrying")
    open_shop(retrying("capture", RetryStep("busy"), aliases=("pay",), **root)).later(60)
    open_shop(retrying("settle", aliases=("capture", "pay"), **root)).later(120)
    assert script.calls == ["pay", "capture", "settle", "last"]
    keys = [ctx.idempotency_key for ctx in script.contexts[:3]]
    assert keys == [f"{run_id}:pay:1"] * 3


def test_a_queued_job_finds_its_step_by_either_name(open_shop: OpenShop, script: Script) -> None:
    def single(name: str, *aliases: str) -> type[Workflow]:
        return type("Single", (Workflow,), {"place": Manual(Order), name: Step(script.does(name), aliases=aliases)})

    shop = open_shop(single("pay"), executor=Recording())
    first, second = shop.start("single"), shop.start("single")
    later = open_shop(single("capture", "pay"), executor=Recording())
    assert later.deliver(first, "pay").outcome == "executed"
    assert later.deliver(second, "capture").outcome == "executed"
    assert later.deliver(first, "pay").outcome == "duplicate"


@pytest.mark.rule("deploy-renamed-step")
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("called", ["pay", "capture"])
def test_a_replay_finds_a_step_by_either_name(open_shop: OpenShop, script: Script, style: Style, called: str) -> None:
    shop = open_shop(workflow(script, style, renamed=False))
    run_id = shop.start("paying")
    answered(shop, run_id)
    later = open_shop(workflow(script, style, renamed=True))
    later.clock.advance(shop.clock.offset)
    again = later.mesh.replay_run(run_id, actor="lee", from_step=called)
    drain()
    run = later.look(again.id)
    assert (run.status, run.context["paid"]) == ("completed", 7)
    assert script.calls == ["load", "pay", "tell", "pay", "tell"]
    assert [step.step for step in run.step_runs or ()] == [*NAMES.values(), "tell"]


@pytest.mark.parametrize("style", STYLES)
def test_a_step_that_was_renamed_is_undone_once_under_its_new_name(
    open_shop: OpenShop, script: Script, style: Style
) -> None:
    def undoing(name: str, *aliases: str) -> type[Workflow]:
        root: dict[str, Any] = {"after": []} if style == "after" else {}
        step = Step(script.does(name), compensate=script.does(f"undo {name}"), aliases=aliases, **root)
        check = Step(script.does("check", FailStep("no")), after=[step] if style == "after" else None)
        flow = {"flow": [step >> check]} if style == "flow" else {}
        return type("Undoing", (Workflow,), {"place": Manual(Order), name: step, "check": check, **flow})

    shop = open_shop(undoing("pay"), executor=Recording())
    run_id = shop.start("undoing")
    for step in ("pay", "check"):
        shop.deliver(run_id, step)
    later = open_shop(undoing("capture", "pay"))
    drain()
    assert (later.look(run_id).compensation, script.calls) == ("completed", ["pay", "check", "undo capture"])


@pytest.mark.parametrize("style", STYLES)
def test_a_rename_that_is_rolled_back_does_nothing_twice(open_shop: OpenShop, script: Script, style: Style) -> None:
    def two(first: str, *aliases: str) -> type[Workflow]:
        a = Step(script.does(first), aliases=aliases, after=[] if style == "after" else None)
        b = Step(script.does("b"), after=[a] if style == "after" else None)
        flow = {"flow": [a >> b]} if style == "flow" else {}
        return type("Two", (Workflow,), {"place": Manual(Order), first: a, "b": b, **flow})

    shop = open_shop(two("old"), executor=Recording())
    before = shop.start("two")
    shop.deliver(before, "old")
    newer = open_shop(two("new", "old"), executor=Recording())
    under = newer.start("two")
    newer.deliver(under, "new")
    newer.deliver(before, "b")
    untouched = newer.start("two")
    back = open_shop(two("old"))
    drain()
    assert [back.status(run_id) for run_id in (before, under, untouched)] == ["completed"] * 3
    assert script.calls == ["old", "new", "b", "b", "old", "b"]


@pytest.mark.rule("deploy-renamed-wait")
@pytest.mark.parametrize("style", ["flow", "after"])
def test_an_open_wait_is_listed_and_timed_under_its_new_name(open_shop: OpenShop, script: Script, style: str) -> None:
    hour = timedelta(hours=1)

    def workflow(name: str) -> type[Workflow]:
        options: dict[str, Any] = {"remind": hour, "within": 2 * hour, "aliases": ("ask",) if name != "ask" else ()}
        ask = Decision("Well?", options=("go", "back"), assignee="mia", **options, **_after(style, []))
        other = Pause("And?", **_after(style, []))
        last = Step(script.does("last"), **_after(style, [ask, other]))
        flow = [ask.on("go") >> other >> last, ask.on("back") >> last, ask.on_timeout >> last]
        body = {"place": Manual(Order), name: ask, "other": other, "last": last}
        return type("Asking", (Workflow,), body | ({"flow": flow} if style == "flow" else {}))

    run_id = open_shop(workflow("ask")).run("asking")
    later = open_shop(workflow("question"))
    if style == "after":
        later.mesh.unblock_run(run_id)
        later.later(0)
    assert [finding.rule for finding in later.runtime.doctor.examine()] == []
    later.later(hour)
    assert later.events(run_id)[-1] == "reminded"
    [wait] = later.rows(tables.waits, tables.waits.c.run_id == run_id, tables.waits.c.kind == "decision")
    [visit] = later.rows(tables.step_runs, tables.step_runs.c.id == wait.step_run_id)
    assert wait.step == visit.step
    later.mesh.assign_run(run_id, to="lee", step="question", actor="lee")
    if style == "flow":
        later.later(hour)
        assert later.look(run_id).outcome == "timed_out"
    else:
        later.mesh.decide_run(run_id, "go", step="question", actor="lee")
        later.later(0)
        assert later.status(run_id) == "completed"


def _after(style: str, steps: list[Any]) -> dict[str, Any]:
    return {"after": steps} if style == "after" else {}
