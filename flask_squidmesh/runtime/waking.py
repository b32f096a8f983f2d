"""Waking workers: a signal within the process; between processes, notifications or a glance at the SQLite file."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..storage.connections import server_of

if TYPE_CHECKING:
    from ..storage.database import Database

CHANNEL = "squidmesh"
NOTIFIED_POLL_SECONDS = 10.0
"""Between two looks of a worker that notifications wake, for those that get lost."""
RECONNECT_SECONDS = 2.0
GLANCE_SECONDS = 0.1

logger = logging.getLogger("flask_squidmesh")


class WakeSignal:
    """Wakes whoever waits in this process."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def set(self) -> None:
        """Wake whoever waits, or whoever would wait next."""
        self._rung.set()

    def take(self) -> bool:
        """Return whether it was set since it was last taken, and clear it."""
        rung = self._rung.is_set()
        if rung:
            self._rung.clear()
        return rung

    def wait(self, seconds: float) -> bool:
        """Sleep until it is set, at most so many seconds, and clear it; return whether it was set."""
        rung = self._rung.wait(max(seconds, 0.0))
        self._rung.clear()
        return rung


def notify(connection: sa.Connection, queue: str) -> None:
    """Wake the workers of the queue in every process once this transaction has committed (PostgreSQL)."""
    connection.execute(sa.select(sa.func.pg_notify(CHANNEL, queue)))


class Watch(ABC):
    """Sets the wake signal, from a thread of its own, when another process may have made work.

    Polling bridges its gaps.

    hears: whether it would set it now.
    """

    def __init__(self, database: Database, queue: str, wake_signal: WakeSignal) -> None:
        self._database, self._queue, self._wake_signal = database, queue, wake_signal
        self.hears = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="squidmesh-listener", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, within a second."""
        self._stopping.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except BaseException as error:  # the connection is gone; workers poll meanwhile
                logger.warning("squidmesh: listening for work was interrupted (%s)", type(error).__name__)
                self._stopping.wait(RECONNECT_SECONDS)

    @abstractmethod
    def _listen(self) -> None:
        """Set the wake signal until `_stopping` is set, or raise."""


class Listener(Watch):
    """PostgreSQL: sets it for every notification of the queue, which a connection of its own hears.

    Behind a pooler, which may give the connection's place at the server to others, nothing is sure to be heard, so that
    no connection is kept.
    """

    def _listen(self) -> None:
        engine = self._database.beside("waking")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            direct = server_of(connection.connection).direct
            if direct:
                self._hear(connection)
        if not direct:
            self._database.let_go("waking")
            logger.info("squidmesh: there is a pooler before the database, so workers look for work by themselves")
            self._stopping.wait()

    def _hear(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        self._wake_signal.set()
        driver = connection.connection.driver_connection
        assert driver is not None
        try:
            self.hears = True
            while not self._stopping.is_set():
                for notification in driver.notifies(timeout=0.5, stop_after=1):
                    if notification.payload == self._queue:
                        self._wake_signal.set()
        finally:
            self.hears = False
            connection.invalidate()


class FileWatch(Watch):
    """SQLite: sets it when the file has changed, which costs no query to find out."""

    def _listen(self) -> None:
        with self._database.engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            seen = None
            while not self._stopping.wait(GLANCE_SECONDS):
                with self._database.gate:
                    [version] = driver.execute("PRAGMA data_version").fetchone()
                if version != seen:
                    self._wake_signal.set()
                seen = version


def watch(database: Database, queue: str, wake_signal: WakeSignal) -> Watch | None:
    """What sets this wake signal when another process makes work; None where no other process can."""
    if database.shared_connection:
        return None
    return (Listener if database.dialect == "postgresql" else FileWatch)(database, queue, wake_signal)
