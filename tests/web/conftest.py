"""An app with a dashboard and somebody who looks at it."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.web.shop import make_app
from tests.web.visiting import Visitor


@pytest.fixture
def app(migrated_sqlite_url: str) -> Flask:
    """Everybody may do everything as "dana"."""
    return make_app(migrated_sqlite_url)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return Visitor(app)


@pytest.fixture
def make(migrated_sqlite_url: str) -> Any:
    """A function that makes an app with hooks and settings of its own, and a visitor for it."""

    def made(hooks: dict[str, Any] | None = None, **settings: Any) -> Visitor:
        return Visitor(make_app(migrated_sqlite_url, hooks=hooks, **settings))

    return made
