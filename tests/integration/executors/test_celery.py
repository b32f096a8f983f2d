"""Runs delivered by Celery: the messages, a broker that is away, and its worker as a process on a real Redis."""

from __future__ import annotations

import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from celery import Celery
from kombu.connection import Connection

from flask_squidmesh import Manual, Step, Wait, Workflow
from flask_squidmesh.executor import Payload
from flask_squidmesh.signals import run_dispatched
from flask_squidmesh.storage import tables
from flask_squidmesh.testing import check_executor
from tests.children import free_port
from tests.redis_server import HOW_TO_GET, find_server, running_redis
from tests.requirements import missing
from tests.shop import Order, Script, Shop

PATIENCE = 120

script = Script()


class Greeting(Workflow):
    begin = Manual(Order)
    greet = Step(script.does("greet"))


class Patient(Workflow):
    begin = Manual(Order)
    linger = Wait(timedelta(hours=1))


class Hurried(Workflow):
    begin = Manual(Order)
    linger = Wait(20)


@pytest.fixture(scope="module")
def redis_server() -> Iterator[str]:
    """URL of a running Redis server."""
    with running_redis(find_server() or missing(HOW_TO_GET)) as url:
        yield url


@pytest.fixture
def broker(redis_server: str) -> Iterator[str]:
    """URL of an empty Redis database."""
    yield redis_server
    with closing(redis.Redis.from_url(redis_server)) as client:
        client.flushall()


@pytest.fixture
def open_shop(migrated_sqlite_url: str) -> Iterator[Callable[[str], Shop]]:
    """A function that makes a shop with this broker."""
    contexts: list[Any] = []

    def open_one(broker: str, **settings: Any) -> Shop:
        celery = Celery("shop", broker=broker, set_as_current=False)
        celery.conf.update(settings)
        shop = Shop(migrated_sqlite_url, Greeting, Patient, Hurried, executor="celery", queue="flows")
        shop.app.extensions["celery"] = celery
        contexts.append(shop.app.app_context())
        contexts[-1].push()
        return shop

    yield open_one
    for context in contexts:
        context.pop()


def messages(broker: str, queue: str = "flows") -> list[Any]:
    """The messages in the queue, which are taken out of it."""
    with Connection(broker) as connection, connection.SimpleQueue(queue) as waiting:
        return [waiting.get(block=False) for _ in range(len(waiting))]


@pytest.mark.rule("celery-message")
def test_a_step_is_a_message_for_the_task_in_our_queue(open_shop: Callable[[str], Shop]) -> None:
    shop, told = open_shop("memory://"), list[dict[str, Any]]()
    with run_dispatched.connected_to(lambda _app, **facts: told.append(facts), sender=shop.app):
        run_id = shop.start(Greeting)
    [message], [facts] = messages("memory://"), told
    assert message.headers["task"] == "squidmesh.perform"
    assert message.headers["eta"] is None
    assert message.content_type == "application/json"
    assert message.payload[0] == [{"kind": "step", "run_id": run_id, "step": "greet"}]
    assert (facts["task_id"], facts["queue"], facts["countdown"]) == (message.headers["id"], "flows", None)


@pytest.mark.rule("celery-message")
def test_a_short_wait_is_a_message_for_later(open_shop: Callable[[str], Shop]) -> None:
    shop, told = open_shop("memory://"), list[dict[str, Any]]()
    with run_dispatched.connected_to(lambda _app, **facts: told.append(facts), sender=shop.app):
        shop.start(Hurried)
    [message], [facts] = messages("memory://"), told
    eta = datetime.fromisoformat(message.headers["eta"])
    assert (eta - datetime.now(UTC)).total_seconds() == pytest.approx(20, abs=15)
    assert facts["countdown"] == pytest.approx(20, abs=15)


def test_it_keeps_to_the_contract_of_executors(open_shop: Callable[[str], Shop], broker: str) -> None:
    open_shop(broker)
    waiting: list[Any] = []

    def deliver() -> list[Any]:
        waiting.extend(messages(broker))
        due = [each for each in waiting if not each.headers["eta"] or _is_past(each.headers["eta"])]
        waiting[:] = [each for each in waiting if each not in due]
        return [each.payload[0][0] for each in due]

    check_executor(deliver=deliver)


