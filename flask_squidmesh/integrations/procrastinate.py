"""Delivery by Procrastinate, whose jobs are rows in the same PostgreSQL database as the runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from flask import Flask
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate.exceptions import ConnectorException, ProcrastinateException
from procrastinate.jobs import Status

from ..errors import ConfigurationError, SchemaError
from ..executor import Executor, Identified, Metadata, Payload, imported, require_executor
from ..host import HostApp
from ..runtime.runtime import Runtime, current_runtime

TASK: Final = "squidmesh.perform"
SETTING: Final = "SQUIDMESH_PROCRASTINATE_APP"
ADVICE: Final = (
    "The tables of Procrastinate are not in the database of the runs. Run, with the module that your workers name: "
    "python -m procrastinate --app=shop.worker.queue schema --apply"
)
MOST_THREADS: Final = 1_000
STALLED_SECONDS: Final = 300.0

logger = logging.getLogger("flask_squidmesh")


class ProcrastinateExecutor(Executor):
    """Queues a job of Procrastinate's in the very transaction that calls for the work.

    It uses the host's SQLAlchemy connections and opens none of Procrastinate's, so it needs no care in a web process.
    """

    worker_command = "python -m procrastinate --app=shop.worker.queue worker"

    def __init__(self) -> None:
        self._unopened = App(connector=SyncPsycopgConnector())

    def enqueue(self, payload: Payload, *, schedule_in: float | None = None) -> Metadata:
        """Queue a job in a transaction of its own."""
        runtime = current_runtime()
        with runtime.database.write() as connection:
            return self.enqueue_in(connection, payload, schedule_in=schedule_in)

    def enqueue_in(self, connection: sa.Connection, payload: Payload, *, schedule_in: float | None = None) -> Metadata:
        """Queue a job that is there if the transaction commits. Raises SchemaError without Procrastinate's tables."""
        runtime = current_runtime()
        settings, clock = runtime.settings, runtime.clock
        queue: str = payload.get("queue", settings.queue)
        due = clock.now() - clock.offset + timedelta(seconds=schedule_in) if schedule_in else None
        job = self._unopened.configure_task(
            TASK,
            queue=queue,
            priority=settings.procrastinate_priority,
            schedule_at=due,
            connection=connection.connection.driver_connection,
        )
        with _explained():
            job_id = job.defer(payload=dict(payload))
        scheduled_at = due.isoformat() if due else None
        return {"job_id": job_id, "queue": queue, "schedule_in": schedule_in, "scheduled_at": scheduled_at}

    def continues(self, run: Identified, step: str) -> bool:
        """True: the job that finished a step may go on with the next."""
        return True

    def missing(self, app: Flask) -> Iterator[str]:
        """A PostgreSQL database, and the App that the settings name."""
        runtime: Runtime = app.extensions["squidmesh"]
        engine = runtime.host.engine
        if engine is not None and engine.dialect.name != "postgresql":
            yield (
                f'SQUIDMESH_EXECUTOR is "procrastinate", which works on PostgreSQL only, but the database is '
                f'{engine.dialect.name}. Change the database, or set SQUIDMESH_EXECUTOR to "database".'
            )
        try:
            _app_of_host(runtime.settings.procrastinate_app)
        except ConfigurationError as error:
            yield from error.problems

    def verify(self, connection: sa.Connection) -> Iterator[str]:
        """The tables and functions of Procrastinate."""
        there = sa.func.to_regtype("procrastinate_job_to_defer_v1").is_not(None)
        if not connection.scalar(sa.select(there)):
            yield ADVICE


def procrastinate_app(app: Flask) -> App:
    """The Procrastinate App whose workers perform this app's runs; the module that `--app` names keeps it.

        queue = procrastinate_app(create_app())

    It is the App that SQUIDMESH_PROCRASTINATE_APP leads to, which gets one more task, or else one that is made: on the
    database of the runs, taking from SQUIDMESH_QUEUE, and deleting jobs that succeeded. Its workers also relay, fire
    cron triggers and clear jobs away that dead workers left.

    app: the Flask app, set up. Raises ConfigurationError where its configuration is not complete or names another
    executor.
    """
    with app.app_context():
        runtime = current_runtime()
        require_executor(runtime.executor, ProcrastinateExecutor, "Procrastinate")
        queue = _app_of_host(runtime.settings.procrastinate_app) or _made_app(runtime.host)
    _add_task(queue, runtime)
    _add_upkeep(queue, runtime)
    return queue


