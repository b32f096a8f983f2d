"""Runs delivered by Procrastinate: the jobs, the migrations, and its worker as a process, started as the docs say."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import procrastinate
import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from flask_migrate import Migrate
from procrastinate.schema import SchemaManager
from procrastinate.testing import InMemoryConnector

from flask_squidmesh import Cron, Manual, SquidMesh, Step, StepContext, Wait, Workflow
from flask_squidmesh.integrations.procrastinate import procrastinate_app
from flask_squidmesh.signals import run_dispatched
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import check_executor
from tests.shop import Order, Script, Shop

TOGETHER = 33

script = Script()
meeting = threading.Barrier(TOGETHER)


def meet(_: StepContext) -> None:
    meeting.wait(120)


class Greeting(Workflow):
    begin = Manual(Order)
    greet = Step(script.does("greet"))


class Meeting(Workflow):
    begin = Manual(Order)
    meet = Step(meet)


class Patient(Workflow):
    begin = Manual(Order)
    linger = Wait(timedelta(hours=1))


class Daily(Workflow):
    tick = Cron("0 9 * * *")
    greet = Step(script.does("greet"))


def make_queue(url: str) -> None:
    """Make Procrastinate's tables."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(SchemaManager.get_schema())


@pytest.fixture
def bare_shop(migrated_postgres_url: str) -> Iterator[Shop]:
    """A shop without Procrastinate's tables."""
    shop = Shop(
        migrated_postgres_url,
        Greeting,
        Meeting,
        Patient,
        Daily,
        executor="procrastinate",
        queue="fast",
        procrastinate_priority=7,
    )
    with shop.app.app_context():
        yield shop


@pytest.fixture
def shop(bare_shop: Shop) -> Shop:
    make_queue(bare_shop.url)
    return bare_shop


def jobs(shop: Shop) -> list[Any]:
    """The jobs that others see."""
    with shop.runtime.database.engine.connect() as connection:
        return list(connection.execute(sa.text("SELECT * FROM procrastinate_jobs ORDER BY id")))


@pytest.mark.rule("procrastinate-transaction", "procrastinate-wait")
def test_a_job_is_there_once_the_run_is_committed(shop: Shop) -> None:
    run_id = shop.start(Greeting, session=shop.db.session)
    assert jobs(shop) == []
    shop.db.session.commit()
    [job] = jobs(shop)
    assert job.args == {"payload": {"kind": "step", "run_id": run_id, "step": "greet"}}
    assert (job.task_name, job.queue_name, job.priority, job.scheduled_at) == (
        "squidmesh.perform",
        "fast",
        7,
        None,
    )


@pytest.mark.rule("procrastinate-transaction")
def test_a_run_that_is_rolled_back_leaves_no_job(shop: Shop) -> None:
    shop.start(Greeting, session=shop.db.session)
    shop.db.session.rollback()
    assert jobs(shop) == []


@pytest.mark.rule("procrastinate-transaction")
def test_starting_and_queueing_are_one_commit(shop: Shop) -> None:
    with shop.counted() as counts:
        shop.start(Greeting)
    assert counts["commits"] == 1
    assert len(jobs(shop)) == 1


@pytest.mark.rule("procrastinate-wait")
def test_a_wait_is_a_job_for_later_and_the_signal_tells_of_it(shop: Shop) -> None:
    told: list[dict[str, Any]] = []
    with run_dispatched.connected_to(lambda _app, **facts: told.append(facts), sender=shop.app):
        shop.start(Patient)
    [job], [facts] = jobs(shop), told
    assert (facts["job_id"], facts["queue"]) == (job.id, "fast")
    assert facts["schedule_in"] == pytest.approx(3600, abs=60)
    assert datetime.fromisoformat(facts["scheduled_at"]) == job.scheduled_at
    assert (job.scheduled_at - datetime.now(UTC)).total_seconds() == pytest.approx(3600, abs=60)


def test_an_activation_is_a_job(shop: Shop) -> None:
    shop.mesh.enqueue_cron(Daily, "tick", signal_id="tick-7")
    [job] = jobs(shop)
    payload = job.args["payload"]
    assert payload == {"kind": "cron", "workflow": "daily", "trigger": "tick", "signal_id": "tick-7"}
    assert shop.mesh.perform(payload).outcome == "executed"


@pytest.mark.rule("procrastinate-web")
def test_queueing_starts_no_thread_and_needs_no_connection_of_its_own(shop: Shop) -> None:
    before = set(threading.enumerate())
    starting = [threading.Thread(target=start_in_context, args=(shop,)) for _ in range(4)]
    for thread in starting:
        thread.start()
    for thread in starting:
        thread.join()
    assert len(jobs(shop)) == 4
    assert set(threading.enumerate()) <= before
    with shop.runtime.database.engine.connect() as connection:
        here = sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        assert connection.scalar(here) == shop.runtime.database.engine.pool.checkedin() + 1  # type: ignore[attr-defined]