def _is_past(eta: str) -> bool:
    return datetime.fromisoformat(eta) <= datetime.now(UTC)


@pytest.mark.rule("executor-longest-delay")
def test_no_message_waits_for_longer_than_brokers_bear(open_shop: Callable[[str], Shop]) -> None:
    shop = open_shop("memory://")
    run_id = shop.start(Patient)
    assert messages("memory://") == []
    shop.clock.advance(timedelta(hours=1))
    shop.relay()
    [message] = messages("memory://")
    assert message.payload[0] == [{"kind": "step", "run_id": run_id, "step": "linger"}]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken and never answered."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.rule("celery-broker-away")
@pytest.mark.parametrize("scheme", ["redis", "amqp"])
@pytest.mark.parametrize("answer", ["refused", "silent"])
def test_a_broker_that_is_away_holds_nobody_up_and_harms_no_run(
    scheme: str, answer: str, silent_port: int, open_shop: Callable[[str], Shop]
) -> None:
    shop = open_shop(f"{scheme}://127.0.0.1:{silent_port if answer == 'silent' else free_port()}//")
    started: list[str] = []

    def start() -> None:
        with shop.app.app_context():
            started.append(shop.start(Greeting))

    starting = threading.Thread(target=start, daemon=True)
    starting.start()
    starting.join(120)
    [run_id] = started
    explanation = shop.mesh.explain_run(run_id)
    assert explanation.reason == "dispatch_delayed"
    assert "OperationalError" in explanation.details["executor_error"]
    [dispatch] = shop.rows(tables.dispatches)
    assert dispatch.relay_at - shop.clock.now() < timedelta(seconds=11)
    assert shop.later(0) == 1
    assert shop.status(run_id) == "completed"


@pytest.mark.rule("celery-missing")
def test_a_celery_that_performs_where_it_sends_is_refused(open_shop: Callable[..., Shop]) -> None:
    shop = open_shop("memory://", task_always_eager=True)
    run_id = shop.start(Greeting)
    explanation = shop.mesh.explain_run(run_id)
    assert explanation.reason == "dispatch_delayed"
    assert "drain()" in explanation.details["executor_error"]


SHOP = """
import os
import time
from datetime import timedelta
from pathlib import Path

from celery import Celery
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_squidmesh import Approval, Cron, Manual, Retry, SquidMesh, Step, StepContext, Wait, Workflow

END = Path(os.environ["END"])


def shaky(ctx: StepContext):
    if ctx.attempt == 1:
        raise ConnectionError("not yet")


def thank():
    pass


def decline():
    pass


def wait_for_the_end(ctx: StepContext):
    print(f"waiting {ctx.attempt}", flush=True)
    while ctx.attempt == 1 and not END.exists():
        time.sleep(0.02)


class Buying(Workflow):
    begin = Manual()
    settle = Wait(timedelta(seconds=0.2))
    shaky = Step(shaky, retry=Retry(3))
    review = Approval()
    thank = Step(thank)
    decline = Step(decline)
    flow = [settle >> shaky >> review >> thank, review.on_reject >> decline]


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
    app.config["SQUIDMESH_EXECUTOR"] = "celery"
    app.config["SQUIDMESH_CLAIM_TIMEOUT"] = 2
    app.config["CELERY"] = {"broker_url": os.environ["BROKER"], "worker_prefetch_multiplier": 1}
    celery = Celery("shop", set_as_current=False)
    celery.config_from_object(app.config["CELERY"])
    app.extensions["celery"] = celery
    db.init_app(app)
    mesh.init_app(app)
    return app
"""

JOBS = """
from flask_squidmesh.integrations.celery import celery_app

from shop.app import create_app

celery = celery_app(create_app())
"""


