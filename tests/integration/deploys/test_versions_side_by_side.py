"""Workers of two versions at once, rollbacks, and runs that the deployed definition does not fit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import Approval, FailStep, Manual, Step, TransitionError, Workflow
from flask_squidmesh.engine.decide import decide
from flask_squidmesh.engine.facts import DefinitionChanged
from flask_squidmesh.storage import fact_rows, tables
from flask_squidmesh.testing import drain
from tests.shop import Order, Outcome, Recording, Script, Shop, error_of

from .test_fan_outs import JOIN, calls_of, waiting

OpenShop = Callable[..., Shop]
WITH_C = {"a": "", "b": "", "c": "", "j": "abc"}


@pytest.mark.rule("deploy-older-process")
def test_an_old_worker_records_its_step_and_leaves_what_follows(open_shop: OpenShop, script: Script) -> None:
    old = open_shop(waiting(script, JOIN), executor=Recording())
    run_id = old.start("waiting")
    old.deliver(run_id, "a")
    [claim] = old.claim_due()
    new = open_shop(waiting(script, WITH_C), executor=Recording())
    with new.app.app_context():
        _bring_up(new, run_id)
    with old.app.app_context():
        old.perform(claim)
        assert (old.status(run_id), calls_of(script, run_id)) == ("running", ["a", "b"])
        assert "newer definition" in old.mesh.explain_run(run_id).details["held"]
    drain()
    assert (new.status(run_id), calls_of(script, run_id)) == ("completed", ["a", "b", "c", "j"])


@pytest.mark.rule("deploy-renamed-output")
@pytest.mark.parametrize("names", [("find", "look_up"), ("find", "look_up", "seek")], ids=["once", "twice"])
def test_an_old_worker_sees_what_a_step_returned_that_the_newer_version_renames(
    open_shop: OpenShop, script: Script, names: tuple[str, ...]
) -> None:
    seen: list[Any] = []

    def summed(name: str, *aliases: str) -> type[Workflow]:
        first = Step(script.does(name, {"found": 7}), aliases=aliases, after=[])
        last = Step(script.does("last", lambda ctx: seen.append(ctx.state.get("found"))), after=[first])
        return type("Summed", (Workflow,), {"place": Manual(Order), name: first, "last": last})

    first = open_shop(summed("find"), executor=Recording())
    run_id = first.start("summed")
    first.deliver(run_id, "find")
    old = open_shop(summed(*reversed(names[:-1])), executor=Recording())
    [claim] = old.claim_due()
    new = open_shop(summed(*reversed(names)))
    with new.app.app_context():
        _bring_up(new, run_id)
    with old.app.app_context():
        old.perform(claim)
    drain()
    assert (new.status(run_id), script.calls, seen) == ("completed", ["find", "last"], [7])


def _bring_up(shop: Shop, run_id: str) -> None:
    """Have the run follow the shop's definition without anything being performed."""
    with shop.runtime.database.write() as connection:
        run = fact_rows.run_fact(connection, run_id, lock=True)
        assert run is not None
        spec = shop.runtime.registry.get(run.workflow)
        rows = fact_rows.step_facts(connection, tables.step_runs.c.run_id == run_id)
        state = shop.runtime.adopter.adopting(connection, spec, run, rows, {}, {})
        shop.runtime.recorder.write(connection, state, decide(state, DefinitionChanged()), known=rows)


@pytest.mark.rule("deploy-older-process")
@pytest.mark.parametrize("outcome", [None, FailStep("no")], ids=["completes", "fails"])
def test_an_old_worker_goes_on_where_no_newer_one_takes_the_work_up(
    open_shop: OpenShop, script: Script, outcome: Outcome
) -> None:
    old = open_shop(failing(script, "a", outcome), executor=Recording())
    new = open_shop(failing(script, "b", None))
    run_id = new.start("failing")
    drain_as(old)
    assert old.mesh.explain_run(run_id).reason == "definition_mismatch"
    old.relay()
    old.clock.advance(timedelta(minutes=9))
    drain_as(old)
    assert script.calls == []
    old.clock.advance(timedelta(minutes=2))
    drain_as(old)
    assert script.calls == ["first", "a"]
    assert old.status(run_id) == ("failed" if outcome else "completed")


