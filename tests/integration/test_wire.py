"""Statements that go to PostgreSQL past psycopg's cursors: what is sent is what arrives, and connections stay sound."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import generators
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from flask_squidmesh.storage import libpq, tables
from flask_squidmesh.storage.compiled import encoder
from flask_squidmesh.storage.connections import server_of

ID = "01a205f1-3d60-742c-8263-52c333b98dda"
MOMENT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))
TEXTS = ["", "plain", "ü € 𝄞", 'it\'s "quoted" \\ {a,b} NULL', " line\nand\ttab ", "NULL"]
JSON = {"a": [1, 2.5, None, True, {"ü": "\\ \" ' \u2028"}], "": ""}


@pytest.fixture
def engine(postgres_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(postgres_url, pool_size=1, max_overflow=0)
    yield engine
    engine.dispose()


@pytest.fixture
def pooled(engine: sa.Engine) -> Iterator[Any]:
    connection = engine.raw_connection()
    yield connection
    connection.close()


def prepared(pooled: Any) -> int:
    return int(libpq.send(pooled, "SELECT count(*) FROM pg_prepared_statements", []).get_value(0, 0) or 0)


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (tables.Name, TEXTS),
        (sa.Text(), TEXTS),
        (tables.Id, [ID]),
        (sa.Integer(), [0, -7, 2**31 - 1]),
        (tables.Serial, [2**62]),
        (sa.Boolean(), [True, False]),
        (tables.Timestamp(), [MOMENT, MOMENT.astimezone(UTC), datetime(1, 1, 1, tzinfo=UTC)]),
        (sa.Interval(), [timedelta(0), timedelta(days=3, microseconds=7), timedelta(days=400, seconds=5)]),
        (tables.Json, [JSON, [], {}, "text", 0, None]),
    ],
    ids=str,
)
def test_every_value_arrives_as_it_was_sent(pooled: Any, type_: TypeEngine[Any], values: list[Any]) -> None:
    name = postgresql.dialect().type_compiler_instance.process(type_.dialect_impl(postgresql.dialect()))
    encode = encoder(type_)
    for value in values:
        result = libpq.send(pooled, f"SELECT $1::{name}", [None if value is None else encode(value)])
        assert libpq.rows(pooled, result) == [[psycopg_reads(value)]]
    if not isinstance(type_, sa.JSON):
        array = encoder(postgresql.ARRAY(type_))([*values, None])
        result = libpq.send(pooled, f"SELECT unnest($1::{name}[])", [array])
        assert [row[0] for row in libpq.rows(pooled, result)] == [*map(psycopg_reads, values), None]


def psycopg_reads(value: Any) -> Any:
    return UUID(ID) if value == ID else value


@pytest.mark.rule("database-pooler")
def test_a_pooler_that_breaks_off_is_told_by_the_reason_that_comes_first(
    pooled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PgBouncer passes on why the server has gone, and says then in an error of its own that it has."""

    def twice(pgconn: Any) -> Any:
        results = yield from generators.execute(pgconn)
        return [*results, results[-1]]

    server_of(pooled)
    monkeypatch.setattr(libpq, "generators", SimpleNamespace(execute=twice))
    with pytest.raises(psycopg.OperationalError, match="terminating connection"):
        libpq.send(pooled, "SELECT pg_terminate_backend(pg_backend_pid())", [])


def test_text_that_would_be_cut_short_is_refused(pooled: Any) -> None:
    with pytest.raises(psycopg.DataError, match=r"U\+0000"):
        encoder(tables.Name)("a\0b")


def test_a_type_that_no_column_has_is_refused() -> None:
    with pytest.raises(TypeError, match="Float"):
        encoder(sa.Float())


def test_a_connection_of_another_encoding_gets_its_own(postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url, connect_args={"client_encoding": "LATIN1"})
    connection: Any = engine.raw_connection()
    result = libpq.send(
        connection,
        "SELECT $1::text, length($1::text)",
        [
            "grün".encode(),
        ],
    )
    assert libpq.rows(connection, result) == [["grün", 4]]
    connection.close()
    engine.dispose()


def test_a_statement_is_prepared_once_it_was_sent_as_often_as_psycopg_would_wait_for(pooled: Any) -> None:
    pooled.driver_connection.prepare_threshold = 2
    counts = []
    for _ in range(4):
        libpq.send(pooled, "SELECT $1::int", [b"1"])
        counts.append(prepared(pooled))
    assert counts[:2] == [0, 0]
    assert counts[3] > 0


@pytest.mark.rule("database-prepared")
def test_nothing_is_prepared_where_psycopg_may_not(pooled: Any) -> None:
    pooled.driver_connection.prepare_threshold = None
    for _ in range(8):
        libpq.send(pooled, "SELECT $1::int", [b"1"])
    assert prepared(pooled) == 0


