"""Schedules, workers and the audit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_squidmesh import Cron, Every, Manual, Pause, Retry, Step, Wait, Workflow
from flask_squidmesh.config import READING_ACTIONS
from tests.web.shop import Checkout, Labels, Order, advance, broken, make_app, mesh_of, start, work
from tests.web.visiting import Visitor, pulse_of, text_of


def note() -> None:
    pass


class Nightly(Workflow):
    nightly = Cron("0 3 * * *", timezone="Europe/Berlin")
    tidy = Step(note)


class Often(Workflow):
    queues = Every(timedelta(hours=1), overlap="queue", catch_up="all")
    skips = Every(timedelta(hours=1), overlap="skip")
    hold = Pause()


@pytest.fixture
def nightly(visitor: Visitor) -> Visitor:
    with visitor.app.app_context():
        mesh_of(visitor.app).register(Nightly)
    return visitor


def test_a_schedule_shows_when_it_is_due(nightly: Visitor) -> None:
    page = nightly.read("/schedules")
    assert "nightly / nightly" in page
    assert "0 3 * * * Europe/Berlin" in page
    assert "It has not fired yet." in page


def test_a_schedule_is_run_now_by_hand(nightly: Visitor) -> None:
    answer = nightly.send("/schedules/nightly/nightly/run", comment="asked for by Kim")
    assert answer.status_code == 303
    run_id = answer.location.rpartition("/")[2]
    assert nightly.status(run_id) == "pending"
    assert "started the schedule nightly of nightly by hand" in nightly.read("/audit")
    assert run_id[:13] in nightly.read("/schedules")


@pytest.mark.rule("cron-left-out")
def test_what_is_queued_and_what_was_not_started_is_shown_with_the_reason(visitor: Visitor) -> None:
    mesh_of(visitor.app).register(Often)
    with visitor.app.app_context():
        scheduler = visitor.app.extensions["squidmesh"].scheduler
        since = visitor.app.extensions["squidmesh"].clock.now()
        for _ in range(3):
            scheduler.fire_due(since)
            advance(visitor.app, timedelta(hours=1))
    page = text_of(visitor.read("/schedules"))
    assert "every 1h UTC waits until a run has ended makes up for every window that was missed" in page
    assert "1 window waits for a run to end: " in page
    assert "starts nothing while a run has not ended" in page
    assert "Not started (1)" in page
    assert ": a run had not ended" in page
    assert "of the schedule skips of often : a run had not ended" in text_of(visitor.read("/audit"))
    in_german = text_of(visitor.get("/schedules", headers={"Accept-Language": "de"}).text)
    assert "ein Lauf war noch nicht zu Ende" in in_german
    assert "1 Termin wartet auf das Ende eines Laufs" in in_german


@pytest.mark.rule("cron-form-twice")
def test_the_same_form_sent_twice_runs_a_schedule_once(nightly: Visitor) -> None:
    fields = nightly.form("/schedules/nightly/nightly/run")
    first, second = (nightly.send("/schedules/nightly/nightly/run", fields) for _ in range(2))
    assert (first.status_code, second.location) == (303, first.location)
    other = nightly.send("/schedules/nightly/nightly/run")
    assert other.location != first.location


def test_a_schedule_is_paused_and_resumed(nightly: Visitor) -> None:
    nightly.send("/schedules/nightly/nightly/pause", comment="stock-taking")
    page = nightly.read("/schedules")
    assert "not before somebody resumes it" in page
    nightly.send("/schedules/nightly/nightly/resume")
    assert "not before somebody resumes it" not in nightly.read("/schedules")
    audit = nightly.read("/audit")
    assert "dana paused the schedule nightly of nightly stock-taking" in audit


def test_pausing_twice_does_nothing_the_second_time(nightly: Visitor) -> None:
    fields = nightly.form("/schedules/nightly/nightly/pause")
    nightly.send("/schedules/nightly/nightly/pause", fields)
    nightly.send("/schedules/nightly/nightly/pause", fields)
    assert "Somebody was faster; nothing was done." in nightly.read("/schedules")


@pytest.mark.parametrize("path", ["nightly/weekly/run", "missing/nightly/run", "nightly/nightly/delete"])
def test_what_is_no_schedule_is_not_found(nightly: Visitor, path: str) -> None:
    fields = nightly.form("/schedules/nightly/nightly/run")
    assert nightly.send(f"/schedules/{path}", fields).status_code == 404


@pytest.mark.parametrize("verb", ["run", "pause", "resume"])
def test_schedules_are_left_alone_without_the_right(make, verb: str) -> None:
    visitor = make(SQUIDMESH_DASHBOARD_DISABLED_ACTIONS=["schedule_run", "schedule_pause"])
    with visitor.app.app_context():
        mesh_of(visitor.app).register(Nightly)
    assert f"/nightly/nightly/{verb}" not in visitor.get("/schedules").text
    assert visitor.get(f"/schedules/nightly/nightly/{verb}").status_code == 403


def test_a_comment_for_a_schedule_may_be_required(make) -> None:
    visitor = make(SQUIDMESH_DASHBOARD_COMMENT_REQUIRED=["schedule_run"])
    with visitor.app.app_context():
        mesh_of(visitor.app).register(Nightly)
    fields = visitor.form("/schedules/nightly/nightly/run")
    answer = visitor.send("/schedules/nightly/nightly/run", fields, comment=" ")
    assert fields["key"] in answer.text
    assert (answer.status_code, "Say why" in text_of(answer.text)) == (422, True)


def test_a_queue_with_work_and_no_worker_comes_first(visitor: Visitor) -> None:
    with visitor.app.app_context():
        mesh_of(visitor.app).start_run(Checkout, {"order_id": "7"}, actor="kim")
    page = visitor.read("/system")
    assert "squidmesh No worker 1" in page
    assert "1 step is due and no live worker takes it from squidmesh." in page
    assert "No worker has told of itself." in page


def test_a_silent_worker_is_told_from_a_live_one(visitor: Visitor) -> None:
    runtime = visitor.app.extensions["squidmesh"]
    with visitor.app.app_context():
        runtime.heartbeats.record("worker", "host:1:a", queue="squidmesh", threads=4)
    assert "host:1:a Live squidmesh 4" in visitor.read("/system")
    runtime.clock.source.advance(timedelta(minutes=5))
    page = visitor.read("/system")
    assert "host:1:a Silent" in page
    assert "none; last seen" in page


def test_the_audit_is_narrowed_by_person_kind_and_run(visitor: Visitor) -> None:
    run_id, other = start(visitor.app, Checkout, "7"), start(visitor.app, Checkout, "8")
    with visitor.app.app_context():
        mesh_of(visitor.app).approve_run(run_id, actor={"id": "lee", "label": "Lee L."}, comment="fine")
        mesh_of(visitor.app).reject_run(other, actor="dana", comment="fraud")
    lee, rejected, mine = (visitor.read(f"/audit?{query}") for query in ("actor=lee", "type=rejected", f"run={other}"))
    assert ("Lee L. approved review" in lee, "fraud" in lee) == (True, False)
    assert ("fraud" in rejected, "fine" in rejected) == (True, False)
    assert ("fraud" in mine, "fine" in mine) == (True, False)
    assert "Nothing matches." in visitor.read("/audit?actor=nobody")
    assert "This search cannot be made." in visitor.read("/audit?run=nonsense")


def test_the_audit_goes_back_page_by_page(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_squidmesh.dashboard.views.audit.SIZE", 1)
    run_id = start(visitor.app, Checkout, "7")
    with visitor.app.app_context():
        mesh_of(visitor.app).approve_run(run_id, actor="lee")
    newest = visitor.get("/audit").text
    assert "paused at" not in text_of(newest).partition("Comment")[2]
    assert "after=" in newest


def test_the_audit_as_a_table_holds_no_formula(visitor: Visitor) -> None:
    run_id = start(visitor.app, Checkout, "7")
    with visitor.app.app_context():
        mesh_of(visitor.app).approve_run(run_id, actor="=HYPERLINK(1)", comment="@fine")
    answer = visitor.get("/audit.csv")
    assert answer.mimetype == "text/csv"
    assert '"\'=HYPERLINK(1)","approved","approved review","review"' in answer.text
    assert "'@fine" in answer.text


def test_the_audit_holds_what_people_decided_saw_and_were_refused(make: Any) -> None:
    rights: dict[str, Any] = {"authorize": lambda *_: True}
    visitor = make({"authorize": lambda *asked: rights["authorize"](*asked), "actor": lambda: "dana"})
    decided, cancelled, failed = (start(visitor.app, each, "7") for each in (Checkout, Checkout, Labels))
    visitor.send(f"/runs/{decided}/approve", comment="known customer")
    visitor.send(f"/runs/{cancelled}/reveal/payload", comment="the bank asks")
    visitor.send(f"/runs/{cancelled}/cancel", comment="twice by mistake")
    fields = visitor.form(f"/runs/{failed}/acknowledge")
    visitor.send(f"/runs/{failed}/replay", comment="paper is back")
    rights["authorize"] = lambda action, *_: action in READING_ACTIONS
    visitor.send(f"/runs/{failed}/acknowledge", fields)
    page = visitor.get("/audit").text
    for text in (
        "dana approved review",
        "known customer",
        "dana revealed what is hidden in payload",
        "the bank asks",
        "twice by mistake",
        "paper is back",
        "dana tried to acknowledge without the right to",
    ):
        assert text in text_of(page), text
    assert page.count("<time datetime=") >= 5


def test_the_audit_takes_its_right(make) -> None:
    visitor = make({"authorize": lambda action, run, permission: action in ("list", "view")})
    assert visitor.get("/audit").status_code == 403
    assert visitor.get("/audit.csv").status_code == 403
    assert "/audit" not in visitor.get("/schedules").text


def test_failures_are_grouped_and_lead_to_their_runs(visitor: Visitor) -> None:
    assert "Nothing has failed in the last seven days." in visitor.read("/failures")
    run_id = start(visitor.app, Labels, "7")
    page = visitor.get("/failures").text
    assert "1 failure in seven days, by day: 0, 0, 0, 0, 0, 0, 1" in page
    with visitor.app.app_context():
        fingerprint = mesh_of(visitor.app).inspect_run(run_id).error_fingerprint
    assert f"/runs?error={fingerprint}" in page


class Dunning(Workflow):
    """Wait a week and a day, then fail."""

    subject = "Dunning {order_id}"
    remind = Manual(Order)
    patience = Wait(timedelta(days=8))
    label = Step(broken, retry=Retry(1))
    flow = [patience >> label]


def test_a_run_that_began_long_ago_and_failed_now_is_among_the_failures(migrated_url: str) -> None:
    visitor = Visitor(make_app(migrated_url))
    mesh_of(visitor.app).register(Dunning)
    start(visitor.app, Dunning, "7")
    advance(visitor.app, timedelta(days=8, minutes=1))
    work(visitor.app)
    page = visitor.get("/failures").text
    assert "1 failure in seven days, by day: 0, 0, 0, 0, 0, 0, 1" in page
    assert "dunning" in page
    advance(visitor.app, timedelta(days=6, hours=23))
    assert "1 failure in seven days, by day: 1, 0, 0, 0, 0, 0, 0" in visitor.get("/failures").text
    advance(visitor.app, timedelta(hours=2))
    assert "Nothing has failed in the last seven days." in visitor.read("/failures")


@pytest.mark.parametrize("path", ["/", "/runs", "/workflows", "/system", "/audit"])
def test_every_page_says_when_no_worker_lives(make, path: str) -> None:
    visitor = make(SQUIDMESH_EXECUTOR="database")
    with visitor.app.app_context():
        mesh_of(visitor.app).start_run(Checkout, {"order_id": "7"}, actor="kim")
    page = visitor.read(path)
    assert "System ! No worker is alive" in page
    assert "No worker is alive: 1 step is due and nothing runs" in page
    assert "once a worker starts: flask squidmesh worker" in page
    _live(visitor)
    assert "No worker is alive" not in visitor.read(path)
    visitor.app.extensions["squidmesh"].clock.source.advance(timedelta(seconds=31))
    assert "No worker is alive" in visitor.read(path)


def test_a_page_that_is_open_learns_that_the_last_worker_died(make) -> None:
    visitor = make(SQUIDMESH_EXECUTOR="database")
    _live(visitor)
    poll = pulse_of(visitor.get("/schedules").text)
    assert visitor.get(poll).status_code == 204
    visitor.app.extensions["squidmesh"].clock.source.advance(timedelta(seconds=31))
    answer = visitor.get(poll)
    assert "No worker is alive, so nothing will run" in text_of(answer.text)
    assert '<div id="idle" hx-swap-oob="true">' in answer.text
    assert visitor.get(pulse_of(answer.text)).status_code == 204


def test_workers_of_a_queue_of_the_hosts_own_are_not_missed(visitor: Visitor) -> None:
    start(visitor.app, Checkout, "7")
    assert "No worker is alive" not in visitor.read("/")


def _live(visitor: Visitor) -> None:
    with visitor.app.app_context():
        visitor.app.extensions["squidmesh"].heartbeats.record("worker", "host:1:a", queue="squidmesh", threads=4)


@pytest.mark.parametrize("query", ["", "?live=0"])
def test_the_page_of_workers_is_found_under_its_former_address(visitor: Visitor, query: str) -> None:
    answer = visitor.get(f"/workers{query}")
    assert (answer.status_code, answer.location) == (308, f"/squidmesh/system{query}")