@pytest.mark.rule("attempts-settled-once")
def test_what_a_newer_worker_lost_is_settled_once_by_the_old_one_that_finds_it(
    open_shop: OpenShop, script: Script
) -> None:
    old = open_shop(failing(script, "a", None), executor=Recording())
    new = open_shop(failing(script, "b", None))
    run_id = new.start("failing")
    new.claim_due()
    for shop in (old, new):
        shop.clock.advance(31)
    drain_as(old)
    assert old.mesh.explain_run(run_id).reason == "definition_mismatch"
    assert script.calls == []
    new.relay()
    drain()
    assert (new.status(run_id), script.calls) == ("completed", ["first", "b"])
    assert new.events(run_id) == ["abandoned"]


def failing(script: Script, last: str, outcome: Outcome) -> type[Workflow]:
    """A flow of `first` and another step."""
    first, then = Step(script.does("first")), Step(script.does(last, outcome))
    return type("Failing", (Workflow,), {"place": Manual(Order), "first": first, last: then, "flow": [first >> then]})


def drain_as(shop: Shop) -> None:
    with shop.app.app_context():
        drain()


def test_what_fails_for_good_in_an_old_worker_takes_the_error_route_of_the_newer(
    open_shop: OpenShop, script: Script
) -> None:
    def routed(*routes: str) -> type[Workflow]:
        a, b = Step(script.does("a")), Step(script.does("b", FailStep("no")))
        others = {name: Step(script.does(name)) for name in routes}
        flow = [a >> b, *(b.on_error >> step for step in others.values())]
        return type("Routed", (Workflow,), {"place": Manual(Order), "a": a, "b": b, **others, "flow": flow})

    old = open_shop(routed(), executor=Recording())
    run_id = old.start("routed")
    old.deliver(run_id, "a")
    [claim] = old.claim_due()
    new = open_shop(routed("tell"))
    with new.app.app_context():
        _bring_up(new, run_id)
    with old.app.app_context():
        old.perform(claim)
    drain()
    assert (new.status(run_id), script.calls) == ("completed", ["a", "b", "tell"])
    assert script.contexts[-1].failure is not None


@pytest.mark.parametrize("call", ["approve_run", "reject_run"])
def test_a_decision_in_an_old_process_is_followed_by_a_newer_one(
    open_shop: OpenShop, script: Script, call: str
) -> None:
    def reviewed(*extra: str) -> type[Workflow]:
        ask, pay, tell = Approval("Good?"), Step(script.does("pay")), Step(script.does("tell"))
        more = {name: Step(script.does(name)) for name in extra}
        flow = [ask >> pay, ask.on_reject >> tell, *(pay >> step for step in more.values())]
        steps = {"ask": ask, "pay": pay, "tell": tell, **more}
        return type("Reviewed", (Workflow,), {"place": Manual(Order), **steps, "flow": flow})

    old = open_shop(reviewed())
    run_id = old.run("reviewed")
    new = open_shop(reviewed("extra"))
    with new.app.app_context():
        _bring_up(new, run_id)
    with old.app.app_context():
        assert getattr(old.mesh, call)(run_id, actor="lee").status == "running"
    assert script.calls == []
    drain()
    assert (new.status(run_id), script.calls) == (
        ("completed", ["pay", "extra"]) if call == "approve_run" else ("completed", ["tell"])
    )


