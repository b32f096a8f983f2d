"""The dashboard lives in any corner of a host and leaves the rest alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask, Request
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from flask_squidmesh.dashboard import Hooks, create_blueprint
from tests.web.shop import Checkout, allow_everything, make_app, mesh_of, start
from tests.web.visiting import Visitor, forms_of


def _links(page: str) -> list[str]:
    return re.findall(r'(?:href|src|action|hx-get)="(/[^"]*)"', page)


def test_below_a_script_name_every_link_leads_there(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    outer = Client(DispatcherMiddleware(Flask("outer"), {"/shop": visitor.app.wsgi_app}))
    for path in ("/", "/runs", f"/runs/{run_id}", f"/runs/{run_id}/approve", "/nowhere"):
        page = outer.get(f"/shop/squidmesh{path}").text
        assert _links(page)
        assert all(link.startswith("/shop/squidmesh") for link in _links(page))


def test_an_action_below_a_script_name_comes_back_there(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    outer = Client(DispatcherMiddleware(Flask("outer"), {"/shop": visitor.app.wsgi_app}))
    path = f"/shop/squidmesh/runs/{run_id}/approve"
    answer = outer.post(path, data=forms_of(outer.get(path).text)[path])
    assert answer.location == f"/shop/squidmesh/runs/{run_id}"


def test_a_second_mount_has_rights_and_addresses_of_its_own(migrated_sqlite_url: str) -> None:
    app = make_app(migrated_sqlite_url)

    def look(action: str, run: Any, permission: str | None) -> bool:
        return action in ("list", "view")

    app.register_blueprint(create_blueprint(Hooks(authorize=look), name="watching", url_prefix="/watch"))
    run_id = start(app, Checkout, "7")
    client = app.test_client()
    page = client.get(f"/watch/runs/{run_id}")
    assert page.status_code == 200
    assert all(link.startswith("/watch") for link in _links(page.text))
    assert client.get(f"/watch/runs/{run_id}/approve").status_code == 403
    assert client.get(f"/squidmesh/runs/{run_id}/approve").status_code == 200


def test_the_facade_makes_further_mounts(migrated_sqlite_url: str) -> None:
    app = make_app(migrated_sqlite_url)
    app.register_blueprint(mesh_of(app).dashboard(name="second", url_prefix="/second", authorize=allow_everything))
    assert app.test_client().get("/second/runs").status_code == 200


@pytest.mark.parametrize("prefix", ["/ops/workflows", None])
def test_the_host_says_where(make: Any, prefix: str | None) -> None:
    visitor = make(SQUIDMESH_URL_PREFIX=prefix)
    assert visitor.client.get("/squidmesh/").status_code == 404
    if prefix:
        assert visitor.client.get(f"{prefix}/").status_code == 200


def test_the_host_keeps_its_request_class_and_hooks(visitor: Visitor) -> None:
    app = visitor.app
    assert app.request_class is Request
    assert not app.before_request_funcs.get(None)
    assert not app.after_request_funcs.get(None)
    assert not app.error_handler_spec.get(None)
    assert "htmx" not in app.extensions
    assert app.config["SECRET_KEY"] == "for tests only"
