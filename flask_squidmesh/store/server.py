"""What a connection leads to: a PostgreSQL server directly or through a pooler, and the isolation it begins with.

Our transactions are READ COMMITTED, whatever server, engine or driver begin with by default: they lock what they decide
on, and where a run was moved meanwhile they want to see it moved, not to be refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import psycopg
import sqlalchemy as sa
from psycopg import IsolationLevel, generators
from psycopg.pq import ExecStatus, TransactionStatus

from ..errors import ConfigurationError

Driver = psycopg.Connection[Any]

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


def server_of(pooled: sa.PoolProxiedConnection) -> Server:
    """What is behind this connection; it is asked once. A pooler is known by the process number that it makes up.

    In a transaction that somebody else has begun nothing is asked that would fix its isolation.
    """
    known: Server | None = pooled.info.get(_KNOWN_IN)
    driver = cast(Driver, pooled.driver_connection)
    within = driver.pgconn.transaction_status != TransactionStatus.IDLE
    if known is None or (known.direct is None and not within):
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
    level = cast(Driver, pooled.driver_connection).isolation_level
    if level is None:
        return server_of(pooled).isolation == LEVEL
    return level == IsolationLevel.READ_COMMITTED


@contextmanager
def read_committed(connection: sa.Connection) -> Iterator[None]:
    """Have the transaction that begins on the connection within the block be one of ours; afterwards the connection is
    as it was.

    Raises ConfigurationError where a listener of the host's has begun a transaction that cannot be.
    """
    driver = cast(Driver, connection.connection.driver_connection)
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
