"""The commands of `flask squidmesh`."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from flask import current_app
from flask.cli import AppGroup

from .config import read_config
from .errors import ConfigurationError, SquidMeshError
from .store import schema

if TYPE_CHECKING:
    from .runtime.runtime import Runtime


class Commands(AppGroup):
    """A group whose commands answer a user's mistake with a sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (SquidMeshError, CommandError) as error:
            raise click.ClickException(str(error)) from error
        except sa.exc.DBAPIError as error:
            reason = str(error.orig).strip().partition("\n")[0]
            raise click.ClickException(
                f"The database refused: {reason}. Run `flask squidmesh check` to see what is wrong."
            ) from error


group = Commands("squidmesh", help="Set up Squid Mesh, perform its steps and see whether all is well.")


@group.command()
@click.option("-d", "--directory", help="The migrations directory; Flask-Migrate's own if left out.")
@click.option("--head", help="The revision to build on, where the migrations have several heads.")
def install(directory: str | None, head: str | None) -> None:
    """Write the migrations that create or upgrade the tables."""
    bind = read_config(current_app.config).bind
    written = schema.install(_scripts(directory), head=head, bind=bind)
    for path in written:
        click.echo(f"Wrote {path}")
    click.echo("Now run: flask db upgrade" if written else "The migrations are up to date; nothing to write.")


@group.command()
def check() -> None:
    """Say what is wrong and how to mend it; fails when something is."""
    from .runtime.checking import check as look

    wrong = 0
    for finding in look(_runtime()):
        wrong += finding.wrong
        lines = finding.text.replace("\n", "\n       ")
        click.echo(f"{'wrong' if finding.wrong else 'ok':<6} {finding.subject}: {lines}")
    if wrong:
        raise click.ClickException("1 thing is wrong." if wrong == 1 else f"{wrong} things are wrong.")


@group.command()
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Steps performed at a time.")
@click.option("--queue", help="The queue to take work from; SQUIDMESH_QUEUE if left out.")
def worker(threads: int, queue: str | None) -> None:
    """Perform steps until stopped with SIGTERM or Ctrl-C; a second signal stops at once."""
    from .runtime.worker import Worker

    _refuse_memory()
    runtime = _ready()
    working = Worker(runtime, threads=threads, queue=queue)
    click.echo(f"Worker {runtime.worker_name} takes work from {queue or runtime.config.queue!r}, {threads} at a time.")
    with _stopping(working.stop):
        working.run()
    click.echo("Stopped.")


@group.command()
@click.option("--every", type=click.FloatRange(min=0, min_open=True), help="Seconds between rounds; one if left out.")
def relay(every: float | None) -> None:
    """Hand work over again that a queue or a process has lost, and take over from dead workers."""
    runtime, stopped = _ready(), threading.Event()
    with _stopping(stopped.set):
        _relay_once(runtime)
        while every is not None and not stopped.wait(every):
            _relay_once(runtime)


@group.group(cls=Commands)
def cron() -> None:
    """List the cron triggers, or start one."""


@cron.command("list")
def list_schedules() -> None:
    """List the cron triggers, when each is due next and when it last fired."""
    from .runtime.scheduling import schedules

    found = schedules(_ready())
    columns = ("workflow", "trigger", "expression", "timezone", "next_due", "last_due", "fired_at", "paused_at")
    for line in _aligned(columns, found):
        click.echo(line)
    if not found:
        click.echo("No registered workflow has a cron trigger.")


@cron.command()
@click.argument("workflow")
@click.argument("trigger")
@click.option(
    "--window",
    type=datetime.fromisoformat,
    help="Which due time, as ISO 8601 (UTC without an offset); the last one if left out.",
)
@click.option("--signal-id", help="A name of your own for this activation.")
def fire(workflow: str, trigger: str, window: datetime | None, signal_id: str | None) -> None:
    """Start a run by TRIGGER of WORKFLOW, as the schedule would."""
    from .runtime.scheduling import fire as start

    run_id = start(_ready(), workflow, trigger, intended_window=window, signal_id=signal_id)
    click.echo(f"Run {run_id}" if run_id else "Nothing started: this window has its run already.")


def _scripts(directory: str | None) -> ScriptDirectory:
    if "migrate" not in current_app.extensions:
        raise ConfigurationError("Flask-Migrate is not set up on this app. Call Migrate(app, db) where it is made.")
    migrate = current_app.extensions["migrate"]
    folder = directory or migrate.directory
    if not Path(folder, "env.py").exists():
        raise ConfigurationError(f"{folder} holds no migrations. Run: flask db init")
    return ScriptDirectory.from_config(migrate.migrate.get_config(folder))


def _runtime() -> Runtime:
    from .runtime.runtime import current_runtime

    return current_runtime()


def _ready() -> Runtime:
    """The app's runtime, once its configuration is complete and its tables are there."""
    runtime = _runtime()
    _ = runtime.config
    with runtime.database.read() as connection:
        schema.require(connection)
    return runtime


def _relay_once(runtime: Runtime) -> None:
    from .runtime.beats import record_beat, relay_name
    from .runtime.relaying import relay

    record_beat(runtime, "relay", relay_name(), queue=runtime.config.queue)
    click.echo(f"Handed over: {relay(runtime)}")


def _refuse_memory() -> None:
    runtime = _runtime()
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


def _aligned(columns: Sequence[str], rows: Sequence[Any]) -> Iterator[str]:
    """The rows as lines of text under a heading; none when there are no rows."""
    if not rows:
        return
    cells = [columns, *([_cell(row, column) for column in columns] for row in rows)]
    widths = [max(len(row[number]) for row in cells) for number in range(len(columns))]
    for row in cells:
        yield "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()


def _cell(row: Any, column: str) -> str:
    value = getattr(row, column)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="minutes")
    return "–" if value is None else str(value)
