"""Delivery by the host's own Celery app, on whatever broker it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final

from celery import Celery, Task, signals
from celery.concurrency.prefork import TaskPool as ForkingPool
from celery.schedules import crontab
from celery.utils.time import get_exponential_backoff_interval
from flask import Flask, current_app
from kombu.connection import Connection
from kombu.pools import ProducerPool, get_limit
from sqlalchemy.exc import SQLAlchemyError

from ..errors import ConfigurationError
from ..executor import Executor, Identified, Metadata, Payload, imported, require_executor
from ..runtime.maintenance.upkeep import Maintenance
from ..runtime.runtime import Runtime, current_runtime
from ..storage.outages import passes

if TYPE_CHECKING:
    from celery.worker.consumer import Consumer

PERFORM: Final = "squidmesh.perform"
UPKEEP: Final = "squidmesh.upkeep"
SETTING: Final = "SQUIDMESH_CELERY_APP"

PATIENCE_SECONDS: Final = 1.0
RETRY_ONCE: Final = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}
SOCKET_LIMITS: Final[Mapping[str, Mapping[str, float]]] = {
    "redis": {"socket_connect_timeout": PATIENCE_SECONDS, "socket_timeout": PATIENCE_SECONDS},
    "amqp": {"read_timeout": PATIENCE_SECONDS, "write_timeout": PATIENCE_SECONDS},
}
UPKEEP_EXPIRES_SECONDS: Final = 60
OUTAGE_RETRIES: Final = 10
LONGEST_OUTAGE_RETRY_SECONDS: Final = 60


class CeleryExecutor(Executor):
    """Sends the task `squidmesh.perform` to workers of the host's Celery app."""

    worker_command = "celery --app=shop.jobs worker"
    longest_delay = 300.0

    def enqueue(self, payload: Payload, *, schedule_in: float | None = None) -> Metadata:
        """Send the task. Raises what kombu raises when the broker does not answer within a second or two."""
        queue: str = payload.get("queue", current_runtime().settings.queue)
        if self._celery.conf.task_always_eager:
            raise ConfigurationError(
                "Celery's task_always_eager is set, so that a task would be performed where it is sent. Unset it; in "
                "tests, perform what is due with flask_squidmesh.testing.drain()."
            )
        with self._producers.acquire(block=True, timeout=PATIENCE_SECONDS) as producer:  # type: ignore[no-untyped-call]
            sent = self._celery.send_task(
                PERFORM,
                args=[dict(payload)],
                countdown=schedule_in,
                queue=queue,
                producer=producer,
                serializer="json",
                ignore_result=True,
                retry=True,
                retry_policy=RETRY_ONCE,
            )
        return {"task_id": sent.id, "queue": queue, "countdown": schedule_in}

    def continues(self, run: Identified, step: str) -> bool:
        """True: the task that finished a step may go on with the next."""
        return True

    def missing(self, app: Flask) -> Iterator[str]:
        """A Celery app of the host."""
        try:
            _app_of_host(app)
        except ConfigurationError as error:
            yield from error.problems

    @cached_property
    def _celery(self) -> Celery:
        return _app_of_host(current_app)

    @property
    def _producers(self) -> ProducerPool:
        """The producers of this process: one that was forked off must not write to its parent's sockets."""
        pools, process = self._pools, os.getpid()
        if process not in pools:
            limit: int = get_limit()  # type: ignore[no-untyped-call]
            pools.setdefault(process, ProducerPool(self._connection.Pool(limit), limit))  # type: ignore[no-untyped-call]
        return pools[process]

    @cached_property
    def _pools(self) -> dict[int, ProducerPool]:
        return {}

    @cached_property
    def _connection(self) -> Connection:
        """A connection that gives up soon, for a web request waits for it; Celery's own may wait for ever."""
        driver = self._celery.connection_for_write().transport.driver_type
        limits = {**RETRY_ONCE, **SOCKET_LIMITS.get(driver, {})}
        impatient: Connection = self._celery.connection_for_write(
            connect_timeout=PATIENCE_SECONDS, transport_options=limits
        )
        return impatient


