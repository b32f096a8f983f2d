"""The host's database as we use it: transactions, the time, and the difference between PostgreSQL and SQLite."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from math import inf
from typing import Any, TypeVar, cast

import psycopg
import sqlalchemy as sa
from psycopg.pq import ExecStatus, PipelineStatus, TransactionStatus
from sqlalchemy.engine.base import OptionEngine
from sqlalchemy.orm import Session

from ..clock import Clock, ReferenceClock
from ..errors import ConfigurationError, ConflictError, SchemaError
from . import compiled
from .compiled import Asked, Dialect, Given, Prepared, Rows
from .connections import (
    AnySession,
    Driver,
    Gate,
    after_commit,
    begins_read_committed,
    driver_of,
    is_of_parent,
    read_committed,
)
from .libpq import PIPELINES
from .outages import DRIVERS, means_outage, reason_of, told
from .tables import ADVICE, PREFIX, Timestamp
from .transactions import Deciding, DirectTransactions, OrdinaryTransactions, Transactions
from .write_batch import WriteBatch
from .write_statements import FromNow


class SidePool(OptionEngine):
    """Connects as the host's engine does, with its dialect, options and listeners, but keeps connections of its own.

    So it gets one, however many of the host's are taken.
    """

    def __init__(self, host: sa.Engine) -> None:
        self._own_pool = host.pool.recreate()
        super().__init__(host, {})

    @property
    def pool(self) -> sa.Pool:
        """The pool of its own."""
        return self._own_pool

    @pool.setter
    def pool(self, pool: sa.Pool) -> None:
        self._own_pool = pool


class Contact:
    """Since when this process has reached the database without a gap.

    Only a process that did so for a whole claim timeout may take over an expired claim: after an outage nobody could
    renew, and a claim that expired meanwhile says nothing about its worker.

    longest_silence: seconds between two answers that are no gap. Claims are renewed several times within their timeout,
    so that none of the living expires in a silence that is shorter.
    """

    def __init__(self, clock: Clock, longest_silence: float = inf) -> None:
        self._clock, self._longest_silence = clock, longest_silence
        self._since: float | None = None
        self._last = 0.0
        self._refused = False

    def made(self, *, written: bool = True) -> None:
        """A transaction went through. written: whether it could write, which alone ends an outage of writing."""
        now = time.monotonic()
        if now - self._last > self._longest_silence:
            self._since = None
        self._last = now
        self._refused = self._refused and not written
        if self._since is None and not self._refused:
            self._since = self._moment()

    def lost(self) -> None:
        """The database did not answer, or could not write."""
        self._since, self._refused = None, True

    def unbroken_for(self, seconds: float) -> bool:
        """Whether contact has held for so long, with no silence of that length in it."""
        if self._since is not None and time.monotonic() - self._last > seconds:
            self._since = None
        return self._since is not None and self._moment() - self._since >= seconds

    def _moment(self) -> float:
        return time.monotonic() + self._clock.offset.total_seconds()


_Found = TypeVar("_Found")
Result = TypeVar("Result")

UNDEFINED = ("42P01", "42703")
ASK_TIME = b"SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LOCK_WAIT_MS = 30_000
BRIEF_LOCK_WAIT_MS = 300
BEGINS_IN = "squidmesh_begins"


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
    # Where the host keeps compiled statements in a place of its own, ours are kept there too.
    cache = {name: kept for name, kept in host.get_execution_options().items() if name == "compiled_cache"}
    engine = sa.create_engine(host.url, execution_options={compiled.OWN: True, **cache})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    # Not as a listener to "begin", for which SQLAlchemy would look for all other listeners at each turn too.
    engine.dialect.do_begin = partial(_begin_sqlite, engine.dialect)  # type: ignore[method-assign]
    return engine


def _prepare_sqlite(dbapi: sqlite3.Connection, _record: object) -> None:
    dbapi.isolation_level = None
    dbapi.execute(f"PRAGMA busy_timeout={BRIEF_LOCK_WAIT_MS}")
    with suppress(sqlite3.OperationalError):  # another holds the lock just now; a later connection changes the mode
        dbapi.execute("PRAGMA journal_mode=WAL")
    for pragma in (f"busy_timeout={LOCK_WAIT_MS}", "synchronous=NORMAL", "foreign_keys=ON"):
        dbapi.execute(f"PRAGMA {pragma}")


def _begin_sqlite(dialect: sa.Dialect, pooled: sa.PoolProxiedConnection) -> None:
    with closing(pooled.cursor()) as cursor:
        dialect.do_execute(cursor, f"BEGIN {pooled.info.pop(BEGINS_IN, 'DEFERRED')}", ())


def _is_sound(driver: Driver) -> bool:
    """Whether the connection has answered all that it was asked."""
    asked = (TransactionStatus.ACTIVE, TransactionStatus.UNKNOWN)
    in_pipeline = PIPELINES and driver.pgconn.pipeline_status != PipelineStatus.OFF
    return driver.pgconn.transaction_status not in asked and not in_pipeline


def time_of(driver: Driver) -> datetime | None:
    """What PostgreSQL's clock shows; None where the connection cannot be asked just now."""
    try:
        answer = driver.pgconn.exec_(ASK_TIME)
    except psycopg.Error:
        return None
    shown = answer.get_value(0, 0) if answer.status == ExecStatus.TUPLES_OK else None
    return None if shown is None else EPOCH + timedelta(microseconds=int(shown))


