"""The host's database as we use it: transactions, the time, and the difference between PostgreSQL and SQLite."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import psycopg
import sqlalchemy as sa
from psycopg.pq import ExecStatus, PipelineStatus, TransactionStatus
from sqlalchemy.orm import Session, scoped_session

from ..clock import Clock, ReferenceClock
from ..errors import ConflictError, SchemaError
from .batching import Batch
from .prepared import Asked, Dialect, Prepared
from .shapes import FromNow
from .tables import ADVICE, PREFIX, Timestamp
from .wire import PIPELINES

AnySession = Session | scoped_session[Any]
_Found = TypeVar("_Found")

UNDEFINED = ("42P01", "42703")
ASK_TIME = b"SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LOCK_WAIT_MS = 30_000
BRIEF_LOCK_WAIT_MS = 300


def in_memory(url: sa.URL) -> bool:
    """Whether the URL names an SQLite database that lives in one connection only."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def open_engine(host: sa.Engine) -> sa.Engine:
    """The engine for our own transactions: the host's, but on an SQLite file one of our own on the same URL.

    The host's SQLite engine keeps its listeners and its way of beginning transactions; ours begins IMMEDIATE,
    because a deferred transaction that reads before it writes fails at once where another has written meanwhile.
    """
    if host.dialect.name != "sqlite" or in_memory(host.url):
        return host
    engine = sa.create_engine(host.url)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(dbapi: sqlite3.Connection, _record: object) -> None:
    dbapi.isolation_level = None
    dbapi.execute(f"PRAGMA busy_timeout={BRIEF_LOCK_WAIT_MS}")
    with suppress(sqlite3.OperationalError):  # another holds the lock just now; a later connection changes the mode
        dbapi.execute("PRAGMA journal_mode=WAL")
    for pragma in (f"busy_timeout={LOCK_WAIT_MS}", "synchronous=NORMAL", "foreign_keys=ON"):
        dbapi.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN " + connection.get_execution_options().get("sqlite_begin", "DEFERRED"))


def _is_sound(driver: psycopg.Connection[Any]) -> bool:
    """Whether the connection has answered all that it was asked."""
    asked = (TransactionStatus.ACTIVE, TransactionStatus.UNKNOWN)
    in_pipeline = PIPELINES and driver.pgconn.pipeline_status != PipelineStatus.OFF
    return driver.pgconn.transaction_status not in asked and not in_pipeline


def time_of(driver: psycopg.Connection[Any]) -> datetime | None:
    """What PostgreSQL's clock shows; None where the connection cannot be asked just now."""
    try:
        answer = driver.pgconn.exec_(ASK_TIME)
    except psycopg.Error:
        return None
    shown = answer.get_value(0, 0) if answer.status == ExecStatus.TUPLES_OK else None
    return None if shown is None else EPOCH + timedelta(microseconds=int(shown))


class Contact:
    """Since when this process has reached the database without a gap.

    Only a process that did so for a whole claim timeout may take over an expired claim: after an outage nobody could
    renew, and a claim that expired meanwhile says nothing about its worker.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: float | None = None
        self._last = 0.0

    def made(self) -> None:
        """A transaction went through."""
        self._last = time.monotonic()
        if self._since is None:
            self._since = self._moment()

    def lost(self) -> None:
        """The database did not answer."""
        self._since = None

    def unbroken_for(self, seconds: float) -> bool:
        """Whether contact has held for so long, with no silence of that length in it."""
        if self._since is not None and time.monotonic() - self._last > seconds:
            self._since = None
        return self._since is not None and self._moment() - self._since >= seconds

    def _moment(self) -> float:
        return time.monotonic() + self._clock.offset.total_seconds()


def reason_of(error: sa.exc.DBAPIError) -> str:
    """Why the database refused, in the first line of its own words."""
    return str(error.orig).strip().partition("\n")[0]


class ExplainingMissingTables:
    """Turn the driver's complaint about a table or column of ours into SchemaError with the commands to run."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, sa.exc.DBAPIError) and _lacks_something_of_ours(error):
            raise SchemaError(f"The database is not ready for Squid Mesh: {reason_of(error)}.\n{ADVICE}") from error


class _Watched(ExplainingMissingTables):
    """Notes in addition whether the database was reached. A class, as a generator takes longer than all else in it."""

    def __init__(self, contact: Contact) -> None:
        self._contact = contact

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            self._contact.made()
        elif isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
            self._contact.lost()
        super().__exit__(_type, error, _traceback)


