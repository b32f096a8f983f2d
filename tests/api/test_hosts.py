"""What hosts bring along: protection of forms, error pages, hooks that raise, a database that is away."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, Request, abort
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect

from flask_squidmesh import ConfigurationError, SquidMesh
from flask_squidmesh.dashboard import page_data
from tests.api.house import Program, make_app

ORDER = {"number": "77", "customer": "Acorn Ltd"}


@pytest.fixture
def house(migrated_sqlite_url: str) -> Flask:
    app = make_app(migrated_sqlite_url)
    app.config.update(PROPAGATE_EXCEPTIONS=False, TESTING=False)
    return app


@pytest.mark.rule("api-nobody")
def test_the_hosts_protection_of_forms_leaves_the_api_out_and_nothing_else(house: Flask) -> None:
    CSRFProtect(house)

    @house.post("/own")
    def own() -> str:
        return "done"

    assert Program(house, "anna").post("/workflows/invoice/runs", ORDER).status_code == 201
    assert house.test_client().post("/own").status_code == 400
    assert house.test_client().post("/squidmesh/workflows/invoice/start").status_code in (400, 403)


@pytest.mark.rule("api-problems")
def test_the_hosts_error_pages_are_not_for_programs(house: Flask) -> None:
    for status in (401, 403, 404, 405, 409, 413, 500):
        house.register_error_handler(status, lambda error: ("<h1>Oh no</h1>", 200))
    anna = Program(house, "anna")
    for answer in (
        Program(house, None).get("/runs"),
        anna.get("/nowhere"),
        anna.get("/runs/nonsense"),
        anna.open("/runs", method="DELETE"),
        anna.post("/workflows/invoice/runs", {"a": "x" * 9_000_000}),
    ):
        assert answer.status_code in (401, 404, 405, 413)
        assert answer.mimetype == "application/problem+json"


@pytest.mark.rule("api-problems")
@pytest.mark.parametrize(
    ("raised", "status"),
    [(KeyError("token s3cret"), 500), (sa.exc.OperationalError("SELECT 's3cret'", {}, Exception("s3cret")), 503)],
    ids=["a fault of ours", "the database is away"],
)
def test_what_fails_is_told_to_the_log_and_not_to_the_program(
    house: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, raised: Exception, status: int
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise raised

    monkeypatch.setattr(page_data, "exported_page", fail)
    answer = Program(house, "anna").get("/runs")
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    assert "s3cret" not in answer.text
    assert any(record.exc_info for record in caplog.records)
    if status == 503:
        assert answer.headers["Retry-After"]


@pytest.mark.rule("api-nobody")
def test_what_authenticate_answers_and_raises(migrated_sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    answers: dict[str, Any] = {
        "none": None,
        "text": "anna",
        "mapping": {"id": "anna"},
        "number": 7,
        "nameless": {"id": ""},
    }

    def by_word(request: Request) -> Any:
        word = request.headers["X-Who"]
        if word == "raises":
            raise KeyError("s3cret")
        return answers[word] if word in answers else abort(int(word))

    app = Flask("house", static_folder=None)
    app.config.update(SECRET_KEY="x", SQUIDMESH_EXECUTOR="database", SQLALCHEMY_DATABASE_URI=migrated_sqlite_url)
    SQLAlchemy(app)
    mesh = SquidMesh(app, authorize=lambda actor: True)
    app.register_blueprint(mesh.api(url_prefix="/v1", authenticate=by_word))
    client = app.test_client()
    for word, status in {
        **{"none": 401, "text": 200, "mapping": 200, "number": 401, "nameless": 401, "raises": 401},
        **{"403": 403, "429": 429, "401": 401},
    }.items():
        answer = client.get("/v1/runs", headers={"X-Who": word})
        assert answer.status_code == status, (word, answer.text)
        assert "s3cret" not in answer.text
    assert "raised KeyError" in caplog.text


def test_an_authenticate_that_cannot_be_called_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"mesh\.authenticate"):
        SquidMesh().api(authenticate="token")  # type: ignore[arg-type]
