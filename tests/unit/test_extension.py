"""Setting an app up."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_squidmesh import ConfigurationError, SquidMesh


def app_on(url: str, **settings: Any) -> Flask:
    app = Flask("shop")
    app.config.update(SQLALCHEMY_DATABASE_URI=url, **settings)
    SQLAlchemy().init_app(app)
    return app


@pytest.mark.rule("setup-once-per-app")
def test_a_second_squid_mesh_on_one_app_is_refused() -> None:
    app = app_on("sqlite://")
    SquidMesh(app)
    with pytest.raises(ConfigurationError, match="has a Squid Mesh already"):
        SquidMesh(app)


@pytest.mark.rule("setup-reads-nothing")
def test_setting_an_app_up_reads_no_database_and_starts_no_thread() -> None:
    app = app_on("postgresql+psycopg://nobody@127.0.0.1:1/nowhere")
    before = set(threading.enumerate())
    SquidMesh(app)
    assert set(threading.enumerate()) <= before
    assert app.extensions["squidmesh"].app is app


@pytest.mark.rule("setup-missing")
def test_what_is_missing_is_returned_by_one_and_raised_by_the_other() -> None:
    mesh = SquidMesh()
    app = app_on("sqlite://", SQUIDMESH_BIND="nowhere")
    mesh.init_app(app)
    with app.app_context():
        problems = mesh.check_config()
        with pytest.raises(ConfigurationError) as caught:
            _ = mesh.config
    assert len(problems) == 2
    assert list(caught.value.problems) == problems
