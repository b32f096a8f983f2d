"""Writes that belong together: all are made or none, as one statement on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_squidmesh import Manual, Step, Workflow
from flask_squidmesh.storage import tables
from flask_squidmesh.storage.database import Database
from flask_squidmesh.storage.summaries import new_id
from flask_squidmesh.storage.write_batch import WriteBatch
from tests.commits import statements_told
from tests.shop import Shop

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
JOBS: Any = tables.BulkJob.__table__
KEYS = tables.start_keys
SECRET = "a secret comment"


def nothing() -> None:
    """A step."""


class Plain(Workflow):
    begin = Manual()
    work = Step(nothing)
    flow = [work]


@pytest.fixture
def app(migrated_url: str) -> Iterator[Flask]:
    shop = Shop(migrated_url, Plain)
    with shop.app.app_context():
        yield shop.app
    shop.runtime.database.dispose()


@pytest.fixture
def database(app: Flask) -> Database:
    found: Database = app.extensions["squidmesh"].database
    return found


def job(action: str = "cancel", **columns: Any) -> dict[str, Any]:
    empty = {"workflow": None, "actor": None, "comment": None, "held_until": None, "finished_at": None}
    filled = {"id": new_id(), "tenant": "", "status": "pending", "selection": {}, "results": {}, "created_at": NOW}
    return {**empty, **filled, "action": action, **columns}


def stored(database: Database) -> list[dict[str, Any]]:
    with database.read() as connection:
        return [dict(row) for row in connection.execute(sa.select(JOBS).order_by(JOBS.c.id)).mappings()]


def insert(database: Database, *rows: dict[str, Any]) -> None:
    batch = WriteBatch()
    batch.insert(JOBS, rows)
    assert database.commit(batch)


def key(run_id: str) -> dict[str, Any]:
    return {"workflow": "plain", "tenant": "", "key": "k-1", "run_id": run_id, "payload_fingerprint": "f", "at": NOW}


@pytest.mark.rule("decided-on-facts")
@pytest.mark.parametrize("found", [True, False])
def test_nothing_is_written_where_the_fence_finds_no_row(database: Database, found: bool) -> None:
    fence, changed, deleted = job(), job(), job()
    insert(database, fence, changed, deleted)
    batch = WriteBatch(fenced=True)
    batch.update(JOBS, {"id": fence["id"], "status": "pending" if found else "running"}, {"status": "completed"})
    batch.insert(JOBS, [job("new"), job("new")])
    batch.update(JOBS, {"id": changed["id"]}, {"action": "changed"})
    batch.delete(JOBS, {"id": deleted["id"]})
    assert database.commit(batch) == found
    actions = sorted(row["action"] for row in stored(database))
    assert actions == (["cancel", "changed", "new", "new"] if found else ["cancel"] * 3)


@pytest.mark.parametrize("there", [True, False])
def test_a_fence_may_ask_for_a_row_of_another_table(database: Database, there: bool) -> None:
    fence, other = job(), key(new_id())
    insert(database, fence)
    keys = WriteBatch()
    keys.insert(KEYS, [other])
    database.commit(keys)
    batch = WriteBatch(fenced=True)
    held = (KEYS, {"key": "k-1" if there else "k-2", "run_id": other["run_id"]})
    batch.update(JOBS, {"id": fence["id"]}, {"status": "completed"}, holds=held)
    assert database.commit(batch) == there
    assert [row["status"] for row in stored(database)] == ["completed" if there else "pending"]


def test_a_key_that_is_there_holds_everything_back(database: Database) -> None:
    def begun(run_id: str) -> bool:
        batch = WriteBatch(fenced=True)
        batch.insert(KEYS, [key(run_id)], unless_there=True)
        batch.insert(JOBS, [job()])
        return database.commit(batch)

    assert [begun(new_id()), begun(new_id())] == [True, False]
    assert len(stored(database)) == 1


@pytest.mark.parametrize("number", [1, 2, 40])
def test_what_is_written_is_read_again_however_many_rows(database: Database, number: int) -> None:
    rows = [
        job(actor=["a", {"b": [n]}] if n % 2 else None, comment=None if n else "ü 'quoted'", results={"n": [n, None]})
        for n in range(number)
    ]
    insert(database, *rows)
    batch = WriteBatch()
    for n, row in enumerate(rows):
        batch.update(JOBS, {"id": row["id"]}, {"status": "completed", "finished_at": NOW, "results": {"done": [n]}})
    database.commit(batch)
    done = [{**row, "status": "completed", "finished_at": NOW, "results": {"done": [n]}} for n, row in enumerate(rows)]
    assert stored(database) == done
    batch = WriteBatch()
    for row in rows[1:]:
        batch.delete(JOBS, {"id": row["id"]})
    database.commit(batch)
    assert stored(database) == done[:1]


def test_any_number_of_rows_is_one_statement_on_postgresql(database: Database) -> None:
    insert(database, *(rows := [job() for _ in range(40)]))
    batch = WriteBatch(fenced=True)
    for row in rows:
        batch.update(JOBS, {"id": row["id"]}, {"held_until": database.from_now(timedelta(seconds=30))})
    told: list[str] = []
    with statements_told(database.engine, lambda: told.append("")):
        assert database.commit(batch)
    begin_of_sqlite = 1
    assert len(told) == (1 if database.dialect == "postgresql" else 40 + begin_of_sqlite)
    until = {row["held_until"] for row in stored(database)}
    assert all(abs(each - datetime.now(UTC) - timedelta(seconds=30)) < timedelta(seconds=20) for each in until)


def test_what_the_database_refuses_leaves_nothing_and_tells_no_value(database: Database) -> None:
    insert(database, present := job())
    batch = WriteBatch()
    batch.insert(JOBS, [job(comment=SECRET)])
    batch.insert(JOBS, [{**job(comment=SECRET), "id": present["id"], "actor": "ben"}])
    with pytest.raises(sa.exc.IntegrityError) as caught:
        database.commit(batch)
    assert SECRET not in str(caught.value)
    assert len(stored(database)) == 1
    insert(database, job())
    assert len(stored(database)) == 2
