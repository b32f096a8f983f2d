"""A whole host in memory, made in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from ..clock import SettableClock
from ..definition.workflow import Workflow
from ..extension import SquidMesh

SETTINGS = {
    "TESTING": True,
    "SECRET_KEY": "for tests",
    "SQLALCHEMY_DATABASE_URI": "sqlite://",
    "SQUIDMESH_EXECUTOR": "database",
    "SQUIDMESH_URL_PREFIX": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """An app with the extension, its database and its clock. `mesh` starts and steers runs, `clock` is moved."""

    app: Flask
    db: SQLAlchemy
    mesh: SquidMesh
    clock: SettableClock


@contextmanager
def memory_app(
    *workflows: type[Workflow], db: SQLAlchemy | None = None, config: Mapping[str, object] | None = None
) -> Iterator[Host]:
    """An app on an SQLite database in memory, with all tables, in whose app context the block runs.

    workflows: what can be started. db: the host's own SQLAlchemy, where steps use the host's tables; they are made
    too. config: further settings of the app, or other ones, e.g. {"SQUIDMESH_URL_PREFIX": "/squidmesh"} for the pages.

    The host's own SquidMesh object works inside the block as well, because the calls look for the present app.
    """
    clock = SettableClock()
    host = Host(app=Flask("host"), db=db or SQLAlchemy(), mesh=SquidMesh(clock=clock), clock=clock)
    host.app.config.update({**SETTINGS, **(config or {})})
    if workflows:
        host.mesh.register(*workflows)
    host.db.init_app(host.app)
    host.mesh.init_app(host.app)
    with host.app.app_context():
        host.db.create_all()
        try:
            yield host
        finally:
            host.db.session.remove()
            for engine in host.db.engines.values():
                engine.dispose()