def test_no_more_is_kept_prepared_than_psycopg_would_keep(pooled: Any) -> None:
    pooled.driver_connection.prepare_threshold = 0
    pooled.driver_connection.prepared_max = 3
    for number in range(9):
        libpq.send(pooled, f"SELECT $1::int + {number}", [b"1"])
    assert prepared(pooled) == 3


def begin(pooled: Any, sql: str, values: libpq.Values) -> Any:
    return libpq.begin(pooled, [(sql, values)])[0]


@pytest.mark.rule("database-prepared")
@pytest.mark.parametrize("send", [libpq.send, begin])
def test_what_somebody_has_discarded_is_sent_again(pooled: Any, send: Any) -> None:
    pooled.driver_connection.prepare_threshold = 0
    libpq.send(pooled, "SELECT $1::int", [b"1"])
    libpq.send(pooled, "DISCARD ALL", [])
    assert send(pooled, "SELECT $1::int", [b"2"]).get_value(0, 0) == b"2"


def test_a_transaction_begins_and_ends_with_its_statements(pooled: Any) -> None:
    libpq.send(pooled, "CREATE TABLE things (name text PRIMARY KEY)", [])
    begin(pooled, "INSERT INTO things VALUES ($1)", [b"a"])
    pooled.driver_connection.rollback()
    begin(pooled, "INSERT INTO things VALUES ($1)", [b"b"])
    libpq.commit(pooled, "INSERT INTO things VALUES ($1)", [b"c"])
    assert libpq.rows(pooled, libpq.send(pooled, "SELECT name FROM things ORDER BY name", [])) == [["b"], ["c"]]


@pytest.mark.parametrize("send", [libpq.send, begin, libpq.commit])
def test_a_connection_stays_sound_when_a_statement_fails(pooled: Any, send: Any) -> None:
    libpq.send(pooled, "CREATE TABLE things (name text PRIMARY KEY)", [])
    if send is libpq.commit:
        begin(pooled, "INSERT INTO things VALUES ($1)", [b"a"])
    with pytest.raises(psycopg.errors.UndefinedColumn):
        send(pooled, "SELECT nothing_of_that_name", [])
    pooled.driver_connection.rollback()
    assert libpq.send(pooled, "SELECT count(*) FROM things", []).get_value(0, 0) == b"0"


def test_a_commit_that_the_server_refuses_is_told(pooled: Any) -> None:
    libpq.send(pooled, "CREATE TABLE things (name text UNIQUE DEFERRABLE INITIALLY DEFERRED)", [])
    begin(pooled, "INSERT INTO things VALUES ($1)", [b"a"])
    with pytest.raises(psycopg.errors.UniqueViolation):
        libpq.commit(pooled, "INSERT INTO things VALUES ($1)", [b"a"])
    assert libpq.send(pooled, "SELECT count(*) FROM things", []).get_value(0, 0) == b"0"


@pytest.mark.parametrize("send", [libpq.send, begin, libpq.commit])
def test_the_end_of_a_connection_is_told_as_such(pooled: Any, postgres_url: str, send: Any) -> None:
    pid = pooled.driver_connection.info.backend_pid
    with psycopg.connect(sa.make_url(postgres_url).set(drivername="postgresql").render_as_string(False)) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with pytest.raises(psycopg.OperationalError):
        send(pooled, "SELECT 1", [])


def test_without_pipelines_statements_go_one_after_the_other(pooled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libpq, "PIPELINES", False)
    test_a_transaction_begins_and_ends_with_its_statements(pooled)


def test_what_a_host_has_begun_on_the_connection_ends_with_the_statement(pooled: Any) -> None:
    libpq.send(pooled, "CREATE TABLE things (name text)", [])
    pooled.driver_connection.execute("SET search_path TO public")
    libpq.send(pooled, "INSERT INTO things VALUES ($1)", [b"a"])
    pooled.driver_connection.rollback()
    assert libpq.send(pooled, "SELECT count(*) FROM things", []).get_value(0, 0) == b"1"


def test_what_was_discarded_within_a_transaction_is_told(pooled: Any) -> None:
    pooled.driver_connection.prepare_threshold = 0
    libpq.send(pooled, "SELECT $1::int", [b"1"])
    begin(pooled, "SELECT 2", [])
    pooled.driver_connection.pgconn.exec_(b"DEALLOCATE ALL")
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        libpq.commit(pooled, "SELECT $1::int", [b"1"])
    pooled.driver_connection.rollback()
    assert libpq.send(pooled, "SELECT $1::int", [b"3"]).get_value(0, 0) == b"3"
