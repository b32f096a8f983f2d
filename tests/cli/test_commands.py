"""The commands as a host calls them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import flask_migrate
import psycopg
import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

from flask_squidmesh import Cron, Every, Executor, Log, Manual, Pause, SquidMesh, Step, Workflow
from flask_squidmesh.cli import command_group
from flask_squidmesh.clock import SettableClock
from flask_squidmesh.runtime.relay import Relay
from flask_squidmesh.runtime.runtime import Runtime
from flask_squidmesh.runtime.worker import Worker
from flask_squidmesh.storage import migrations
from flask_squidmesh.storage.tables import Dispatch, Process

pytestmark = [
    pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
]


class Queue(Executor):
    def enqueue(self, payload, *, schedule_in=None):
        return {}


class Greeting(Workflow):
    greet_now = Manual()
    greet = Step(lambda: None)


class Digest(Workflow):
    daily = Cron("0 9 * * 1-5", timezone="Europe/Berlin")
    announce = Log("Digest")


class Syncing(Workflow):
    skips = Every(timedelta(hours=1), overlap="skip")
    hold = Pause()


LISTED = ["next_due", "last_due", "fired_at", "paused_at"]


class Shop:
    """A host app with our commands."""

    def __init__(self, folder: Path, url: str, *workflows: type[Workflow], **settings: Any) -> None:
        self.app = Flask("shop", root_path=str(folder), instance_path=str(folder))
        self.app.config.update(SQLALCHEMY_DATABASE_URI=url, **settings)
        self.db = SQLAlchemy(self.app)
        self.clock = SettableClock()
        self.directory = folder / "migrations"
        Migrate(self.app, self.db, directory=str(self.directory))
        self.mesh = SquidMesh(self.app, clock=self.clock)
        if workflows:
            self.mesh.register(*workflows)
        self.runtime: Runtime = self.app.extensions["squidmesh"]

    def run(self, *words: str) -> Result:
        return self.app.test_cli_runner().invoke(args=["squidmesh", *words])

    def insert(self, table: type[Any], **values: Any) -> None:
        with self.runtime.database.write() as connection:
            connection.execute(sa.insert(table).values(values))

    def now(self) -> datetime:
        return self.clock.now()

    def beat(self, kind: str, ago: float = 0, queue: str = "squidmesh") -> None:
        seen = self.now() - timedelta(seconds=ago)
        self.insert(Process, id=f"{kind}-{ago}", kind=kind, queue=queue, threads=1, started_at=seen, seen_at=seen)

    def dispatch(self, due: float, **values: Any) -> None:
        due_at = self.now() + timedelta(seconds=due)
        times = {"due_at": due_at, "relay_at": due_at, "created_at": self.now()}
        self.insert(Dispatch, id=str(uuid4()), kind="cron", payload={}, queue="squidmesh", **times, **values)


@pytest.fixture
def shop_at(tmp_path: Path) -> Callable[..., Shop]:
    """A function that makes a shop on a database."""
    return lambda url, *workflows, **settings: Shop(tmp_path, url, *workflows, **settings)


@pytest.mark.rule("install-once")
def test_install_writes_the_migrations_and_says_what_comes_next(shop_at, sqlite_url: str) -> None:
    shop = shop_at(sqlite_url)
    with shop.app.app_context():
        flask_migrate.init()
    first, second = shop.run("install"), shop.run("install")
    assert first.exit_code == second.exit_code == 0
    assert "Wrote " in first.output
    assert "squidmesh_0001" in first.output
    assert first.output.endswith("Now run: flask db upgrade\n")
    assert second.output == "The migrations are up to date; nothing to write.\n"


def test_install_takes_another_directory(shop_at, sqlite_url: str, tmp_path: Path) -> None:
    shop = shop_at(sqlite_url)
    elsewhere = tmp_path / "elsewhere"
    with shop.app.app_context():
        flask_migrate.init(directory=str(elsewhere))
    assert shop.run("install", "--directory", str(elsewhere)).exit_code == 0
    assert list(elsewhere.glob("versions/squidmesh_0001*.py"))


def test_install_without_migrations_says_how_to_make_them(shop_at, sqlite_url: str) -> None:
    result = shop_at(sqlite_url).run("install")
    assert result.exit_code == 1
    assert "holds no migrations. Run: flask db init" in result.output


def test_install_with_several_heads_says_the_way_out(shop_at, sqlite_url: str) -> None:
    shop = shop_at(sqlite_url)
    with shop.app.app_context():
        flask_migrate.init()
        flask_migrate.revision(rev_id="aaa")
        flask_migrate.revision(rev_id="bbb", head="base", splice=True)
    refused = shop.run("install")
    assert refused.exit_code == 1
    assert "flask db merge heads" in refused.output
    assert shop.run("install", "--head", "bbb").exit_code == 0


def test_an_unknown_head_is_refused_without_a_traceback(shop_at, sqlite_url: str) -> None:
    shop = shop_at(sqlite_url)
    with shop.app.app_context():
        flask_migrate.init()
    result = shop.run("install", "--head", "zzz")
    assert result.exit_code == 1
    assert "zzz" in result.output
    assert isinstance(result.exception, SystemExit)


def test_install_without_flask_migrate_says_so(shop_at, sqlite_url: str) -> None:
    shop = shop_at(sqlite_url)
    del shop.app.extensions["migrate"]
    assert "Flask-Migrate is not set up" in shop.run("install").output


def test_an_app_without_squid_mesh_is_told_so(shop_at, sqlite_url: str) -> None:
    shop = shop_at(sqlite_url)
    del shop.app.extensions["squidmesh"]
    result = shop.run("check")
    assert result.exit_code == 1
    assert "mesh.init_app(app)" in result.output


def test_several_apps_have_the_commands(shop_at, sqlite_url: str, migrated_sqlite_url: str) -> None:
    empty, migrated = shop_at(sqlite_url), shop_at(migrated_sqlite_url)
    assert re.search(r"None of the \d+ tables is there", empty.run("check").output)
    assert "tables is there" not in migrated.run("check").output


def test_check_is_content_with_a_whole_installation(shop_at, migrated_url: str) -> None:
    shop = shop_at(migrated_url, Greeting, SQUIDMESH_EXECUTOR="database")
    shop.beat("worker")
    shop.dispatch(due=60)
    result = shop.run("check")
    assert result.exit_code == 0, result.output
    assert "wrong" not in result.output
    assert "ok     workflows: greeting" in result.output
    assert "ok     squidmesh_dispatches: 1 row" in result.output
    assert "runs a day" in result.output


@pytest.mark.rule("scope-hook")
def test_check_notes_that_whoever_may_list_sees_all_tenants(shop_at, migrated_sqlite_url: str) -> None:
    shop = shop_at(migrated_sqlite_url, Greeting, SQUIDMESH_EXECUTOR="database")
    shop.beat("worker")
    result = shop.run("check")
    assert result.exit_code == 0, result.output
    assert "note   scope: There is no hook `scope`" in result.output


@pytest.mark.rule("check-tells-all")
def test_check_tells_everything_that_is_wrong(shop_at, database_url: str) -> None:
    result = shop_at(database_url).run("check")
    assert result.exit_code == 1
    for said in (
        "wrong  configuration: SQUIDMESH_EXECUTOR is not set",
        "wrong  workflows: None is registered",
        "tables is there.",
        "flask squidmesh install\n         flask db upgrade",
        "things are wrong.",
    ):
        assert said in result.output


def test_check_tells_of_an_executor_that_cannot_be_imported(shop_at, migrated_sqlite_url: str) -> None:
    result = shop_at(migrated_sqlite_url, SQUIDMESH_EXECUTOR="no_such_module_here:Queue").run("check")
    assert "wrong  configuration: SQUIDMESH_EXECUTOR leads to the module no_such_module_here" in result.output


def test_check_tells_of_a_bind_that_is_not_there(shop_at, sqlite_url: str) -> None:
    result = shop_at(sqlite_url, SQUIDMESH_EXECUTOR=Queue, SQUIDMESH_BIND="flows").run("check")
    assert isinstance(result.exception, SystemExit)
    assert "wrong  configuration: SQUIDMESH_BIND names the bind 'flows'" in result.output


def test_check_tells_of_a_database_that_cannot_be_reached(shop_at, tmp_path: Path) -> None:
    result = shop_at(f"sqlite:///{tmp_path / 'no' / 'folder' / 'x.sqlite'}", SQUIDMESH_EXECUTOR=Queue).run("check")
    assert result.exit_code == 1
    assert "wrong  database: It could not be read: unable to open database file" in result.output


@pytest.mark.rule("check-tells-all")
@pytest.mark.parametrize(
    ("executor", "beats", "said"),
    [
        ("database", [], "wrong  workers: None has been seen. Keep `flask squidmesh worker` running"),
        ("database", [("worker", 600)], "wrong  workers: Last seen 10 minutes ago"),
        ("database", [("relay", 0)], "wrong  workers: None has been seen"),
        ("database", [("worker", 90_000)], "wrong  workers: None has been seen"),
        ("database", [("worker", 20)], r"ok     workers: seen 2\d seconds ago"),
        (Queue, [], "wrong  relay: None has been seen. Run `flask squidmesh relay` every minute"),
        (Queue, [("relay", 7200)], "wrong  relay: Last seen 2 hours ago"),
        (Queue, [("relay", 60)], r"ok     relay: seen 6\d seconds ago"),
        (Queue, [("worker", 20)], r"ok     workers: seen 2\d seconds ago"),
    ],
)
def test_check_misses_beats(shop_at, migrated_url: str, executor: Any, beats: Any, said: str) -> None:
    shop = shop_at(migrated_url, Greeting, SQUIDMESH_EXECUTOR=executor)
    for kind, ago in beats:
        shop.beat(kind, ago)
    assert re.search(said, shop.run("check").output)


@pytest.mark.rule("processes-forgotten")
def test_a_beat_takes_processes_off_the_list_that_were_not_seen_for_a_day(shop_at, migrated_url: str) -> None:
    shop = shop_at(migrated_url, Greeting, SQUIDMESH_EXECUTOR=Queue)
    shop.beat("worker", 90_000)
    shop.beat("worker", 80_000)
    shop.run("relay")
    with shop.runtime.database.read() as connection:
        assert sorted(connection.scalars(sa.select(Process.kind))) == ["relay", "worker"]


def test_a_worker_of_another_queue_does_not_count(shop_at, migrated_sqlite_url: str) -> None:
    shop = shop_at(migrated_sqlite_url, SQUIDMESH_EXECUTOR="database")
    shop.beat("worker", queue="other")
    assert "wrong  workers: None has been seen" in shop.run("check").output


@pytest.mark.rule("check-tells-all")
def test_check_tells_of_work_that_does_not_go_on(shop_at, migrated_url: str) -> None:
    shop = shop_at(migrated_url, Greeting, SQUIDMESH_EXECUTOR="database")
    shop.beat("worker")
    shop.dispatch(due=-20)
    assert shop.run("check").exit_code == 0
    shop.dispatch(due=-600, hand_over_error="ConnectionError: broker is down")
    shop.dispatch(due=60, held="no workflow greeting here")
    result = shop.run("check")
    assert result.exit_code == 1
    assert "wrong  work: 1 overdue, the oldest for 10 minutes" in result.output
    assert "wrong  work: 1 not taken by the executor: ConnectionError: broker is down" in result.output
    assert "wrong  work: 1 held back by a worker: no workflow greeting here" in result.output


def test_check_follows_the_clock(shop_at, migrated_url: str) -> None:
    shop = shop_at(migrated_url, Greeting, SQUIDMESH_EXECUTOR="database")
    shop.beat("worker")
    shop.clock.advance(timedelta(minutes=3))
    assert "wrong  workers: Last seen 3 minutes ago" in shop.run("check").output


def test_a_round_of_the_relay_tells_what_it_handed_over_and_leaves_its_beat(shop_at, migrated_url: str) -> None:
    shop = shop_at(migrated_url, Greeting, SQUIDMESH_EXECUTOR=Queue)
    assert shop.run("relay").output == "Handed over: 0\n"
    with shop.app.app_context():
        shop.mesh.start_run(Greeting)
    shop.clock.advance(timedelta(minutes=10))
    assert shop.run("relay").output == "Handed over: 1\n"
    assert re.search(r"ok     relay: seen \d+ seconds? ago", shop.run("check").output)
    with shop.runtime.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Process)) == 1


@pytest.mark.rule("cron-commands")
def test_cron_lists_the_schedules_and_fires_one(shop_at, migrated_url: str) -> None:
    shop = shop_at(migrated_url, Greeting, Digest, SQUIDMESH_EXECUTOR="database")
    first = shop.run("cron", "fire", "digest", "daily", "--window", "2026-11-02T09:00:00+01:00")
    assert first.exit_code == 0, first.output
    assert first.output.startswith("Run ")
    again = shop.run("cron", "fire", "digest", "daily", "--window", "2026-11-02T08:00:00+00:00")
    assert again.output == first.output
    listed = shop.run("cron", "list").output.splitlines()
    assert listed[0].split() == ["workflow", "trigger", "expression", "timezone", *LISTED]
    assert listed[1].startswith("digest    daily    0 9 * * 1-5  Europe/Berlin  ")
    assert len(listed) == 2


@pytest.mark.rule("cron-left-out", "cron-overlap")
def test_cron_says_what_was_not_started_and_starts_as_the_schedule_would(shop_at, migrated_sqlite_url: str) -> None:
    shop = shop_at(migrated_sqlite_url, Syncing, SQUIDMESH_EXECUTOR="database")
    first = shop.run("cron", "fire", "syncing", "skips", "--window", "2026-11-02T09:00", "--unattended")
    assert first.output.startswith("Run ")
    later = ("cron", "fire", "syncing", "skips", "--window", "2026-11-02T10:00")
    assert shop.run(*later, "--unattended").output == "Nothing started: see flask squidmesh cron list.\n"
    run_id = first.output.split()[1]
    line = f"syncing skips: not started: 2026-11-02 10:00: a run had not ended (run {run_id})"
    assert line in shop.run("cron", "list").output.splitlines()
    [schedule] = json.loads(shop.run("cron", "list", "--json").output)["schedules"]
    assert (schedule["overlap"], schedule["left_out"][0]["reason"], schedule["queued"]) == ("skip", "overlap", [])
    assert shop.run(*later).output.startswith("Run ")


def test_cron_without_schedules_says_so(shop_at, migrated_sqlite_url: str) -> None:
    shop = shop_at(migrated_sqlite_url, Greeting, SQUIDMESH_EXECUTOR="database")
    assert shop.run("cron", "list").output == "No registered workflow has a cron trigger.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing", "daily"], "No workflow 'nothing' is registered"),
        (["digest", "weekly"], "weekly"),
        (["greeting", "greet_now"], "is no cron trigger"),
        (["digest", "daily", "--window", "soon"], "Invalid value for '--window'"),
    ],
)
def test_what_cannot_be_fired_is_refused_without_a_traceback(
    shop_at, migrated_sqlite_url: str, words: list[str], said: str
) -> None:
    result = shop_at(migrated_sqlite_url, Greeting, Digest, SQUIDMESH_EXECUTOR="database").run("cron", "fire", *words)
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code != 0
    assert said in result.output


@pytest.mark.parametrize("command", [["worker"], ["relay"], ["cron", "list"]])
def test_a_command_without_an_executor_says_what_to_set(shop_at, migrated_sqlite_url: str, command: list[str]) -> None:
    result = shop_at(migrated_sqlite_url).run(*command)
    assert result.exit_code == 1
    assert "SQUIDMESH_EXECUTOR is not set" in result.output


@pytest.mark.parametrize("command", [["worker"], ["relay"], ["cron", "list"]])
def test_a_command_without_the_tables_says_what_to_run(shop_at, database_url: str, command: list[str]) -> None:
    result = shop_at(database_url, SQUIDMESH_EXECUTOR="database").run(*command)
    assert result.exit_code == 1
    assert result.output.endswith("Run:\n  flask squidmesh install\n  flask db upgrade\n")


def test_a_database_error_ends_a_command_without_a_traceback(shop_at, tmp_path: Path) -> None:
    result = shop_at(f"sqlite:///{tmp_path}", SQUIDMESH_EXECUTOR="database").run("relay")
    assert isinstance(result.exception, SystemExit)
    assert "The database refused: unable to open database file. Run `flask squidmesh check`" in result.output


@pytest.mark.rule("worker-threads-stay")
def test_a_worker_that_has_lost_its_threads_ends_with_an_error(
    shop_at, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "_work", lambda self: None)
    result = shop_at(migrated_url, SQUIDMESH_EXECUTOR="database").run("worker")
    assert result.exit_code == 1
    assert "All threads of the worker have ended" in result.output
    assert "Stopped." not in result.output


def test_a_worker_refuses_a_database_in_memory(shop_at) -> None:
    result = shop_at("sqlite://", SQUIDMESH_EXECUTOR="database").run("worker")
    assert result.exit_code == 1
    assert "SQLite database in memory" in result.output
    assert "SQUIDMESH_DEV_WORKER" in result.output


@pytest.mark.rule("outage-at-start")
@pytest.mark.parametrize("command", [["worker"], ["relay", "--every", "1"]])
def test_a_process_that_stays_waits_for_a_database_that_is_starting(
    shop_at, migrated_postgres_url: str, monkeypatch, command: list[str]
) -> None:
    tries: list[str] = []
    required = migrations.require

    def require(connection: sa.Connection) -> None:
        tries.append("try")
        if len(tries) < 3:
            raise sa.exc.OperationalError("SELECT 1", {}, OSError("the database system is starting up\nDETAIL: x"))
        required(connection)

    monkeypatch.setattr(migrations, "require", require)
    monkeypatch.setattr(command_group, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(Worker, "run", lambda _: None)
    monkeypatch.setattr(Relay, "once", _interrupted)
    result = shop_at(migrated_postgres_url, SQUIDMESH_EXECUTOR="database").run(*command)
    assert len(tries) == 3
    said = "The database is out of reach; trying for 60 s. (the database system is starting up)\n"
    assert result.output.startswith(said)
    assert "Worker" in result.output or command[0] == "relay"
    assert result.output.count("out of reach") == 1


NO_TRANSACTIONS = "transaction blocks not allowed in statement pooling mode"


def _pool_statements(*_: object) -> None:
    raise sa.exc.OperationalError("SELECT 1", {}, psycopg.errors.ProtocolViolation(NO_TRANSACTIONS))


@pytest.mark.parametrize("command", [["worker"], ["relay", "--every", "1"]])
def test_a_process_that_stays_refuses_a_pooler_without_transactions_at_once(
    shop_at, migrated_postgres_url: str, monkeypatch, command: list[str]
) -> None:
    monkeypatch.setattr(migrations, "require", _pool_statements)
    monkeypatch.setattr(command_group, "PATIENCE_SECONDS", 0.05)
    result = shop_at(migrated_postgres_url, SQUIDMESH_EXECUTOR="database").run(*command)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: The database refused: {NO_TRANSACTIONS}. Run `flask squidmesh check` to see what is wrong.\n"
    )


def test_check_says_that_a_pooler_has_to_know_transactions(shop_at, migrated_postgres_url: str, monkeypatch) -> None:
    monkeypatch.setattr(migrations, "verify", _pool_statements)
    result = shop_at(migrated_postgres_url, SQUIDMESH_EXECUTOR="database").run("check")
    assert result.exit_code == 1
    assert f"wrong  database: It could not be read: {NO_TRANSACTIONS}. Have the pooler give out" in result.output


@pytest.mark.rule("database-pooler")
@pytest.mark.parametrize(("threshold", "verdict"), [(5, "note"), (None, "ok")])
def test_check_tells_of_a_pooler_and_what_it_may_not_bear(
    shop_at, migrated_postgres_url: str, monkeypatch, threshold: int | None, verdict: str
) -> None:
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", 1)
    options = {"connect_args": {"prepare_threshold": threshold}}
    result = shop_at(migrated_postgres_url, SQUIDMESH_EXECUTOR="database", SQLALCHEMY_ENGINE_OPTIONS=options).run(
        "check"
    )
    [line] = [line for line in result.output.splitlines() if " pooler: " in line]
    assert line.startswith(f"{verdict:<6} pooler: There is one before the database: workers are not woken")
    assert ('{"prepare_threshold": None}' in line) is (threshold is not None)


def test_check_says_nothing_of_poolers_where_there_is_none(shop_at, migrated_url: str) -> None:
    assert "pooler" not in shop_at(migrated_url, SQUIDMESH_EXECUTOR="database").run("check").output


@pytest.mark.rule("outage-at-start")
@pytest.mark.parametrize("command", [["worker"], ["relay", "--every", "1"]])
def test_a_process_that_stays_gives_up_on_a_database_that_does_not_come(shop_at, monkeypatch, command) -> None:
    monkeypatch.setattr(command_group, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(command_group, "PAUSE_SECONDS", 0.01)
    with socket.socket() as unserved:
        unserved.bind(("127.0.0.1", 0))
        port = unserved.getsockname()[1]
        url = f"postgresql+psycopg://me:secret@127.0.0.1:{port}/none"
        result = shop_at(url, SQUIDMESH_EXECUTOR="database").run(*command)
    assert result.exit_code == 1
    assert "The database refused: " in result.output
    assert "onnection refused" in result.output
    assert "secret" not in result.output


def _interrupted(_runtime: object) -> int:
    raise KeyboardInterrupt


GONE = sa.exc.OperationalError("SELECT 1", {}, OSError("gone"))
BROKEN_OFF = sa.exc.InternalError(
    "SELECT 1", {}, psycopg.InternalError("received 2 results"), connection_invalidated=True
)


@pytest.mark.parametrize("outage", [GONE, BROKEN_OFF])
def test_an_outage_does_not_end_a_relay_that_goes_on(
    shop_at, migrated_url: str, monkeypatch, outage: sa.exc.DBAPIError
) -> None:
    rounds: list[str] = []

    def relay(_runtime: object) -> int:
        rounds.append("round")
        if len(rounds) == 2:
            raise outage
        if len(rounds) == 3:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(Relay, "once", relay)
    result = shop_at(migrated_url, SQUIDMESH_EXECUTOR="database").run("relay", "--every", "0.01")
    assert len(rounds) == 3
    assert f"The database is out of reach ({type(outage.orig).__name__}); trying again." in result.output