def _lacks_something_of_ours(error: sa.exc.DBAPIError) -> bool:
    text, state = str(error.orig), getattr(error.orig, "sqlstate", None)
    absent = state in UNDEFINED or "no such table" in text or "no such column" in text or "has no column" in text
    return absent and PREFIX in text


def now_given(dialect: Dialect, parameter: str) -> sa.ColumnElement[datetime]:
    """The time as SQL with a parameter, for statements that are made once; see `Database.given_now`."""
    if dialect == "sqlite":
        return sa.bindparam(parameter, type_=Timestamp)
    return sa.type_coerce(sa.func.now() + sa.bindparam(parameter, type_=sa.Interval), Timestamp)


class Database:
    """One app's database.

    engine: a callable that answers the engine at first use, so that nothing connects before it must.
    host_session: the host's scoped session, asked whether it holds the write lock on SQLite.
    """

    def __init__(
        self,
        engine: Callable[[], sa.Engine],
        clock: ReferenceClock,
        host_session: Callable[[], Session | None] = lambda: None,
        bind: Callable[[], sa.Engine | None] = lambda: None,
    ) -> None:
        self._open, self._clock, self._host_session, self._bind = engine, clock, host_session, bind
        self._engine: sa.Engine | None = None
        self._opening = threading.Lock()
        self._turn = threading.Lock()
        self.contact = Contact(clock)
        self._watched = _Watched(self.contact)

    @property
    def engine(self) -> sa.Engine:
        """The engine of our own transactions."""
        if self._engine is None:
            with self._opening:
                self._engine = self._engine or self._open()
        return self._engine

    @property
    def dialect(self) -> Dialect:
        """Which of the two databases this is."""
        return cast(Dialect, self.engine.dialect.name)

    @property
    def shared_connection(self) -> bool:
        """Whether every thread sees the same connection, as with an SQLite database in memory."""
        return in_memory(self.engine.url)

    def now(self, later: timedelta = timedelta(0)) -> sa.ColumnElement[datetime]:
        """The time as SQL: the database's own on PostgreSQL, shifted like the clock; the clock's on SQLite.

        later: how much to add.
        """
        if self.dialect == "sqlite":
            return sa.literal(self._clock.now() + later, Timestamp)
        return sa.type_coerce(sa.func.now() + sa.literal(self._clock.offset + later, sa.Interval), Timestamp)

    def given_now(self) -> datetime | timedelta:
        """The value of the parameter of `now_given`."""
        return self._clock.now() if self.dialect == "sqlite" else self._clock.offset

    def from_now(self, later: timedelta) -> datetime | FromNow:
        """The same as a value that `Batch` writes."""
        return self._clock.now() + later if self.dialect == "sqlite" else FromNow(self._clock.offset + later)

    def ask(self, query: Prepared, given: Mapping[str, Any]) -> list[list[Any]]:
        """The rows of one SELECT, in one round trip."""
        if self.dialect == "sqlite":
            with self.read() as connection:
                return query.rows(connection.connection, connection.dialect, given)
        return self._alone(lambda pooled, dialect: query.ask(pooled, dialect, given))

    def commit(self, batch: Batch) -> bool:
        """Make the writes in a transaction of their own, which on PostgreSQL is the one statement that they have to be.

        Answer whether the fence of the batch has found its row.
        """
        if self.dialect == "sqlite":
            with self.write() as connection:
                return batch.execute(connection)
        return self._alone(batch.send)

    def decide(self, asked: Sequence[Asked], deciding: Callable[..., Batch | None]) -> bool:
        """Read rows and make the writes that are decided on them, in one transaction of two round trips (PostgreSQL).

        deciding: gets the rows of each query, which may lock them, and answers the writes; None for none. Answer
        whether any were made; not where somebody has discarded what was prepared, and the next try finds that out.
        """

        def send(pooled: sa.PoolProxiedConnection, dialect: sa.Dialect) -> bool:
            batch = deciding(*Prepared.begin(pooled, dialect, asked))
            return batch is not None and batch.commit(pooled, dialect)

        try:
            return self._alone(send)
        except sa.exc.DBAPIError as error:
            if not isinstance(error.orig, psycopg.errors.InvalidSqlStatementName):
                raise
            return False

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection whose reads belong to one transaction."""
        lent = self._lent_by_host()
        if lent is not None:
            yield lent
            return
        with self._watched, self.engine.connect() as connection:
            self._keep_time(connection.connection)
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction of our own, committed when the block ends and rolled back when it raises.

        Raises ConflictError where the caller's own uncommitted writes would block it on SQLite.
        """
        if self.dialect == "postgresql":
            with self._watched, self.engine.begin() as connection:
                self._keep_time(connection.connection)
                yield connection
            return
        blocked_by_host = self._host_holds_write_lock()
        if blocked_by_host and self.shared_connection:
            raise ConflictError(_PASS_SESSION)
        with self._turn, self._watched, self.engine.connect() as connection:
            self._begin_immediate(connection, blocked_by_host)
            try:
                yield connection
                connection.commit()
            finally:
                connection.rollback()

    def joined(self, session: AnySession) -> sa.Connection:
        """The connection of the caller's transaction, which can write from here on; we never commit it.

        SQLite's driver begins no transaction for a read, so that two would decide on the same rows at once.
        """
        connection = self.seen_by(session)
        raw: Any = connection.connection.driver_connection
        if self.dialect == "sqlite" and not raw.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        return connection

    def seen_by(self, session: AnySession) -> sa.Connection:
        """The connection of the caller's transaction, to read from."""
        bind = self._bind()
        connection = session.connection(bind_arguments={"bind": bind}) if bind is not None else session.connection()
        self._keep_time(connection.connection)
        return connection

    def keep_time(self, session: AnySession | None = None) -> None:
        """Have the clock tell the database's time before anything is decided by it.

        Reading and writing see to it by themselves; this is for what takes the time before either. session: a
        caller's, whose connection is to be used.
        """
        if self.dialect == "sqlite" or self._clock.is_fresh:
            return
        if session is not None:
            self.seen_by(session)
        else:
            self._alone(lambda pooled, dialect: None)

    def _keep_time(self, pooled: sa.PoolProxiedConnection) -> None:
        """Compare the clocks where that was not done for a while, with a statement beside the caller's."""
        if self.dialect == "postgresql" and not self._clock.is_fresh:
            driver = cast(psycopg.Connection[Any], pooled.driver_connection)
            self._clock.compare(lambda: time_of(driver))

    def dispose(self) -> None:
        """Close an engine of our own; the host's stays as it is."""
        if self._engine is not None and self._engine.dialect.name == "sqlite" and not self.shared_connection:
            self._engine.dispose()

    def forget_connections(self) -> None:
        """Leave every connection to the process that this one was forked from."""
        if self._engine is not None:
            self._engine.dispose(close=False)

    def _alone(self, send: Callable[[sa.PoolProxiedConnection, sa.Dialect], _Found]) -> _Found:
        """Send statements past SQLAlchemy (PostgreSQL). What is not committed then is rolled back."""
        with self._watched:
            pooled = self.engine.raw_connection()
            driver = cast(psycopg.Connection[Any], pooled.driver_connection)
            self._keep_time(pooled)
            try:
                found = send(pooled, self.engine.dialect)
                if driver.pgconn.transaction_status != TransactionStatus.IDLE:
                    driver.rollback()
                return found
            except BaseException:
                if _is_sound(driver):
                    driver.rollback()
                else:
                    pooled.invalidate()
                raise
            finally:
                pooled.close()

    def _lent_by_host(self) -> sa.Connection | None:
        """In memory, the connection of the host's open transaction, which closing one of our own would roll back."""
        session = self._host_session() if self.shared_connection else None
        return self.seen_by(session) if session is not None and session.in_transaction() else None

    def _host_holds_write_lock(self) -> bool:
        session = self._host_session()
        if session is None or not session.in_transaction():
            return False
        raw: Any = session.connection().connection.driver_connection
        return bool(getattr(raw, "in_transaction", False))

    def _begin_immediate(self, connection: sa.Connection, blocked_by_host: bool) -> None:
        if self.shared_connection:
            connection.begin()
            return
        raw: Any = connection.connection.driver_connection
        if blocked_by_host:
            raw.execute(f"PRAGMA busy_timeout={BRIEF_LOCK_WAIT_MS}")
        try:
            connection.execution_options(sqlite_begin="IMMEDIATE").begin()
        except sa.exc.OperationalError as error:
            if blocked_by_host and "locked" in str(error.orig):
                raise ConflictError(_PASS_SESSION) from error
            raise
        finally:
            if blocked_by_host:
                raw.execute(f"PRAGMA busy_timeout={LOCK_WAIT_MS}")


_PASS_SESSION = (
    "db.session holds writes that are not committed, and SQLite allows one writer at a time, so a transaction of our "
    "own would wait for itself. Commit first, or pass session=db.session to make both one transaction."
)
