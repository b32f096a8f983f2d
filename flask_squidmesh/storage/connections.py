"""What a connection leads to, what follows its commit, and what a fork leaves of it.

Our transactions are READ COMMITTED, whatever server, engine or driver begin with by default: they lock what they decide
on, and where a run was moved meanwhile they want to see it moved, not to be refused.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

import psycopg
import sqlalchemy as sa
from psycopg import IsolationLevel, generators
from psycopg.pq import ExecStatus, TransactionStatus
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from ..errors import ConfigurationError

Driver = psycopg.Connection[Any]
AnySession = Session | scoped_session[Any]

LEVEL: Final = "read committed"
SET_LEVEL: Final = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
_KNOWN_IN: Final = "squidmesh_server"
_ASK_ISOLATION: Final = b"SHOW default_transaction_isolation"
_ASK_BOTH: Final = _ASK_ISOLATION + b"; SELECT pg_backend_pid()"


@dataclass(frozen=True, slots=True)
class Server:
    """What is behind a connection.

    isolation: of transactions that do not say which they want. direct: False where a pooler is between, which may give
    each transaction to another of the server's processes; None where that is not known yet.
    """

    isolation: str
    direct: bool | None


def driver_of(pooled: sa.PoolProxiedConnection) -> Driver:
    """The connection of psycopg's that this one of the pool stands for."""
    driver: Driver | None = pooled.driver_connection
    assert driver is not None
    return driver


def server_of(pooled: sa.PoolProxiedConnection) -> Server:
    """What is behind this connection; it is asked once. A pooler is known by the process number that it makes up.

    In a transaction that somebody else has begun nothing is asked that would fix its isolation.
    """
    known: Server | None = pooled.info.get(_KNOWN_IN)
    if known is not None and known.direct is not None:
        return known
    driver = driver_of(pooled)
    within = driver.pgconn.transaction_status != TransactionStatus.IDLE
    if known is None or not within:
        isolation, *pid = _answers(driver, _ASK_ISOLATION if within else _ASK_BOTH)
        known = Server(isolation, direct=pid[0] == str(driver.info.backend_pid) if pid else None)
        pooled.info[_KNOWN_IN] = known
    return known


def _answers(driver: Driver, asked: bytes) -> list[str]:
    """One value for each statement, which the server takes together."""
    driver.pgconn.send_query(asked)
    found = []
    for result in driver.wait(generators.execute(driver.pgconn)):
        if result.status != ExecStatus.TUPLES_OK:
            raise psycopg.errors.error_from_result(result, encoding=driver.info.encoding)
        found.append((result.get_value(0, 0) or b"").decode())
    return found


def begins_read_committed(pooled: sa.PoolProxiedConnection) -> bool:
    """Whether transactions that psycopg begins on the connection are READ COMMITTED by themselves."""
    level = driver_of(pooled).isolation_level
    if level is None:
        return server_of(pooled).isolation == LEVEL
    return level == IsolationLevel.READ_COMMITTED


@contextmanager
def read_committed(connection: sa.Connection) -> Iterator[None]:
    """Have the transaction that begins on the connection within the block be one of ours; afterwards the connection is
    as it was.

    Raises ConfigurationError where a listener of the host's has begun a transaction that cannot be.
    """
    driver = driver_of(connection.connection)
    if driver.pgconn.transaction_status != TransactionStatus.IDLE:
        _set_within(driver)
        yield
        return
    before = driver.autocommit, driver.isolation_level, driver.prepare_threshold
    _become(driver, *_wanted(connection.connection, driver))
    try:
        yield
    finally:
        if not driver.closed and driver.pgconn.transaction_status == TransactionStatus.IDLE:
            _become(driver, *before)


def _wanted(pooled: sa.PoolProxiedConnection, driver: Driver) -> tuple[bool, IsolationLevel | None, int | None]:
    level = driver.isolation_level if begins_read_committed(pooled) else IsolationLevel.READ_COMMITTED
    return False, level, driver.prepare_threshold if server_of(pooled).direct else None


def _become(driver: Driver, autocommit: bool, level: IsolationLevel | None, prepare_threshold: int | None) -> None:
    if driver.autocommit != autocommit:
        driver.autocommit = autocommit
    if driver.isolation_level != level:
        driver.isolation_level = level
    if driver.prepare_threshold != prepare_threshold:
        driver.prepare_threshold = prepare_threshold


def _set_within(driver: Driver) -> None:
    try:
        driver.execute(SET_LEVEL)
    except psycopg.errors.ActiveSqlTransaction as error:
        driver.rollback()
        raise ConfigurationError(
            "A listener of the host's engine begins a transaction on each connection and queries in it, at another "
            "isolation level than READ COMMITTED, which Squid Mesh needs and cannot set any more. Let the listener "
            "commit, or create the engine without isolation_level."
        ) from error


Then = Callable[[], None]

_KEY = "squidmesh_joined"

logger = logging.getLogger("flask_squidmesh")


@dataclass(slots=True)
class _Joined:
    """What waits for which transaction, and which transactions have committed."""

    waiting: dict[SessionTransaction, list[Then]] = field(default_factory=dict)
    committed: set[SessionTransaction] = field(default_factory=set)


