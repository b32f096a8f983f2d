"""A house with runs of two tenants, and programs of its people."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.api.house import Program, make_app
from tests.two_tenants.runs import Filled, fill


@pytest.fixture
def app(migrated_url: str) -> Flask:
    return make_app(migrated_url)


@pytest.fixture
def acme(app: Flask) -> Filled:
    return fill(app, "acme")


@pytest.fixture
def globex(app: Flask) -> Filled:
    return fill(app, "globex")


@pytest.fixture
def program(app: Flask) -> Callable[[str | None], Program]:
    return lambda name: Program(app, name)


@pytest.fixture
def anna(app: Flask) -> Program:
    """Of Acme, who may do everything there."""
    return Program(app, "anna")
