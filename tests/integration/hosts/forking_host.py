"""A host that has used its database when it is made, which may be before a server forks the processes that answer."""

from __future__ import annotations

import os
from typing import Any, Final

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_squidmesh import Log, Manual, SquidMesh, Workflow

DATABASE: Final = "FORKING_HOST_DATABASE"


class Greeting(Workflow):
    place = Manual()
    greet = Log("hello")
    flow = [greet]


def create_app() -> Flask:
    """The app. `/runs` starts one and tells over which connections, and over which the app was made."""
    app = Flask("forking")
    app.config.update(SQLALCHEMY_DATABASE_URI=os.environ[DATABASE], SQUIDMESH_EXECUTOR="database")
    app.config.update(SQUIDMESH_URL_PREFIX=None)
    db = SQLAlchemy(app)
    mesh = SquidMesh()
    mesh.register(Greeting)
    mesh.init_app(app)

    def use() -> dict[str, Any]:
        """Start a run, use the host's session too, and tell which server processes have answered (PostgreSQL)."""
        run = mesh.start_run(Greeting, {})
        backends = []
        if db.engine.dialect.name == "postgresql":
            backend = sa.select(sa.func.pg_backend_pid())
            with app.extensions["squidmesh"].database.read() as connection:
                backends = [db.session.scalar(backend), connection.scalar(backend)]
        return {"process": os.getpid(), "run": run.id, "backends": backends, "seen": mesh.inspect_run(run.id).status}

    @app.post("/runs")
    def start() -> dict[str, Any]:
        return {**use(), "loaded": loaded}

    with app.app_context():
        loaded = use()
    return app
