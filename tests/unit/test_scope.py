from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import FilterError, Manual, Scope, SquidMeshError, Wait, Workflow
from flask_squidmesh.definition.workflow import Registry
from flask_squidmesh.storage.tables import WorkflowRun


class Renamed(Workflow):
    aliases = ("older",)
    place = Manual()
    rest = Wait(1)


@pytest.mark.rule("scope-hook")
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"tenants": "acme"},
        {"tenants": None},
        {"tenants": 5},
        {"tenants": {"acme": 1}},
        {"tenants": b"acme"},
        {"tenants": [None]},
        {"tenants": ["acme", 5]},
        {"tenants": [" "]},
        {"tenants": ["a\0b"]},
        {"workflows": "renamed"},
        {"workflows": None},
        {"workflows": [None]},
        {"workflows": [""]},
        {"workflows": [Workflow]},
        {"workflows": [object()]},
        {"tenants": ["acme"], "workflows": None},
    ],
)
def test_what_says_nothing_or_something_else_is_no_scope(given: dict[str, Any]) -> None:
    with pytest.raises(FilterError) as refused:
        Scope(**given)
    assert isinstance(refused.value, SquidMeshError)


def test_a_scope_says_which_runs_are_in_it() -> None:
    assert Scope(tenants=[" acme ", "acme"]) == Scope(tenants=["acme"])
    assert Scope(tenants=["acme", ""]).admits("", "any")
    assert not Scope(tenants=["acme"]).admits("", "any")
    assert not Scope(tenants=[]).admits("", "any")
    assert Scope.all().admits("acme", "any")
    assert Scope(tenants=["acme"], workflows=[Renamed]).admits("acme", "older")
    assert not Scope(tenants=["acme"], workflows=[Renamed]).admits("acme", "other")
    assert hash(Scope(tenants=(each for each in ("b", "a")))) == hash(Scope(tenants=["a", "b"]))


@pytest.mark.rule("scope")
def test_names_follow_aliases() -> None:
    registry = Registry()
    registry.register(Renamed)
    for given in ("renamed", "older", Renamed):
        assert Scope(workflows=[given]).following(registry).workflows == ("older", "renamed")
    assert Scope(workflows=["gone"]).following(registry).workflows == ("gone",)


def test_a_scope_of_all_adds_nothing_to_a_query() -> None:
    assert Scope.all().within(WorkflowRun) == ()
    assert Scope.all().apart(WorkflowRun) == [()]


def test_a_tenants_query_says_what_the_index_of_tenants_wants_to_hear() -> None:
    for tenants in (["acme"], ["acme", "globex"], list("abcdefg")):
        for conditions in Scope(tenants=tenants).apart(WorkflowRun):
            assert "tenant != ''" in str(sa.and_(*conditions))


@pytest.mark.parametrize("scope", [Scope.all(), Scope(tenants=["a", ""]), Scope(workflows=["x"]), Scope(tenants=[])])
def test_a_scope_can_be_kept(scope: Scope) -> None:
    assert Scope.from_dict(scope.to_dict()) == scope
