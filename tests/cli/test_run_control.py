"""Runs from the command line: every command of the table, as somebody, with JSON and exit codes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from flask_squidmesh import cli
from flask_squidmesh.engine.command_table import COMMANDS
from tests.api.house import make_app
from tests.two_tenants.runs import Filled, fill

ORDER = '{"number": "77", "customer": "Acorn Ltd"}'


@pytest.fixture
def app(migrated_url: str) -> Flask:
    return make_app(migrated_url, SQUIDMESH_DASHBOARD_REDACT_KEYS=["customer"])


@pytest.fixture
def acme(app: Flask) -> Filled:
    return fill(app, "acme")


def run(app: Flask, *words: str) -> Result:
    result: Result = app.test_cli_runner().invoke(args=["squidmesh", *words])
    return result


def told(app: Flask, *words: str) -> Any:
    result = run(app, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.rule("cli-runs")
def test_a_run_is_started_shown_decided_and_listed(app: Flask) -> None:
    started = told(app, "runs", "start", "invoice", ORDER, "--as", "dana", "--tenant", "acme", "--key", "k-1")
    assert (started["actor"], started["tenant"]) == ("dana", "acme")
    again = run(app, "runs", "start", "invoice", ORDER, "--as", "dana", "--tenant", "acme", "--key", "k-1")
    assert again.stdout == f"Run {started['id']} was started with this key before.\n"
    [listed] = told(app, "runs", "list", "--tenant", "acme", "--workflow", "invoice")["runs"]
    assert listed["id"] == started["id"]
    assert "There are no such runs." in run(app, "runs", "list", "--tenant", "globex").stdout
    assert started["id"] in run(app, "runs", "list").stdout


@pytest.mark.rule("cli-runs", "start-at", "reschedule")
def test_a_run_begins_later_and_at_another_time(app: Flask) -> None:
    started = told(app, "runs", "start", "invoice", ORDER, "--as", "dana", "--at", "2099-03-01T09:30:00+01:00")
    assert started["due_at"] == "2099-03-01T08:30:00+00:00"
    after = told(app, "runs", "reschedule", started["id"], "--at", "2098-03-01T09:30:00Z", "--as", "dana")
    assert after["due_at"] == "2098-03-01T09:30:00+00:00"
    assert run(app, "runs", "reschedule", started["id"], "--at", "2098-03-01T09:30", "--as", "dana").exit_code == 5
    assert run(app, "runs", "start", "invoice", ORDER, "--at", "2001-03-01T09:30:00Z").exit_code == 5
    assert run(app, "runs", "start", "invoice", ORDER, "--at", "soon").exit_code == 2


@pytest.mark.rule("cli-runs")
def test_showing_says_why_and_what_can_be_done(app: Flask, acme: Filled) -> None:
    run_id = acme.runs["decision"]
    text = run(app, "runs", "show", run_id).stdout
    assert "reason    paused_for_approval" in text
    assert "token     review#1" in text
    assert f"possible  approve {run_id} --step review" in text
    shown = told(app, "runs", "show", run_id)
    assert shown["payload"]["customer"] == "[redacted]"
    assert shown["explanation"]["reason"] == "paused_for_approval"


@pytest.mark.rule("cli-runs")
def test_a_decision_is_written_down_with_who_and_why(app: Flask, acme: Filled) -> None:
    run_id = acme.runs["decision"]
    words = ("--as", "dana", "--comment", "known", "--metadata", '{"ticket": "SUP-42"}', "--expected", "review#1")
    result = run(app, "runs", "approve", run_id, *words)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"Run {run_id} is running at pay.\n"
    with app.app_context():
        [event] = [
            each
            for each in app.extensions["mesh"].inspect_run(run_id, include_history=True).audit_events
            if each.type == "approved"
        ]
    assert (event.actor, event.comment, event.metadata["ticket"]) == ("dana", "known", "SUP-42")


@pytest.mark.rule("cli-exit-codes")
def test_exit_codes_tell_what_kind_of_no_it_is(app: Flask, acme: Filled) -> None:
    run_id, ended = acme.runs["decision"], acme.runs["failed"]
    nowhere = "00000000-0000-7000-8000-000000000000"
    codes = {
        ("runs", "show", nowhere): 3,
        ("runs", "start", "nowhere", "{}"): 3,
        ("runs", "start", "invoice", ORDER, "--trigger", "nowhere"): 3,
        ("runs", "cancel", ended): 4,
        ("runs", "approve", run_id, "--as", "dana", "--expected", "review#9"): 4,
        ("runs", "replay", acme.runs["decision"]): 4,
        ("runs", "start", "invoice", "{}"): 5,
        ("runs", "approve", run_id): 5,
        ("runs", "note", run_id, " "): 5,
        ("runs", "list", "--error", "\0"): 5,
        ("runs", "start", "invoice", "[]"): 2,
        ("runs", "start", "invoice", "{"): 2,
        ("runs", "list", "--status", "red"): 2,
        ("runs", "shout", run_id): 2,
    }
    for words, code in codes.items():
        result = run(app, *words)
        assert result.exit_code == code, (words, result.output)
        assert "Traceback" not in result.output
    assert "Exit codes: 0 done; 1" in run(app, "runs", "--help").stdout


def test_every_command_of_the_table_is_there_with_what_it_takes() -> None:
    runs = cli.group.commands["runs"]
    assert set(runs.commands) == {"list", "show", "start", *(each.verb for each in COMMANDS.values())}  # type: ignore[attr-defined]
    for command in COMMANDS.values():
        names = {each.name for each in runs.commands[command.verb].params}  # type: ignore[attr-defined]
        assert names >= {*command.arguments.model_fields, "actor", "key", "as_json"}


def test_a_payload_is_read_from_a_file(app: Flask, tmp_path: Any) -> None:
    path = tmp_path / "order.json"
    path.write_text(ORDER)
    assert told(app, "runs", "start", "invoice", f"@{path}")["subject"] == "Invoice 77 of [redacted]"


def test_what_is_handed_on_and_settled(app: Flask, acme: Filled) -> None:
    assert told(app, "runs", "assign", acme.runs["decision"], "--to", "rita", "--as", "dana")["id"]
    assert told(app, "runs", "assign", acme.runs["decision"], "--as", "dana")["id"]
    assert told(app, "runs", "resolve", acme.runs["interrupted"], "--output", "{}")["status"] == "completed"
    assert told(app, "runs", "cancel", acme.runs["retrying"], "--compensate")["status"] == "cancelled"


@pytest.mark.rule("cli-json")
def test_status_check_and_doctor_say_it_in_json(app: Flask, acme: Filled) -> None:
    status = told(app, "status")
    assert status["needs"]["decision"] == "1"
    assert int(status["runs"]["paused"]) > 1
    assert status["processes"][0]["kind"] == "worker"
    assert "paused" in run(app, "status").stdout
    checked = run(app, "check", "--json")
    results = json.loads(checked.stdout)["results"]
    assert {each["verdict"] for each in results} >= {"ok"}
    assert checked.exit_code == (1 if any(each["verdict"] == "wrong" for each in results) else 0)
    assert run(app, "doctor", "--json", "--repair").exit_code == 2
    found = run(app, "doctor", "--json")
    assert found.exit_code == (1 if json.loads(found.stdout)["findings"] else 0)


@pytest.mark.rule("cli-runs")
def test_an_event_is_sent_once_for_its_id(app: Flask) -> None:
    words = ("events", "send", "payment.settled", '{"amount": 5}', "--key", "o-1", "--event-id", "e-1", "--as", "dana")
    first, again = (told(app, *words) for _ in range(2))
    assert (first["repeated"], again["repeated"]) == (False, True)
    assert first["id"] == again["id"]
    assert run(app, *words).stdout == "Event e-1 had come before; nothing was done.\n"
    assert run(app, "events", "send", "payment.settled", "{}", "--key", "o-1", "--event-id", "e-1").exit_code == 4
    assert run(app, "events", "send", "payment.settled", "--key", " ").exit_code == 5


@pytest.mark.rule("cli-json")
def test_pruning_and_schedules_say_it_in_json_too(app: Flask, acme: Filled) -> None:
    assert told(app, "prune", "--older-than", "1d", "--dry-run")["pruned"] == 0
    assert run(app, "prune", "--older-than", "1d", "--json").exit_code == 2
    assert [each["trigger"] for each in told(app, "cron", "list")["schedules"]] == ["nightly"]
    fired = told(app, "cron", "fire", "nightly", "nightly")["run_id"]
    assert told(app, "runs", "show", fired)["workflow"] == "nightly"
