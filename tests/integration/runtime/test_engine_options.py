"""What hosts set on their engine: isolation, options and listeners are obeyed, and no pool makes a request wait for
itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import AssertionPool, NullPool, SingletonThreadPool, StaticPool

from flask_squidmesh import Approval, ConfigurationError, ConflictError, Manual, Step, TransitionError, Workflow
from flask_squidmesh.runtime.waking import watch
from flask_squidmesh.storage import compiled, connections, tables
from flask_squidmesh.storage.connections import server_of
from flask_squidmesh.testing import drain
from tests.shop import Order, Script, shop_on

OPTIONS: Mapping[str, dict[str, Any]] = {
    "autocommit": {"isolation_level": "AUTOCOMMIT"},
    "serializable": {"isolation_level": "SERIALIZABLE"},
    "repeatable read": {"isolation_level": "REPEATABLE READ"},
    "as an execution option": {"execution_options": {"isolation_level": "SERIALIZABLE"}},
    "autocommit as an execution option": {"execution_options": {"isolation_level": "AUTOCOMMIT"}},
    "of the server": {"connect_args": {"options": "-c default_transaction_isolation=serializable"}},
    "no pool": {"poolclass": NullPool, "isolation_level": "SERIALIZABLE"},
    "one connection": {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1},
    "logged": {"echo": True},
    "a schema of its own": {"execution_options": {"schema_translate_map": {None: "public"}}},
}


def joining(script: Script) -> type[Workflow]:
    class Joining(Workflow):
        place = Manual(Order)
        left = Step(script.does("left", {"left": 1}), after=[])
        right = Step(script.does("right", {"right": [1, "ü"]}), after=[])
        ask = Approval(after=[left, right])
        end = Step(script.does("end"), after=[ask], transaction=True)

    return Joining


@pytest.mark.rule("database-read-committed")
@pytest.mark.parametrize("option", OPTIONS)
def test_whatever_the_engine_says_each_decision_is_taken_once(
    migrated_postgres_url: str, script: Script, option: str
) -> None:
    """Of people who decide at once one does, and the others hear so; nobody hears the driver."""
    workflow = joining(script)
    with shop_on(migrated_postgres_url, workflow, **OPTIONS[option]) as shop:
        run_ids = [shop.start(workflow, idempotency_key=key) for key in ("a", "b", "a")]
        assert run_ids[0] == run_ids[2]
        drain()
        ready = threading.Barrier(4)

        def approve(run_id: str) -> str:
            with shop.app.app_context():
                ready.wait(120)
                try:
                    shop.mesh.approve_run(run_id, actor="lee")
                except (ConflictError, TransitionError):
                    return "told"
                return "done"

        for run_id in run_ids[:2]:
            with ThreadPoolExecutor(4) as pool:
                assert sorted(pool.map(approve, [run_id] * 4)) == ["done", "told", "told", "told"]
        drain()
        for run_id in run_ids[:2]:
            run = shop.look(run_id)
            assert (run.status, (run.context or {})["right"]) == ("completed", [1, "ü"])
    assert sorted(script.calls) == ["end", "end", "left", "left", "right", "right"]


@pytest.mark.rule("database-read-committed")
@pytest.mark.parametrize("option", ["autocommit", "serializable", "of the server"])
def test_the_hosts_own_transactions_stay_as_the_engine_says(
    migrated_postgres_url: str, script: Script, option: str
) -> None:
    workflow = joining(script)

    def level() -> tuple[Any, str]:
        with shop.db.engine.connect() as connection:
            shown = connection.scalar(sa.text("SHOW transaction_isolation"))
            raw: Any = connection.connection.driver_connection
            return shown, raw.autocommit

    with shop_on(migrated_postgres_url, workflow, **OPTIONS[option]) as shop:
        before = level()
        run_id = shop.start(workflow)
        drain()
        shop.mesh.approve_run(run_id, actor="lee")
        assert level() == before


LISTENED = ("engine_connect", "begin", "before_cursor_execute", "before_execute", "after_cursor_execute", "do_execute")


@pytest.mark.rule("database-past-sqlalchemy")
@pytest.mark.parametrize("event", LISTENED)
def test_no_statement_passes_a_listener_by(migrated_postgres_url: str, script: Script, event: str) -> None:
    workflow, heard = joining(script), list[str]()
    with shop_on(migrated_postgres_url, workflow) as shop:
        engine = shop.runtime.database.engine
        sa.event.listen(engine, event, lambda *_: heard.append(event))
        assert f"a listener to {event}" in compiled.passed_by(engine)
        with psycopg.connect(plain(migrated_postgres_url)) as connection:
            before = commits(connection)
            run_id = shop.start(workflow)
            assert heard
            drain()
            shop.mesh.approve_run(run_id, actor="lee")
            drain()
            assert shop.status(run_id) == "completed"
            assert commits(connection) > before


def plain(url: str) -> str:
    return sa.make_url(url).set(drivername="postgresql").render_as_string(False)


def commits(connection: psycopg.Connection) -> int:
    connection.execute("SELECT pg_stat_clear_snapshot()")
    row = connection.execute("SELECT count(*) FROM squidmesh_step_runs WHERE status = 'completed'").fetchone()
    connection.commit()
    return int(row[0]) if row else 0


@pytest.mark.rule("database-past-sqlalchemy")
def test_row_level_security_that_a_begin_listener_sets_up_is_obeyed(migrated_postgres_url: str, script: Script) -> None:
    """The policy lets rows be written and seen only where the listener has said who asks."""
    workflow = joining(script)
    with psycopg.connect(plain(migrated_postgres_url), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS squidmesh_clerk")
        connection.execute("CREATE ROLE squidmesh_clerk LOGIN")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO squidmesh_clerk")
        connection.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO squidmesh_clerk")
        for table in ("squidmesh_runs", "squidmesh_step_runs", "squidmesh_dispatches"):
            connection.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            connection.execute(f"CREATE POLICY own ON {table} USING (current_setting('shop.clerk', true) = 'yes')")
    url = sa.make_url(migrated_postgres_url).set(username="squidmesh_clerk").render_as_string(False)
    with shop_on(url, workflow) as shop:
        sa.event.listen(
            shop.runtime.database.engine,
            "begin",
            lambda connection: connection.exec_driver_sql("SELECT set_config('shop.clerk', 'yes', true)"),
        )
        run_id = shop.start(workflow)
        drain()
        shop.mesh.approve_run(run_id, actor="lee")
        drain()
        assert shop.status(run_id) == "completed"
    with psycopg.connect(plain(migrated_postgres_url), autocommit=True) as connection:
        connection.execute("DROP OWNED BY squidmesh_clerk")
        connection.execute("DROP ROLE squidmesh_clerk")


@pytest.mark.rule("database-refused")
def test_a_session_that_commits_by_itself_is_refused(migrated_postgres_url: str, script: Script) -> None:
    workflow = joining(script)
    with shop_on(migrated_postgres_url, workflow, isolation_level="AUTOCOMMIT") as shop:
        with pytest.raises(ConfigurationError, match="AUTOCOMMIT"):
            shop.start(workflow, session=shop.db.session)
        shop.db.session.rollback()
        shop.db.session.connection(execution_options={"isolation_level": "READ COMMITTED"})
        run_id = shop.start(workflow, session=shop.db.session)
        shop.db.session.rollback()
        assert shop.rows(tables.runs) == []
        assert run_id


@pytest.mark.rule("database-refused")
@pytest.mark.parametrize("pool", [StaticPool, SingletonThreadPool, AssertionPool])
def test_a_pool_with_one_connection_for_all_is_refused(migrated_postgres_url: str, script: Script, pool: Any) -> None:
    workflow = joining(script)
    with (
        shop_on(migrated_postgres_url, workflow, poolclass=pool) as shop,
        pytest.raises(ConfigurationError, match=pool.__name__),
    ):
        shop.start(workflow)


@pytest.mark.rule("database-refused")
def test_a_schema_translation_on_sqlite_is_refused(migrated_sqlite_url: str, script: Script) -> None:
    workflow = joining(script)
    options = {"schema_translate_map": {None: "attached"}}
    with (
        shop_on(migrated_sqlite_url, workflow, execution_options=options) as shop,
        pytest.raises(ConfigurationError, match="schema_translate_map"),
    ):
        shop.start(workflow)


# -- one pool, many requests ---------------------------------------------------------------------------------------


@pytest.mark.rule("database-pool")
@pytest.mark.parametrize("size", [1, 5])
def test_requests_that_hold_a_connection_wait_for_none_of_the_same_pool(
    migrated_postgres_url: str, script: Script, size: int
) -> None:
    workflow = joining(script)
    options = {"pool_size": size, "max_overflow": 0, "pool_timeout": 20}
    with shop_on(migrated_postgres_url, workflow, **options) as shop:
        shop.start(workflow)
        all_hold = threading.Barrier(size)

        def request(number: int) -> int:
            with shop.app.app_context():
                shop.db.session.execute(sa.text("SELECT 1"))
                all_hold.wait(120)
                shop.start(workflow, {"order_id": f"o-{number}"})
                return len(shop.mesh.list_runs().runs)

        with ThreadPoolExecutor(size) as pool:
            assert list(pool.map(request, range(size * 2)))
        assert len(shop.mesh.list_runs().runs) == size * 2 + 1


@pytest.mark.rule("database-pool")
def test_reads_use_the_connection_that_the_hosts_session_has(migrated_postgres_url: str, script: Script) -> None:
    workflow = joining(script)
    with shop_on(migrated_postgres_url, workflow, pool_size=1, max_overflow=0, pool_timeout=1) as shop:
        run_id = shop.start(workflow)
        opened: list[Any] = []
        sa.event.listen(sa.pool.Pool, "checkout", lambda *given: opened.append(given))
        try:
            shop.db.session.execute(sa.text("CREATE TEMPORARY TABLE mine (n int)"))
            before = len(opened)
            assert shop.status(run_id) == "pending"
            assert len(opened) == before
            with pytest.raises(sa.exc.ProgrammingError), shop.runtime.database.read() as connection:
                connection.exec_driver_sql("SELECT nothing_of_that_name")
            assert shop.db.session.scalar(sa.text("SELECT count(*) FROM mine")) == 0
        finally:
            shop.db.session.rollback()


@pytest.mark.rule("database-pool")
def test_a_session_whose_snapshot_is_old_is_not_read_from(migrated_postgres_url: str, script: Script) -> None:
    workflow = joining(script)
    with shop_on(migrated_postgres_url, workflow, isolation_level="REPEATABLE READ") as shop:
        run_id = shop.start(workflow)
        shop.db.session.execute(sa.text("SELECT count(*) FROM squidmesh_runs"))
        shop.mesh.cancel_run(run_id, actor="lee")
        assert shop.status(run_id) == "cancelled"
        shop.db.session.rollback()


# -- poolers -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("database-pooler")
def test_behind_a_pooler_nothing_is_prepared_and_nothing_is_listened_for(
    migrated_postgres_url: str, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler makes the process number up that it tells of."""
    workflow = joining(script)
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", 1)
    options = {"pool_size": 1, "max_overflow": 0, "connect_args": {"prepare_threshold": 0}}
    with shop_on(migrated_postgres_url, workflow, **options) as shop:
        run_id = shop.start(workflow)
        drain()
        shop.mesh.approve_run(run_id, actor="lee")
        pooled = shop.runtime.database.engine.raw_connection()
        assert server_of(pooled).direct is False
        raw: Any = pooled.driver_connection
        names = [name for (name,) in raw.execute("SELECT name FROM pg_prepared_statements", prepare=False).fetchall()]
        pooled.close()
        assert names == []
        assert raw.prepare_threshold == 0


