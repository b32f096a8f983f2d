"""Outcomes that the database refuses: those that pass are recorded, the others fail their step; none is repeated."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from flask_squidmesh import Manual, Retry, Step, Workflow
from flask_squidmesh.engine.changes import Changes
from flask_squidmesh.engine.decide import decide
from flask_squidmesh.engine.facts import AttemptCompleted, DecisionState, Fact
from flask_squidmesh.runtime import claim_renewal, recorder
from flask_squidmesh.storage.write_batch import ClaimLostError
from flask_squidmesh.testing import drain, memory_app
from tests.databases import PostgresDatabases, create_tables, engines_disposed
from tests.shop import Order, Recording, Script, Shop, error_of

Eventually = Callable[..., Any]
BRIEF = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.2}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at once."""
    monkeypatch.setattr(claim_renewal, "FIRST_PAUSE_SECONDS", 0.02)


def single(script: Script, *outcomes: Any, **options: Any) -> type[Workflow]:
    class Single(Workflow):
        place = Manual(Order)
        pay = Step(script.does("pay", *outcomes), retry=Retry(3), **options)
        flow = [pay]

    return Single


def joining(script: Script, *outcomes: Any) -> type[Workflow]:
    class Joining(Workflow):
        place = Manual(Order)
        pay = Step(script.does("pay", *outcomes), after=[])
        pack = Step(script.does("pack"), after=[])
        send = Step(script.does("send"), after=[pay, pack])

    return Joining


@contextmanager
def other(url: str) -> Iterator[psycopg.Connection]:
    """A connection of somebody who looks after the server; it is to another database."""
    address = sa.make_url(url).set(drivername="postgresql", database="postgres").render_as_string(False)
    with psycopg.connect(address, autocommit=True) as connection:
        yield connection


class Trouble:
    """Something that keeps the database from writing for a while."""

    def __init__(self, url: str) -> None:
        self._url, self._name = url, sa.make_url(url).database or ""

    def begin(self, kind: str) -> None:
        with other(self._url) as connection:
            self._say(connection, self.BEGINS[kind])
            if kind in ("closed", "read-only"):
                self._cut(connection)

    def end(self, kind: str) -> None:
        with other(self._url) as connection:
            self._say(connection, self.ENDS[kind])
            if kind == "read-only":
                self._cut(connection)

    def _cut(self, connection: psycopg.Connection) -> None:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [self._name]
        )

    def _say(self, connection: psycopg.Connection, what: str) -> None:
        if what.startswith("ALTER DATABASE"):
            connection.execute(sql.SQL(what).format(sql.Identifier(self._name)))
            return
        address = sa.make_url(self._url).set(drivername="postgresql").render_as_string(False)
        with psycopg.connect(address, autocommit=True) as inside:
            inside.execute(what)

    BEGINS = {
        "closed": "ALTER DATABASE {} ALLOW_CONNECTIONS false",
        "read-only": "ALTER DATABASE {} SET default_transaction_read_only = on",
        "disk full": (
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END$$; "
            "CREATE TRIGGER refuse BEFORE UPDATE ON squidmesh_step_runs FOR EACH ROW EXECUTE FUNCTION refuse()"
        ),
    }
    ENDS = {
        "closed": "ALTER DATABASE {} ALLOW_CONNECTIONS true",
        "read-only": "ALTER DATABASE {} RESET default_transaction_read_only",
        "disk full": "DROP FUNCTION refuse CASCADE",
    }


def deliver_all(shop: Shop, queue: Recording | None) -> None:
    while queue is not None and queue.given:
        shop.mesh.perform(queue.given.pop(0)[0])
    if queue is None:
        drain()


@pytest.mark.rule("outage-waits")
@pytest.mark.parametrize("delivery", ["worker", "queue"])
@pytest.mark.parametrize("kind", Trouble.BEGINS)
@pytest.mark.parametrize("form", [single, joining])
def test_an_outcome_waits_until_the_database_writes_again(
    migrated_postgres_url: str, script: Script, kind: str, form: Any, delivery: str
) -> None:
    trouble = Trouble(migrated_postgres_url)
    ending: list[threading.Timer] = []

    def into_trouble(_ctx: Any) -> dict[str, int]:
        trouble.begin(kind)
        ending.append(threading.Timer(0.4, trouble.end, [kind]))
        ending[0].start()
        return {"paid": 5}

    workflow, queue = form(script, into_trouble), Recording() if delivery == "queue" else None
    shop = Shop(migrated_postgres_url, workflow, executor=queue or "database")
    with shop.app.app_context():
        run_id = shop.start(workflow)
        deliver_all(shop, queue)
        ending[0].join()
        run = shop.look(run_id)
        assert (run.status, (run.context or {})["paid"], script.calls.count("pay")) == ("completed", 5, 1)
        assert [each.status for step in run.step_runs or () for each in step.attempts] == ["completed"] * len(
            script.calls
        )
    shop.runtime.database.dispose()


