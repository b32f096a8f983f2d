"""What holds for every address of the API there is, for everybody: nobody, a reader, an operator, another tenant's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, url_for
from werkzeug.routing import Rule

from flask_squidmesh.engine.command_table import COMMANDS
from flask_squidmesh.storage.tables import Base
from tests.api.house import PREFIX, Program
from tests.two_tenants.runs import Filled

POSTS = {*COMMANDS, "start", "send_event"}
TELLS_NOTHING = {"openapi", "root", "unknown"}
MAKES = {
    "decide_run": {"option": "approve"},
    "assign_run": {"to": "rita"},
    "note_run": {"text": "Seen."},
    "reschedule_run": {"at": "2099-01-01T09:00:00Z"},
}
EVENT = {"name": "payment.settled", "key": "o-1", "payload": {"amount": 5}}
START = {"number": "1", "customer": "Acorn Ltd"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

Who = Callable[[str | None], Program]


def rules(app: Flask) -> list[Rule]:
    return [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("squidmesh_api.")]


def addresses(app: Flask, filled: Filled) -> Iterator[tuple[str, str]]:
    """Every address with examples of its values, which a new kind of address needs here; by its endpoint."""
    runs = [filled.runs[name] for name in ("decision", "failed", "interrupted", "retrying", "paused")]
    given = {"run_id": runs, "name": ["invoice"], "unknown": ["nowhere"]}
    with app.test_request_context():
        for rule in rules(app):
            names = sorted(rule.arguments)
            for chosen in product(*(given[name] for name in names)):
                values: dict[str, Any] = dict(zip(names, chosen, strict=True))
                yield rule.endpoint.partition(".")[2], url_for(rule.endpoint, **values).removeprefix(PREFIX)
    yield "send_event", "/events"


def body_of(endpoint: str) -> dict[str, Any]:
    bodies: dict[str, dict[str, Any]] = {"start": START, "send_event": EVENT, **MAKES}
    return bodies.get(endpoint, {})


def dump(app: Flask) -> dict[str, list[tuple[object, ...]]]:
    with app.app_context(), app.extensions["squidmesh"].database.read() as connection:
        tables = Base.metadata.sorted_tables
        return {table.name: [tuple(row) for row in connection.execute(sa.select(table))] for table in tables}


@pytest.mark.rule("api-nobody")
def test_nobody_is_told_anything(app: Flask, acme: Filled, program: Who) -> None:
    before = dump(app)
    for (endpoint, path), method in product(list(addresses(app, acme)), METHODS):
        for nobody in (program(None), program("mallory")):
            answer = nobody.open(path, method=method, json=body_of(endpoint))
            assert not any(text in answer.text.lower() for text in acme.texts)
            if method != "OPTIONS":  # what an address takes is told to everybody
                assert answer.status_code == 401, (method, path)
                assert answer.headers["WWW-Authenticate"]
    assert dump(app) == before


@pytest.mark.rule("api-rights")
def test_a_reader_reads_and_does_nothing(app: Flask, acme: Filled, program: Who) -> None:
    before, rita = dump(app), program("rita")
    for endpoint, path in addresses(app, acme):
        if endpoint in POSTS:
            answer = rita.post(path, body_of(endpoint))
            assert answer.status_code == 403, (path, answer.text)
            assert answer.mimetype == "application/problem+json"
        elif endpoint not in TELLS_NOTHING:
            assert rita.get(path).status_code == 200, path
    after = dump(app)
    refused = [row for row in after["squidmesh_audit_events"] if row not in before["squidmesh_audit_events"]]
    assert len(refused) >= len(POSTS)
    assert {**after, "squidmesh_audit_events": []} == {**before, "squidmesh_audit_events": []}


@pytest.mark.rule("api-scope")
def test_who_belongs_to_another_tenant_finds_nothing(app: Flask, acme: Filled, program: Who) -> None:
    before = dump(app)
    for name, (endpoint, path) in product(("otto", "nora"), list(addresses(app, acme))):
        other = program(name)
        answer = other.post(path, body_of(endpoint)) if endpoint in POSTS else other.get(path)
        if acme.runs["decision"][:8] in path or "/runs/" in path:
            assert answer.status_code == 404, (name, path, answer.text)
        if endpoint != "start":
            text = answer.text.lower().replace(path.lower(), "")
            named = [each for each in acme.texts if each in text and each not in path]
            assert not named, (name, path, named)
    after = dump(app)
    assert [row for row in after["squidmesh_runs"] if row in before["squidmesh_runs"]] == before["squidmesh_runs"]


@pytest.mark.rule("api-methods")
def test_looking_changes_nothing_and_no_other_method_acts(app: Flask, acme: Filled, anna: Program) -> None:
    before = dump(app)
    for (endpoint, path), method in product(list(addresses(app, acme)), METHODS):
        if endpoint == "send_event" or (endpoint in {*POSTS, "events"} and method == "POST"):
            continue
        answer = anna.open(path, method=method, json=body_of(endpoint))
        assert answer.status_code < 500, (method, path)
        allowed = method in ("GET", "HEAD", "OPTIONS") and endpoint not in POSTS
        if not allowed and method != "OPTIONS":
            assert answer.status_code in (404, 405), (method, path)
            assert answer.status_code == 404 or answer.headers["Allow"]
    assert dump(app) == before


@pytest.mark.rule("api-problems")
def test_every_answer_is_json_and_sets_no_cookie(app: Flask, acme: Filled, anna: Program) -> None:
    for endpoint, path in addresses(app, acme):
        for body in ({}, body_of(endpoint), {"nonsense": 1}):
            answer = anna.post(path, body) if endpoint in POSTS else anna.get(path)
            assert answer.status_code < 500, (path, answer.text)
            kind = "application/json" if answer.status_code < 400 else "application/problem+json"
            assert answer.mimetype == kind, path
            assert answer.headers["Cache-Control"] == "no-store"
            assert "Set-Cookie" not in answer.headers
            if answer.status_code >= 400:
                assert "Traceback" not in answer.text
                assert answer.json is not None
                assert answer.json["status"] == answer.status_code
                assert {"type", "title", "detail"} <= answer.json.keys()
