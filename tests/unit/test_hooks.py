"""A hook is called with what it declares, whatever kind of callable it is, and what cannot be called is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, partialmethod, wraps
from typing import Any

import pytest

from flask_squidmesh import ConfigurationError, SquidMesh
from flask_squidmesh.dashboard.host_hooks import KINDS
from flask_squidmesh.hooks import Hook, HookFault

AUTHORIZE = KINDS["authorize"]
TOLD = {name: name.upper() for name in AUTHORIZE.keywords}


class Rules:
    def __init__(self) -> None:
        self.heard: Any = None

    def method(self, action: str, actor: Any) -> Any:
        return action, actor

    def __call__(self, action: str, *, workflow: str) -> Any:
        return action, workflow

    def with_more(self, extra: str, action: str, run: Any, permission: str) -> Any:
        return extra, action, run, permission

    by_extra = partialmethod(with_more, "extra")


def with_database(database: str, action: str, run: Any, permission: str) -> Any:
    return database, action, run, permission


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*given: Any, **named: Any) -> Any:
        return function(*given, **named)

    return wrapper


def by_place_only(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(what: str, which: Any, needed: Any) -> Any:
        return function(what, which, needed)

    return wrapper


THREE = ("ACTION", "RUN", "PERMISSION")


@pytest.mark.rule("rights-hooks")
@pytest.mark.parametrize(
    ("function", "heard"),
    [
        (lambda action, run, permission: (action, run, permission), THREE),
        (lambda permission, action, run: (action, run, permission), THREE),
        (lambda a, b, c: (a, b, c), THREE),
        (lambda a, b, c, /: (a, b, c), THREE),
        (lambda action, thing, needed: (action, thing, needed), THREE),
        (lambda *asked: asked, THREE),
        (lambda action, *rest: (action, *rest), THREE),
        (lambda *asked, actor: (*asked, actor), (*THREE, "ACTOR")),
        (lambda a, b, c, actor: (a, b, c, actor), (*THREE, "ACTOR")),
        (lambda a, b, c, extra="own": (a, b, c, extra), (*THREE, "own")),
        (lambda action: action, "ACTION"),
        (lambda actor, action: (actor, action), ("ACTOR", "ACTION")),
        (lambda action, workflow=None, step=None: (action, workflow, step), ("ACTION", "WORKFLOW", "STEP")),
        (lambda *, option, tenant: (option, tenant), ("OPTION", "TENANT")),
        (lambda action, rules="own": (action, rules), ("ACTION", "own")),
        (lambda **told: told, TOLD),
        (lambda action, **told: {"action": action, **told}, TOLD),
        (lambda a, b, c, **told: (a, b, c, told["actor"]), (*THREE, "ACTOR")),
        (lambda: "nothing", "nothing"),
        (Rules().method, ("ACTION", "ACTOR")),
        (Rules(), ("ACTION", "WORKFLOW")),
        (Rules().by_extra, ("extra", *THREE)),
        (partial(with_database, "db"), ("db", *THREE)),
        (partial(with_database, database="db"), ("db", *THREE)),
        (partial(lambda action, permission: (action, permission), permission="fixed"), ("ACTION", "fixed")),
        (partial(lambda **told: told["actor"], actor="fixed"), "fixed"),
        (logged(lambda action, actor: (action, actor)), ("ACTION", "ACTOR")),
        (logged(lambda a, b, c: (a, b, c)), THREE),
        (by_place_only(lambda action, run, permission: (action, run, permission)), THREE),
    ],
)
def test_a_hook_is_told_what_it_declares(function: Any, heard: Any) -> None:
    hook = Hook(AUTHORIZE, function)
    assert hook.ask(**TOLD) == heard


def needs_a_user(user: str, action: str, run: Any) -> bool:
    return True


def in_another_order(run: Any, action: str, needed: str) -> bool:
    return True


def of_two(what: str, which: Any) -> bool:
    return True


def of_four(a: str, b: Any, c: Any, d: Any) -> bool:
    return True


async def later(action: str, run: Any, permission: Any) -> bool:
    return True


async def one_after_another(action: str, run: Any, permission: Any) -> Any:
    yield True


def yielding(action: str, run: Any, permission: Any) -> Iterator[bool]:
    yield True


class Later:
    async def __call__(self, action: str) -> bool:
        return True


REFUSED = [
    *(needs_a_user, in_another_order, of_two, of_four, later, one_after_another, yielding),
    *(Later(), partial(later), partial(of_four, "a", 2), "may", None),
]


@pytest.mark.rule("rights-hooks")
@pytest.mark.parametrize("function", REFUSED)
def test_what_cannot_be_asked_is_refused_when_it_is_given(function: Any) -> None:
    mesh = SquidMesh()
    for give in (mesh.authorize, lambda hook: mesh.dashboard(name="more", url_prefix="/more", authorize=hook)):
        if function is None and give != mesh.authorize:
            continue  # a mount without an `authorize` of its own
        with pytest.raises(ConfigurationError, match=r"The hook mesh\.authorize"):
            give(function)


def test_the_sentence_says_what_was_found_and_what_to_declare() -> None:
    with pytest.raises(ConfigurationError) as refused:
        SquidMesh(authorize=of_two)
    assert "of_two) declares (what: 'str', which: 'Any')" in str(refused.value)
    assert "any of action, run, permission, workflow, tenant, step, option, actor" in str(refused.value)


def test_only_links_may_be_a_generator() -> None:
    def links(run: Any) -> Iterator[tuple[str, str]]:
        yield "Order", "/orders/7"

    SquidMesh(links=links)
    with pytest.raises(ConfigurationError, match="generator"):
        SquidMesh(actor=lambda: (yield "dana"))


@pytest.mark.parametrize("name", ["actor", "csp_nonce"])
def test_a_hook_that_is_told_nothing_cannot_need_anything(name: str) -> None:
    with pytest.raises(ConfigurationError, match="without arguments"):
        getattr(SquidMesh(), name)(lambda request: "dana")


def test_an_answer_to_be_awaited_is_a_fault_and_is_not_left_waiting(recwarn: pytest.WarningsRecorder) -> None:
    hook = Hook(AUTHORIZE, lambda action: later(action, None, None))
    with pytest.raises(HookFault, match="without `async`"):
        hook.ask(action="list")
    assert not recwarn.list