def after_commit(session: AnySession, then: Then) -> None:
    """Call `then` once the outermost transaction of the session has committed.

    What was asked for within a savepoint goes with it: kept when it is released, dropped when it is rolled back.
    """
    real = session() if isinstance(session, scoped_session) else session
    joined = real.info.get(_KEY)
    if joined is None:
        joined = real.info[_KEY] = _Joined()
        sa.event.listen(real, "after_commit", _committed)
        sa.event.listen(real, "after_transaction_end", _ended)
    present = real.get_nested_transaction() or real.get_transaction()
    assert present is not None, "the session has joined our statements, so it is in a transaction"
    joined.waiting.setdefault(present, []).append(then)


def _committed(session: Session) -> None:
    present = session.get_nested_transaction() or session.get_transaction()
    if present is not None:
        session.info[_KEY].committed.add(present)


def _ended(session: Session, transaction: SessionTransaction) -> None:
    joined: _Joined = session.info[_KEY]
    waiting = joined.waiting.pop(transaction, [])
    if transaction not in joined.committed:
        return
    joined.committed.discard(transaction)
    if transaction.parent is not None:
        joined.waiting.setdefault(transaction.parent, []).extend(waiting)
        return
    for then in waiting:
        try:
            then()
        except Exception:  # the caller's commit stands; the relay makes good what was not handed over
            logger.exception("squidmesh: what follows a commit failed")


if sys.platform != "win32":
    import fcntl

FILES_OF_PROCESS: Final = "/dev/fd"
SHARED_LOCK: Final = (510, 0x40000002)
DEAD_MAN_SWITCH: Final = (1, 128)
"""Length and place of the locks that SQLite holds on a file, and beside it on the index of its log, while a connection
is open (sqlite.org, os_unix.c)."""


_left: list[object] = []


class Gate:
    """Lets transactions through, but for the moment in which the process forks.

    A thread that is inside passes again, so that the one that forks may be.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._inside: dict[int, int] = {}
        self._closed = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._lock:
            if self._closed:
                self._changed.wait_for(lambda: not self._closed or me in self._inside)
            self._inside[me] = self._inside.get(me, 0) + 1

    def __exit__(self, *_: object) -> None:
        me = threading.get_ident()
        with self._lock:
            self._inside[me] -= 1
            if not self._inside[me]:
                del self._inside[me]
                if self._closed:
                    self._changed.notify_all()

    def close(self, patience: float) -> None:
        """Let nobody in, and wait so many seconds at most for the other threads that are inside."""
        me = threading.get_ident()
        with self._changed:
            self._closed += 1
            self._changed.wait_for(lambda: self._inside.keys() <= {me}, patience)

    def open(self) -> None:
        """Let everybody in again."""
        with self._changed:
            self._closed -= 1
            self._changed.notify_all()


def leave(engine: sa.Engine) -> None:
    """Leave an engine's connections to the process that this one was forked from, and begin with new ones.

    They are neither closed nor given to the garbage collector, as the parent goes on using them. A database in memory
    lives in its connection, and the child has a copy of both.
    """
    path = path_of(engine.url)
    if engine.dialect.name == "sqlite" and path is None:
        return
    _left.append(engine.pool)
    engine.dispose(close=False)
    if path is not None:
        _take_locks_anew(path)


def keep_for_parent(inherited: object) -> None:
    """Keep what belongs to the parent from the garbage collector, which would close it."""
    _left.append(inherited)


def is_of_parent(connection: sa.Connection) -> bool:
    """Whether a connection was opened by the process that this one was forked from."""
    pool = getattr(connection.connection, "_pool", None)
    return any(pool is left for left in _left)


def path_of(url: sa.URL) -> str | None:
    """The SQLite file that the URL names; None where it names none."""
    name = url.database or ""
    if url.get_backend_name() != "sqlite" or not name or ":memory:" in name or url.query.get("mode") == "memory":
        return None
    return unquote(name.removeprefix("file:").partition("?")[0]) if name.startswith("file:") else name


def _take_locks_anew(path: str) -> None:
    """Take the locks that SQLite believes this process holds.

    A child inherits the memory in which SQLite counts the locks on each file, and not the locks. A new connection of
    the child would count on them too, and others could delete the log while the child writes to it.
    """
    log = list(_open_files(path + "-shm"))
    if not log:
        return
    try:
        for descriptor in list(_open_files(path))[:1]:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, *SHARED_LOCK)
        fcntl.lockf(log[0], fcntl.LOCK_SH | fcntl.LOCK_NB, *DEAD_MAN_SWITCH)
    except OSError as error:
        logger.critical(
            "squidmesh: process %d cannot lock %s, which was open when the process was forked off (%s). "
            "End its sessions before the fork, or start the process anew.",
            os.getpid(),
            path,
            error,
        )


def _open_files(path: str) -> Iterator[int]:
    """The descriptors under which this process has the file open."""
    try:
        wanted, listed = os.stat(path), os.listdir(FILES_OF_PROCESS)
    except OSError:
        return
    for name in listed:
        try:
            found = os.fstat(int(name))
        except OSError:  # that of the list itself
            continue
        if os.path.samestat(found, wanted):
            yield int(name)
