"""No page, file, poll, header or message of one tenant tells anything of another one, whatever the address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import unified_diff
from html import unescape
from itertools import product
from typing import Any, Final
from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask import Flask, url_for
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from flask_squidmesh import Scope
from flask_squidmesh.dashboard import Dashboard
from flask_squidmesh.dashboard.available_commands import COMMANDS
from flask_squidmesh.dashboard.payload_form import PREFIX
from flask_squidmesh.dashboard.views.pulse import OF_LISTS, OF_ONE
from flask_squidmesh.dashboard.views.schedules import DEEDS
from flask_squidmesh.dashboard.views.undelivered import VERBS as UNDELIVERED
from flask_squidmesh.runtime import bulk_jobs
from flask_squidmesh.storage.tables import Base, Dispatch, WorkflowRun
from tests.two_tenants.app import make_app
from tests.two_tenants.runs import Filled, fill
from tests.web.visiting import forms_of

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HTMX: Final = {"HX-Request": "true", "HX-Target": "main", "HX-Current-URL": "http://localhost/squidmesh/"}
VERBS: Final = {
    "act": [command.verb for command in COMMANDS.values()],
    "schedule": list(DEEDS),
    "bulk_go_on": ["continue", "stop"],
    "message": list(UNDELIVERED),
}
OF_OTHERS: Final = {None: ("acme",), "rita": ("globex",), "anna": ("globex",), "otto": ("acme",)}
OWNERS: Final = {"acme": "anna", "globex": "otto"}
NOON: Final = datetime(2026, 3, 9, 12, tzinfo=UTC)


class StoppedClock:
    """Shows the same time for ever, so that what pages say of times changes with what is stored alone."""

    def now(self) -> datetime:
        return NOON

    @property
    def offset(self) -> timedelta:
        return NOON - datetime.now(UTC)


@dataclass(slots=True)
class House:
    """The app, and what was made for whom."""

    app: Flask
    filled: dict[str, Filled]

    def client(self, name: str | None) -> FlaskClient:
        """Somebody's browser; nobody's for None."""
        client = self.app.test_client()
        if name is not None:
            assert client.post("/", data={"name": name}).status_code == 302
        return client

    def rules(self) -> list[Rule]:
        """Every address of every dashboard."""
        mounts = {name for name, mount in self.app.blueprints.items() if isinstance(mount, Dashboard)}
        return [rule for rule in self.app.url_map.iter_rules() if rule.endpoint.partition(".")[0] in mounts]

    def addresses(self, filled: Filled) -> Iterator[str]:
        """Examples of every address, with the ids of one tenant."""
        with self.app.test_request_context():
            for rule in self.rules():
                yield from _examples(rule, filled)

    def dump(self) -> dict[str, list[tuple[object, ...]]]:
        """All that is stored."""
        with self.app.app_context(), self.app.extensions["squidmesh"].database.read() as connection:
            tables = Base.metadata.sorted_tables
            return {table.name: [tuple(row) for row in connection.execute(sa.select(table))] for table in tables}


def _examples(rule: Rule, filled: Filled) -> Iterator[str]:
    """A new kind of address needs an example of its values here, or it fails."""
    endpoint, names = rule.endpoint.partition(".")[2], sorted(rule.arguments)
    given = {
        "run_id": [filled.runs[name] for name in ("decision", "failed")],
        "job_id": [filled.job],
        "entry_id": [*filled.undelivered],
        "event_id": [*filled.events],
        "name": ["invoice"],
        "workflow": ["nightly"],
        "trigger": ["nightly"],
        "part": ["payload"],
        "unknown": ["nowhere"],
        "verb": VERBS.get(endpoint, []),
    }
    for chosen in product(*(given[name] for name in names)):
        values: dict[str, Any] = dict(zip(names, chosen, strict=True))
        yield url_for(rule.endpoint, **values)
        for query in _queries(endpoint, filled):
            yield url_for(rule.endpoint, **values) + query


def _queries(endpoint: str, filled: Filled) -> list[str]:
    """What an address may be asked beside itself."""
    run, failed = filled.runs["decision"], filled.runs["failed"]
    one = {"run_id": run, "job_id": filled.job, "name": "invoice"}
    return {
        "inbox": ["?word=failed", "?word=decision", "?tab=problems", "?tab=problems&workflow=invoice"],
        "next": ["?among=mine", "?among=groups", "?among=others", "?among=problems", "?among=problems.failed"],
        "runs": [
            "?word=completed",
            f"?q={run}",
            "?q=Invoice",
            "?workflow=invoice",
            "?step=review",
            "?size=25&since=24h",
        ],
        "runs_csv": ["?word=failed"],
        "run": ["?view=graph", "?view=events", "?among=all"],
        "bulk": [f"?run={run}&run={failed}&action={name}" for name in ("approve", "acknowledge", "cancel")]
        + [f"?run={run}", "?word=failed&action=replay"],
        "start": [f"?from={run}"],
        "audit": [f"?run={run}", "?type=approved", "?actor=otto", "?actor=anna"],
        "pulse": [f"?view={view}&v=x-x" for view in OF_LISTS]
        + [f"?view={view}&{name}={one[name]}&v=x-x" for view, (name, _) in OF_ONE.items()],
    }.get(endpoint, [])


def told(answer: TestResponse, client: FlaskClient) -> str:
    """Everything of an answer that somebody could read, what it left for the next page included."""
    text = f"{answer.get_data(as_text=True)}\n{answer.headers}"
    if "Set-Cookie" in answer.headers:
        with client.session_transaction() as kept:
            text += repr(dict(kept))
    return text.lower()


@pytest.fixture
def house(migrated_sqlite_url: str) -> House:
    app = make_app(migrated_sqlite_url, clock=StoppedClock())
    return House(app, {"acme": fill(app, "acme"), "globex": fill(app, "globex")})


def sent(client: FlaskClient, method: str, address: str, how: dict[str, Any], fields: dict[str, str]) -> TestResponse:
    given: dict[str, Any] = {"data": fields} if method in ("POST", "PUT", "PATCH", "DELETE") else {}
    return client.open(address, method=method, buffered=True, **how, **given)


def fields_for(client: FlaskClient, filled: Filled) -> dict[str, str]:
    """What a form could say, with the token of somebody who has one."""
    runs = filled.runs
    return {
        **token_of(client),
        "comment": "because",
        "reason": "because",
        "expected": "review#1",
        "action": "cancel",
        "run": runs["decision"],
        "items": f"{runs['decision']}~review#1",
        "number": "1",
        "customer": "Nobody",
    }


def token_of(client: FlaskClient) -> dict[str, str]:
    return forms_of(client.get("/squidmesh/help").text).get("/squidmesh/prefs", {})


@pytest.mark.rule("scope")
@pytest.mark.parametrize("name", OF_OTHERS)
def test_no_answer_tells_of_another_tenant(house: House, name: str | None) -> None:
    for tenant in OF_OTHERS[name]:
        others, client = house.filled[tenant], house.client(name)
        fields, before = fields_for(client, others), house.dump()
        for address, method, how in product(house.addresses(others), METHODS, ({}, {"headers": HTMX})):
            if "?" in address and method not in ("GET", "POST"):
                continue
            answer = sent(client, method, address, how, fields)
            said = told(answer, client)
            found = [text for text in others.texts if text in said and text not in address]
            assert not found, (name, method, address, answer.status, found)
        assert tenants_rows(house.dump(), others) == tenants_rows(before, others)


def tenants_rows(dump: dict[str, list[tuple[object, ...]]], filled: Filled) -> dict[str, list[tuple[object, ...]]]:
    """What is stored of a tenant's runs."""
    ids = set(filled.runs.values()) | {filled.job}
    return {name: [row for row in rows if ids & {str(value) for value in row}] for name, rows in dump.items()}


