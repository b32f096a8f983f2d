"""Errors that a caller meets."""

from __future__ import annotations

import inspect

import pytest

import flask_squidmesh
from flask_squidmesh import FailStep, RetryStep, SquidMeshError


@pytest.mark.rule("errors-base")
def test_every_error_has_one_base_and_signals_have_not() -> None:
    public = [getattr(flask_squidmesh, name) for name in flask_squidmesh.__all__]
    raised = {each for each in public if inspect.isclass(each) and issubclass(each, Exception)}
    signals = {FailStep, RetryStep}
    assert signals < raised
    assert all(issubclass(each, SquidMeshError) for each in raised - signals)
    assert not any(issubclass(each, SquidMeshError) for each in signals)
