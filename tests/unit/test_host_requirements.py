"""What is asked of a host: what is found, and what is to be written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from flask_squidmesh.config import read_config
from flask_squidmesh.definition.workflow import Registry
from flask_squidmesh.host import HostApp
from flask_squidmesh.host_requirements import findings

SECRET = "sw0rdf1sh"
ELSEWHERE = f"u:{SECRET}@db.example/x"


def problems(app: Flask, *, executor: str | None = "database", bind: str | None = None) -> list[str]:
    """What the host is told."""
    settings = read_config({"SQUIDMESH_EXECUTOR": executor, "SQUIDMESH_BIND": bind})
    return [str(finding) for finding in findings(HostApp(app, settings, Registry()))]


def a_host(schema: str | None = None, engine_options: Any = None, **settings: Any) -> Flask:
    class Base(DeclarativeBase):
        metadata = sa.MetaData(schema=schema)

    app = Flask("shop")
    app.config.update(settings)
    SQLAlchemy(app, model_class=Base, engine_options=engine_options)
    return app


def test_a_complete_app_lacks_nothing() -> None:
    app = a_host(SQLALCHEMY_DATABASE_URI="sqlite://", SQLALCHEMY_BINDS={"flows": "sqlite://"})
    assert problems(app) == problems(app, bind="flows") == []


@pytest.mark.rule("setup-missing")
def test_everything_that_is_missing_is_told_at_once() -> None:
    found = problems(Flask("shop"), executor=None)
    assert [problem.partition(" ")[0] for problem in found] == ["SQUIDMESH_EXECUTOR", "Flask-SQLAlchemy"]


def test_a_bind_must_exist() -> None:
    app = a_host(SQLALCHEMY_DATABASE_URI="sqlite://", SQLALCHEMY_BINDS={"other": "sqlite://"})
    [problem] = problems(app, bind="flows")
    assert "'flows'" in problem
    assert "SQLALCHEMY_BINDS" in problem


def test_a_host_with_binds_alone_has_to_name_one() -> None:
    app = a_host(SQLALCHEMY_BINDS={"flows": "sqlite://"})
    [problem] = problems(app)
    assert "set SQUIDMESH_BIND" in problem
    assert problems(app, bind="flows") == []


def test_metadata_with_a_default_schema_cannot_be_shared() -> None:
    [problem] = problems(a_host(schema="app", SQLALCHEMY_DATABASE_URI="sqlite://"))
    assert "the schema 'app'" in problem


@pytest.mark.rule("setup-other-extension")
def test_another_extension_that_calls_itself_sqlalchemy_is_named() -> None:
    app = Flask("shop")
    app.extensions["sqlalchemy"] = SimpleNamespace(engines={}, session=None)
    [problem] = problems(app)
    assert "types.SimpleNamespace" in problem
    assert "flask_sqlalchemy.SQLAlchemy" in problem


POSTGRESQL = f"postgresql+psycopg://{ELSEWHERE}"


@pytest.mark.rule("setup-asks-the-engine")
@pytest.mark.parametrize(
    "settings",
    [
        {"SQLALCHEMY_DATABASE_URI": POSTGRESQL},
        {"SQLALCHEMY_DATABASE_URI": sa.make_url(POSTGRESQL)},
        {"SQLALCHEMY_ENGINE_OPTIONS": {"url": POSTGRESQL}},
        {"engine_options": {"url": POSTGRESQL}},
        {"SQLALCHEMY_BINDS": {None: POSTGRESQL}},
        {"SQLALCHEMY_BINDS": {None: {"url": "sqlite://"}}, "SQLALCHEMY_DATABASE_URI": POSTGRESQL},
        {"SQLALCHEMY_DATABASE_URI": "postgresql+psycopg://", "SQLALCHEMY_ENGINE_OPTIONS": {"creator": print}},
        {"SQLALCHEMY_DATABASE_URI": f"{POSTGRESQL}?sslmode=require&host=/run"},
        {"SQLALCHEMY_DATABASE_URI": "sqlite:///x.db"},
        {"SQLALCHEMY_DATABASE_URI": "sqlite:///file:x.db?uri=true&mode=rwc"},
        {"SQLALCHEMY_DATABASE_URI": "sqlite+pysqlite:////tmp/x.db"},
    ],
)
def test_the_engine_is_asked_wherever_its_url_stands(settings: dict[str, Any], tmp_path: Path) -> None:
    assert problems(a_host(**settings)) == []


@pytest.mark.rule("setup-asks-the-engine")
@pytest.mark.parametrize("driver", ["mysql+pymysql", "postgresql+pg8000"])
def test_other_databases_are_refused_without_their_password(driver: str) -> None:
    module = SimpleNamespace(paramstyle="format", __version__="1.31.0")
    app = a_host(
        SQLALCHEMY_DATABASE_URI="sqlite://",
        SQLALCHEMY_BINDS={"flows": {"url": f"{driver}://{ELSEWHERE}", "module": module}},
    )
    assert problems(app) == []
    [problem] = problems(app, bind="flows")
    assert f"reached through {driver}" in problem
    assert SECRET not in problem