@pytest.mark.rule("scope-outside")
@pytest.mark.parametrize("name", ["rita", "anna"])
def test_what_is_another_tenants_is_answered_as_what_does_not_exist(house: House, name: str) -> None:
    tenant = OF_OTHERS[name][0]
    others = house.filled[tenant]
    unknown = {id: str(uuid4()) for id in others.texts if len(id) == 36} | {"nightly/nightly": "nightly/absent"}
    theirs, nobodys = house.client(name), house.client(name)
    fields = fields_for(theirs, others)
    blank = {**{field: replaced(value, unknown) for field, value in fields.items()}, **token_of(nobodys)}
    polled = [address for address in house.addresses(others) if "/runs/" in address or "/bulk/" in address]
    addresses = [*house.addresses(others), *polls(house.client(OWNERS[tenant]), polled)]
    for address, method in product(addresses, ("GET", "POST")):
        answer = sent(theirs, method, address, {}, fields)
        expected = sent(nobodys, method, replaced(address, unknown), {}, blank)
        assert not differing(replaced(page_of(answer), unknown), page_of(expected)), (method, address)


def polls(client: FlaskClient, addresses: list[str]) -> set[str]:
    """What the pages ask for again and again, which says what they showed."""
    pages = [client.get(address, buffered=True).text for address in addresses]
    return {unescape(found) for page in pages for found in re.findall(r'hx-get="([^"]*/pulse[^"]*)"', page)}


def page_of(answer: TestResponse) -> str:
    return f"{answer.status} {answer.location}\n{neutral(answer.text)}"


