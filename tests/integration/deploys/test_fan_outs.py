"""A deploy changes which steps a dependency workflow has and what they wait for, while runs are in the middle of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, combinations

import pytest

from flask_squidmesh import Manual, Step, Workflow
from flask_squidmesh.testing import drain
from tests.shop import Order, Recording, Script, Shop

OpenShop = Callable[..., Shop]
Waits = Mapping[str, Sequence[str]]

JOIN: Waits = {"a": "", "b": "", "j": "ab"}
CHAIN: Waits = {"a": "", "b": "a", "c": "b"}
CHANGES: Mapping[str, tuple[Waits, Waits]] = {
    "a root is added that the join waits for": (JOIN, {"a": "", "b": "", "c": "", "j": "abc"}),
    "a root is added for which nothing waits": (JOIN, {**JOIN, "c": ""}),
    "a chain is added that the join waits for": (JOIN, {"a": "", "b": "", "c": "a", "d": "c", "j": "abd"}),
    "the join waits for less": (JOIN, {"a": "", "b": "", "j": "a"}),
    "the join waits for nothing": (JOIN, {"a": "", "b": "", "j": ""}),
    "a join is added at the end": (JOIN, {**JOIN, "k": "aj"}),
    "a join of the roots is added": (JOIN, {**JOIN, "k": "ab"}),
    "a second fan-out is added at the end": (JOIN, {**JOIN, "k": "j", "l": "j", "m": "kl"}),
    "a step becomes a root": (CHAIN, {"a": "", "b": "", "c": "b"}),
    "the order turns round": (CHAIN, {"c": "", "b": "c", "a": "b"}),
    "a step moves to the end": (CHAIN, {"b": "", "c": "b", "a": "c"}),
    "a step is added in the middle": (CHAIN, {"a": "", "x": "a", "b": "x", "c": "b"}),
    "a chain becomes a join": (CHAIN, {"a": "", "b": "", "c": "ab"}),
    "all wait for a new step": (JOIN, {"z": "", "a": "z", "b": "z", "j": "ab"}),
    "a step joins others that it did not wait for": ({"a": "", "b": "", "c": "a"}, {"a": "", "b": "", "c": "ab"}),
}


def waiting(script: Script, waits: Waits) -> type[Workflow]:
    """A workflow whose steps wait for others as it says."""
    steps: dict[str, Step] = {}

    def declared(name: str) -> Step:
        if name not in steps:
            after = [declared(other) for other in waits[name]]
            steps[name] = Step(script.does(name), after=after)
        return steps[name]

    for name in waits:
        declared(name)
    return type("Waiting", (Workflow,), {"place": Manual(Order), **steps})


def moments(waits: Waits) -> list[tuple[str, ...]]:
    """Every set of steps that can have been performed while some have not."""
    sets = chain.from_iterable(combinations(waits, size) for size in range(len(waits)))
    return [done for done in sets if all(set(waits[name]) <= {*done} for name in done)]


def performed(shop: Shop, waits: Waits, done: Sequence[str]) -> str:
    """A run of which just these steps have been performed."""
    run_id = shop.start("waiting")
    for name in sorted(done, key=lambda each: len(_ancestors(waits, each))):
        assert shop.deliver(run_id, name).outcome == "executed"
    return run_id


def _ancestors(waits: Waits, name: str) -> set[str]:
    return set(waits[name]).union(*(_ancestors(waits, other) for other in waits[name]))


def calls_of(script: Script, run_id: str) -> list[str]:
    """The steps that were performed for a run."""
    return [ctx.step for ctx in script.contexts if ctx.run_id == run_id]


def check_order(calls: Sequence[str], waits: Waits, done: Sequence[str]) -> None:
    """Assert that what was performed after the deploy waited for what it says."""
    for place, name in enumerate(calls[len(done) :], start=len(done)):
        assert {*waits[name]} <= {*calls[:place]}, (calls, name)


@pytest.mark.rule("deploy-today", "deploy-completes", "deploy-waits")
@pytest.mark.parametrize(("before", "after"), CHANGES.values(), ids=CHANGES)
def test_every_step_of_the_deployed_definition_is_performed_once_wherever_the_run_is(
    open_shop: OpenShop, script: Script, before: Waits, after: Waits
) -> None:
    shop = open_shop(waiting(script, before), executor=Recording())
    runs = {performed(shop, before, done): done for done in moments(before)}
    later = open_shop(waiting(script, after))
    drain()
    for run_id, done in runs.items():
        calls = calls_of(script, run_id)
        assert (later.status(run_id), sorted(calls)) == ("completed", sorted({*done, *after})), done
        check_order(calls, after, done)
