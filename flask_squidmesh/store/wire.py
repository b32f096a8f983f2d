"""Statements sent to PostgreSQL by libpq, because psycopg's cursors take as long for one as it takes to decide it.

They keep psycopg's connection, its adapters, its way of waiting and its settings for prepared statements.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any, Final, cast

import psycopg
import sqlalchemy as sa
from psycopg import generators
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import InvalidSqlStatementName, error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

Driver = psycopg.Connection[Any]

DONE: Final = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
KEPT_IN: Final = "squidmesh_prepared"

_numbers = count(1)


def send(pooled: sa.PoolProxiedConnection, sql: str, values: Sequence[Any]) -> PGresult:
    """Send a statement that is a transaction by itself, and answer its result.

    sql: has `$1`, `$2`, ... for the values. Raises what psycopg raises.
    """
    driver = cast(Driver, pooled.driver_connection)
    dumped = Transformer(driver).dump_sequence(values, [PyFormat.TEXT] * len(values))
    names: Names = pooled.info.setdefault(KEPT_IN, Names())
    try:
        return _execute(driver, names.of(driver, sql), sql, dumped)
    except InvalidSqlStatementName:  # psycopg or the host has discarded what was prepared
        names.forget()
        return _execute(driver, None, sql, dumped)


def rows(pooled: sa.PoolProxiedConnection, result: PGresult) -> list[list[Any]]:
    """The rows of a result as psycopg loads them."""
    transformer = Transformer(cast(Driver, pooled.driver_connection))
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, list)


class Names:
    """The statements that one connection has prepared, by psycopg's rules: those sent often, and not too many."""

    def __init__(self) -> None:
        self._sent = Counter[str]()
        self._names: dict[str, bytes] = {}

    def of(self, driver: Driver, sql: str) -> bytes | None:
        """The name under which the statement is prepared; None where it is not."""
        name = self._names.get(sql)
        if name is None and driver.prepare_threshold is not None:
            self._sent[sql] += 1
            if self._sent[sql] > driver.prepare_threshold:
                name = self._prepare(driver, sql)
        return name

    def forget(self) -> None:
        """Nothing is prepared any more."""
        self._sent.clear()
        self._names.clear()

    def _prepare(self, driver: Driver, sql: str) -> bytes:
        if driver.prepared_max is not None and len(self._names) >= driver.prepared_max:
            oldest = next(iter(self._names))
            driver.pgconn.send_query_params(b"DEALLOCATE " + self._names.pop(oldest), None)
            _answer(driver)
        name = b"squidmesh_%d" % next(_numbers)
        driver.pgconn.send_prepare(name, sql.encode())
        _answer(driver)
        self._names[sql] = name
        del self._sent[sql]
        return name


def _execute(driver: Driver, name: bytes | None, sql: str, values: Sequence[Any]) -> PGresult:
    if name is None:
        driver.pgconn.send_query_params(sql.encode(), values)
    else:
        driver.pgconn.send_query_prepared(name, values)
    return _answer(driver)


def _answer(driver: Driver) -> PGresult:
    result: PGresult
    [result] = driver.wait(generators.execute(driver.pgconn))
    if result.status not in DONE:
        raise error_from_result(result, encoding=driver.info.encoding)
    return result