@pytest.mark.rule("deploy-rollback")
def test_a_rollback_leaves_out_what_only_the_newer_version_declared(open_shop: OpenShop, script: Script) -> None:
    shop = open_shop(waiting(script, JOIN), executor=Recording())
    run_id = shop.start("waiting")
    shop.deliver(run_id, "a")
    newer = open_shop(waiting(script, {**JOIN, "k": "ab", "l": "j"}), executor=Recording())
    with newer.app.app_context():
        _bring_up(newer, run_id)
        assert ("k", "pending") in newer.visits(run_id)
    back = open_shop(waiting(script, JOIN))
    drain()
    assert (back.status(run_id), script.calls) == ("completed", ["a", "b", "j"])
    assert ("k", "cancelled") in back.visits(run_id)


def test_what_a_rollback_left_out_is_performed_when_it_is_deployed_again(open_shop: OpenShop, script: Script) -> None:
    longer = {**JOIN, "k": "ab"}
    shop = open_shop(waiting(script, longer), executor=Recording())
    run_id = shop.start("waiting")
    shop.deliver(run_id, "a")
    back = open_shop(waiting(script, JOIN), executor=Recording())
    with back.app.app_context():
        _bring_up(back, run_id)
        assert ("k", "cancelled") in back.visits(run_id)
    again = open_shop(waiting(script, longer))
    drain()
    assert (again.status(run_id), sorted(script.calls)) == ("completed", ["a", "b", "j", "k"])


@pytest.mark.rule("deploy-style")
def test_a_run_that_a_change_of_style_does_not_fit_is_held(open_shop: OpenShop, script: Script) -> None:
    def in_a_flow() -> type[Workflow]:
        steps = {name: Step(script.does(name)) for name in ("a", "b", "j")}
        flow = [steps["a"] >> steps["b"] >> steps["j"]]
        return type("Waiting", (Workflow,), {"place": Manual(Order), **steps, "flow": flow})

    shop = open_shop(waiting(script, JOIN), executor=Recording())
    at_two, at_one = shop.start("waiting"), shop.start("waiting")
    shop.deliver(at_one, "a")
    later = open_shop(in_a_flow())
    drain()
    explained = later.mesh.explain_run(at_two)
    assert (explained.reason, explained.next_actions) == ("definition_mismatch", ("cancel_run",))
    assert "several steps at once" in explained.details["held"]
    with pytest.raises(TransitionError, match="several steps at once"):
        later.mesh.approve_run(at_two, actor="lee")
    assert (later.status(at_one), calls_of(script, at_one)) == ("completed", ["a", "b", "j"])
    back = open_shop(waiting(script, JOIN))
    back.relay()
    drain()
    assert back.status(at_two) == "completed"


def test_a_single_step_may_get_another_that_waits_for_it(open_shop: OpenShop, script: Script) -> None:
    class Growing(Workflow):
        place = Manual(Order)
        a = Step(script.does("a"))

    shop = open_shop(Growing, executor=Recording())
    run_id = shop.start("growing")

    class Grown(Workflow):
        name = "growing"
        place = Manual(Order)
        a = Step(script.does("a"))
        b = Step(script.does("b"), after=[a])

    later = open_shop(Grown)
    drain()
    assert (later.status(run_id), script.calls) == ("completed", ["a", "b"])


def test_a_failure_is_told_of_the_run_that_a_newer_version_ends(open_shop: OpenShop, script: Script) -> None:
    def joined(*more: str) -> type[Workflow]:
        a, b = Step(script.does("a"), after=[]), Step(script.does("b", FailStep("no")), after=[])
        others = {name: Step(script.does(name), after=[a, b]) for name in more}
        return type("Joined", (Workflow,), {"place": Manual(Order), "a": a, "b": b, **others})

    old = open_shop(joined(), executor=Recording())
    run_id = old.start("joined")
    old.deliver(run_id, "a")
    [claim] = old.claim_due()
    new = open_shop(joined("c"))
    with new.app.app_context():
        _bring_up(new, run_id)
    with old.app.app_context():
        old.perform(claim)
    drain()
    assert (new.status(run_id), error_of(new.look(run_id))["message"]) == ("failed", "no")
