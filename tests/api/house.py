"""A host with two tenants and an API, whose people say by a header who they are."""

from __future__ import annotations

from typing import Any

from flask import Flask, Request
from flask.testing import FlaskClient

from flask_squidmesh import Person, Scope, SquidMesh
from flask_squidmesh.clock import SettableClock
from tests.kept import set_up_database
from tests.two_tenants.people import PEOPLE, Worker
from tests.two_tenants.workflows import WORKFLOWS

PREFIX = "/api/workflows"


def worker_of(actor: Any) -> Worker | None:
    return PEOPLE.get(actor["id"]) if isinstance(actor, dict) else None


def may(action: str, actor: Any) -> bool:
    worker = worker_of(actor)
    return worker is not None and worker.may(action)


def scope(actor: Any) -> Scope:
    worker = worker_of(actor)
    if worker is None:
        return Scope(tenants=[])
    return Scope.all() if worker.tenant is None else Scope(tenants=[worker.tenant])


def by_header(request: Request) -> Person | None:
    worker = PEOPLE.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
    return Person(worker.name, worker.label) if worker else None


def make_app(url: str, hooks: dict[str, Any] | None = None, **settings: Any) -> Flask:
    """The host on the database at the URL. hooks: in place of its own."""
    app = Flask("house", static_folder=None)
    app.config.update(
        SECRET_KEY="for tests", SQUIDMESH_EXECUTOR="database", SQLALCHEMY_DATABASE_URI=url, TESTING=True, **settings
    )
    set_up_database(app)
    given: dict[str, Any] = {"authorize": may, "scope": scope} if hooks is None else hooks
    mesh = SquidMesh(clock=SettableClock(), **given)
    mesh.register(*WORKFLOWS)
    mesh.init_app(app)
    app.register_blueprint(mesh.api(authenticate=by_header))
    app.extensions["mesh"] = mesh
    return app


class Program:
    """Somebody's program; nobody's for None."""

    def __init__(self, app: Flask, name: str | None) -> None:
        self.client: FlaskClient = app.test_client(use_cookies=False)
        self.headers = {} if name is None else {"Authorization": f"Bearer {name}"}

    def get(self, path: str, **given: Any) -> Any:
        return self.open(path, method="GET", **given)

    def post(self, path: str, body: object = None, **given: Any) -> Any:
        return self.open(path, method="POST", json={} if body is None else body, **given)

    def open(self, path: str, **given: Any) -> Any:
        headers = {**self.headers, **given.pop("headers", {})}
        return self.client.open(PREFIX + path, headers=headers, **given)
