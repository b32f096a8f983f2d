"""Statements sent to PostgreSQL by libpq, because psycopg's cursors take as long for one as it takes to decide it.

They keep psycopg's connection, its way of waiting and its settings for prepared statements.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Generator, Sequence
from itertools import count
from typing import Any, Final

import sqlalchemy as sa
from psycopg import generators, pq
from psycopg.adapt import Transformer
from psycopg.errors import FeatureNotSupported, InvalidSqlStatementName, error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from .connections import LEVEL, SET_LEVEL, Driver, driver_of, server_of

# Lists, because psycopg's compiled implementation took no other sequence before 3.3.
Values = list[bytes | None]
Statement = tuple[bytes | None, str, Values]

DONE: Final = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
KEPT_IN: Final = "squidmesh_prepared"
TAKE_UTF8: Final = (b"UTF8", b"SQL_ASCII")
PIPELINES: Final = pq.version() >= 140_000
BEGIN: Final[Statement] = (None, "BEGIN ISOLATION LEVEL READ COMMITTED", [])
SET: Final[Statement] = (None, SET_LEVEL, [])
COMMIT: Final[Statement] = (None, "COMMIT", [])
GONE: Final = (InvalidSqlStatementName, FeatureNotSupported)
"""What says that a prepared statement is there no more, or that its columns are others since a migration."""
MOST_GONE: Final = 2

_process, _numbers = secrets.token_hex(4), count(1)


def send(pooled: sa.PoolProxiedConnection, sql: str, values: Values) -> PGresult:
    """Send a statement that is a transaction by itself, and answer its result.

    sql: has `$1`, `$2`, ... for the values, which are text in UTF-8. Raises what psycopg raises. Where the host has
    begun a transaction on the connection, with a listener to its pool, the statement ends it.
    """
    driver = driver_of(pooled)
    if _is_within(driver):
        [result] = _exchange(pooled, driver, [(sql, values)], [SET], [COMMIT])
    elif server_of(pooled).isolation == LEVEL:
        [result] = _exchange(pooled, driver, [(sql, values)], again=True)
    else:
        [result] = _exchange(pooled, driver, [(sql, values)], [BEGIN], [COMMIT], again=True)
    return result


def begin(pooled: sa.PoolProxiedConnection, asked: Sequence[tuple[str, Values]]) -> list[PGresult]:
    """Begin a transaction and send its first statements, in one round trip."""
    driver = driver_of(pooled)
    return _exchange(pooled, driver, asked, [SET] if _is_within(driver) else [BEGIN], again=True)


def commit(pooled: sa.PoolProxiedConnection, sql: str, values: Values) -> PGresult:
    """Send a transaction's last statement and commit, in one round trip."""
    [result] = _exchange(pooled, driver_of(pooled), [(sql, values)], closing=[COMMIT])
    return result


def rows(pooled: sa.PoolProxiedConnection, result: PGresult) -> list[list[Any]]:
    """The rows of a result as psycopg loads them."""
    transformer = Transformer(driver_of(pooled))
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, list)


class Names:
    """The statements that one connection has prepared: those sent often enough, and no more than psycopg would keep."""

    def __init__(self) -> None:
        self._sent = Counter[str]()
        self._names: dict[str, bytes] = {}
        self._gone = 0

    def of(self, driver: Driver, sql: str) -> bytes | None:
        """The name under which the statement is prepared; None where it is not."""
        name = self._names.get(sql)
        if name is None and driver.prepare_threshold is not None and self._gone < MOST_GONE:
            self._sent[sql] += 1
            if self._sent[sql] > driver.prepare_threshold and self._has_room(driver):
                name = self._prepare(driver, sql)
        return name

    @property
    def any(self) -> bool:
        """Whether anything is prepared."""
        return bool(self._names)

    def forget(self) -> None:
        """Nothing is prepared any more. Where that happens again and again nothing is worth being prepared."""
        self._gone += 1
        self._sent.clear()
        self._names.clear()

    def _has_room(self, driver: Driver) -> bool:
        return driver.prepared_max is None or len(self._names) < driver.prepared_max

    def _prepare(self, driver: Driver, sql: str) -> bytes:
        name = f"squidmesh_{_process}_{os.getpid()}_{next(_numbers)}".encode()  # behind a pooler others' are there too
        driver.pgconn.send_prepare(name, sql.encode())
        _answer(driver)
        self._names[sql] = name
        del self._sent[sql]
        return name


