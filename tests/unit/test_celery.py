"""What the Celery executor asks of an app, and what it gives the host's Celery app."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from celery import Celery
from celery.concurrency import prefork, thread
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_squidmesh import ConfigurationError, PayloadError, SquidMesh
from flask_squidmesh.executor import Payload, resolve
from flask_squidmesh.integrations.celery import OUTAGE_RETRIES, CeleryExecutor, WorkerUpkeep, celery_app
from flask_squidmesh.storage.outages import told


def make_app(celery: Any = None, executor: str = "celery", **settings: Any) -> Flask:
    app = Flask("shop")
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite:///shop.db", SQUIDMESH_EXECUTOR=executor, **settings)
    if celery is not None:
        app.extensions["celery"] = celery
    SQLAlchemy(app)
    SquidMesh(app)
    return app


def make_celery(**settings: Any) -> Celery:
    celery = Celery("shop", broker="memory://", set_as_current=False)
    celery.conf.update(settings)
    return celery


def problems(app: Flask) -> list[str]:
    found: list[str] = app.extensions["squidmesh"].problems()
    return found


def started(celery: Celery) -> Celery:
    """As it is when a worker or beat of it has loaded its modules."""
    celery.loader.import_default_modules()
    return celery


def test_the_executor_is_known_by_name_and_goes_on_in_place() -> None:
    executor = resolve("celery")
    assert isinstance(executor, CeleryExecutor)
    assert executor.continues(None, "next")  # type: ignore[arg-type]
    assert problems(make_app(make_celery())) == []


@pytest.mark.parametrize(("elsewhere", "queue"), [({}, "squidmesh"), ({"queue": "reports"}, "reports")])
def test_a_task_goes_to_the_queue_of_its_run(elsewhere: dict[str, str], queue: str) -> None:
    app = make_app(make_celery())
    with app.app_context():
        executor = app.extensions["squidmesh"].executor
        answer = executor.enqueue(Payload(kind="step", run_id="r", step="work", **elsewhere))
    assert answer["queue"] == queue


@pytest.mark.rule("executors-missing-package")
def test_a_package_that_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "flask_squidmesh.integrations.celery")
    monkeypatch.setitem(sys.modules, "celery", None)
    with pytest.raises(ConfigurationError, match=r"needs the package celery.*flask-squidmesh\[celery\]"):
        resolve("celery")


@pytest.mark.rule("celery-missing")
def test_a_missing_celery_app_is_said_with_both_places_for_it() -> None:
    [problem] = problems(make_app())
    assert 'app.extensions["celery"]' in problem
    assert "SQUIDMESH_CELERY_APP" in problem


@pytest.mark.rule("celery-missing")
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("no_such_module_here:celery", "the module no_such_module_here, whose import failed"),
        ("json:celery", "celery in the module json, which has no such name"),
        ("json:dumps", "SQUIDMESH_CELERY_APP leads to a function. It must lead to a Celery app"),
        (SQLAlchemy(), "SQUIDMESH_CELERY_APP leads to a SQLAlchemy. It must lead to a Celery app"),
    ],
)
def test_the_setting_must_lead_to_a_celery_app(setting: Any, said: str) -> None:
    [problem] = problems(make_app(make_celery(), SQUIDMESH_CELERY_APP=setting))
    assert said in problem


def test_what_stands_among_the_extensions_must_be_a_celery_app() -> None:
    [problem] = problems(make_app(object()))
    assert 'app.extensions["celery"] leads to a object. It must lead to a Celery app' in problem


@pytest.mark.parametrize("by_name", [True, False])
def test_the_setting_stands_above_the_extension(by_name: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    own = make_celery()
    module = types.ModuleType("shop_queue_of_a_test")
    module.__dict__["celery"] = own
    monkeypatch.setitem(sys.modules, module.__name__, module)
    setting = f"{module.__name__}:celery" if by_name else own
    assert celery_app(make_app(make_celery(), SQUIDMESH_CELERY_APP=setting)) is own


def test_workers_of_another_executor_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r'DatabaseExecutor.*Set it to "celery"'):
        celery_app(make_app(make_celery(), executor="database"))


@pytest.mark.rule("celery-killed")
def test_a_task_of_a_killed_process_goes_back_to_the_broker() -> None:
    perform = celery_app(make_app(make_celery())).tasks["squidmesh.perform"]
    assert (perform.acks_late, perform.reject_on_worker_lost, perform.ignore_result) == (True, True, True)


@pytest.mark.rule("celery-worker")
def test_a_worker_takes_from_our_queue_and_its_own() -> None:
    celery = started(celery_app(make_app(make_celery(), SQUIDMESH_QUEUE="flows")))
    assert celery.amqp.queues.consume_from.keys() == {"celery", "flows"}


def test_a_queue_that_the_host_declares_stays_as_it_is() -> None:
    declared = {"squidmesh": {"exchange": "shop", "routing_key": "flows"}}
    celery = started(celery_app(make_app(make_celery(task_queues=declared))))
    assert celery.amqp.queues.consume_from["squidmesh"].routing_key == "flows"


@pytest.mark.rule("celery-beat")
def test_beat_gets_an_entry_and_keeps_those_of_the_host() -> None:
    celery = celery_app(make_app(make_celery()))
    of_host = {"mail": {"task": "shop.mail", "schedule": 60}}
    celery.conf.beat_schedule = of_host
    schedule = started(celery).conf.beat_schedule
    assert schedule["mail"] == of_host["mail"]
    assert schedule["squidmesh.upkeep"]["task"] in celery.tasks
    assert schedule["squidmesh.upkeep"]["options"]["queue"] == "squidmesh"
    assert of_host.keys() == {"mail"}


@pytest.mark.rule("celery-beat")
def test_an_entry_of_the_hosts_stands_above_ours() -> None:
    of_host = {"squidmesh.upkeep": {"task": "squidmesh.upkeep", "schedule": 5}}
    celery = started(celery_app(make_app(make_celery(beat_schedule=of_host))))
    assert celery.conf.beat_schedule == of_host


class ReadOnly(psycopg.InternalError):
    sqlstate = "25006"


class TooComplex(psycopg.OperationalError):
    sqlstate = "54001"


@pytest.mark.rule("celery-retries")
@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (sa.exc.OperationalError("SELECT", {}, Exception("away")), OUTAGE_RETRIES + 1),
        (sa.exc.TimeoutError("all connections of the pool are taken"), OUTAGE_RETRIES + 1),
        (told(ReadOnly("a standby")), OUTAGE_RETRIES + 1),
        (told(TooComplex("too deep")), 1),
        (PayloadError("malformed"), 1),
    ],
    ids=["away", "no connection", "read-only", "refused for good", "malformed"],
)
def test_only_an_outage_of_the_database_is_tried_again(
    error: Exception, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(make_celery())
    perform = celery_app(app).tasks["squidmesh.perform"]
    given: list[Any] = []

    def fail(payload: Any) -> None:
        given.append(payload)
        raise error

    monkeypatch.setattr(app.extensions["squidmesh"], "perform", fail)
    result = perform.apply(args=[{"kind": "step"}])
    assert isinstance(result.result, type(error))
    assert given == [{"kind": "step"}] * tries


class Upkeep:
    """Stands in for the thread that relays and fires schedules."""

    def __init__(self, threads: int) -> None:
        self.threads, self.calls = threads, list[str]()

    def __enter__(self) -> None:
        self.calls.append("begun")

    def __exit__(self, *_: object) -> None:
        self.calls.append("ended")

    def once(self) -> None:
        self.calls.append("once")


class Working:
    """A worker's process with stand-ins for what it would begin."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        app = make_app(make_celery())
        self.celery = started(celery_app(app))
        self.celery.amqp.queues.select(options.get("queues"))
        self.begun: list[Upkeep] = []
        runtime = app.extensions["squidmesh"]
        monkeypatch.setattr(runtime, "upkeep", self._upkeep)
        self.upkeep = WorkerUpkeep(lambda threads: runtime.upkeep(threads=threads), runtime.settings.queue, self.celery)

    def _upkeep(self, *, threads: int) -> Upkeep:
        self.begun.append(Upkeep(threads))
        return self.begun[-1]

    def is_ready_with(self, pool: Callable[[int], Any], limit: int = 3) -> None:
        """The worker's consumer is up, with a pool of this kind."""
        self.upkeep.begin_unless_forking(sender=types.SimpleNamespace(pool=pool(limit)))


