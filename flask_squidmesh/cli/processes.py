"""Performing steps and handing work over, until a signal says stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import click
from sqlalchemy.exc import DBAPIError

from ..errors import ConfigurationError
from ..storage.outages import DatabaseRefusal, judged
from .command_group import group, reached_runtime, ready_runtime, runtime_here

if TYPE_CHECKING:
    from ..runtime.runtime import Runtime


@group.command()
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Steps performed at a time.")
@click.option("--queue", help="The queue to take work from; SQUIDMESH_QUEUE if left out.")
def worker(threads: int, queue: str | None) -> None:
    """Perform steps until stopped with SIGTERM or Ctrl-C; a second signal stops at once."""
    from ..runtime.worker import ThreadsLostError, keep_loaded

    _refuse_memory()
    runtime = reached_runtime()
    working = runtime.worker(threads=threads, queue=queue)
    click.echo(f"Worker {runtime.worker_name} takes work from {queue or runtime.config.queue!r}, {threads} at a time.")
    keep_loaded()
    with _stopping(working.stop):
        try:
            working.run()
        except ThreadsLostError as error:
            raise click.ClickException(str(error)) from error
    click.echo("Stopped.")


@group.command()
@click.option("--every", type=click.FloatRange(min=0, min_open=True), help="Seconds between rounds; one if left out.")
def relay(every: float | None) -> None:
    """Hand work over again that a queue or a process has lost, take over from dead workers, and tell by the channels
    what is to be told."""
    runtime, stopped = ready_runtime() if every is None else reached_runtime(), threading.Event()
    with _stopping(stopped.set):
        _relay_once(runtime)
        while every is not None and not stopped.wait(every):
            _relay_patiently(runtime)


def _relay_patiently(runtime: Runtime) -> None:
    """A round that an outage of the database cannot end the relay with."""
    try:
        _relay_once(runtime)
    except DBAPIError as error:
        if judged(error) is not DatabaseRefusal.FOR_A_TIME:
            raise
        click.echo(f"The database is out of reach ({type(error.orig).__name__}); trying again.", err=True)


def _relay_once(runtime: Runtime) -> None:
    from ..runtime.maintenance.heartbeats import relay_name

    runtime.heartbeats.record("relay", relay_name(), queue=runtime.config.queue)
    runtime.heartbeats.forget_the_dead()
    click.echo(f"Handed over: {runtime.relay.once()}")
    if started := runtime.scheduler.start_queued():
        click.echo(f"Started, of windows that were queued: {len(started)}")
    runtime.queue_watch.look()
    told = runtime.notice_deliverer.deliver_due(own_code=False)
    if told:
        click.echo(f"Told: {told}")
    pruned = runtime.retention.keep()
    if pruned:
        click.echo(f"Pruned, as SQUIDMESH_RETENTION says: {pruned}")


def _refuse_memory() -> None:
    runtime = runtime_here()
    if runtime.config and runtime.database.shared_connection:
        raise ConfigurationError(
            "SQLALCHEMY_DATABASE_URI is an SQLite database in memory, which no other process can see. "
            "Use a file, or set SQUIDMESH_DEV_WORKER to work inside `flask run`."
        )


@contextmanager
def _stopping(stop: Callable[[], object]) -> Iterator[None]:
    """Within the block, the first SIGTERM or SIGINT calls `stop` and the second ends the process at once."""

    def receive(number: int, _frame: FrameType | None) -> None:
        for each in previous:
            signal.signal(each, lambda number, _frame: os._exit(128 + number))
        os.write(2, b"Stopping after what is being done; once more to stop at once.\n")
        # In a thread of its own: the interrupted code may hold a lock that `stop` takes.
        threading.Thread(target=stop).start()

    previous = {each: signal.signal(each, receive) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