def _is_within(driver: Driver) -> bool:
    """Whether the host has begun a transaction, which is made one of ours by what comes first in it."""
    return driver.pgconn.transaction_status != TransactionStatus.IDLE


def _exchange(
    pooled: sa.PoolProxiedConnection,
    driver: Driver,
    asked: Sequence[tuple[str, Values]],
    opening: Sequence[Statement] = (),
    closing: Sequence[Statement] = (),
    *,
    again: bool = False,
) -> list[PGresult]:
    """The results of the statements. again: whether the transaction begins here, and so can begin anew where what was
    prepared is there no more."""
    if driver.pgconn.parameter_status(b"client_encoding") not in TAKE_UTF8:
        asked = [(sql, _recoded(values, driver.info.encoding)) for sql, values in asked]
    names = _names_on(pooled)
    try:
        named = [(names.of(driver, sql) if names else None, sql, values) for sql, values in asked]
        return _execute(driver, opening, named, closing)
    except GONE:
        if names is None or not names.any:
            raise
        names.forget()
        if not again:
            raise
        driver.rollback()
        return _execute(driver, opening, [(None, sql, values) for sql, values in asked], closing)


def _names_on(pooled: sa.PoolProxiedConnection) -> Names | None:
    """The connection's prepared statements; None where each transaction may meet another process of the server."""
    if not server_of(pooled).direct:
        return None
    names: Names | None = pooled.info.get(KEPT_IN)
    if names is None:
        names = pooled.info[KEPT_IN] = Names()
    return names


def _execute(
    driver: Driver, opening: Sequence[Statement], asked: Sequence[Statement], closing: Sequence[Statement]
) -> list[PGresult]:
    statements = [*opening, *asked, *closing]
    results = _in_pipeline(driver, statements) if len(statements) > 1 and PIPELINES else _in_turn(driver, statements)
    first = len(opening)
    return results[first : first + len(asked)]


def _in_turn(driver: Driver, statements: Sequence[Statement]) -> list[PGresult]:
    results = []
    for statement in statements:
        _send(driver.pgconn, *statement)
        results.append(_answer(driver))
    return results


def _in_pipeline(driver: Driver, statements: Sequence[Statement]) -> list[PGresult]:
    pgconn = driver.pgconn
    pgconn.enter_pipeline_mode()
    for statement in statements:
        _send(pgconn, *statement)
    pgconn.pipeline_sync()
    results = driver.wait(_pipelined(pgconn))
    pgconn.exit_pipeline_mode()
    return [_check(driver, result) for result in results[:-1]]


def _recoded(values: Values, encoding: str) -> Values:
    return [value and value.decode().encode(encoding) for value in values]


def _send(pgconn: PGconn, name: bytes | None, sql: str, values: Values) -> None:
    if name is None:
        pgconn.send_query_params(sql.encode(), values)
    else:
        pgconn.send_query_prepared(name, values)


def _answer(driver: Driver) -> PGresult:
    """The result of one statement. A pooler that breaks off passes on why the server has gone, and then says so again
    in its own words."""
    results: list[PGresult] = driver.wait(generators.execute(driver.pgconn))
    return _check(driver, results[0])


def _pipelined(pgconn: PGconn) -> Generator[Any, Any, list[PGresult]]:
    """Wait for the results up to that of the synchronisation."""
    yield from generators.send(pgconn)
    results: list[PGresult] = []
    while not results or results[-1].status != ExecStatus.PIPELINE_SYNC:
        results += yield from generators.fetch_many(pgconn)
    return results


def _check(driver: Driver, result: PGresult) -> PGresult:
    if result.status not in DONE:
        raise error_from_result(result, encoding=driver.info.encoding)
    return result