@contextmanager
def _explained() -> Iterator[None]:
    """Raise what PostgreSQL said instead of Procrastinate's "Database error."."""
    try:
        yield
    except ConnectorException as error:
        if isinstance(error.__cause__, psycopg.errors.UndefinedFunction | psycopg.errors.UndefinedObject):
            raise SchemaError(ADVICE) from error
        raise error.__cause__ or error from None


def _app_of_host(setting: object) -> App | None:
    found = imported(SETTING, setting) if isinstance(setting, str) else setting
    if found is None or isinstance(found, App):
        return found
    raise ConfigurationError(
        f"{SETTING} leads to a {type(found).__name__}. It must lead to a procrastinate.App, or be left out."
    )


def _made_app(host: HostApp) -> App:
    settings = host.settings
    return App(
        connector=PsycopgConnector(kwargs=_connect_arguments(host), min_size=1, max_size=4),
        worker_defaults={
            "queues": [settings.queue],
            "fetch_job_polling_interval": settings.poll_interval,
            "delete_jobs": "successful",
        },
    )


def _connect_arguments(host: HostApp) -> dict[str, Any]:
    """How SQLAlchemy connects to the database of the runs, as psycopg takes it."""
    bind, config, engine = host.settings.bind, host.app.config, host.engine
    assert engine is not None
    _, arguments = engine.dialect.create_connect_args(engine.url)
    of_bind = (config.get("SQLALCHEMY_BINDS") or {}).get(bind)
    options = [of_bind if isinstance(of_bind, dict) else {}, {} if bind else config["SQLALCHEMY_ENGINE_OPTIONS"]]
    further = {key: value for each in options for key, value in each.get("connect_args", {}).items()}
    return {key: value for key, value in {**arguments, **further}.items() if key != "context"}


def _add_task(queue: App, runtime: Runtime) -> None:
    # Procrastinate's own threads for plain functions are no more than the processor's cores and four.
    threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="squidmesh-worker")

    @queue.task(name=TASK, queue=runtime.settings.queue)
    async def perform(payload: dict[str, str]) -> dict[str, object]:
        return await asyncio.get_running_loop().run_in_executor(threads, _perform, runtime, payload)


def _perform(runtime: Runtime, payload: dict[str, str]) -> dict[str, object]:
    with runtime.in_context():
        return runtime.perform(payload).to_dict()


def _add_upkeep(queue: App, runtime: Runtime) -> None:
    """Have every worker that takes from our queue relay and fire schedules, also while all its jobs are busy."""
    run_worker = queue.run_worker_async

    async def run_worker_async(**options: Any) -> None:
        chosen: dict[str, Any] = {**queue.worker_defaults, **options}
        if chosen.get("queues") and runtime.settings.queue not in chosen["queues"]:
            await run_worker(**options)
            return
        clearing = asyncio.create_task(_clear_stalled(queue))
        try:
            with runtime.upkeep(threads=chosen.get("concurrency", 1)):
                await run_worker(**options)
        finally:
            clearing.cancel()

    queue.run_worker_async = run_worker_async  # type: ignore[method-assign]


async def _clear_stalled(queue: App) -> None:
    """Delete the jobs of dead workers, which stay "doing" for ever; the relay has queued their work anew."""
    manager = queue.job_manager
    while True:
        try:
            for job in await manager.get_stalled_jobs(task_name=TASK, seconds_since_heartbeat=STALLED_SECONDS):
                assert job.id is not None
                await manager.finish_job_by_id_async(job_id=job.id, status=Status.FAILED, delete_job=True)
        except ProcrastinateException as error:
            logger.warning("squidmesh: jobs of dead workers were not cleared away (%s)", type(error).__name__)
        await asyncio.sleep(STALLED_SECONDS)
