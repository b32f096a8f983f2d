"""Beats: how processes tell that they live."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

import sqlalchemy as sa

from ..store.shapes import INSERTS
from ..store.tables import Process

if TYPE_CHECKING:
    from .runtime import Runtime


FORGOTTEN_AFTER: Final = timedelta(days=1)


def relay_name() -> str:
    """The name of this machine's relay. It is the same for each of its rounds, so that they leave one row."""
    return f"{socket.gethostname()}:relay"


def record_beat(runtime: Runtime, kind: Literal["worker", "relay"], name: str, *, queue: str, threads: int = 1) -> None:
    """Say that the process of this name lives."""
    now = runtime.clock.now()
    row = {"id": name, "kind": kind, "queue": queue, "threads": threads, "started_at": now, "seen_at": now}
    statement = INSERTS[runtime.database.dialect](Process).values(row)
    with runtime.database.write() as connection:
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"seen_at": now}))


def forget_the_dead(runtime: Runtime) -> None:
    """Take those processes off the list that were not seen for a day."""
    with runtime.database.write() as connection:
        connection.execute(sa.delete(Process).where(Process.seen_at < runtime.clock.now() - FORGOTTEN_AFTER))


def forget(runtime: Runtime, name: str) -> None:
    """Take the process of this name, which ends in good order, off the list."""
    with runtime.database.write() as connection:
        connection.execute(sa.delete(Process).where(Process.id == name))