@pytest.mark.rule("outage-transaction")
@pytest.mark.parametrize("kind", Trouble.BEGINS)
def test_a_transaction_step_is_run_again_where_nothing_of_it_was_kept(
    migrated_postgres_url: str, script: Script, kind: str
) -> None:
    trouble = Trouble(migrated_postgres_url)
    ending: list[threading.Timer] = []
    shop: Any = None

    def book(_ctx: Any) -> None:
        shop.db.session.execute(sa.text("INSERT INTO booked VALUES (1)"))
        if not ending:
            trouble.begin(kind)
            ending.append(threading.Timer(0.4, trouble.end, [kind]))
            ending[0].start()

    workflow = single(script, book, transaction=True)
    shop = Shop(migrated_postgres_url, workflow)
    with shop.app.app_context():
        with shop.runtime.database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE booked (number int)")
        run_id = shop.start(workflow)
        drain()
        ending[0].join()
        with shop.runtime.database.read() as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM booked")) == 1
        run = shop.look(run_id)
        assert (run.status, [len(step.attempts) for step in run.step_runs or ()]) == ("completed", [1])
    shop.runtime.database.dispose()


@pytest.mark.rule("outage-claims")
def test_a_step_that_keeps_every_connection_loses_no_claim(
    migrated_postgres_url: str, script: Script, eventually: Eventually
) -> None:
    """Claims are renewed, and the outcome is recorded, over connections that steps cannot take."""
    kept: list[Any] = []
    given_back: list[bool] = []
    shop: Any = None

    def give_back() -> None:
        given_back.append(True)
        kept[0].close()

    in_the_end = threading.Timer(30, give_back)

    def hoard(ctx: Any) -> dict[str, int]:
        kept.append(shop.runtime.database.engine.connect())
        in_the_end.start()
        [before] = shop_due()
        eventually(lambda: shop_due() > [before], 20)
        assert not ctx.lost
        return {"paid": 5}

    def shop_due() -> list[Any]:
        with psycopg.connect(plain) as connection:
            return [row[0] for row in connection.execute("SELECT due_at FROM squidmesh_dispatches").fetchall()]

    plain = sa.make_url(migrated_postgres_url).set(drivername="postgresql").render_as_string(False)
    workflow = single(script, hoard)
    shop = Shop(migrated_postgres_url, workflow, engine_options=BRIEF, claim_timeout=1.5)
    with shop.app.app_context():
        run_id = shop.start(workflow)
        [claim] = shop.claim_due()
        status = shop.perform(claim)
        in_the_end.cancel()
        in_the_end.join()
        assert (status, given_back) == ("completed", [])
        kept[0].close()
        assert (shop.status(run_id), script.calls) == ("completed", ["pay"])
    shop.runtime.database.dispose()


