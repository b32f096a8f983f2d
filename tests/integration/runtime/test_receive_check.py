"""What `flask squidmesh check` says of addresses that receive events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Request, abort, g, jsonify, redirect, request, url_for
from flask_login import LoginManager, current_user
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Response

from flask_squidmesh import SquidMesh

ADDRESS = "/hooks/payments"
REFUSED = f"wrong A request does not get as far as {ADDRESS}: "
ARRIVES = f"ok a request gets as far as {ADDRESS}"
asked: list[Request] = []


def never(request: Request) -> Any:
    """Neither verify nor the function is called by a look."""
    asked.append(request)


def hosting(arrange: Callable[[Flask], object], **settings: Any) -> Flask:
    app = Flask("host")
    app.config.update(
        SECRET_KEY="for tests only",
        SQLALCHEMY_DATABASE_URI="sqlite://",
        SQUIDMESH_EXECUTOR="database",
        SQUIDMESH_URL_PREFIX=None,
        **settings,
    )
    SQLAlchemy(app)
    arrange(app)
    mesh = SquidMesh()
    mesh.receive(ADDRESS, verify=never)(never)
    mesh.init_app(app)
    return app


def said(app: Flask) -> list[str]:
    with app.app_context():
        results = [each for each in app.extensions["squidmesh"].app_check.results() if each.subject == "receive"]
        assert not hasattr(g, "person"), "a look leaves nothing in the context of whoever looks"
    assert asked == []
    return [f"{'wrong' if each.wrong else 'ok'} {each.text}" for each in results]


def require_login(app: Flask) -> None:
    LoginManager(app).request_loader(lambda _: None)

    @app.before_request
    def demand() -> Response | None:
        g.person = current_user
        return None if current_user.is_authenticated else redirect(url_for("login", next=request.path))

    app.add_url_rule("/login", "login", lambda: "")


def forms_alone(app: Flask) -> None:
    @app.before_request
    def demand() -> None:
        if request.method == "POST" and request.mimetype != "multipart/form-data":
            abort(415)


def answer_all(app: Flask) -> None:
    app.add_url_rule(ADDRESS, "ours", lambda: "", methods=["GET", "POST"])


def read_only(app: Flask) -> None:
    app.before_request(lambda: abort(405) if request.method == "POST" else None)


def break_down(app: Flask) -> None:
    @app.before_request
    def demand() -> None:
        raise LookupError("secret")


def keys_alone(app: Flask) -> None:
    @app.before_request
    def demand() -> tuple[Response, int] | None:
        return None if "X-Key" in request.headers else (jsonify(error="key"), 401)


def https_alone(app: Flask) -> None:
    app.before_request(lambda: None if request.is_secure else redirect(request.url.replace("http://", "https://")))


def hang_below(app: Flask) -> None:
    app.wsgi_app = DispatcherMiddleware(Response(status=404), {"/shop": app.wsgi_app})  # type: ignore[method-assign]


@pytest.mark.rule("receiving-check")
@pytest.mark.parametrize(
    ("arrange", "says"),
    [
        (require_login, "a POST of JSON is answered 302 Found, on to /login. Leave it out of what asks for a person"),
        (forms_alone, "a POST of JSON is answered 415 Unsupported Media Type. Leave it out"),
        (keys_alone, "a POST of JSON is answered 401 Unauthorized. Leave it out"),
        (answer_all, "a POST of JSON is answered 200 Ok. Another view"),
        (read_only, "a POST of JSON is answered 405 Method Not Allowed. Another view"),
        (hang_below, "a POST of JSON is answered 404 Not Found. Where the app hangs below a prefix"),
        (https_alone, "a POST of JSON is answered 302 Found, on to https://localhost/hooks/payments. Where the app is"),
        (break_down, "a POST of JSON is answered 500 Internal Server Error."),
    ],
)
def test_it_says_what_keeps_a_request_from_an_address(arrange: Callable[[Flask], object], says: str) -> None:
    [found] = said(hosting(arrange))
    assert found.startswith(f"{REFUSED}{says}")
    assert "secret" not in found


@pytest.mark.rule("receiving-check")
@pytest.mark.parametrize("arrange", [CSRFProtect, lambda _: None], ids=["csrf", "nothing"])
def test_what_arrives_is_well_and_calls_nothing_of_the_address(arrange: Callable[[Flask], object]) -> None:
    assert said(hosting(arrange)) == [ARRIVES]


@pytest.mark.rule("receiving-check")
def test_hooks_that_leave_the_address_out_are_well() -> None:
    def demand(app: Flask) -> None:
        app.before_request(lambda: None if request.blueprint == "squidmesh_receive" else abort(401))

    assert said(hosting(demand)) == [ARRIVES]


@pytest.mark.rule("receiving-check")
@pytest.mark.parametrize("arrange", [hang_below, lambda _: None], ids=["by the app", "before the app"])
def test_it_looks_where_the_app_is_reached(arrange: Callable[[Flask], object]) -> None:
    def demand_https(app: Flask) -> None:
        arrange(app)
        app.before_request(lambda: None if request.is_secure and request.host == "shop.example.org" else abort(403))

    assert said(hosting(demand_https, SQUIDMESH_EXTERNAL_URL="https://shop.example.org/shop")) == [ARRIVES]


@pytest.mark.rule("receiving-check")
def test_an_app_that_lets_exceptions_through_is_looked_at_too() -> None:
    [found] = said(hosting(break_down, TESTING=True))
    assert found.startswith(f"{REFUSED}LookupError was raised before.")


@pytest.mark.rule("receiving-check")
def test_no_header_makes_a_request_a_look() -> None:
    app = hosting(lambda _: None)
    answer = app.test_client().post(ADDRESS, headers={"squidmesh.probe": "1", "Squidmesh-Probe": "1"})
    assert answer.status_code == 401
    assert len(asked) == 1
    asked.clear()