@pytest.mark.rule("database-pooler")
def test_behind_a_pooler_no_connection_is_kept_for_being_woken(
    migrated_postgres_url: str,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    eventually: Callable[..., Any],
) -> None:
    caplog.set_level("INFO", "flask_squidmesh")
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", 1)
    name = f"kept-{uuid4()}"
    asked = sa.text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name").bindparams(name=name)
    outside = sa.create_engine(migrated_postgres_url)
    with shop_on(migrated_postgres_url, joining(script), connect_args={"application_name": name}) as shop:
        listener = watch(shop.runtime.database, "squidmesh", shop.runtime.wake_signal)
        assert listener is not None
        listener.start()
        try:
            eventually(lambda: "there is a pooler" in caplog.text)
            with outside.connect() as connection:
                eventually(lambda: connection.scalar(asked) == 0)
        finally:
            listener.stop()
            outside.dispose()


def test_a_pooler_that_breaks_off_is_told_by_its_own_words_alone(
    migrated_postgres_url: str, script: Script, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As it does where it gets no connection of the server's: in answer to whatever it is asked first."""
    with shop_on(migrated_postgres_url, joining(script)) as shop:
        with monkeypatch.context() as broken:
            broken.setattr(connections, "_ASK_BOTH", b"SELECT pg_terminate_backend(pg_backend_pid())")
            with pytest.raises(sa.exc.OperationalError, match="terminating connection"):
                shop.mesh.list_runs()
        assert shop.mesh.list_runs().runs == ()
    assert "Exception during reset" not in caplog.text


@pytest.mark.rule("database-pooler")
def test_names_of_statements_are_those_of_no_other_process(migrated_postgres_url: str, script: Script) -> None:
    workflow = joining(script)
    options = {"pool_size": 1, "max_overflow": 0, "connect_args": {"prepare_threshold": 0}}
    with shop_on(migrated_postgres_url, workflow, **options) as shop:
        shop.start(workflow)
        pooled = shop.runtime.database.engine.raw_connection()
        raw: Any = pooled.driver_connection
        rows = raw.execute("SELECT name FROM pg_prepared_statements", prepare=False).fetchall()
        pooled.close()
        ours = [name for (name,) in rows if name.startswith("squidmesh")]
        assert ours
        assert all(len(name.split("_")) == 4 and len(name.split("_")[1]) == 8 for name in ours)
