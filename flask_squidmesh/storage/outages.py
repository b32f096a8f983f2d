"""What the database refuses: for a time, for good, or without saying which."""

from __future__ import annotations

import sqlite3
from enum import Enum
from typing import Any, Final, cast

import psycopg
import sqlalchemy as sa

DRIVERS: Final = (psycopg.Error, sqlite3.Error, UnicodeError)


class DatabaseRefusal(Enum):
    """How long a refusal lasts.

    FOR_A_TIME: it passes without anybody changing what is written. FOR_GOOD: the same write is refused for ever.
    UNCLEAR: the error does not say.
    """

    FOR_A_TIME = "for a time"
    FOR_GOOD = "for good"
    UNCLEAR = "unclear"


# Classes and codes of SQLSTATE, which is five characters of which the first two are the class.
_PASSING: Final = (
    "08",  # connections
    "25006",  # a standby, or a server that is read-only for a time
    "25P03",
    "25P04",
    "26000",  # a pooler that keeps no prepared statements, as is 42P05
    "28",  # a password that is just being changed: nobody could record a failure either
    "3D000",  # a database that is just being restored
    "40",  # serialisation, deadlocks
    "42P05",
    "53",  # no disk, memory or connections left
    "55006",
    "55P03",  # a lock was not to be had in time
    "57",  # shutting down, starting up, cancelled
    "58030",
)
_LASTING: Final = ("0A", "21", "22", "23", "2F", "38", "39", "40002", "42", "44", "54", "P0")

_PASSING_SQLITE: Final = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_SCHEMA,
)
_LASTING_SQLITE: Final = (
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_TOOBIG,
)
_PRIMARY: Final = 0xFF

# Of those without a code, which connections that are lost have not.
_PASSING_KINDS: Final = (sa.exc.OperationalError, sa.exc.InterfaceError)
_LASTING_KINDS: Final = (
    sa.exc.DataError,
    sa.exc.IntegrityError,
    sa.exc.NotSupportedError,
    sa.exc.ProgrammingError,
)
_KINDS: Final[tuple[Any, ...]] = (
    sa.exc.IntegrityError,
    sa.exc.OperationalError,
    sa.exc.ProgrammingError,
    sa.exc.DataError,
    sa.exc.InternalError,
    sa.exc.NotSupportedError,
    sa.exc.DatabaseError,
    sa.exc.InterfaceError,
)
_CONFLICTS: Final = ("40001", "40P01", "55P03", "57014")


def judged(error: sa.exc.SQLAlchemyError) -> DatabaseRefusal:
    """How long the database goes on refusing this."""
    if isinstance(error, sa.exc.TimeoutError | sa.exc.DisconnectionError):  # of the pool
        return DatabaseRefusal.FOR_A_TIME
    if isinstance(error, sa.exc.DBAPIError):
        return DatabaseRefusal.FOR_A_TIME if error.connection_invalidated else _judged_by_code(error)
    return DatabaseRefusal.FOR_GOOD if isinstance(error, sa.exc.StatementError) else DatabaseRefusal.UNCLEAR


def passes(error: BaseException) -> bool:
    """Whether it is the database's refusal, and only for a time."""
    return isinstance(error, sa.exc.SQLAlchemyError) and judged(error) is DatabaseRefusal.FOR_A_TIME


def means_outage(error: BaseException) -> bool:
    """Whether nobody could write meanwhile, as opposed to one statement that met a lock or another transaction."""
    if not isinstance(error, sa.exc.DBAPIError) or not passes(error):
        return False
    busy = isinstance(error.orig, sqlite3.Error) and _primary(error.orig) in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )
    return not busy and getattr(error.orig, "sqlstate", None) not in _CONFLICTS


def refuses_transactions(error: sa.exc.DBAPIError) -> bool:
    """Whether a pooler gives out its connections for a statement each, which does not pass."""
    return "statement pooling" in reason_of(error)


def told(error: BaseException, statement: str | None = None) -> sa.exc.DBAPIError:
    """A driver's error as SQLAlchemy tells it, without the statement's values."""
    if isinstance(error, UnicodeError):
        return sa.exc.DataError(statement, None, error, hide_parameters=True)
    names = {each.__name__ for each in type(error).__mro__}
    kind = next((kind for kind in _KINDS if kind.__name__ in names), sa.exc.DBAPIError)
    return cast(sa.exc.DBAPIError, kind(statement, None, error, hide_parameters=True))


def reason_of(error: sa.exc.DBAPIError) -> str:
    """Why the database refused, in the first line of its own words."""
    return str(error.orig).strip().partition("\n")[0]


def _judged_by_code(error: sa.exc.DBAPIError) -> DatabaseRefusal:
    state, code = getattr(error.orig, "sqlstate", None), _primary(error.orig)
    if state is not None:
        passing, lasting = _longest(state, _PASSING), _longest(state, _LASTING)
        return _either(passing > lasting, lasting > 0)
    if code is not None:
        return _either(code in _PASSING_SQLITE, code in _LASTING_SQLITE)
    return _either(isinstance(error, _PASSING_KINDS), isinstance(error, _LASTING_KINDS))


def _either(passing: bool, lasting: bool) -> DatabaseRefusal:
    if passing:
        return DatabaseRefusal.FOR_A_TIME
    return DatabaseRefusal.FOR_GOOD if lasting else DatabaseRefusal.UNCLEAR


def _longest(state: str, known: tuple[str, ...]) -> int:
    """How much of the code is known: a whole code says more than its class."""
    return max((len(each) for each in known if state.startswith(each)), default=0)


def _primary(error: BaseException | None) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & _PRIMARY
