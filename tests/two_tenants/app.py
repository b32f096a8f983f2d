"""A host with two tenants, Acme and Globex, that keep out of each other's sight.

    flask --app tests.two_tenants.app run

makes a database with runs in many states in the instance folder; choose who you are at http://localhost:5000/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask, abort, redirect, render_template_string, request, session, url_for

from flask_squidmesh import Person, Scope, SquidMesh
from flask_squidmesh.clock import Clock
from tests.databases import create_tables
from tests.kept import set_up_database
from tests.two_tenants.people import PEOPLE, Worker
from tests.two_tenants.runs import fill
from tests.two_tenants.workflows import WORKFLOWS

LOGIN = """<!doctype html><title>Who are you?</title><h1>Who are you?</h1>
<form method="post">{% for each in people %}
  <p><button name="name" value="{{ each.name }}">{{ each.label }}</button></p>
{% endfor %}</form>
"""


def somebody() -> Worker | None:
    """Who is logged in."""
    return PEOPLE.get(session.get("name", ""))


def make_mesh(clock: Clock | None = None) -> SquidMesh:
    """The hooks that keep the tenants apart."""
    mesh = SquidMesh(clock=clock)
    mesh.register(*WORKFLOWS)

    @mesh.authorize
    def may(action: str) -> bool:
        worker = somebody()
        return worker is not None and worker.may(action)

    @mesh.actor
    def actor() -> Person | None:
        worker = somebody()
        return Person(worker.name, worker.label) if worker else None

    @mesh.tenant
    def tenant() -> str | None:
        worker = somebody()
        return worker.tenant if worker else None

    @mesh.scope
    def scope() -> Scope:
        worker = somebody()
        if worker is None:
            return Scope(tenants=[])
        return Scope.all() if worker.tenant is None else Scope(tenants=[worker.tenant])

    return mesh


def make_app(url: str, *, clock: Clock | None = None, **settings: Any) -> Flask:
    """The host on the database at the URL."""
    app = Flask("two_tenants", static_folder=None)
    app.config.update(SECRET_KEY="for a demonstration", SQUIDMESH_EXECUTOR="database", SQLALCHEMY_DATABASE_URI=url)
    app.config.update(settings)
    set_up_database(app)
    mesh = make_mesh(clock)
    mesh.init_app(app)
    app.extensions["mesh"] = mesh

    @app.route("/", methods=["GET", "POST"])
    def log_in() -> Any:
        if request.method == "GET":
            return render_template_string(LOGIN, people=PEOPLE.values())
        name = request.form.get("name", "")
        session["name"] = name if name in PEOPLE else abort(404)
        return redirect(url_for("squidmesh.inbox"))

    return app


def create_app() -> Flask:
    """The host with a database of its own that has runs in it, for whoever wants to look."""
    path = Path(Flask("two_tenants").instance_path, "two_tenants.sqlite")
    url, is_new = f"sqlite:///{path}", not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_new:
        create_tables(url)
    app = make_app(url, SQUIDMESH_DEV_WORKER=True)
    if is_new:
        for tenant in ("acme", "globex"):
            fill(app, tenant)
    return app
