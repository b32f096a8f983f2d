"""What the Procrastinate executor asks of an app's configuration."""

from __future__ import annotations

import sys
import types
from typing import Any

import procrastinate
import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_squidmesh import ConfigurationError, SquidMesh
from flask_squidmesh.executor import resolve
from flask_squidmesh.integrations.procrastinate import ProcrastinateExecutor, procrastinate_app

POSTGRES = "postgresql+psycopg://shop@localhost/shop"


def make_app(url: str | None = POSTGRES, executor: str = "procrastinate", **settings: Any) -> Flask:
    app = Flask("shop")
    app.config.update(SQLALCHEMY_DATABASE_URI=url, SQUIDMESH_EXECUTOR=executor, **settings)
    SQLAlchemy(app)
    SquidMesh(app)
    return app


def problems(app: Flask) -> list[str]:
    found: list[str] = app.extensions["squidmesh"].problems()
    return found


def test_the_executor_is_known_by_name_and_goes_on_in_place() -> None:
    executor = resolve("procrastinate")
    assert isinstance(executor, ProcrastinateExecutor)
    assert executor.continues(None, "next")  # type: ignore[arg-type]
    assert problems(make_app()) == []


@pytest.mark.rule("executors-missing-package")
def test_a_package_that_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "flask_squidmesh.integrations.procrastinate")
    monkeypatch.setitem(sys.modules, "procrastinate", None)
    with pytest.raises(ConfigurationError, match=r"needs the package procrastinate.*flask-squidmesh\[procrastinate\]"):
        resolve("procrastinate")


@pytest.mark.rule("executors-missing-package")
def test_procrastinate_needs_postgresql() -> None:
    [problem] = problems(make_app("sqlite:///shop.db"))
    assert "PostgreSQL only, but the database is sqlite" in problem


@pytest.mark.rule("executors-missing-package")
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("no_such_module_here:queue", "the module no_such_module_here, whose import failed"),
        ("json:queue", "queue in the module json, which has no such name"),
        ("json:dumps", r"leads to a function. It must lead to a procrastinate.App"),
        (SQLAlchemy(), r"leads to a SQLAlchemy. It must lead to a procrastinate.App"),
    ],
)
def test_an_app_of_the_hosts_must_be_procrastinates(setting: Any, said: str) -> None:
    [problem] = problems(make_app(SQUIDMESH_PROCRASTINATE_APP=setting))
    assert said in problem
    assert "SQUIDMESH_PROCRASTINATE_APP" in problem


@pytest.mark.parametrize("by_name", [True, False])
def test_an_app_of_the_hosts_gets_one_more_task(by_name: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    own = procrastinate.App(connector=procrastinate.PsycopgConnector())
    module = types.ModuleType("shop_jobs_of_a_test")
    module.__dict__["queue"] = own
    monkeypatch.setitem(sys.modules, module.__name__, module)
    setting = f"{module.__name__}:queue" if by_name else own
    assert procrastinate_app(make_app(SQUIDMESH_PROCRASTINATE_APP=setting)) is own
    assert "squidmesh.perform" in own.tasks


def test_an_app_that_is_made_connects_as_sqlalchemy_does_and_takes_from_our_queue() -> None:
    app = make_app(
        "postgresql+psycopg://shop:s%40fe@db.example:5433/shop?sslmode=require",
        SQLALCHEMY_ENGINE_OPTIONS={"connect_args": {"application_name": "shop"}},
        SQUIDMESH_QUEUE="reports",
        SQUIDMESH_POLL_INTERVAL=3,
    )
    queue = procrastinate_app(app)
    assert isinstance(queue.connector, procrastinate.PsycopgConnector)
    assert queue.connector._pool_args["kwargs"] == {
        "host": "db.example",
        "port": 5433,
        "user": "shop",
        "password": "s@fe",
        "dbname": "shop",
        "sslmode": "require",
        "application_name": "shop",
    }
    assert queue.worker_defaults["queues"] == ["reports"]
    assert queue.worker_defaults["fetch_job_polling_interval"] == 3


def test_an_app_on_a_bind_connects_as_the_bind_does() -> None:
    binds = {"flows": {"url": "postgresql+psycopg://flows@db.example/flows", "connect_args": {"connect_timeout": 3}}}
    queue = procrastinate_app(make_app("sqlite://", SQLALCHEMY_BINDS=binds, SQUIDMESH_BIND="flows"))
    assert isinstance(queue.connector, procrastinate.PsycopgConnector)
    arguments = queue.connector._pool_args["kwargs"]
    assert arguments == {"host": "db.example", "user": "flows", "dbname": "flows", "connect_timeout": 3}


def test_an_app_whose_default_database_stands_among_the_binds_connects_alike() -> None:
    binds = {None: {"url": "postgresql+psycopg://shop@db.example/shop", "connect_args": {"connect_timeout": 3}}}
    queue = procrastinate_app(make_app(None, SQLALCHEMY_BINDS=binds))
    assert isinstance(queue.connector, procrastinate.PsycopgConnector)
    arguments = queue.connector._pool_args["kwargs"]
    assert arguments == {"host": "db.example", "user": "shop", "dbname": "shop", "connect_timeout": 3}


def test_workers_of_another_executor_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r'DatabaseExecutor.*Set it to "procrastinate"'):
        procrastinate_app(make_app(executor="database"))
