"""Waking workers: a bell within the process, and PostgreSQL's notifications between processes."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from ..store.database import Database

CHANNEL = "squidmesh"
RECONNECT_SECONDS = 2.0

logger = logging.getLogger("flask_squidmesh")


class Bell:
    """Wakes whoever waits in this process."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        """Wake the waiting one, or the next one who would wait."""
        self._rung.set()

    def wait(self, seconds: float) -> None:
        """Sleep until the bell rings, at most so long."""
        self._rung.wait(max(seconds, 0.0))
        self._rung.clear()


def notify(connection: sa.Connection, queue: str) -> None:
    """Wake the workers of the queue in every process once this transaction has committed (PostgreSQL)."""
    connection.execute(sa.select(sa.func.pg_notify(CHANNEL, queue)))


class Listener:
    """Rings the bell for every notification of the queue. A lost connection is made anew; polling bridges the gap."""

    def __init__(self, database: Database, queue: str, bell: Bell) -> None:
        self._database, self._queue, self._bell = database, queue, bell
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
            except Exception as error:  # the connection is gone; workers poll meanwhile
                logger.warning("squidmesh: listening for work was interrupted (%s)", type(error).__name__)
                self._stopping.wait(RECONNECT_SECONDS)

    def _listen(self) -> None:
        with self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"LISTEN {CHANNEL}")
            self._bell.ring()
            driver = connection.connection.driver_connection
            assert driver is not None
            try:
                while not self._stopping.is_set():
                    for notification in driver.notifies(timeout=0.5, stop_after=1):
                        if notification.payload == self._queue:
                            self._bell.ring()
            finally:
                connection.invalidate()
