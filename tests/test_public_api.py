"""What hosts import is all there, in order, and says what it is."""

from __future__ import annotations

import inspect

import pytest

import flask_squidmesh
from flask_squidmesh import signals, testing

NAMES = flask_squidmesh.__all__


def test_the_names_are_sorted_and_each_stands_once() -> None:
    constants_then_classes = sorted(set(NAMES), key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert constants_then_classes == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_documented(name: str) -> None:
    thing = getattr(flask_squidmesh, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing) and thing.__module__.startswith("flask_squidmesh"):
        assert "__doc__" in vars(thing), f"{name} has only the docstring of a base class"


@pytest.mark.parametrize("name", [name for name in NAMES if inspect.isclass(getattr(flask_squidmesh, name))])
def test_every_public_method_is_documented(name: str) -> None:
    owner = getattr(flask_squidmesh, name)
    own = {key: value for key, value in vars(owner).items() if not key.startswith("_") and "lambda" not in str(value)}
    callables = {key: value for key, value in own.items() if inspect.isfunction(value) or isinstance(value, property)}
    assert [key for key, value in callables.items() if not inspect.getdoc(value)] == []


def test_nothing_else_is_public_by_accident() -> None:
    defined_here = {
        name
        for name, thing in vars(flask_squidmesh).items()
        if not name.startswith("_") and not inspect.ismodule(thing) and name != "annotations"
    }
    assert defined_here == set(NAMES)


def test_signals_and_the_testing_module_are_documented() -> None:
    assert {name for name in vars(signals) if name.startswith(("run_", "step_", "manual_"))} == {
        *("run_created", "run_dispatched", "run_transitioned", "run_replayed"),
        *("step_started", "step_skipped", "step_completed", "step_failed", "step_retry_scheduled"),
        *("step_reminded", "step_overdue"),
        "manual_action_taken",
    }
    assert all(inspect.getdoc(getattr(testing, name)) for name in testing.__all__)