@pytest.mark.rule("outcome-undecided")
@pytest.mark.parametrize("form", [single, joining])
def test_an_outcome_from_which_nothing_can_be_decided_fails_the_step_once(
    open_shop: Callable[..., Shop], script: Script, form: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """The step has had its effect; left alone it would have it again whenever its claim expires."""

    def fail(state: DecisionState, fact: Fact) -> Changes:
        if isinstance(fact, AttemptCompleted) and fact.visit.step == "pay":
            raise LookupError("nobody has thought of it")
        return decide(state, fact)

    monkeypatch.setattr(recorder, "decide", fail)
    shop = open_shop(form(script))
    run = shop.look(shop.run(form.__name__))
    error = error_of(run)
    assert (run.status, error["type"], error["message"]) == ("failed", "LookupError", "nobody has thought of it")
    assert script.calls.count("pay") == 1
    assert "what follows step pay could not be decided" in caplog.text


@pytest.fixture
def latin1_url(postgres_databases: PostgresDatabases, migrated_postgres_url: str) -> Iterator[str]:
    """A database that cannot hold most characters."""
    url = sa.make_url(migrated_postgres_url).set(database="squidmesh_test_latin1").render_as_string(False)
    with other(url) as connection:
        connection.execute("DROP DATABASE IF EXISTS squidmesh_test_latin1")
        connection.execute(
            "CREATE DATABASE squidmesh_test_latin1 TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    create_tables(url)
    with engines_disposed():
        yield url
    postgres_databases.drop(url)


@pytest.mark.rule("outage-for-good")
@pytest.mark.parametrize("form", [single, joining])
@pytest.mark.parametrize("outcome", [{"paid": "5 €"}, {"5 €": 5}, ValueError("no €")], ids=["value", "key", "error"])
def test_an_outcome_that_the_database_cannot_hold_fails_the_step_once(
    latin1_url: str, script: Script, form: Any, outcome: Any
) -> None:
    workflow = form(script, outcome)
    shop = Shop(latin1_url, workflow)
    with shop.app.app_context():
        run_id = shop.start(workflow)
        for _ in range(3):
            shop.later(31)
        run = shop.look(run_id)
        assert (run.status, script.calls.count("pay")) == ("failed", 1)
        assert "the database refuses its outcome" in error_of(run)["message"]
    shop.runtime.database.dispose()


@pytest.mark.rule("database-errors")
def test_a_caller_sees_errors_of_sqlalchemy_only_while_the_server_takes_nobody(
    migrated_postgres_url: str, script: Script
) -> None:
    workflow, trouble = single(script), Trouble(migrated_postgres_url)
    shop = Shop(migrated_postgres_url, workflow)
    with shop.app.app_context():
        run_id = shop.start(workflow)
        trouble.begin("closed")
        calls: list[Callable[[], Any]] = [
            lambda: shop.start(workflow),
            lambda: shop.mesh.inspect_run(run_id),
            lambda: shop.mesh.list_runs(),
            lambda: shop.mesh.cancel_run(run_id, actor="lee"),
            lambda: shop.mesh.perform({"kind": "step", "run_id": run_id, "step": "pay"}),
            drain,
        ]
        for call in calls * 2:
            with pytest.raises(sa.exc.DBAPIError):
                call()
        trouble.end("closed")
        drain()
        assert (shop.status(run_id), script.calls) == ("completed", ["pay"])
    shop.runtime.database.dispose()


class Passing:
    """A pause that takes no time, and a clock that it moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("whatever", [True, False])
def test_nothing_is_tried_for_ever_where_nobody_renews_the_claim(
    script: Script, monkeypatch: pytest.MonkeyPatch, whatever: bool
) -> None:
    passing = Passing()
    for name in ("time", "_PAUSE"):
        monkeypatch.setattr(claim_renewal, name, passing)

    def refused() -> None:
        kind = sa.exc.DataError if whatever else sa.exc.OperationalError
        raise kind("UPDATE", {}, OSError("refused"))

    with memory_app(workflow := single(script)) as host:
        host.mesh.start_run(workflow, {})
        runtime = host.app.extensions["squidmesh"]
        [claim] = runtime.claimer.claim_due("squidmesh", limit=1)
        with pytest.raises(ClaimLostError):
            runtime.claims.until_lost(claim, "its failure", refused, whatever=whatever)
        assert passing.now == pytest.approx(runtime.settings.claim_timeout, abs=claim_renewal.LONGEST_PAUSE_SECONDS)


@pytest.mark.rule("outage-undecided")
def test_what_says_neither_is_tried_for_one_claim_timeout_and_then_fails_the_step(
    open_shop: Callable[..., Shop], script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    passing = Passing()
    for name in ("time", "_PAUSE"):
        monkeypatch.setattr(claim_renewal, name, passing)

    def refuse(state: DecisionState, fact: Fact) -> Changes:
        if isinstance(fact, AttemptCompleted) and passing.now < 10 * timeout:
            raise sa.exc.InternalError("UPDATE", {}, Exception("nobody knows"))
        return decide(state, fact)

    shop = open_shop(workflow := single(script))
    timeout = shop.runtime.settings.claim_timeout
    monkeypatch.setattr(recorder, "decide", refuse)
    run = shop.look(shop.run(workflow))
    assert passing.now == pytest.approx(timeout, abs=claim_renewal.LONGEST_PAUSE_SECONDS)
    assert (run.status, error_of(run)["message"], script.calls) == (
        "failed",
        "The step has ended, but the database refuses its outcome: nobody knows",
        ["pay"],
    )
