"""Each thing that can be wrong has a page that says what and what to do."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.web.shop import Checkout, make_app, start
from tests.web.visiting import Visitor, text_of

UNKNOWN = "01a203ec-0a04-7839-a6fe-65e9e1b57e80"


@pytest.mark.parametrize("run_id", [UNKNOWN, "nonsense", "1 or 1=1"])
@pytest.mark.parametrize("ending", ["", ".json", "/approve"])
def test_an_unknown_run(visitor: Visitor, run_id: str, ending: str) -> None:
    answer = visitor.get(f"/runs/{run_id}{ending}")
    assert answer.status_code == 404
    assert "There is no such run" in text_of(answer.text)
    assert run_id in text_of(answer.text)


def test_an_unknown_page(visitor: Visitor) -> None:
    answer = visitor.get("/what/is/this")
    assert answer.status_code == 404
    assert "There is no such page" in text_of(answer.text)
    assert 'name="q"' in answer.text


def test_missing_tables(database_url: str) -> None:
    answer = Visitor(make_app(database_url)).get("/")
    assert answer.status_code == 500
    assert "flask squidmesh install flask db upgrade" in text_of(answer.text)


def test_a_missing_executor(make: Any) -> None:
    answer = make(SQUIDMESH_EXECUTOR=None).get("/")
    assert answer.status_code == 500
    assert "SQUIDMESH_EXECUTOR" in text_of(answer.text)


def test_a_store_that_does_not_answer(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise sa.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection: secret-dsn"))

    start(visitor.app, Checkout)
    monkeypatch.setattr("flask_squidmesh.dashboard.page_data.run_list.list_runs", away)
    answer = visitor.get("/runs")
    assert answer.status_code == 503
    assert "The database did not answer" in text_of(answer.text)
    assert "secret-dsn" not in answer.text


def test_a_form_that_the_store_does_not_answer(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise sa.exc.OperationalError("COMMIT", {}, Exception("server closed the connection"))

    address = f"/runs/{start(visitor.app, Checkout)}/approve"
    fields = visitor.form(address)
    monkeypatch.setattr("flask_squidmesh.dashboard.views.command._call", away)
    answer = visitor.send(address, fields)
    assert answer.status_code == 503
    assert "Nobody knows whether what you sent was carried out" in text_of(answer.text)


def test_a_page_that_was_filtered_is_tried_again_as_it_was(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise sa.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection"))

    monkeypatch.setattr("flask_squidmesh.dashboard.page_data.run_list.list_runs", away)
    assert 'href="/squidmesh/runs?word=failed&amp;q=nord"' in visitor.get("/runs?word=failed&q=nord").text


def test_a_search_that_takes_too_long(migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = Visitor(make_app(migrated_postgres_url, SQUIDMESH_DASHBOARD_QUERY_TIMEOUT_MS=50))

    def slow(connection: sa.Connection, *_: object, **__: object) -> None:
        connection.execute(sa.text("SELECT pg_sleep(5)"))

    monkeypatch.setattr("flask_squidmesh.dashboard.page_data.run_list.list_runs", slow)
    answer = visitor.get("/runs")
    assert answer.status_code == 503
    assert "too broad: the database did not finish within 50 ms" in text_of(answer.text)


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_a_method_that_a_page_does_not_take(visitor: Visitor, method: str) -> None:
    assert getattr(visitor.client, method)("/squidmesh/runs").status_code in (400, 405)


def slow(connection: sa.Connection, *_: object, **__: object) -> None:
    connection.execute(sa.text("SELECT pg_sleep(5)"))


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/", "open_waits"),
        ("/failures", "failures"),
        ("/workflows", "figures.word_counts_of"),
        ("/workflows/checkout", "figures.versions"),
        ("/system", "fleet"),
        ("/audit", "events"),
        ("/bulk?word=failed", "run_list.list_runs"),
    ],
)
def test_every_page_gives_up_what_takes_too_long(
    migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch, path: str, query: str
) -> None:
    visitor = Visitor(make_app(migrated_postgres_url, SQUIDMESH_DASHBOARD_QUERY_TIMEOUT_MS=100))
    monkeypatch.setattr(f"flask_squidmesh.dashboard.page_data.{query}", slow)
    answer = visitor.get(path)
    assert answer.status_code == 503
    assert "Choose a workflow, a status or a shorter time." in text_of(answer.text)
