"""Heartbeats of processes."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import Final, Literal

import sqlalchemy as sa

from ...clock import Clock
from ...storage.database import Database
from ...storage.tables import Process
from ...storage.write_statements import INSERTS

FORGOTTEN_AFTER: Final = timedelta(days=1)


def relay_name() -> str:
    """The name of this machine's relay. It is the same for each of its rounds, so that they leave one row."""
    return f"{socket.gethostname()}:relay"


class Heartbeats:
    """The list of the processes that live."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def record(self, kind: Literal["worker", "relay"], name: str, *, queue: str, threads: int = 1) -> None:
        """Say that the process of this name lives."""
        now = self._clock.now()
        row = {"id": name, "kind": kind, "queue": queue, "threads": threads, "started_at": now, "seen_at": now}
        statement = INSERTS[self._database.dialect](Process).values(row)
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"seen_at": now}))

    def forget_the_dead(self) -> None:
        """Take those processes off the list that were not seen for a day."""
        with self._database.write() as connection:
            connection.execute(sa.delete(Process).where(Process.seen_at < self._clock.now() - FORGOTTEN_AFTER))

    def forget(self, name: str) -> None:
        """Take the process of this name, which ends in good order, off the list."""
        with self._database.write() as connection:
            connection.execute(sa.delete(Process).where(Process.id == name))
