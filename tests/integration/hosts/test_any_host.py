"""Small host apps, each with settings of its own: a run goes through all of its states in every one of them."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Blueprint, Flask
from flask.json.provider import DefaultJSONProvider, JSONProvider
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.model import Model
from flask_sqlalchemy.query import Query
from flask_sqlalchemy.session import Session
from pydantic import BaseModel
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import NullPool

from flask_squidmesh import Approval, Manual, Retry, RetryStep, SquidMesh, Step, StepContext, Wait, Workflow
from flask_squidmesh.testing import SettableClock, drain


class Invoice(BaseModel):
    number: str
    amount: Decimal = Decimal("1234567890.10")
    share: float = 0.1
    lines: list[dict[str, int]] = []


def check_invoice(ctx: StepContext, amount: Decimal, share: float, lines: list[dict[str, int]]) -> dict[str, Any]:
    if ctx.attempt == 1:
        raise RetryStep("not yet", after=1)
    assert (amount, share, lines) == (Decimal("1234567890.10"), 0.1, [{"a": 1}])
    assert isinstance(ctx.state["share"], float)
    return {"checked": {"share": share, "big": 2**60, "text": "ä\u2028"}}


def book_invoice(checked: dict[str, Any]) -> None:
    assert checked == {"share": 0.1, "big": 2**60, "text": "ä\u2028"}
    assert isinstance(checked["share"], float)


class Invoicing(Workflow):
    place = Manual(Invoice)
    subject = "Invoice {number}"
    check = Step(check_invoice, retry=Retry(2))
    settle = Wait(30)
    review = Approval("Pay {amount}?")
    book = Step(book_invoice)
    refuse = Step(book_invoice)
    flow = [check >> settle >> review >> book, review.on_reject >> refuse]


@dataclass
class Host:
    """How a host makes its app. prepare: is given the app before the extensions, finish: after them."""

    sqlalchemy: Callable[[], dict[str, Any]] = dict
    engine_options: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    flask: Callable[[], Flask] = lambda: Flask("host")
    prepare: Callable[[Flask], object] = lambda app: None
    finish: Callable[[Flask, SquidMesh], object] = lambda app, mesh: None
    mesh_first: bool = False
    prefix: str = "/squidmesh"
    only: str = ""
    clock: SettableClock = field(default_factory=SettableClock)


class DecimalSession(Session):
    """A session of the host's own class."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)


class HostModel(Model):
    pass


def a_base() -> type[DeclarativeBase]:
    class HostBase(DeclarativeBase):
        pass

    return HostBase


class HostQuery(Query):
    pass


class SortedProvider(DefaultJSONProvider):
    sort_keys = True
    compact = True
    mimetype = "application/vnd.host+json"


class StubbornProvider(JSONProvider):
    """Writes and reads numbers as the host wants them, which is none of ours."""

    def dumps(self, obj: Any, **options: Any) -> str:
        return json.dumps({"wrapped": str(obj)})

    def loads(self, s: str | bytes, **options: Any) -> Any:
        return {"wrapped": json.loads(s)}


class StubbornFlask(Flask):
    json_provider_class = StubbornProvider