def celery_app(app: Flask) -> Celery:
    """The host's Celery app, made able to perform this app's runs; the module that `--app` names keeps it.

        celery = celery_app(create_app())

    It is the one that SQUIDMESH_CELERY_APP leads to, or else `app.extensions["celery"]`. It gets two tasks, the queue
    SQUIDMESH_QUEUE, and an entry in `beat_schedule`. Its workers also relay and fire cron triggers, so that beat need
    not run.

    app: the Flask app, set up. Raises ConfigurationError where its configuration is not complete or names another
    executor.
    """
    with app.app_context():
        runtime = current_runtime()
        require_executor(runtime.executor, CeleryExecutor, "Celery")
        celery = _app_of_host(app)
    upkeep = WorkerUpkeep(lambda threads: runtime.upkeep(threads=threads), runtime.settings.queue, celery)
    _add_tasks(celery, runtime, upkeep)

    def add_queue_and_schedule(**_: object) -> None:
        queue = runtime.settings.queue
        celery.amqp.queues.select_add(celery.amqp.queues[queue])
        entry = {
            "task": UPKEEP,
            "schedule": crontab(),
            "options": {"queue": queue, "expires": UPKEEP_EXPIRES_SECONDS},
        }
        celery.conf.beat_schedule = {UPKEEP: entry, **celery.conf.beat_schedule}

    # Not at once: the host's own settings may still follow.
    signals.import_modules.connect(add_queue_and_schedule, sender=celery, weak=False)
    signals.worker_process_init.connect(upkeep.begin_in_child, weak=False)
    signals.worker_process_shutdown.connect(upkeep.end, weak=False)
    signals.worker_ready.connect(upkeep.begin_unless_forking, weak=False)
    signals.worker_shutdown.connect(upkeep.end, weak=False)
    return celery


def _add_tasks(celery: Celery, runtime: Runtime, upkeep: WorkerUpkeep) -> None:
    @celery.task(  # type: ignore[untyped-decorator]
        bind=True,
        name=PERFORM,
        shared=False,
        acks_late=True,
        reject_on_worker_lost=True,
        ignore_result=True,
        max_retries=OUTAGE_RETRIES,
    )
    def perform(task: Task, payload: Mapping[str, str]) -> dict[str, object]:
        try:
            with runtime.in_context():
                return runtime.perform(payload).to_dict()
        except SQLAlchemyError as error:
            if not passes(error):
                raise
            pause = get_exponential_backoff_interval(
                factor=1, retries=task.request.retries, maximum=LONGEST_OUTAGE_RETRY_SECONDS, full_jitter=True
            )
            raise task.retry(exc=error, countdown=pause) from error

    @celery.task(name=UPKEEP, shared=False, ignore_result=True)  # type: ignore[untyped-decorator]
    def keep_up() -> None:
        upkeep.once()


class WorkerUpkeep:
    """The upkeep of a worker's processes: of each that it forks, or of itself where it performs tasks in threads."""

    def __init__(self, upkeep: Callable[[int], Maintenance], queue: str, celery: Celery) -> None:
        self._upkeep, self._queue, self._celery = upkeep, queue, celery
        self._current: Maintenance | None = None

    def begin_in_child(self, **_: object) -> None:
        """A process of the pool has come up."""
        self._begin(threads=1)

    def begin_unless_forking(self, sender: Consumer, **_: object) -> None:
        """The worker itself is up."""
        if not isinstance(sender.pool, ForkingPool):
            self._begin(threads=sender.pool.limit)

    def end(self, **_: object) -> None:
        """The process ends in good order."""
        if self._current is not None:
            self._current.__exit__(None, None, None)
            self._current = None

    def once(self) -> None:
        """What the upkeep does again and again, now."""
        if self._current is not None:
            self._current.once()

    def _begin(self, threads: int) -> None:
        if self._current is None and self._queue in self._celery.amqp.queues.consume_from:
            self._current = self._upkeep(threads)
            self._current.__enter__()


def _app_of_host(app: Flask) -> Celery:
    setting = app.extensions["squidmesh"].settings.celery_app
    if setting is None and "celery" not in app.extensions:
        raise ConfigurationError(
            'SQUIDMESH_EXECUTOR is "celery", but the app has no Celery app. Put yours into app.extensions["celery"], '
            f'as Flask\'s own pattern has it, or set {SETTING} to where it is, such as "shop.queue:celery".'
        )
    found = app.extensions["celery"] if setting is None else setting
    found = imported(SETTING, found) if isinstance(found, str) else found
    if not isinstance(found, Celery):
        where = 'app.extensions["celery"]' if setting is None else SETTING
        raise ConfigurationError(f"{where} leads to a {type(found).__name__}. It must lead to a Celery app.")
    return found
