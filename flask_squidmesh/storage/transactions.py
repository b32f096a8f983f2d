"""Three operations on the database, each a transaction: ask, commit, read then write.

Each is written twice, with the same result: by SQLAlchemy, and directly by libpq where the host has nothing on its
engine that would be passed by. Directly a statement takes half the CPU time and as few round trips as it can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import sqlalchemy as sa
from psycopg.pq.abc import PGresult

from . import libpq
from .compiled import Asked, ErrorsTold, Given, Prepared, Rows
from .libpq import GONE
from .write_batch import WriteBatch

Deciding = Callable[..., WriteBatch | None]


class Transactions(Protocol):
    """Each call is a transaction, from its first statement to its commit."""

    def ask(self, query: Prepared, given: Given) -> Rows:
        """The rows of one SELECT."""
        ...

    def commit(self, batch: WriteBatch) -> bool:
        """Make the writes. Return whether the fence of the batch has found its row."""
        ...

    def read_then_write(self, asked: Sequence[Asked], deciding: Deciding) -> bool:
        """Read rows and make the writes that are decided on them.

        deciding: gets the rows of each query, and answers the writes; None for none. Return whether any were made.
        """
        ...


class OrdinaryTransactions:
    """By SQLAlchemy, on either database.

    read, write: make a connection in a transaction for a `with` block; that of `write` is committed at its end.
    """

    def __init__(
        self,
        read: Callable[[], AbstractContextManager[sa.Connection]],
        write: Callable[[], AbstractContextManager[sa.Connection]],
    ) -> None:
        self._read, self._write = read, write

    def ask(self, query: Prepared, given: Given) -> Rows:
        """The rows of one SELECT."""
        with self._read() as connection:
            return query.rows(connection, given)

    def commit(self, batch: WriteBatch) -> bool:
        """Make the writes. Return whether the fence of the batch has found its row."""
        with self._write() as connection:
            return batch.execute(connection)

    def read_then_write(self, asked: Sequence[Asked], deciding: Deciding) -> bool:
        """Read rows and make the writes that are decided on them. Return whether any were made."""
        with self._write() as connection:
            batch = deciding(*(query.rows(connection, given) for query, given in asked))
            return batch is not None and batch.execute(connection)


class DirectTransactions:
    """By libpq, on a connection of the pool to PostgreSQL."""

    def __init__(self, pooled: sa.PoolProxiedConnection) -> None:
        self._pooled = pooled

    def ask(self, query: Prepared, given: Given) -> Rows:
        """The rows of one SELECT, in one round trip."""
        with ErrorsTold(query.sql):
            result = libpq.send(self._pooled, query.sql, query.encoded(query.in_order(given)))
        return query.loaded(libpq.rows(self._pooled, result))

    def commit(self, batch: WriteBatch) -> bool:
        """Make the writes, which are one statement, in one round trip. Return whether the fence has found its row."""
        statement, values = batch.as_one()
        with ErrorsTold(statement.sql):
            return _fence_found(libpq.send(self._pooled, statement.sql, statement.encoded(values)))

    def read_then_write(self, asked: Sequence[Asked], deciding: Deciding) -> bool:
        """Read rows and make the writes that are decided on them, in two round trips. Return whether any were made;
        not where somebody has discarded what was prepared, and the next try finds that out."""
        batch = deciding(*self._begun(asked))
        if batch is None:
            return False
        statement, values = batch.as_one()
        try:
            with ErrorsTold(statement.sql):
                return _fence_found(libpq.commit(self._pooled, statement.sql, statement.encoded(values)))
        except sa.exc.DBAPIError as error:
            if not isinstance(error.orig, GONE):
                raise
            return False

    def _begun(self, asked: Sequence[Asked]) -> list[Rows]:
        sent = [(query.sql, query.encoded(query.in_order(given))) for query, given in asked]
        with ErrorsTold(asked[0][0].sql):
            results = libpq.begin(self._pooled, sent)
        found = zip(asked, results, strict=True)
        return [query.loaded(libpq.rows(self._pooled, result)) for (query, _), result in found]


def _fence_found(result: PGresult) -> bool:
    """Whether the fence of a batch has found its row: the batch returns how many it found, which libpq has as text."""
    return result.get_value(0, 0) != b"0"
