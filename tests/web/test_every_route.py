"""What holds for every address there is, whatever is added: looking changes nothing, and no form counts unasked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa
from flask import url_for
from werkzeug.routing import Rule

from flask_squidmesh import Cron, Scope, Wait, Workflow
from flask_squidmesh.config import READING_ACTIONS
from flask_squidmesh.dashboard.available_commands import COMMANDS
from flask_squidmesh.dashboard.views.assignment import VERBS as ASSIGNMENTS
from flask_squidmesh.dashboard.views.schedules import DEEDS
from flask_squidmesh.dashboard.views.undelivered import VERBS as UNDELIVERED
from flask_squidmesh.runtime import bulk_jobs
from flask_squidmesh.storage.tables import Base
from tests.undelivered import give_up
from tests.web.shop import allow_everything, fill, mesh_of
from tests.web.visiting import Visitor, forms_of

PREFIX = "/squidmesh"
OF_THE_READER = f"{PREFIX}/prefs"
VERBS = {
    "act": [command.verb for command in COMMANDS.values()],
    "schedule": list(DEEDS),
    "bulk_go_on": ["continue", "stop"],
    "assign": list(ASSIGNMENTS),
    "message": list(UNDELIVERED),
}


class Nightly(Workflow):
    """Wait a second every night."""

    nightly = Cron("0 3 * * *")
    rest = Wait(1)


def read_only(action: str, run: Any, permission: str | None) -> bool:
    return action in READING_ACTIONS


@pytest.fixture
def rights() -> dict[str, Any]:
    return {"authorize": allow_everything}


@pytest.fixture
def busy(make: Any, rights: dict[str, Any]) -> Visitor:
    """With runs in every state, a schedule and a bulk action."""
    visitor: Visitor = make({"authorize": lambda *asked: rights["authorize"](*asked), "actor": lambda: "dana"})
    return furnished(visitor)


def furnished(visitor: Visitor) -> Visitor:
    mesh_of(visitor.app).register(Nightly)
    ids, runtime = fill(visitor.app), visitor.app.extensions["squidmesh"]
    with visitor.app.app_context():
        job_id = runtime.bulk.begin(
            "resume",
            [bulk_jobs.BulkItem(run_id=ids["paused"], token="inspect#1")],
            scope=Scope.all(),
            actor="dana",
        )
        of_queue = {"kind": "system.queue_late", "run_id": None, "workflow": None, "data": {"queue": "slow"}}
        entries = [give_up(runtime, ids["failed"]), give_up(runtime, ids["failed"], **of_queue)]
        event_id = mesh_of(visitor.app).send_event("parcel.arrived", key="p-1", payload={"from": "sea"}).id
    visitor.app.extensions["examples"] = {
        "run_id": list(ids.values()),
        "name": ["checkout"],
        "workflow": ["nightly"],
        "trigger": ["nightly"],
        "job_id": [job_id],
        "entry_id": entries,
        "event_id": [event_id],
        "part": ["payload"],
        "unknown": ["nowhere"],
    }
    return visitor


def addresses(visitor: Visitor, method: str | None = None) -> list[str]:
    """Examples of every address, or of those that take the method; a new kind of address needs an example of its
    values."""
    with visitor.app.test_request_context():
        rules = [each for each in visitor.app.url_map.iter_rules() if each.endpoint.startswith("squidmesh.")]
        taken = [rule for rule in rules if method in (None, *(rule.methods or ()))]
        return [address for rule in taken for address in _examples(rule, visitor.app.extensions["examples"])]


def _examples(rule: Rule, values: dict[str, list[str]]) -> Iterator[str]:
    endpoint, names = rule.endpoint.partition(".")[2], sorted(rule.arguments)
    given = {**values, "verb": VERBS.get(endpoint, [])}
    for chosen in product(*(given[name] for name in names)):
        given_here: dict[str, Any] = dict(zip(names, chosen, strict=True))
        yield url_for(rule.endpoint, **given_here)


def dump(visitor: Visitor) -> dict[str, list[tuple[object, ...]]]:
    with visitor.app.app_context(), visitor.app.extensions["squidmesh"].database.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(sa.select(table))]
            for table in Base.metadata.sorted_tables
        }


def token(visitor: Visitor) -> dict[str, str]:
    return forms_of(visitor.get("/help").text)[OF_THE_READER]


@pytest.mark.rule("rights-looking")
def test_looking_changes_nothing(busy: Visitor) -> None:
    before = dump(busy)
    looked = 0
    for address in addresses(busy, "GET"):
        for query in ("", "?view=inbox&v=x", "?view=graph&live=0&theme=dark&zone=utc"):
            assert busy.client.get(address + query, buffered=True).status_code < 500, address + query
            looked += 1
    assert looked > 100
    assert dump(busy) == before


METHODS = ("HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "SQUID")


@pytest.mark.rule("rights-post-only")
def test_no_method_changes_anything_without_a_token(busy: Visitor) -> None:
    token(busy)  # there is a session
    before = dump(busy)
    for address, method in product(set(addresses(busy)), METHODS):
        query, fields = "?comment=because&confirm=transfer", {"comment": "because"}
        answer = busy.client.open(address + query, method=method, data=fields, buffered=True)
        assert answer.status_code < 500, (method, address)
        assert answer.status_code in (400, 404, 405) or method in ("HEAD", "OPTIONS"), (method, address)
    assert dump(busy) == before


@pytest.mark.rule("rights-post-only")
def test_only_post_acts_even_with_a_token(busy: Visitor) -> None:
    fields = {**token(busy), "comment": "because"}
    before = dump(busy)
    for address, method in product(set(addresses(busy, "POST")), ("GET", *METHODS)):
        if method != "POST":
            query, headers = {**fields, "_method": "POST"}, {"X-HTTP-Method-Override": "POST"}
            busy.client.open(address, method=method, data=fields, query_string=query, headers=headers, buffered=True)
    assert dump(busy) == before


@pytest.mark.rule("rights-looking")
def test_every_form_without_a_token_is_refused(busy: Visitor) -> None:
    before = dump(busy)
    for address in addresses(busy, "POST"):
        assert busy.client.post(address, data={"comment": "because"}).status_code == 400, address
    assert dump(busy) == before


@pytest.mark.rule("rights-looking")
def test_every_form_is_refused_without_the_right(busy: Visitor, rights: dict[str, Any]) -> None:
    fields = token(busy)
    rights["authorize"] = read_only
    before = dump(busy)
    for address in set(addresses(busy, "POST")) - {OF_THE_READER}:
        answer = busy.client.post(address, data={**fields, "comment": "because"})
        assert answer.status_code == 403, address
    refusals = dump(busy)["squidmesh_audit_events"]
    assert len(refusals) > len(before["squidmesh_audit_events"])
    assert {**dump(busy), "squidmesh_audit_events": []} == {**before, "squidmesh_audit_events": []}


@pytest.mark.rule("rights-looking")
def test_read_only_has_no_form_that_acts_and_takes_none(make: Any) -> None:
    visitor = furnished(make(SQUIDMESH_DASHBOARD_READ_ONLY=True))
    for address in addresses(visitor, "GET"):
        page = visitor.client.get(address, buffered=True)
        if page.status_code == 200 and page.mimetype == "text/html":
            assert page.text.count('method="post"') == 1, address
    fields = token(visitor)
    for address in set(addresses(visitor, "POST")) - {OF_THE_READER}:
        assert visitor.client.post(address, data={**fields, "comment": "because"}).status_code == 403, address