def differing(seen: str, expected: str) -> list[str]:
    """The lines in which the two differ."""
    compared = unified_diff(expected.splitlines(), seen.splitlines(), "expected", "seen", n=0, lineterm="")
    return list(compared)


def replaced(text: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text


def neutral(page: str) -> str:
    """A page without what is another in each request: tokens and keys of forms."""
    return re.sub(r'(name="(?:\w*csrf\w*|key)" value=")[^"]*', r"\1", page)


@pytest.mark.rule("scope")
@pytest.mark.parametrize("name", ["anna", "nora"])
def test_pages_are_what_they_would_be_without_the_other_tenant(migrated_sqlite_url: str, name: str) -> None:
    app = make_app(migrated_sqlite_url, clock=StoppedClock())
    house = House(app, {"acme": fill(app, "acme")})
    addresses = list(house.addresses(house.filled["acme"]))
    addresses += [f"/squidmesh/runs/{id}" for id in house.filled["acme"].runs.values()]
    alone = looked_at(house, name, addresses)
    house.filled["globex"] = fill(app, "globex", times=2)
    with app.app_context():
        app.extensions["squidmesh"].scheduler.fire("nightly", "nightly")
    for address, seen, expected in zip(addresses, looked_at(house, name, addresses), alone, strict=True):
        assert not differing(seen, expected), address


def looked_at(house: House, name: str, addresses: list[str]) -> list[str]:
    client = house.client(name)
    answers = [client.get(address, buffered=True) for address in addresses]
    return [page_of(answer) for answer in answers]


def test_the_auditor_of_all_sees_both(house: House) -> None:
    page = house.client("vera").get("/squidmesh/runs").text
    assert "Acorn" in page
    assert "Zirkon" in page
    assert house.client("anna").get("/squidmesh/runs").text.count("Acorn") > 5


def test_whose_a_run_is_is_told_where_there_are_several(house: House) -> None:
    run_id = house.filled["acme"].runs["decision"]
    for name, told_of in (("vera", True), ("anna", False)):
        client = house.client(name)
        for address in ("/squidmesh/", "/squidmesh/runs", f"/squidmesh/runs/{run_id}"):
            said = re.findall(r"[>·/ ]\s*acme\s*[<·]", client.get(address).text)
            assert bool(said) is told_of, (name, address)


@pytest.fixture
def narrow(migrated_sqlite_url: str) -> House:
    """Whoever looks may know of Acme's invoices and parcels alone."""
    app = make_app(migrated_sqlite_url, clock=StoppedClock())
    app.extensions["mesh"].scope(lambda: Scope(tenants=["acme"], workflows=["invoice", "parcel"]))
    return House(app, {"acme": fill(app, "acme")})


@pytest.mark.rule("scope")
def test_workflows_outside_the_scope_are_not_there(narrow: House) -> None:
    client, runs = narrow.client("anna"), narrow.filled["acme"].runs
    for path in (
        "",
        "runs",
        "runs.csv",
        "runs.json",
        "failures",
        "audit",
        "audit.csv",
        "workflows",
        "schedules",
        "events",
    ):
        page = client.get(f"/squidmesh/{path}", buffered=True).text.lower()
        unseen = ("delivery ", "return ", "transfer ", "call ", "reminder ", "bundle ", "payment ", "nightly")
        assert [word for word in unseen if word in page] == [], path
    absent = (f"runs/{runs['failed']}", f"runs/{runs['parent']}", "workflows/delivery", "workflows/delivery/start")
    assert [client.get(f"/squidmesh/{path}").status_code for path in absent] == [404] * len(absent)
    assert client.get("/squidmesh/workflows/invoice/start").status_code == 200


@pytest.mark.rule("scope-outside")
def test_relatives_outside_the_scope_are_not_told_of(narrow: House) -> None:
    runs, client = narrow.filled["acme"].runs, narrow.client("anna")
    listed = {run["id"]: run for run in client.get("/squidmesh/runs.json", buffered=True).get_json()["runs"]}
    assert (listed[runs["child"]]["parent_run_id"], listed[runs["child"]]["parent_step"]) == (None, None)
    for address in (f"/squidmesh/runs/{runs['child']}", f"/squidmesh/runs/{runs['child']}.json"):
        assert not re.search(rf"{runs['parent']}|tie_up", client.get(address).text), address
    narrow.app.extensions["mesh"].scope(lambda: Scope(workflows=["bundle"]))
    of_parent = f"/squidmesh/runs/{runs['parent']}"
    assert f"/squidmesh/runs/{runs['child']}" not in client.get(of_parent).text
    assert client.get(f"{of_parent}.json").get_json()["children"] == []


@pytest.mark.rule("scope-hook")
@pytest.mark.parametrize("answer", [None, True, "acme", ["acme"], {"tenants": ["acme"]}, ("acme",), Scope])
def test_a_scope_that_is_none_shows_nothing(house: House, answer: Any) -> None:
    house.app.extensions["mesh"].scope(lambda: answer)
    client = house.client("anna")
    for address in ("/", "/runs", "/runs.json", "/audit", "/workflows", f"/runs/{house.filled['acme'].runs['failed']}"):
        page = client.get(f"/squidmesh{address}", buffered=True)
        assert page.status_code == 403, address
        assert "acorn" not in page.text.lower()


@pytest.mark.rule("scope-hook")
def test_the_host_is_told_what_is_wrong_with_its_scope(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.app.extensions["mesh"].scope(lambda: Scope(tenants="acme"))
    assert house.client("anna").get("/squidmesh/runs").status_code == 403
    assert "tenants must be a list" in caplog.text


@pytest.mark.rule("scope-hook")
def test_the_scope_is_asked_once_a_request_and_may_be_told_the_actor(house: House) -> None:
    asked = []

    @house.app.extensions["mesh"].scope
    def scope(actor: Any) -> Scope:
        asked.append(actor)
        return Scope(tenants=["acme"])

    house.client("anna").get("/squidmesh/")
    assert asked == [{"id": "anna", "label": "Anna of Acme"}]


@pytest.mark.rule("scope-hook")
def test_a_queue_that_holds_work_of_others_alone_is_not_named(house: House) -> None:
    others = sa.select(WorkflowRun.id).where(WorkflowRun.tenant == "globex")
    with house.app.app_context(), house.app.extensions["squidmesh"].database.write() as connection:
        moved = sa.update(Dispatch).where(Dispatch.run_id.in_(others)).values(queue="globex-premium")
        assert connection.execute(moved).rowcount > 0
    pages = {name: house.client(name).get("/squidmesh/system").text for name in ("anna", "otto", "vera")}
    assert {name: "globex-premium" in page for name, page in pages.items()} == {
        "anna": False,
        "otto": True,
        "vera": True,
    }


@pytest.mark.rule("scope-hook")
def test_people_who_ask_within_one_app_context_see_their_own_runs_alone(house: House) -> None:
    with house.app.app_context():
        for own, others in (("acme", "globex"), ("globex", "acme"), ("acme", "globex")):
            client = house.client(OWNERS[own])
            mine, hidden = (house.filled[tenant].runs["failed"] for tenant in (own, others))
            found = [client.get(f"/squidmesh/runs/{run_id}").status_code for run_id in (mine, hidden)]
            assert found == [200, 404]
            listed = client.get("/squidmesh/runs.json", buffered=True).text
            assert (mine in listed, hidden in listed) == (True, False)


@pytest.mark.rule("scope-starting")
def test_somebody_starts_runs_of_their_own_tenant_alone(house: House) -> None:
    client, mesh = house.client("anna"), house.app.extensions["mesh"]
    address = "/squidmesh/workflows/invoice/start"
    fields = {**forms_of(client.get(address).text)[address], f"{PREFIX}number": "99", f"{PREFIX}customer": "Nobody"}
    for hook, tenant in ((None, "acme"), (lambda: "acme", "acme"), (lambda: "globex", None), (lambda: None, None)):
        mesh._hooks.tenant = None
        if hook is not None:
            mesh.tenant(hook)
        answer = client.post(address, data={**fields, "key": str(uuid4())})
        with house.app.app_context():
            newest = mesh.list_runs(limit=1).runs[0]
        if tenant is None:
            assert answer.status_code == 403
            assert newest.tenant == "acme"
        else:
            assert answer.status_code == 303
            assert (newest.tenant, newest.subject) == (tenant, "Invoice 99 of Nobody")


@pytest.mark.rule("scope-starting")
def test_a_bulk_action_reaches_no_run_outside_the_scope_in_which_it_was_asked_for(house: House) -> None:
    app, run_id = house.app, house.filled["acme"].runs["paused"]
    runtime = app.extensions["squidmesh"]
    with app.app_context():
        items = [
            bulk_jobs.BulkItem(run_id=run_id, token=app.extensions["mesh"].inspect_run(run_id).decision, step="look")
        ]
        job_id = runtime.bulk.begin("resume", items, scope=Scope(tenants=["globex"]), actor="otto")
        runtime.bulk.go_on(job_id, 60)
        with runtime.database.read() as connection:
            job = bulk_jobs.look(connection, Scope.all(), job_id)
            assert bulk_jobs.look(connection, Scope(tenants=["globex"]), job_id) is None
        assert job is not None
        assert (job.succeeded, job.failed) == (0, 1)
        assert app.extensions["mesh"].inspect_run(run_id).status == "paused"