class ExplainingMissingTables:
    """Turn the driver's complaint about a table or column of ours into SchemaError with the commands to run."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, sa.exc.DBAPIError) and _lacks_something_of_ours(error):
            raise SchemaError(f"The database is not ready for Squid Mesh: {reason_of(error)}.\n{ADVICE}") from error


class _Watched(ExplainingMissingTables):
    """Notes whether the database was reached, and has the driver's errors told as SQLAlchemy's, whoever let them out.

    A class, as a generator takes longer than all else in it. writing: whether what goes well has written.
    """

    def __init__(self, contact: Contact, *, writing: bool) -> None:
        self._contact, self._writing = contact, writing

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            self._contact.made(written=self._writing)
            return
        plain = told(error) if isinstance(error, DRIVERS) else error
        if means_outage(plain):
            self._contact.lost()
        super().__exit__(_type, plain, _traceback)
        if plain is not error:
            raise plain from error


def _lacks_something_of_ours(error: sa.exc.DBAPIError) -> bool:
    text, state = str(error.orig), getattr(error.orig, "sqlstate", None)
    absent = state in UNDEFINED or "no such table" in text or "no such column" in text or "has no column" in text
    return absent and PREFIX in text


def now_parameter(dialect: Dialect, parameter: str) -> sa.ColumnElement[datetime]:
    """The time as SQL with a parameter, for statements that are made once; see `Database.value_of_now`."""
    if dialect == "sqlite":
        return sa.bindparam(parameter, type_=Timestamp)
    return sa.type_coerce(sa.func.now() + sa.bindparam(parameter, type_=sa.Interval), Timestamp)


class Database:
    """One app's database.

    engine: a callable that answers the engine at first use, so that nothing connects before it must. host_session: the
    host's session, asked what it holds. longest_silence: see `Contact`.

    Whoever has a connection of the host's pool and waits for another may wait for somebody who does the same. So reads
    of ours use what the host's session has, and whatever else takes a second connection takes it from a pool beside.
    """

    def __init__(
        self,
        engine: Callable[[], sa.Engine],
        clock: ReferenceClock,
        host_session: Callable[[], Session | None] = lambda: None,
        bind: Callable[[], sa.Engine | None] = lambda: None,
        longest_silence: float = inf,
    ) -> None:
        self._open, self._clock, self._host_session, self._bind = engine, clock, host_session, bind
        self._engine: sa.Engine | None = None
        self._opening = threading.Lock()
        self._turn = threading.Lock()
        self.gate = Gate()
        self._beside: dict[str, SidePool] = {}
        self._here = _Here()
        self.contact = Contact(clock, longest_silence)
        self._reading = _Watched(self.contact, writing=False)
        self._writing = _Watched(self.contact, writing=True)
        self._ordinary = OrdinaryTransactions(self.read, self.write)

    @property
    def engine(self) -> sa.Engine:
        """The engine of our own transactions."""
        if self._engine is None:
            with self._opening:
                self._engine = self._engine or self._open()
        return self._engine

    @cached_property
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

    def value_of_now(self) -> datetime | timedelta:
        """The value of the parameter of `now_parameter`."""
        return self._clock.now() if self.dialect == "sqlite" else self._clock.offset

    def from_now(self, later: timedelta, now: datetime | None = None) -> datetime | FromNow:
        """The same as a value that `WriteBatch` writes. now: the clock's time, where it has just been asked for."""
        if self.dialect == "sqlite":
            return (now or self._clock.now()) + later
        return FromNow(self._clock.offset + later)

    def ask(self, query: Prepared, given: Given) -> Rows:
        """The rows of one SELECT, in one round trip."""
        if self._lent_by_host() is not None:
            return self._ordinary.ask(query, given)
        return self._transacted(lambda transactions: transactions.ask(query, given), self._reading)

    def commit(self, batch: WriteBatch) -> bool:
        """Make the writes in a transaction of their own, which on PostgreSQL is the one statement that they have to be.

        Return whether the fence of the batch has found its row.
        """
        return self._transacted(lambda transactions: transactions.commit(batch), self._writing)

    def read_then_write(self, asked: Sequence[Asked], deciding: Deciding) -> bool:
        """Read rows and make the writes that are decided on them, in one transaction of two round trips (PostgreSQL).

        deciding: gets the rows of each query, which may lock them, and answers the writes; None for none. Answer
        whether any were made.
        """
        return self._transacted(lambda transactions: transactions.read_then_write(asked, deciding), self._writing)

    @contextmanager
    def read(self, *, shared: bool = True) -> Iterator[sa.Connection]:
        """A connection whose reads belong to one transaction: the host's where its session has one (`shared`)."""
        lent = self._lent_by_host() if shared or self.shared_connection else None
        if lent is not None:
            with self._reading, _undone(lent):
                yield lent
            return
        with self.standing_still_at_forks(), self._reading, self._connected() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction of our own, committed when the block ends and rolled back when it raises.

        Raises ConflictError where the caller's own uncommitted writes would block it on SQLite.
        """
        if self.dialect == "postgresql":
            with self._writing, self._connected() as connection:
                yield connection
                connection.commit()
            return
        blocked_by_host = self._host_holds_write_lock()
        if blocked_by_host and self.shared_connection:
            raise ConflictError(_PASS_SESSION)
        with self.gate, self._turn, self._writing, self.engine.connect() as connection:
            self._begin_immediate(connection, blocked_by_host)
            try:
                yield connection
                connection.commit()
            finally:
                connection.rollback()

    @contextmanager
    def reserved(self, purpose: str) -> Iterator[None]:
        """Have this thread's transactions meanwhile use connections that are kept for a purpose, outside of the host's
        pool, so that nobody can take them away (PostgreSQL)."""
        before, self._here.purpose = self._here.purpose, purpose
        try:
            yield
        finally:
            self._here.purpose = before

    def beside(self, purpose: str) -> sa.Engine:
        """The host's engine with a pool of its own for this purpose; on SQLite our engine, which is not the host's."""
        if self.dialect == "sqlite":
            return self.engine
        with self._opening:
            if purpose not in self._beside:
                self._beside[purpose] = SidePool(cast(sa.Engine, self._engine))
            return self._beside[purpose]

    def standing_still_at_forks(self) -> AbstractContextManager[None]:
        """Have this process fork only before or after the block, where the database is an SQLite file.

        A child that was forked off in the middle of a statement would find locks of SQLite's taken for ever.
        """
        return nullcontext() if self.dialect == "postgresql" else self.gate

    def in_transaction(
        self,
        session: AnySession | None,
        work: Callable[[sa.Connection], Result],
        then: Callable[[Result], None],
    ) -> Result:
        """Do `work` in a transaction of our own, or in the session's; `then` follows the commit."""
        if session is None:
            with self.write() as connection:
                result = work(connection)
            then(result)
            return result
        session.flush()
        with ExplainingMissingTables():
            result = work(self.joined(session))
        after_commit(session, partial(then, result))
        return result

    def joined(self, session: AnySession) -> sa.Connection:
        """The connection of the caller's transaction, which can write from here on; we never commit it.

        SQLite's driver begins no transaction for a read, so that two would decide on the same rows at once. Raises
        ConfigurationError where the connection commits every statement by itself.
        """
        connection = self.seen_by(session)
        raw: Any = connection.connection.driver_connection
        if self.dialect == "sqlite":
            if not raw.in_transaction:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif raw.autocommit:
            raise ConfigurationError(_NO_TRANSACTION)
        return connection

    def begun_in(self, session: Session) -> sa.Connection:
        """As `joined`, for a session that is not used yet: where its connections commit by themselves, this one does
        not until the transaction has ended."""
        if self.dialect == "postgresql":
            raw: Any = self.seen_by(session).connection.driver_connection
            if raw.autocommit:
                session.close()
                given = {"bind": self._bind()} if self._bind() is not None else {}
                session.connection(bind_arguments=given, execution_options={"isolation_level": "READ COMMITTED"})
        return self.joined(session)

    def seen_by(self, session: AnySession) -> sa.Connection:
        """The connection of the caller's transaction, to read from. Raises ConflictError where it is the parent's of
        this process."""
        bind = self._bind()
        connection = session.connection(bind_arguments={"bind": bind}) if bind is not None else session.connection()
        if is_of_parent(connection):
            raise ConflictError(_SESSION_OF_PARENT)
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
            with self.read():
                pass

    def _keep_time(self, pooled: sa.PoolProxiedConnection) -> None:
        """Compare the clocks where that was not done for a while, with a statement beside the caller's."""
        if self.dialect == "postgresql" and not self._clock.is_fresh:
            driver = driver_of(pooled)
            self._clock.compare(lambda: time_of(driver))

    def dispose(self) -> None:
        """Close engines of our own; the host's stays as it is."""
        if self._engine is not None and self._engine.dialect.name == "sqlite" and not self.shared_connection:
            self._engine.dispose()
        self.let_go("")

    def let_go(self, purpose: str) -> None:
        """Close the connections that are kept for this purpose."""
        with self._opening:
            names = [name for name in self._beside if name.startswith(purpose)]
            engines = [self._beside.pop(name) for name in names]
        for engine in engines:
            engine.dispose()

    def _transacted(self, use: Callable[[Transactions], _Found], watched: _Watched) -> _Found:
        """Have it talk to PostgreSQL past SQLAlchemy, or by it where that or the driver may not be passed by.

        What it leaves uncommitted past SQLAlchemy is rolled back.
        """
        if self.dialect == "sqlite":
            return use(self._ordinary)
        engine = self._engine_here()
        if not compiled.is_open(engine):
            return use(self._ordinary)
        with watched:
            pooled = engine.raw_connection()
            driver = driver_of(pooled)
            if compiled.passes_driver_by(driver):
                pooled.close()
                return use(self._ordinary)
            if driver.pgconn.transaction_status == TransactionStatus.IDLE:
                self._keep_time(pooled)
            try:
                found = use(DirectTransactions(pooled))
                if driver.pgconn.transaction_status != TransactionStatus.IDLE:
                    driver.rollback()
            except BaseException as error:
                _left_sound(engine, pooled, error)
                pooled.close()
                raise
            # As SQLAlchemy gives back a connection whose transaction it has ended: the pool need not roll back again.
            pooled._close_special(transaction_reset=True)
            return found

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        """A connection that this thread holds meanwhile: on PostgreSQL in a transaction for the block to commit."""
        engine = self._engine_here()
        self._here.depth += 1
        try:
            with engine.connect() as connection, _leaving_what_is_lost(connection), self._begun(connection):
                self._keep_time(connection.connection)
                yield connection
        finally:
            self._here.depth -= 1

    @contextmanager
    def _begun(self, connection: sa.Connection) -> Iterator[None]:
        if self.dialect == "sqlite":
            yield
            return
        with read_committed(connection):
            if not connection.in_transaction():  # as a listener may have begun one
                connection.begin()
            try:
                yield
            finally:
                if not connection.closed:
                    connection.rollback()

    def _engine_here(self) -> sa.Engine:
        """The engine whose pool this thread may wait for, whatever it holds already: each has a pool of the next."""
        if self.dialect == "sqlite":
            return self.engine
        purpose, depth = self._here.purpose, self._here.depth
        if purpose is None:
            depth += self._is_held_by_host()
            if depth <= 0:
                return self.engine
        return self.beside(f"{purpose or 'second'} {depth}")

    def _is_held_by_host(self) -> bool:
        session = self._host_session()
        return session is not None and session.in_transaction()

    def _lent_by_host(self) -> sa.Connection | None:
        """The connection of the host's open transaction where we can read from it: in memory there is no other, and
        closing one of our own would roll it back."""
        if self._here.purpose is not None or not (self.dialect == "postgresql" or self.shared_connection):
            return None
        session = self._host_session()
        if session is None or not session.in_transaction():
            return None
        if self.dialect == "sqlite":
            return self.seen_by(session)
        return self._fit_to_read(session)

    def _fit_to_read(self, session: Session) -> sa.Connection | None:
        try:
            connection = self.seen_by(session)
        except (sa.exc.InvalidRequestError, ConflictError):  # it has to be rolled back first, or is the parent's
            return None
        if connection.engine.pool is not self.engine.pool:
            return None
        driver = driver_of(connection.connection)
        well = driver.pgconn.transaction_status in (TransactionStatus.IDLE, TransactionStatus.INTRANS)
        return connection if well and begins_read_committed(connection.connection) else None

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
            connection.connection.info[BEGINS_IN] = "IMMEDIATE"
            connection.begin()
        except sa.exc.OperationalError as error:
            if blocked_by_host and "locked" in str(error.orig):
                raise ConflictError(_PASS_SESSION) from error
            raise
        finally:
            if blocked_by_host:
                raw.execute(f"PRAGMA busy_timeout={LOCK_WAIT_MS}")