class Host:
    """The shop of the docs in a folder, with the commands of the docs, and this process as its web process."""

    def __init__(self, folder: Path, url: str, broker: str) -> None:
        package = folder / "shop"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "app.py").write_text(SHOP)
        (package / "jobs.py").write_text(JOBS)
        self._folder, self._end = folder, folder / "end"
        settings = {"URL": url, "BROKER": broker, "END": str(self._end)}
        self._environment = os.environ | settings
        self._engine = sa.create_engine(url)
        self._processes: list[subprocess.Popen[bytes]] = []
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            names = runpy.run_path(str(package / "app.py"))
            self.app, self.mesh = names["create_app"](), names["mesh"]

    def work(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker; its output goes to `output`."""
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "celery",
            "--app=shop.jobs",
            "worker",
            "--concurrency=2",
            "--loglevel=info",
            "-B",
        ]
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self._folder, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        self._processes.append(process)
        return process

    def repeat(self, run_id: str, step: str) -> None:
        """Have the queue deliver a step once more."""
        run = self.mesh.inspect_run(run_id)
        self.app.extensions["squidmesh"].executor.enqueue(Payload.step(run, step))

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
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(120)


@pytest.fixture
def host(tmp_path: Path, migrated_postgres_url: str, broker: str) -> Iterator[Host]:
    with closing(Host(tmp_path, migrated_postgres_url, broker)) as made, made.app.app_context():
        yield made


@pytest.mark.rule("celery-worker", "celery-beat")
def test_a_worker_performs_runs_fires_schedules_and_ends_what_it_is_at(
    host: Host, eventually: Callable[..., object]
) -> None:
    host.ask(
        "INSERT INTO squidmesh_schedules (workflow, trigger, fired_window) VALUES ('daily', 'tick', '2026-01-01Z')"
    )
    buying, waiting = (host.mesh.start_run(name).id for name in ("buying", "waiting"))
    worker = host.work("--loglevel=info", "--beat")
    eventually(lambda: host.mesh.inspect_run(buying).status == "paused", timeout=PATIENCE)
    host.mesh.approve_run(buying, actor="dana")
    ended = "SELECT workflow FROM squidmesh_runs WHERE status = 'completed' ORDER BY workflow"
    eventually(lambda: host.ask(ended) == ["buying", "daily"], timeout=PATIENCE)
    eventually(lambda: "waiting 1" in host.output, timeout=PATIENCE)
    for run_id, step in ((buying, "thank"), (waiting, "wait_for_the_end"), (waiting, "wait_for_the_end")):
        host.repeat(run_id, step)
    eventually(lambda: "'duplicate'" in host.output and "'too_early'" in host.output, timeout=PATIENCE)
    processes = host.ask("SELECT id FROM squidmesh_processes WHERE kind = 'worker'")
    assert len(processes) == 2
    assert not any(f":{worker.pid}:" in name for name in processes)
    assert set(host.ask("SELECT worker FROM squidmesh_attempts WHERE worker IS NOT NULL")) <= set(processes)
    worker.send_signal(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in host.output, timeout=PATIENCE)
    [held_until] = host.ask("SELECT due_at FROM squidmesh_dispatches")
    eventually(lambda: host.ask("SELECT due_at FROM squidmesh_dispatches") > [held_until], timeout=PATIENCE)
    assert worker.poll() is None
    host.end()
    assert worker.wait(PATIENCE) == 0
    assert host.ask(ended) == ["buying", "daily", "waiting"]
    assert host.output.count("waiting 1") == 1
    assert host.ask("SELECT count(*) FROM squidmesh_attempts WHERE status = 'abandoned'") == [0]
    assert host.ask("SELECT count(*) FROM squidmesh_processes") == [0]


@pytest.mark.rule("celery-killed")
def test_what_a_killed_worker_held_is_taken_over(host: Host, eventually: Callable[..., object]) -> None:
    run_id = host.mesh.start_run("waiting").id
    worker = host.work("--without-mingle")
    eventually(lambda: "waiting 1" in host.output, timeout=PATIENCE)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(120)
    host.work("--without-mingle")
    eventually(lambda: host.mesh.inspect_run(run_id).status == "completed", timeout=PATIENCE)
    assert "waiting 2" in host.output
    assert host.ask("SELECT status FROM squidmesh_attempts ORDER BY number") == ["abandoned", "completed"]