@pytest.mark.rule("celery-worker")
def test_each_process_that_a_worker_forks_keeps_up_from_its_birth_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Working(monkeypatch)
    worker.upkeep.begin_in_child(sender="shop@host")
    worker.upkeep.once()
    worker.upkeep.end()
    worker.upkeep.end()
    [upkeep] = worker.begun
    assert (upkeep.threads, upkeep.calls) == (1, ["begun", "once", "ended"])


def test_the_process_that_forks_them_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Working(monkeypatch)
    worker.is_ready_with(prefork.TaskPool)
    worker.upkeep.once()
    worker.upkeep.end()
    assert worker.begun == []


def test_a_worker_with_threads_keeps_up_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Working(monkeypatch)
    worker.is_ready_with(thread.TaskPool)
    worker.is_ready_with(thread.TaskPool)
    assert [upkeep.threads for upkeep in worker.begun] == [3]


def test_a_solo_worker_performs_in_the_process_that_it_was_made_in(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Working(monkeypatch)
    worker.upkeep.begin_in_child(sender="shop@host")
    assert len(worker.begun) == 1


@pytest.mark.rule("celery-worker")
def test_a_worker_of_other_queues_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Working(monkeypatch, queues=["celery"])
    worker.upkeep.begin_in_child(sender="shop@host")
    assert worker.begun == []
