"""What programs are told: runs by every filter and page by page, and no more of each than its reader may see."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

from tests.api.house import Program, make_app
from tests.two_tenants.runs import Filled, fill
from tests.two_tenants.workflows import Payment


def ids(answer: Any) -> set[str]:
    return {run["id"] for run in answer.json["runs"]}


@pytest.mark.rule("api-runs")
def test_runs_are_narrowed_and_paged(acme: Filled, globex: Filled, anna: Program) -> None:
    every = ids(anna.get("/runs?limit=500"))
    assert every == set(acme.runs.values())
    assert ids(anna.get("/runs?status=failed&status=cancelled")) < every
    assert acme.runs["failed"] in ids(anna.get("/runs?status=failed&workflow=delivery"))
    assert ids(anna.get("/runs?needs=decision")) == {acme.runs["decision"]}
    assert len(ids(anna.get("/runs?needs=true"))) > 3
    assert ids(anna.get("/runs?tenant=globex")) == set()
    assert ids(anna.get("/runs?tenant=globex&tenant=acme&limit=500")) == every
    assert ids(anna.get(f"/runs?run_id={acme.runs['paused']}")) == {acme.runs["paused"]}
    assert ids(anna.get("/runs?since=2999-01-01T00:00:00Z")) == set()
    found, after = set[str](), ""
    while after is not None:
        page = anna.get("/runs", query_string={"limit": 5, **({"after": after} if after else {})})
        assert len(page.json["runs"]) <= 5
        found |= ids(page)
        after = page.json["next"]
    assert found == every


@pytest.mark.rule("api-runs")
def test_a_run_that_waits_for_an_event_is_waiting_wherever_its_state_is_told(app: Flask) -> None:
    mesh, vera = app.extensions["mesh"], Program(app, "vera")
    with app.app_context():
        run_id = mesh.start_run(Payment, {"number": "7", "customer": "Acorn"}).id
        assert mesh.list_runs().runs[0].awaits_event
    shell = app.test_cli_runner()
    for state, expected in (("waiting", [(run_id, "running", "waiting")]), ("running", [])):
        by_shell = shell.invoke(args=["squidmesh", "runs", "list", "--state", state, "--json"])
        for answer in (vera.get(f"/runs?state={state}").json, json.loads(by_shell.stdout)):
            assert [(run["id"], run["status"], run["state"]) for run in answer["runs"]] == expected
    assert "state     waiting" in shell.invoke(args=["squidmesh", "runs", "show", run_id]).stdout
    with app.app_context():
        mesh.send_event("payment.settled", key="7")
        assert not mesh.list_runs().runs[0].awaits_event
    assert vera.get("/runs?state=waiting").json["runs"] == []


@pytest.mark.rule("api-runs")
@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("colour=red", "colour"),
        ("status=red", "status"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=many", "limit"),
        ("after=nonsense", "after"),
        ("since=yesterday", "since"),
        ("since=2026-01-01T00:00:00", "since"),
        ("run_id=xyz", "run_id"),
        ("needs=money", "needs"),
        ("state=red", "state"),
        ("tenant=%20", "tenants"),
    ],
)
def test_a_filter_that_means_nothing_is_refused_by_name(anna: Program, query: str, name: str) -> None:
    answer = anna.get(f"/runs?{query}")
    assert answer.status_code == 400
    assert answer.json["error"] == "FilterError"
    assert answer.json["name"] == name


def test_one_run_is_told_from_every_side(acme: Filled, anna: Program) -> None:
    path = f"/runs/{acme.runs['decision']}"
    run = anna.get(path).json
    assert (run["status"], run["decision"]) == ("paused", "review#1")
    assert "step_runs" not in run
    whole = anna.get(f"{path}?history=true").json
    assert [each["step"] for each in whole["step_runs"]] == ["reserve", "review"]
    assert anna.get(f"{path}/explanation").json["reason"] == "paused_for_approval"
    assert {node["step"] for node in anna.get(f"{path}/graph").json["nodes"]} >= {"reserve", "review", "pay"}
    assert anna.get(f"{path}/timeline").json["events"][0]["type"] == "started"


def test_workflows_schedules_and_workers(acme: Filled, anna: Program, program: Any) -> None:
    [invoice] = [each for each in anna.get("/workflows").json["workflows"] if each["name"] == "invoice"]
    assert invoice["may_start"]
    assert invoice["triggers"][0]["payload"]["required"] == ["number", "customer"]
    assert anna.get("/workflows/invoice").json == invoice
    assert anna.get("/workflows/nowhere").status_code == 404
    assert anna.get("/schedules").json == {"schedules": []}
    assert [each["trigger"] for each in program("vera").get("/schedules").json["schedules"]] == ["nightly"]
    assert anna.get("/workers").json["processes"][0]["kind"] == "worker"


@pytest.mark.rule("api-redaction")
def test_what_is_secret_on_pages_is_secret_here(migrated_url: str) -> None:
    def redact(path: Any, value: Any, run: Any) -> Any:
        return "hidden by the host" if path and path[-1] == "customer" else value

    app = make_app(
        migrated_url, {"authorize": lambda actor: True, "redact": redact}, SQUIDMESH_DASHBOARD_REDACT_KEYS=["number"]
    )
    runs = fill(app, "acme").runs
    anna = Program(app, "anna")
    for path in ("", "?history=true", "/explanation", "/timeline"):
        text = anna.get(f"/runs/{runs['decision']}{path}").text
        assert '"customer": "Acorn Ltd"' not in text, path
        assert '"number": "01"' not in text, path
    assert anna.get(f"/runs/{runs['decision']}").json["payload"]["customer"] == "hidden by the host"


@pytest.mark.rule("api-redaction")
def test_who_may_not_see_data_sees_none(migrated_url: str) -> None:
    app = make_app(migrated_url, {"authorize": lambda action, actor: action not in ("payload",)})
    runs, anna = fill(app, "acme").runs, Program(app, "anna")
    run = anna.get(f"/runs/{runs['failed']}").json
    assert (run["payload"], run["context"]) == (None, None)
    assert run["last_error"]["message"]
    assert run["last_error"]["traceback"] is None
    assert anna.get(f"/runs/{runs['failed']}?history=true").status_code == 403
    explanation = anna.get(f"/runs/{runs['failed']}/explanation").json
    assert (explanation["details"], explanation["evidence"]) == ({}, {})
    for path in ("", "/explanation", "/timeline"):
        assert "Traceback" not in anna.get(f"/runs/{runs['failed']}{path}").text


@pytest.mark.rule("api-hooks")
def test_hooks_that_cannot_be_asked_about_programs_refuse_everything(migrated_url: str) -> None:
    for hooks in ({"authorize": lambda action: True}, {"authorize": lambda actor: True, "scope": lambda: None}):
        app = make_app(migrated_url, hooks)
        for path in ("/runs", "/tasks", "/workflows", "/schedules", "/workers"):
            answer = Program(app, "anna").get(path)
            assert answer.status_code == 403, path
            assert "takes no actor" in answer.json["detail"]
        result = app.test_cli_runner().invoke(args=["squidmesh", "check"])
        assert "the API 'squidmesh_api' refuses everything" in result.output


def test_without_authorize_it_is_closed(migrated_url: str) -> None:
    app = make_app(migrated_url, {})
    assert Program(app, "anna").get("/runs").status_code == 403
