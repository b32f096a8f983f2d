"""The group that all commands are in, how they answer a mistake, and how they lay out rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click
import sqlalchemy as sa
from alembic.util import CommandError
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError

from ..errors import (
    ConflictError,
    FilterError,
    ManualActionError,
    PayloadError,
    RunNotFoundError,
    SquidMeshError,
    TransitionError,
    UnknownTriggerError,
    UnknownWorkflowError,
    UnsafeReplayError,
)
from ..storage import migrations
from ..storage.outages import DatabaseRefusal, judged, reason_of, refuses_transactions

if TYPE_CHECKING:
    from ..runtime.runtime import Runtime


class CommandGroup(AppGroup):
    """A group whose commands answer a user's mistake with a sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (SquidMeshError, CommandError) as error:
            raise _told(error) from error
        except sa.exc.DBAPIError as error:
            raise click.ClickException(
                f"The database refused: {reason_of(error)}. Run `flask squidmesh check` to see what is wrong."
            ) from error


def _told(error: Exception) -> click.ClickException:
    """The same as a sentence, with the exit code of its kind."""
    return _FailedCommand(str(error), next((code for kinds, code in EXIT_CODES.items() if isinstance(error, kinds)), 1))


class _FailedCommand(click.ClickException):
    """A sentence with an exit code of its own."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance


EXIT_CODES: Final[Mapping[tuple[type[Exception], ...], int]] = {
    (RunNotFoundError, UnknownWorkflowError, UnknownTriggerError): 3,
    (ConflictError, TransitionError, UnsafeReplayError): 4,
    (PayloadError, ManualActionError, FilterError): 5,
}
"""1 is what is not ready, and 2 a command that is written wrongly; they are told in the help of `runs`."""

group = CommandGroup("squidmesh", help="Set up Squid Mesh, perform its steps and see whether all is well.")


PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 1.0


def runtime_here() -> Runtime:
    """The app's runtime, whatever its configuration lacks."""
    from ..runtime.runtime import current_runtime

    return current_runtime()


def ready_runtime() -> Runtime:
    """The app's runtime, once its configuration is complete and its tables are there."""
    runtime = runtime_here()
    _ = runtime.config
    with runtime.database.read() as connection:
        migrations.require(connection)
    return runtime


def reached_runtime() -> Runtime:
    """The same for a process that stays: a server that does not answer may be starting too, and gets a minute."""
    until, said = time.monotonic() + PATIENCE_SECONDS, False
    while True:
        try:
            return ready_runtime()
        except DBAPIError as error:
            passes = judged(error) is DatabaseRefusal.FOR_A_TIME and not refuses_transactions(error)
            if not passes or runtime_here().database.dialect == "sqlite" or time.monotonic() >= until:
                raise
            if not said:
                reason = reason_of(error)
                click.echo(f"The database is out of reach; trying for {PATIENCE_SECONDS:g} s. ({reason})", err=True)
            said = True
            time.sleep(PAUSE_SECONDS)


def aligned(columns: Sequence[str], rows: Sequence[object]) -> Iterator[str]:
    """The rows as lines of text under a heading; none when there are no rows."""
    if not rows:
        return
    cells = [columns, *([_cell(row, column) for column in columns] for row in rows)]
    widths = [max(len(row[number]) for row in cells) for number in range(len(columns))]
    for row in cells:
        yield "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()


def _cell(row: object, column: str) -> str:
    value = getattr(row, column)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="minutes")
    return "–" if value is None else str(value)
