"""What programs do: each command once, under one's own name, on what one has seen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.api.house import Program, make_app
from tests.two_tenants.runs import Filled

ORDER = {"number": "77", "customer": "Acorn Ltd"}


def events(app: Flask, run_id: str) -> list[Any]:
    with app.app_context():
        return list(app.extensions["mesh"].inspect_run(run_id, include_history=True).audit_events)


def runs_of(anna: Program, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = anna.get("/runs", query_string={"limit": 500, **query}).json["runs"]
    return found


@pytest.mark.rule("api-start")
def test_a_run_is_started_for_the_tenant_of_whoever_asks(app: Flask, anna: Program) -> None:
    answer = anna.post("/workflows/invoice/runs", ORDER)
    assert answer.status_code == 201
    run = answer.json
    assert run["workflow"] == "invoice"
    assert run["tenant"] == "acme"
    assert run["actor"] == {"id": "anna", "label": "Anna of Acme"}
    assert run["payload"] == {**ORDER, "amount": 120}
    assert answer.headers["Location"].endswith(f"/api/workflows/runs/{run['id']}")
    again = anna.get(f"/runs/{run['id']}")
    assert again.headers["ETag"] == answer.headers["ETag"] == '"open"'


@pytest.mark.rule("api-start", "start-at", "reschedule")
def test_a_run_may_begin_later_and_at_another_time(anna: Program) -> None:
    run = anna.post("/workflows/invoice/runs?at=2099-03-01T09:30:00%2B01:00", ORDER).json
    assert (run["status"], run["due_at"], run["is_scheduled"]) == ("pending", "2099-03-01T08:30:00+00:00", True)
    after = anna.post(f"/runs/{run['id']}/reschedule", {"at": "2098-03-01T09:30:00Z", "comment": "sooner"})
    assert (after.status_code, after.json["due_at"]) == (200, "2098-03-01T09:30:00+00:00")
    assert anna.post(f"/runs/{run['id']}/reschedule", {"at": 5}).status_code == 422
    assert anna.post("/workflows/invoice/runs?at=2001-01-01T00:00:00Z", ORDER).status_code == 422
    assert anna.post("/workflows/invoice/runs?at=soon", ORDER).status_code == 400


@pytest.mark.rule("api-start")
def test_nobody_starts_a_run_outside_their_scope(anna: Program, program: Callable[[str], Program]) -> None:
    assert anna.post("/workflows/invoice/runs?tenant=globex", ORDER).status_code == 403
    assert anna.post("/workflows/invoice/runs?tenant=acme", ORDER).status_code == 201
    assert anna.post("/workflows/nightly/runs", {}).status_code == 404
    assert anna.post("/workflows/nowhere/runs", {}).status_code == 404
    assert anna.post("/workflows/invoice/runs?trigger=nowhere", ORDER).status_code == 404
    assert anna.post("/workflows/invoice/runs?at=tomorrow", ORDER).json["name"] == "at"


@pytest.mark.rule("api-payload")
def test_a_payload_that_does_not_fit_says_where(anna: Program) -> None:
    answer = anna.post("/workflows/invoice/runs", {"number": "1", "amount": "much", "colour": "red"})
    assert answer.status_code == 422
    problem = answer.json
    assert problem["error"] == "PayloadError"
    assert problem["missing_fields"] == ["customer"]
    assert problem["unknown_fields"] == ["colour"]
    assert list(problem["invalid_types"]) == ["amount"]
    assert runs_of(anna) == []


@pytest.mark.rule("api-idempotency")
def test_a_start_that_is_sent_twice_is_one_run(anna: Program, program: Callable[[str], Program]) -> None:
    key = {"Idempotency-Key": "k-1"}
    first, again = (anna.post("/workflows/invoice/runs", ORDER, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json["id"] == again.json["id"]
    assert anna.post("/workflows/invoice/runs", {**ORDER, "amount": 5}, headers=key).status_code == 409
    assert anna.post("/workflows/parcel/runs", ORDER, headers=key).status_code == 201
    other = program("vera").post("/workflows/invoice/runs?tenant=acme", ORDER, headers=key)
    assert other.status_code == 403
    assert len(runs_of(anna)) == 2


@pytest.mark.rule("api-idempotency")
def test_a_command_that_is_sent_twice_is_done_once(app: Flask, acme: Filled, anna: Program) -> None:
    path, key = f"/runs/{acme.runs['decision']}/approve", {"Idempotency-Key": "k-1"}
    body = {"comment": "known customer", "metadata": {"ticket": "SUP-42"}}
    first, again = (anna.post(path, body, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json == again.json
    approved = [event for event in events(app, acme.runs["decision"]) if event.type == "approved"]
    assert [(each.actor["id"], each.comment, each.metadata["ticket"]) for each in approved] == [
        ("anna", "known customer", "SUP-42")
    ]
    other = anna.post(path, {"comment": "otherwise"}, headers=key)
    assert other.status_code == 409
    assert other.json["error"] == "ConflictError"


@pytest.mark.rule("api-idempotency")
def test_a_key_belongs_to_whoever_sent_it_first(migrated_url: str) -> None:
    app = make_app(migrated_url, {"authorize": lambda actor: True})
    anna, otto = Program(app, "anna"), Program(app, "otto")
    key = {"Idempotency-Key": "k-1"}
    mine = anna.post("/workflows/reminder/runs", ORDER, headers=key)
    theirs = otto.post("/workflows/reminder/runs", ORDER, headers=key)
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json["id"] != theirs.json["id"]
    path = f"/runs/{mine.json['id']}/note"
    assert anna.post(path, {"text": "Seen."}, headers=key).status_code == 200
    assert otto.post(path, {"text": "Seen."}, headers=key).status_code == 409
    assert [event.comment for event in events(app, mine.json["id"]) if event.type == "noted"] == ["Seen."]


@pytest.mark.rule("api-token")
def test_nothing_is_done_where_what_was_seen_does_not_hold(app: Flask, acme: Filled, anna: Program) -> None:
    run_id = acme.runs["decision"]
    seen = anna.get(f"/runs/{run_id}").headers["ETag"]
    assert seen == '"review#1"'
    stale = anna.post(f"/runs/{run_id}/approve", headers={"If-Match": '"review#7"'})
    assert stale.status_code == 409
    assert stale.json["current"]["decision"] == "review#1"
    for wrong in ('"review#1", "open"', 'W/"a", "b"', ""):
        assert anna.post(f"/runs/{run_id}/approve", headers={"If-Match": wrong}).status_code in (400, 409)
    assert anna.post(f"/runs/{run_id}/approve", headers={"If-Match": seen}).status_code == 200
    late = anna.post(f"/runs/{run_id}/reject", {"comment": "no"}, headers={"If-Match": seen})
    assert (late.status_code, late.json["error"]) == (409, "ConflictError")
    assert [event.type for event in events(app, run_id) if event.type in ("approved", "rejected")] == ["approved"]


@pytest.mark.rule("api-transition")
def test_what_is_not_possible_says_what_is(acme: Filled, anna: Program) -> None:
    answer = anna.post(f"/runs/{acme.runs['failed']}/cancel", {"comment": "too late"})
    assert answer.status_code == 409
    assert answer.json["error"] == "TransitionError"
    assert answer.json["run_status"] == "failed"
    assert "replay_run" in answer.json["allowed"]


def test_every_command_does_what_its_call_does(app: Flask, acme: Filled, anna: Program) -> None:
    done = {
        "paused": ("resume", {}),
        "interrupted": ("resolve", {"output": {}, "comment": "seen at the bank"}),
        "not_undone": ("retry-compensation", {}),
        "failed": ("acknowledge", {"comment": "seen"}),
        "retrying": ("cancel", {"compensate": True, "comment": "asked for"}),
        "replayed": ("replay", {}),
        "waiting": ("note", {"text": "Seen."}),
    }
    for name, (verb, body) in done.items():
        answer = anna.post(f"/runs/{acme.runs[name]}/{verb}", body)
        assert answer.status_code == 200, (verb, answer.text)
    assert anna.get(f"/runs/{acme.runs['retrying']}").json["status"] == "cancelled"


def test_a_wait_is_taken_and_handed_on(acme: Filled, anna: Program, program: Callable[[str], Program]) -> None:
    path = f"/runs/{acme.runs['decision']}"
    assert anna.post(f"{path}/assign", {"to": "anna"}).status_code == 200
    [task] = anna.get("/tasks").json["tasks"]
    assert task["run"]["id"] == acme.runs["decision"]
    assert task["decision"]["assignee"] == "anna"
    assert [each["call"] for each in task["next_actions"]] == ["approve_run", "reject_run"]
    assert anna.post(f"{path}/assign", {"to": "rita", "expected_assignee": "nobody"}).status_code == 409
    assert anna.post(f"{path}/assign", {"to": "rita"}).status_code == 200
    assert anna.get("/tasks").json["tasks"] == []


@pytest.mark.rule("api-bodies")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"data": b"{", "content_type": "application/json"}, 400),
        ({"data": b"[]", "content_type": "application/json"}, 400),
        ({"data": b'"approve"', "content_type": "application/json"}, 400),
        ({"data": b'{"comment": NaN}', "content_type": "application/json"}, 400),
        ({"data": b'{"comment": "\xff"}', "content_type": "application/json"}, 400),
        ({"data": '{"comment": "ä"}'.encode("utf-16"), "content_type": "application/json; charset=utf-16"}, 415),
        ({"data": b"comment=x", "content_type": "application/x-www-form-urlencoded"}, 415),
        ({"data": b"{}", "content_type": "text/plain"}, 415),
        ({"data": b"\x1f\x8b", "content_type": "application/json", "headers": {"Content-Encoding": "gzip"}}, 415),
        ({"data": b'{"metadata":' + b'{"a":' * 150 + b"1" + b"}" * 151, "content_type": "application/json"}, 400),
        ({"data": b'{"metadata":' + b"[" * 50_000, "content_type": "application/json"}, 400),
        ({"data": b'{"metadata": ' + b"9" * 5_000 + b"}", "content_type": "application/json"}, 400),
        ({"json": {"comment": "x" * 5_000_000}}, 413),
        ({"json": {"comment": ""}}, 422),
        ({"json": {"comment": "x" * 10_001}}, 422),
        ({"json": {"comment": 7}}, 422),
        ({"json": {"comment": "\ud800"}}, 422),
        ({"json": {"comment": "a\0b"}}, 422),
        ({"json": {"metadata": []}}, 422),
        ({"json": {"metadata": {"a": "\ud800"}}}, 422),
        ({"json": {"actor": "otto"}}, 422),
        ({"json": {"step": "nowhere"}}, 409),
        ({"json": {}, "headers": {"Idempotency-Key": "x" * 300}}, 400),
        ({"json": {}, "headers": {"Idempotency-Key": " "}}, 400),
    ],
    ids=str,
)
def test_a_bad_body_does_nothing(app: Flask, acme: Filled, anna: Program, sent: dict[str, Any], status: int) -> None:
    answer = anna.open(f"/runs/{acme.runs['decision']}/approve", method="POST", **sent)
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    assert [event.type for event in events(app, acme.runs["decision"])] == ["paused", "refused"]


def test_two_at_once_decide_once(app: Flask, acme: Filled) -> None:
    statuses, ready = list[int](), threading.Barrier(2)

    def decide(verb: str) -> None:
        ready.wait()
        answer = Program(app, "anna").post(f"/runs/{acme.runs['decision']}/{verb}", {"comment": "first"})
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=decide, args=(verb,)) for verb in ("approve", "reject")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 409]


@pytest.mark.rule("api-idempotency")
def test_an_event_is_sent_once_and_listed(anna: Program, program: Callable[[str], Program]) -> None:
    sent = {"name": "payment.settled", "key": "o-1", "payload": {"amount": 5}}
    first, again = (anna.post("/events", sent, headers={"Idempotency-Key": "k-1"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 200)
    assert (first.json["tenant"], first.json["id"]) == ("acme", again.json["id"])
    assert anna.post("/events", {**sent, "payload": {}}, headers={"Idempotency-Key": "k-1"}).status_code == 409
    assert anna.post("/events?tenant=globex", sent).status_code == 403
    assert anna.post("/events", {"name": "payment.settled"}).json["missing_fields"] == ["key"]
    assert program("rita").post("/events", sent).status_code == 403
    assert [each["event_id"] for each in anna.get("/events?key=o-1").json["events"]] == [first.json["event_id"]]
    assert program("otto").get("/events").json["events"] == []