def with_decimals(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def wrapping(value: Any) -> str:
    return json.dumps({"wrapped": value}, default=str)


def nested(app: Flask, mesh: SquidMesh) -> None:
    outer = Blueprint("outer", __name__, url_prefix="/outer")
    outer.register_blueprint(mesh.dashboard(name="inner", url_prefix="/runs"))
    app.register_blueprint(outer)


def asking(app: Flask) -> None:
    async def before() -> None:
        return None

    app.before_request(before)
    app.teardown_request(lambda error: None)
    app.url_build_error_handlers.append(lambda error, endpoint, values: f"/moved/{endpoint}")
    app.url_defaults(lambda endpoint, values: values.setdefault("lang", "en"))
    app.context_processor(lambda: {"now": "the host's", "run": "the host's", "_": "the host's"})


def with_async_views(app: Flask) -> None:
    async def home() -> str:
        return "home"

    app.add_url_rule("/", view_func=home)


HOSTS: dict[str, Host] = {
    "session of the thread": Host(sqlalchemy=lambda: {"session_options": {"scopefunc": threading.get_ident}}),
    "one session for all": Host(sqlalchemy=lambda: {"session_options": {"scopefunc": lambda: 1}}, only="sqlite"),
    "no autoflush": Host(sqlalchemy=lambda: {"session_options": {"autoflush": False, "expire_on_commit": False}}),
    "session class": Host(sqlalchemy=lambda: {"session_options": {"class_": DecimalSession, "future": True}}),
    "session info": Host(sqlalchemy=lambda: {"session_options": {"info": {"tenant": "acme"}, "autobegin": True}}),
    "classic model": Host(sqlalchemy=lambda: {"model_class": HostModel, "query_class": HostQuery}),
    "no autonaming": Host(sqlalchemy=lambda: {"model_class": a_base(), "disable_autonaming": True}),
    "metadata": Host(sqlalchemy=lambda: {"metadata": sa.MetaData(naming_convention={"ix": "host_%(column_0_label)s"})}),
    "tracking": Host(config={"SQLALCHEMY_TRACK_MODIFICATIONS": True, "SQLALCHEMY_RECORD_QUERIES": True}),
    "mesh first": Host(mesh_first=True),
    "JSON with decimals": Host(engine_options={"json_deserializer": with_decimals}),
    "JSON wrapped": Host(engine_options={"json_serializer": wrapping}),
    "no pool": Host(engine_options={"poolclass": NullPool}),
    "pinging": Host(engine_options={"pool_pre_ping": True, "pool_recycle": 1, "hide_parameters": True}),
    "no cache": Host(engine_options={"query_cache_size": 0, "use_insertmanyvalues": False}),
    "named parameters": Host(engine_options={"paramstyle": "named"}, only="sqlite"),
    # SQLAlchemy gives sqlite3 a sequence for them, which Python deprecates from 3.12 on.
    **(
        {"numbered parameters": Host(engine_options={"paramstyle": "numeric"}, only="sqlite")}
        if sys.version_info < (3, 12)
        else {}
    ),
    "formatted parameters": Host(engine_options={"paramstyle": "format"}, only="postgres"),
    "native everything": Host(engine_options={"native_inet_types": False, "use_native_hstore": False}, only="postgres"),
    "server name": Host(config={"SERVER_NAME": "host.example", "PREFERRED_URL_SCHEME": "https"}),
    "application root": Host(config={"APPLICATION_ROOT": "/app", "SESSION_COOKIE_PATH": "/"}),
    "nested blueprint": Host(finish=nested, prefix="/outer/runs"),
    "JSON provider": Host(flask=lambda: _providing(SortedProvider)),
    "stubborn JSON provider": Host(flask=lambda: StubbornFlask("host")),
    "hooks": Host(prepare=asking),
    "async views": Host(prepare=with_async_views),
    "strict slashes": Host(prepare=lambda app: setattr(app.url_map, "strict_slashes", False)),
    "factory of several apps": Host(prepare=lambda app: None),
}


def _providing(provider: type[JSONProvider]) -> Flask:
    app = Flask("host")
    app.json = provider(app)
    return app


@contextmanager
def hosting(host: Host, url: str) -> Iterator[tuple[Flask, SQLAlchemy, SquidMesh]]:
    app, db = host.flask(), SQLAlchemy(**host.sqlalchemy())
    mesh = SquidMesh(clock=host.clock, authorize=lambda action, run, permission: True, actor=lambda: "dana")
    mesh.register(Invoicing)
    patient = {"connect_args": {"timeout": 30}} if url.startswith("sqlite") else {}
    app.config.update(SQLALCHEMY_DATABASE_URI=url, SECRET_KEY="secret", SQUIDMESH_EXECUTOR="database")
    app.config.update(SQLALCHEMY_ENGINE_OPTIONS={**patient, **host.engine_options}, **host.config)
    host.prepare(app)
    for extension in (mesh, db) if host.mesh_first else (db, mesh):
        extension.init_app(app)
    host.finish(app, mesh)

    class Customer(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = "host_customers"
        id: Mapped[int] = mapped_column(primary_key=True)

    app.extensions["host"] = Customer
    with app.app_context():
        db.create_all()
    try:
        yield app, db, mesh
    finally:
        app.extensions["squidmesh"].database.dispose()
        with app.app_context():
            db.session.remove()
            for engine in db.engines.values():
                engine.dispose()


def skip_unless_wanted(host: Host, url: str) -> None:
    if host.only and not url.startswith(host.only):
        pytest.skip(f"This is a setting for {host.only} alone.")


@pytest.mark.rule("setup-any-host")
@pytest.mark.parametrize("name", HOSTS)
def test_a_run_goes_through_all_its_states(name: str, database_url: str) -> None:
    host = HOSTS[name]
    skip_unless_wanted(host, database_url)
    with hosting(host, database_url) as (app, db, mesh):
        with app.app_context():
            db.session.add(app.extensions["host"](id=1))
            joined = mesh.start_run(Invoicing, {"number": "i-1", "lines": [{"a": 1}]}, session=db.session)
            db.session.commit()
            own = mesh.start_run(Invoicing, {"number": "i-2", "lines": [{"a": 1}]}, idempotency_key="i-2")
            for seconds in (0, 2, 31):
                host.clock.advance(seconds)
                drain()
            assert {run.status for run in mesh.list_runs().runs} == {"paused"}
            mesh.approve_run(joined.id, actor="dana", session=db.session)
            db.session.commit()
            mesh.reject_run(own.id, actor="dana", comment="no", metadata={"share": 0.1})
            drain()
            assert {run.status for run in mesh.list_runs().runs} == {"completed"}
            history = mesh.inspect_run(own.id, include_history=True)
            assert history.audit_events
            assert db.session.scalar(sa.select(sa.func.count()).select_from(app.extensions["host"])) == 1
            runtime = app.extensions["squidmesh"]
            assert list(runtime.doctor.examine()) == []
            assert {found.subject for found in runtime.app_check.results() if found.wrong} <= {
                "workers",
                "authorization",
                "scope",
            }
        client = app.test_client()
        for page in ("/", "/runs", f"/runs/{own.id}", "/runs.json", "/audit", "/workflows/invoicing/start"):
            answer = client.get(host.prefix + page, base_url=f"http://{app.config['SERVER_NAME'] or 'localhost'}")
            assert answer.status_code == 200, page
            assert "/moved/" not in answer.text


@pytest.mark.rule("setup-any-host")
def test_what_is_started_in_the_callers_transaction_goes_with_it(database_url: str) -> None:
    for name in ("session of the thread", "no autoflush", "session class"):
        with hosting(HOSTS[name], database_url) as (app, db, mesh), app.app_context():
            db.session.add(app.extensions["host"](id=7))
            run = mesh.start_run(Invoicing, {"number": "i-1"}, session=db.session)
            assert mesh.inspect_run(run.id, session=db.session).status == "pending"
            db.session.rollback()
            assert mesh.list_runs().runs == ()
            db.drop_all()