class _Here(threading.local):
    """What this thread holds: how many connections, and for which purpose they are kept."""

    depth = 0
    purpose: str | None = None


@contextmanager
def _undone(lent: sa.Connection) -> Iterator[None]:
    """Leave the host's transaction as it was, also where a query of ours fails (PostgreSQL)."""
    raw: Any = lent.connection.driver_connection
    if lent.dialect.name == "sqlite" or raw.autocommit:
        yield
        return
    savepoint = lent.begin_nested()
    try:
        yield
    finally:
        if savepoint.is_active:
            savepoint.rollback()


@contextmanager
def _leaving_what_is_lost(connection: sa.Connection) -> Iterator[None]:
    """Have SQLAlchemy throw away a connection that was lost past it; it would complain of each in the log."""
    try:
        yield
    except psycopg.Error as error:
        if not connection.closed and not connection.invalidated and getattr(connection.connection, "closed", False):
            connection.invalidate(error)
        raise


def _left_sound(engine: sa.Engine, pooled: sa.PoolProxiedConnection, error: BaseException) -> None:
    """Roll back, or throw the connection away; where it is gone so are probably those that are as old, as SQLAlchemy
    assumes too."""
    driver = driver_of(pooled)
    if driver.closed:
        engine.pool._invalidate(pooled, error)
    elif _is_sound(driver):
        driver.rollback()
    else:
        pooled.invalidate(error)


_NO_TRANSACTION = (
    "The connection of the session commits every statement by itself (isolation_level is AUTOCOMMIT), so that a run "
    "cannot be in one transaction with rows of yours. Leave session= out, or begin the session's transaction with "
    'db.session.connection(execution_options={"isolation_level": "READ COMMITTED"}).'
)
_SESSION_OF_PARENT = (
    "The session uses a connection that was opened before this process was forked off, and that the other process goes "
    "on using. Use a session that is new in this process, or end the session's transaction before the fork."
)
_PASS_SESSION = (
    "db.session holds writes that are not committed, and SQLite allows one writer at a time, so a transaction of our "
    "own would wait for itself. Commit first, or pass session=db.session to make both one transaction."
)
