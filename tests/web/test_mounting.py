"""The dashboard lives in any corner of a host and leaves the rest alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask, Request, url_for
from flask.json.provider import DefaultJSONProvider
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from flask_squidmesh import Scope
from flask_squidmesh.dashboard import Hooks, create_blueprint
from flask_squidmesh.runtime import bulk_jobs
from tests.web.shop import Checkout, Labels, allow_everything, make_app, mesh_of, start
from tests.web.visiting import Visitor, forms_of, pulse_of


def _links(page: str) -> list[str]:
    return re.findall(r'(?:href|src|action|hx-get)="(/[^"]*)"', page)


def test_below_a_script_name_every_link_leads_there(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    outer = Client(DispatcherMiddleware(Flask("outer"), {"/shop": visitor.app.wsgi_app}))
    start(visitor.app, Labels, "8")
    for path in (
        *("/", "/runs", f"/runs/{run_id}", f"/runs/{run_id}/approve", "/nowhere", "/failures", "/workflows"),
        *("/workflows/checkout", "/workflows/checkout/start", "/schedules", "/system", "/audit", "/help"),
        *("/bulk?word=decision", "/bulk?word=decision&action=cancel"),
    ):
        page = outer.get(f"/shop/squidmesh{path}").text
        assert _links(page)
        assert all(link.startswith("/shop/squidmesh") for link in _links(page))


def test_cookies_and_polls_below_a_script_name_stay_there(visitor: Visitor) -> None:
    outer = Client(DispatcherMiddleware(Flask("outer"), {"/shop": visitor.app.wsgi_app}))
    answer = outer.get("/shop/squidmesh/system?live=0")
    assert "Path=/shop/squidmesh/" in answer.headers["Set-Cookie"]
    assert "Does not refresh by itself." in answer.text
    address = f"/shop/squidmesh{pulse_of(outer.get('/shop/squidmesh/system?live=1').text, '/shop/squidmesh')}"
    assert outer.get(address).status_code == 204


def test_addresses_made_outside_of_requests_know_the_application_root(migrated_sqlite_url: str) -> None:
    app = make_app(migrated_sqlite_url, APPLICATION_ROOT="/shop", SERVER_NAME="acme.test")
    with app.app_context():
        assert url_for("squidmesh.runs") == "http://acme.test/shop/squidmesh/runs"


def test_an_action_below_a_script_name_comes_back_there(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    outer = Client(DispatcherMiddleware(Flask("outer"), {"/shop": visitor.app.wsgi_app}))
    path = f"/shop/squidmesh/runs/{run_id}/approve"
    answer = outer.post(path, data=forms_of(outer.get(path).text)[path])
    assert answer.location == f"/shop/squidmesh/runs/{run_id}"


def test_what_the_host_adds_to_every_address_stands_beside_our_queries(visitor: Visitor) -> None:
    visitor.app.url_defaults(lambda _, values: values.setdefault("lang", "en"))
    run_id = start(visitor.app, Checkout, "7")
    for path in ("/", "/runs?word=decision", f"/runs/{run_id}"):
        links = _links(visitor.get(path).text)
        assert len(links) > 10
        assert [link for link in links if link.partition("?")[2].partition("&")[0].count("?")] == []
    page = visitor.get("/system?live=0")
    assert "Path=/squidmesh/;" in page.headers["Set-Cookie"]
    poll = pulse_of(visitor.get("/system?live=1").text)
    assert poll.startswith("/pulse?lang=en&")
    assert visitor.get(poll).status_code == 204
    moved = visitor.get(f"/runs/{run_id.upper()}?view=graph")
    assert moved.location == f"/squidmesh/runs/{run_id}?lang=en&view=graph"


def test_documents_keep_their_names_whatever_json_the_hosts_answers_are(visitor: Visitor) -> None:
    class Enveloped(DefaultJSONProvider):
        def response(self, *args: Any, **kwargs: Any) -> Any:
            return super().response({"data": self._prepare_response_obj(args, kwargs)})

    visitor.app.json = Enveloped(visitor.app)
    run_id = start(visitor.app, Checkout, "7")
    assert visitor.get(f"/runs/{run_id}.json").get_json()["id"] == run_id
    assert visitor.get(f"/runs/{run_id}/payload/payload").get_json()["order_id"] == "7"


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


@pytest.mark.rule("rights-own-hook")
@pytest.mark.parametrize("trusted", ["squidmesh", "second"])
def test_a_further_mount_asks_its_own_hook_and_no_other(migrated_sqlite_url: str, trusted: str) -> None:
    def look(action: str, run: Any, permission: str | None) -> bool:
        return action in ("list", "view")

    first, own = (allow_everything if trusted == name else look for name in ("squidmesh", "second"))
    app = make_app(migrated_sqlite_url, hooks={"authorize": first, "actor": lambda: "dana"})
    app.register_blueprint(mesh_of(app).dashboard(name="second", url_prefix="/second", authorize=own))
    run_id = start(app, Checkout, "7")
    client = app.test_client()
    for name in ("squidmesh", "second"):
        assert client.get(f"/{name}/runs/{run_id}").status_code == 200
        asked = client.get(f"/{name}/runs/{run_id}/approve").status_code
        assert asked == (200 if trusted == name else 403)


@pytest.mark.rule("rights-own-hook", "bulk-rights")
@pytest.mark.parametrize("may", [True, False])
def test_what_was_asked_for_at_a_further_mount_is_judged_by_its_hook(migrated_sqlite_url: str, may: bool) -> None:
    def first(action: str, run: Any, permission: str | None, actor: Any) -> bool:
        return not may

    def own(action: str, run: Any, permission: str | None, actor: Any) -> bool:
        return may

    app = make_app(migrated_sqlite_url, hooks={"authorize": first, "actor": lambda: "dana"})
    app.register_blueprint(mesh_of(app).dashboard(name="second", url_prefix="/second", authorize=own))
    item = bulk_jobs.BulkItem(run_id=start(app, Checkout, "7"), token="review#1")
    runtime = app.extensions["squidmesh"]
    with app.app_context():
        runtime.bulk.begin("approve", [item], scope=Scope.all(), actor="dana", mount="second")
        runtime.bulk.go_on_with_all(60)
        assert (mesh_of(app).inspect_run(item.run_id).status != "paused") == may


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
