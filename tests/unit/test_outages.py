"""What the database refuses for a time, and what for good."""

from __future__ import annotations

import sqlite3
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from flask_squidmesh.storage.outages import DatabaseRefusal, judged, means_outage, told

OF_STATE = {
    "08006": DatabaseRefusal.FOR_A_TIME,
    "25006": DatabaseRefusal.FOR_A_TIME,
    "40001": DatabaseRefusal.FOR_A_TIME,
    "40002": DatabaseRefusal.FOR_GOOD,
    "40P01": DatabaseRefusal.FOR_A_TIME,
    "53100": DatabaseRefusal.FOR_A_TIME,
    "53200": DatabaseRefusal.FOR_A_TIME,
    "53300": DatabaseRefusal.FOR_A_TIME,
    "55P03": DatabaseRefusal.FOR_A_TIME,
    "57014": DatabaseRefusal.FOR_A_TIME,
    "57P01": DatabaseRefusal.FOR_A_TIME,
    "57P03": DatabaseRefusal.FOR_A_TIME,
    "22003": DatabaseRefusal.FOR_GOOD,
    "22P05": DatabaseRefusal.FOR_GOOD,
    "23505": DatabaseRefusal.FOR_GOOD,
    "42501": DatabaseRefusal.FOR_GOOD,
    "54000": DatabaseRefusal.FOR_GOOD,
    "P0001": DatabaseRefusal.FOR_GOOD,
    "XX000": DatabaseRefusal.UNCLEAR,
    "99999": DatabaseRefusal.UNCLEAR,
}
OF_SQLITE = {
    sqlite3.SQLITE_BUSY: DatabaseRefusal.FOR_A_TIME,
    sqlite3.SQLITE_BUSY_SNAPSHOT: DatabaseRefusal.FOR_A_TIME,
    sqlite3.SQLITE_LOCKED: DatabaseRefusal.FOR_A_TIME,
    sqlite3.SQLITE_FULL: DatabaseRefusal.FOR_A_TIME,
    sqlite3.SQLITE_IOERR_WRITE: DatabaseRefusal.FOR_A_TIME,
    sqlite3.SQLITE_READONLY: DatabaseRefusal.FOR_A_TIME,
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: DatabaseRefusal.FOR_GOOD,
    sqlite3.SQLITE_TOOBIG: DatabaseRefusal.FOR_GOOD,
    sqlite3.SQLITE_CORRUPT: DatabaseRefusal.UNCLEAR,
}


def of_postgresql(state: str) -> sa.exc.DBAPIError:
    kind: Any = type("Refused", (psycopg.DatabaseError,), {"sqlstate": state})
    return told(kind("refused"))


def of_sqlite(code: int) -> sa.exc.DBAPIError:
    error: Any = sqlite3.OperationalError("refused")
    error.sqlite_errorcode = code
    return told(error)


@pytest.mark.rule("outage-kinds")
@pytest.mark.parametrize("state", OF_STATE)
def test_a_code_of_postgresql_says_how_long_a_refusal_lasts(state: str) -> None:
    assert judged(of_postgresql(state)) is OF_STATE[state]


@pytest.mark.rule("outage-kinds")
@pytest.mark.parametrize("code", OF_SQLITE)
def test_a_code_of_sqlite_says_how_long_a_refusal_lasts(code: int) -> None:
    assert judged(of_sqlite(code)) is OF_SQLITE[code]


@pytest.mark.rule("outage-undecided")
def test_without_a_code_the_kind_of_error_says_it() -> None:
    gone = psycopg.OperationalError("server closed the connection unexpectedly")
    assert judged(told(gone)) is DatabaseRefusal.FOR_A_TIME
    assert judged(told(psycopg.DataError("text with NUL"))) is DatabaseRefusal.FOR_GOOD
    assert judged(told(UnicodeEncodeError("latin-1", "€", 0, 1, "ordinal not in range"))) is DatabaseRefusal.FOR_GOOD
    assert judged(sa.exc.TimeoutError("QueuePool limit reached")) is DatabaseRefusal.FOR_A_TIME


@pytest.mark.rule("outage-standstill")
def test_a_conflict_with_others_is_no_outage() -> None:
    assert [state for state in ("40001", "40P01", "55P03", "57014") if means_outage(of_postgresql(state))] == []
    assert not means_outage(of_sqlite(sqlite3.SQLITE_BUSY))
    assert all(means_outage(of_postgresql(state)) for state in ("57P01", "25006", "53100"))


@pytest.mark.rule("database-errors")
def test_what_a_driver_says_is_told_by_the_kinds_of_sqlalchemy_without_values() -> None:
    error = told(psycopg.errors.UniqueViolation("duplicate key"), "INSERT INTO things VALUES ($1)")
    assert type(error) is sa.exc.IntegrityError
    assert "duplicate key" in str(error)
    assert "parameters" not in str(error)
