"""The runtime that a command works with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
from sqlalchemy.exc import DBAPIError

from ..store import schema
from ..store.outages import Refusal, judged, reason_of, refuses_transactions

if TYPE_CHECKING:
    from ..runtime.runtime import Runtime


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
        schema.require(connection)
    return runtime


def reached_runtime() -> Runtime:
    """The same for a process that stays: a server that does not answer may be starting too, and gets a minute."""
    until, said = time.monotonic() + PATIENCE_SECONDS, False
    while True:
        try:
            return ready_runtime()
        except DBAPIError as error:
            passes = judged(error) is Refusal.FOR_A_TIME and not refuses_transactions(error)
            if not passes or runtime_here().database.dialect == "sqlite" or time.monotonic() >= until:
                raise
            if not said:
                reason = reason_of(error)
                click.echo(f"The database is out of reach; trying for {PATIENCE_SECONDS:g} s. ({reason})", err=True)
            said = True
            time.sleep(PAUSE_SECONDS)