def start_in_context(shop: Shop) -> None:
    with shop.app.app_context():
        shop.start(Greeting)


@pytest.mark.rule("procrastinate-worker")
def test_as_many_steps_run_at_once_as_the_concurrency_says(shop: Shop) -> None:
    """More than the threads that asyncio would have on any machine."""
    runs = [shop.start(Meeting) for _ in range(TOGETHER)]
    perform = procrastinate_app(shop.app).tasks["squidmesh.perform"]

    async def deliver_all() -> None:
        payloads = [job.args["payload"] for job in jobs(shop)]
        await asyncio.gather(*(perform(payload=payload) for payload in payloads))

    asyncio.run(deliver_all())
    assert {shop.status(run_id) for run_id in runs} == {"completed"}


@pytest.mark.rule("executors-ready-made")
def test_it_keeps_to_the_contract_of_executors(shop: Shop) -> None:
    queue = procrastinate_app(shop.app)
    check_executor(deliver=lambda: queue.run_worker(wait=False, listen_notify=False, concurrency=8))


@pytest.mark.parametrize(
    ("options", "threads"),
    [({}, [3]), ({"queues": ["mail", "fast"], "concurrency": 5}, [5]), ({"queues": ["mail"]}, [])],
)
def test_workers_that_take_our_jobs_say_that_they_live(
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    threads: list[int],
    eventually: Callable[..., list[int]],
) -> None:
    own = procrastinate.App(connector=InMemoryConnector(), worker_defaults={"concurrency": 3})
    host = Shop(shop.url, Greeting, executor="procrastinate", queue="fast", procrastinate_app=own)
    seen: list[int] = []

    def living() -> list[int]:
        return [row.threads for row in host.rows(tables.Base.metadata.tables["squidmesh_processes"])]

    async def work(**_: Any) -> None:
        assert any(thread.name == "squidmesh-upkeep" for thread in threading.enumerate()) == bool(threads)
        seen.extend(eventually(living) if threads else [])

    monkeypatch.setattr(own, "run_worker_async", work)
    asyncio.run(procrastinate_app(host.app).run_worker_async(**options))
    assert seen == threads
    assert living() == []


@pytest.mark.rule("procrastinate-tables")
def test_without_procrastinates_tables_runs_wait_and_check_says_why(bare_shop: Shop) -> None:
    run_id = bare_shop.start(Greeting)
    assert bare_shop.mesh.explain_run(run_id).reason == "dispatch_delayed"
    found = {finding.subject: finding.text for finding in bare_shop.runtime.app_check.results() if finding.wrong}
    assert "schema --apply" in found["executor"]
    assert "schema --apply" in found["work"]
    make_queue(bare_shop.url)
    assert "executor" not in {finding.subject for finding in bare_shop.runtime.app_check.results()}


@pytest.mark.rule("migrations-leave-alone")
@pytest.mark.parametrize(("executor", "removed"), [("procrastinate", False), ("database", True)])
def test_migrations_leave_procrastinates_tables_alone(migrated_postgres_url: str, executor: str, removed: bool) -> None:
    make_queue(migrated_postgres_url)
    shop = Shop(migrated_postgres_url, Greeting, executor=executor)
    del shop.app.extensions["squidmesh"]
    Migrate(shop.app, shop.db, include_object=lambda item, name, *_: name != "squidmesh_audit_events")
    SquidMesh(shop.app)
    with shop.app.app_context(), shop.db.engine.connect() as connection:
        options = shop.app.extensions["migrate"].configure_args
        context = MigrationContext.configure(connection, opts=options)
        # What the host leaves out stays out: without its table the index would be created again.
        connection.execute(sa.text("DROP TABLE squidmesh_audit_events"))
        differences = compare_metadata(context, shop.db.metadata)
    assert any("procrastinate" in str(each) for each in differences) == removed
    assert "squidmesh" not in str(differences)


SHOP = """
import os
import time
from datetime import timedelta
from pathlib import Path

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_squidmesh import Cron, Manual, Retry, SquidMesh, Step, StepContext, Wait, Workflow

END = Path(os.environ["END"])


def shaky(ctx: StepContext):
    if ctx.attempt == 1:
        raise ConnectionError("not yet")


async def thank():
    pass


def wait_for_the_end(ctx: StepContext):
    print("waiting", ctx.attempt, flush=True)
    while ctx.attempt == 1 and not END.exists():
        time.sleep(0.02)


class Buying(Workflow):
    begin = Manual()
    settle = Wait(timedelta(seconds=0.2))
    shaky = Step(shaky, retry=Retry(3))
    thank = Step(thank)
    flow = [settle >> shaky >> thank]


class Waiting(Workflow):
    begin = Manual()
    wait_for_the_end = Step(wait_for_the_end)


class Daily(Workflow):
    tick = Cron("0 9 * * *", timezone="Europe/Berlin")
    thank = Step(thank)


db = SQLAlchemy()
mesh = SquidMesh()
mesh.register(Buying, Waiting, Daily)


def create_app():
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["URL"]
    app.config["SQUIDMESH_EXECUTOR"] = "procrastinate"
    app.config["SQUIDMESH_CLAIM_TIMEOUT"] = 2
    app.config["SQUIDMESH_POLL_INTERVAL"] = 0.2
    db.init_app(app)
    mesh.init_app(app)
    return app
"""

