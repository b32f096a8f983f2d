"""Commits, statements and bytes of write-ahead log that a database has had while a block ran."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg

SWITCH = "SQUIDMESH_BENCH_COUNTS"

# A backend tells its statistics at the end of a transaction, but once a second at most; else after ten idle seconds.
TELLS_EVERY, TELLS_IDLE_AFTER = 1.1, 10.5
DEADLINE = 15.0


@dataclass(slots=True)
class Counts:
    """What the database has had since the block began; filled in when it ends.

    commits: transactions, reading ones too; None on SQLite, and where SQUIDMESH_BENCH_COUNTS is "no".
    wal_bytes: of the whole server; None on SQLite. statements: those that clients sent, without BEGIN and COMMIT; None
    where the server has no pg_stat_statements.
    """

    commits: int | None = None
    wal_bytes: int | None = None
    statements: int | None = None

    @property
    def figures(self) -> dict[str, int | None]:
        """As the answer of a contender has them."""
        return {"commits": self.commits, "wal_bytes": self.wal_bytes, "statements": self.statements}


@contextmanager
def counted(url: str) -> Iterator[Counts]:
    """Count while the block runs. Take the time inside: before and after, this waits until all backends have told.

    Stop your worker and close your pools inside the block, once the clock has stopped: backends that are gone have told
    what they did, while each that stays connected takes up to eleven seconds, and a worker that goes on polling is
    counted until then.

    :param url: Of the database, as libpq or SQLAlchemy writes it; nothing is counted on SQLite.
    """
    counts = Counts()
    if url.startswith("sqlite"):
        yield counts
        return
    name, server = _server(url)
    counts_commits = os.environ.get(SWITCH) != "no"
    # From another database, so that these queries are not among what they count.
    with psycopg.connect(server, autocommit=True) as connection:
        before = _commits(connection, name) if counts_commits else 0
        written, asked = _written(connection), _statements(connection, name)
        yield counts
        counts.wal_bytes = _written(connection) - written
        counts.statements = None if asked is None else (_statements(connection, name) or 0) - asked
        counts.commits = _commits(connection, name) - before if counts_commits else None


def libpq_url(url: str) -> str:
    """The URL without the driver that SQLAlchemy puts into it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"


def _server(url: str) -> tuple[str, str]:
    """The name of the database, and the URL of another one on the same server."""
    parts = urlsplit(libpq_url(url))
    return parts.path.removeprefix("/"), parts._replace(path="/postgres").geturl()


def _written(connection: psycopg.Connection) -> int:
    return _number(connection, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")


def _statements(connection: psycopg.Connection, database: str) -> int | None:
    if not _number(connection, "SELECT count(*) FROM pg_extension WHERE extname = 'pg_stat_statements'"):
        return None
    return _number(connection, _ASKED, database)


def _commits(connection: psycopg.Connection, database: str) -> int:
    _wait_until_told(connection, database)
    return _number(connection, "SELECT xact_commit FROM pg_stat_database WHERE datname = %s", database)


def _wait_until_told(connection: psycopg.Connection, database: str) -> None:
    [asked] = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline and _number(connection, _SILENT, database, asked, TELLS_EVERY, TELLS_IDLE_AFTER):
        time.sleep(0.02)


def _number(connection: psycopg.Connection, query: str, *values: object) -> int:
    [number] = connection.execute(query.encode(), values or None).fetchone() or (0,)
    return int(number)


_ASKED = """
    SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
    WHERE datname = %s AND query !~* '^(begin|start|commit|rollback|savepoint|release)'
"""

_SILENT = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = %s AND backend_type = 'client backend' AND NOT (
        state = 'idle' AND (
            state_change > %s::timestamptz + make_interval(secs => %s)
            OR state_change < clock_timestamp() - make_interval(secs => %s)))
"""