WORKER = """
from flask_squidmesh.integrations.procrastinate import procrastinate_app

from shop.app import create_app

queue = procrastinate_app(create_app())
"""


class Host:
    """The shop of the docs in a folder, with the commands of the docs, and this process as its web process."""

    def __init__(self, folder: Path, url: str) -> None:
        package = folder / "shop"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "app.py").write_text(SHOP)
        (package / "worker.py").write_text(WORKER)
        self._folder, self._end = folder, folder / "end"
        self._environment = os.environ | {"URL": url, "END": str(self._end)}
        self._engine = sa.create_engine(url)
        self._processes: list[subprocess.Popen[bytes]] = []

    def run(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command of Procrastinate's; its output goes to `output`."""
        command = [sys.executable, "-W", "ignore", "-m", "procrastinate", "--app=shop.worker.queue", *words]
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(command, cwd=self._folder, env=self._environment, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def start(self, *workflows: str) -> None:
        """Start runs, from a process of its own."""
        starting = f"[mesh.start_run(workflow) for workflow in {workflows!r}]"
        code = f"from shop.app import create_app, mesh\nwith create_app().app_context(): {starting}"
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], cwd=self._folder, env=self._environment, check=True
        )

    def end(self) -> None:
        """Let the waiting step end."""
        self._end.touch()

    @property
    def output(self) -> str:
        return (self._folder / "log").read_text()

    def ask(self, query: str) -> list[Any]:
        """The first column of the rows."""
        with self._engine.begin() as connection:
            result = connection.execute(sa.text(query))
            return list(result.scalars()) if result.returns_rows else []

    def close(self) -> None:
        self.end()
        for process in self._processes:
            process.kill()
            process.wait(120)


@pytest.fixture
def host(tmp_path: Path, migrated_postgres_url: str) -> Iterator[Host]:
    with closing(Host(tmp_path, migrated_postgres_url)) as made:
        yield made


@pytest.mark.rule("procrastinate-worker")
def test_a_worker_performs_runs_fires_schedules_and_ends_what_it_is_at(
    host: Host, eventually: Callable[..., object]
) -> None:
    assert host.run("schema", "--apply").wait(120) == 0, host.output
    host.ask(
        "INSERT INTO squidmesh_schedules (workflow, trigger, fired_window) VALUES ('daily', 'tick', '2026-01-01Z')"
    )
    host.start("buying", "waiting")
    worker = host.run("worker", "--concurrency", "4")
    ended = "SELECT workflow FROM squidmesh_runs WHERE status = 'completed' ORDER BY workflow"
    eventually(lambda: host.ask(ended) == ["buying", "daily"])
    assert host.ask("SELECT threads FROM squidmesh_processes WHERE kind = 'worker'") == [4]
    eventually(lambda: "waiting 1" in host.output)
    worker.send_signal(signal.SIGTERM)
    eventually(lambda: "Stop requested" in host.output)
    [held_until] = host.ask("SELECT due_at FROM squidmesh_dispatches")
    eventually(lambda: host.ask("SELECT due_at FROM squidmesh_dispatches") > [held_until])
    assert worker.poll() is None
    host.end()
    assert worker.wait(120) == 0
    assert host.ask(ended) == ["buying", "daily", "waiting"]
    assert host.ask("SELECT count(*) FROM squidmesh_attempts WHERE status = 'abandoned'") == [0]
    assert host.ask("SELECT count(*) FROM procrastinate_jobs") == [0]
    assert host.ask("SELECT count(*) FROM squidmesh_processes") == [0]


@pytest.mark.rule("procrastinate-killed")
def test_what_a_killed_worker_held_is_taken_over_and_its_job_cleared_away(
    host: Host, migrated_postgres_url: str, eventually: Callable[..., object]
) -> None:
    make_queue(migrated_postgres_url)
    host.start("waiting")
    worker = host.run("worker")
    eventually(lambda: "waiting 1" in host.output)
    worker.kill()
    worker.wait(120)
    assert host.ask("SELECT status::text FROM procrastinate_jobs") == ["doing"]
    host.ask(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, status, worker_id) "
        "SELECT queue_name, 'shop.report', status, worker_id FROM procrastinate_jobs"
    )
    host.ask("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
    host.run("worker")
    eventually(lambda: host.ask("SELECT status FROM squidmesh_runs") == ["completed"])
    assert "waiting 2" in host.output
    eventually(lambda: host.ask("SELECT count(*) FROM procrastinate_jobs WHERE task_name <> 'shop.report'") == [0])
    assert host.ask("SELECT status::text FROM procrastinate_jobs") == ["doing"]
